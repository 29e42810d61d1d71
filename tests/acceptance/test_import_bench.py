"""`factorysim import-bench`: results of benchmarks become a table that `check` reads."""

import csv
import io
import json

from tests.acceptance.program import factorysim
from tests.unit.study.measured.test_foreign import AIPERF, VLLM

WHERE = ("--hardware", "H100-SXM-80GB", "--gpus", 1, "--parallelism", "TP1")


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_benchmark_is_predicted(tmp_path):
    short = {"max_concurrency": 2, "num_prompts": 20, "completed": 20}
    more = {"total_input_tokens": 20 * 512, "total_output_tokens": 20 * 64}
    out = tmp_path / "mine.csv"
    told = factorysim(
        "import-bench", written(tmp_path, "a.json", VLLM | short | more), *WHERE, "--out", out
    )
    assert (told.code, told.out) == (0, ""), told.err
    assert "13 rows, 0 set aside" in told.err
    checked = factorysim("check", "--data", out, "--json")
    assert checked.code == 0, checked.err
    rows = json.loads(checked.out)["rows"]
    assert len(rows) == 13
    assert all(row["got"] > 0 for row in rows if row["metric"] in ("ttft_ms", "tpot_ms"))
    assert not [row for row in rows if row["reason"] and "not" in row["reason"]], rows


def test_files_of_one_name_keep_their_rows_apart(tmp_path):
    (tmp_path / "b").mkdir()
    files = (written(tmp_path, "a.json", VLLM), written(tmp_path, "b/a.json", AIPERF))
    told = factorysim("import-bench", *files, *WHERE)
    assert told.code == 0
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert len({row["id"] for row in rows}) == len(rows) > 20
    assert {row["model"] for row in rows} == {VLLM["model_id"], "Qwen/Qwen3-32B"}


def test_what_is_set_aside_is_told_and_nothing_is_written_of_nothing(tmp_path):
    out = tmp_path / "mine.csv"
    path = written(tmp_path, "a.json", VLLM | {"burstiness": 3.0})
    told = factorysim("import-bench", path, *WHERE, "--out", out)
    assert told.code == 2
    assert "set aside: a: its arrivals have burstiness 3" in told.err
    assert "no number to compare" in told.err
    told = factorysim("import-bench", written(tmp_path, "c.json", {"a": 1}), *WHERE, "--out", out)
    assert told.code == 2
    assert "AIPerf" in told.err
    assert not out.exists()
