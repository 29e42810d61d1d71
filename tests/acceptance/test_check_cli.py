"""``check`` and ``calibrate`` as a user runs them."""

import json

import pytest

from tests.acceptance.program import factorysim

HEAD = (
    "id,model,hardware,n_gpus,parallelism,engine,precision,scenario,isl,osl,"
    "concurrency_or_batch,metric,value,notes\n"
)
GOOD = "good,Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,static,512,32,4,tpot_ms,5,\n"
BAD = (
    "who,NoSuchLLM,H100-SXM-80GB,1,TP1,vLLM,fp8,static,512,32,4,tpot_ms,5,\n"
    "good,Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,static,512,32,4,ttft_ms,5,\n"
    "low,Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,static,512,32,4,ttft_ms,-5,\n"
    "big,Llama-3.1-405B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,server,512,32,4,tpot_ms,5,\n"
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + GOOD + BAD, encoding="utf-8")
    return path


def test_check_predicts_what_it_can_and_tells_the_rest(table):
    done = factorysim("check", "--data", str(table), "--workers", "1")
    assert done.code == 0, done.err
    assert "Predicted: 1 of 5 rows" in done.out
    assert 'LLM "NoSuchLLM"' in done.out
    assert "its id is that of line 2" in done.out
    assert "GB of weights" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_check_in_json(table):
    done = factorysim("check", "--data", str(table), "--json", "--workers", "2")
    told = json.loads(done.out)
    rows = {row["id"]: row for row in told["rows"]}
    assert rows["good"]["expected"] == 5.0
    assert rows["good"]["error"] == pytest.approx(rows["good"]["got"] / 5.0 - 1.0)
    assert rows["who"]["got"] is None
    assert rows["who"]["reason"].startswith('LLM "NoSuchLLM"')
    assert (rows["good"]["quantity"], rows["good"]["load"]) == ("tpot", "static")
    assert (rows["good"]["engine"], rows["good"]["generation"]) == ("vllm", "hopper")
    assert "Llama-3.1-8B-Instruct" in rows["good"]["what"]
    assert {one["id"] for one in told["skipped"]} == {"good", "low"}
    assert sum(score["rows"] for score in told["scores"]) == len(told["rows"])


RUBBISH = (
    ("server,512,32,4,tpot_ms,5,", "lengths 5-2 x nominal"),
    ("server,512,32,4,tpot_ms,5,", "lengths 0-0 x nominal"),
    ("server,512,32,4,tpot_ms,5,", "max batch 0"),
    ("server,512,32,0,tpot_ms,5,", ""),
    ("server,512,32,2.5,tpot_ms,5,", ""),
    ("server,512,32,99999999999999999999,tpot_ms,5,", ""),
    ("static,512,1,4,tpot_ms,5,", ""),
    ("static,512,32,4,tpot_ms,1e-320,", ""),
)


def test_a_log_of_calls_is_replayed(tmp_path):
    """Told by its header; what it leaves unsaid is said, and a bad row is set aside."""
    path = tmp_path / "calls.csv"
    head = "gpu,model,parallel,request_id,input_toks,output_toks,queued_s,wait_s,ttft_s,e2e_s"
    calls = [f"RTX4090,Llama-3.1-8B,tp1,{k},400,20,{k / 10},0,0.2,0.9" for k in range(12)]
    bad = "RTX4090,Llama-3.1-8B,tp1,12,400,20,1.3,0,0.9,0.2"
    path.write_text("\n".join([head, *calls, bad]), encoding="utf-8")
    done = factorysim("check", "--data", str(path), "--workers", "1")
    assert done.code == 0, done.err
    assert "Predicted: 12 of 13 rows" in done.out
    assert "recorded" in done.out
    assert "before its first token" in " ".join(done.out.split())
    done = factorysim("check", "--data", str(path), "--only", "RTX4090", "--json")
    rows = json.loads(done.out)["rows"]
    assert len(rows) == 12
    assert rows[0]["id"] == "RTX4090-Llama-3.1-8B-tp1.ttft_mean_s"
    assert rows[0]["expected"] == pytest.approx(0.2)
    assert rows[0]["error"] == pytest.approx(rows[0]["got"] / 0.2 - 1)
    assert "max_sequences 1024" in rows[0]["assumed"]
    path.write_text(head.replace(",e2e_s", ""), encoding="utf-8")
    done = factorysim("check", "--data", str(path))
    assert done.code == 2
    assert "calls.csv:1: e2e_s: found no such column" in done.err


def test_rubbish_in_a_row_leaves_the_others_alone(tmp_path):
    start = "Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,"
    bad = [f"bad{k},{start}{row}{notes}\n" for k, (row, notes) in enumerate(RUBBISH)]
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + GOOD + "".join(bad), encoding="utf-8")
    done = factorysim("check", "--data", str(path), "--json", "--workers", "1")
    assert done.code == 0, done.err
    rows = {row["id"]: row for row in json.loads(done.out)["rows"]}
    assert rows["good"]["got"] is not None
    for k in range(len(RUBBISH)):
        assert rows[f"bad{k}"]["got"] is None, k
        assert rows[f"bad{k}"]["reason"]


@pytest.mark.parametrize(
    "options", [("--only", "nosuch"), ("--fast", "--only", "C-ifx"), ("--fast", "--data", "x.csv")]
)
def test_nothing_to_check_is_the_users_slip(options):
    done = factorysim("check", *options)
    assert (done.code, done.out) == (2, "")


def test_a_calibration_of_too_few_rows_writes_nothing(table, tmp_path):
    out = tmp_path / "mine.yaml"
    done = factorysim("calibrate", "--data", str(table), "--out", str(out))
    assert done.code == 2
    assert "nothing was fitted" in done.err
    assert not out.exists()


def test_theory_alone():
    done = factorysim("check", "--only", "theory.max-min", "--workers", "1")
    assert done.code == 0, done.err
    assert "Theory: 3 of 3 rows hold" in done.out
    assert "Predicted" not in done.out
    told = json.loads(factorysim("check", "--only", "theory.max-min", "--json").out)
    assert {row["holds"] for row in told["rows"]} == {True}
    assert told["rows"][0]["low"] <= told["rows"][0]["got"] <= told["rows"][0]["high"]


def test_theory_that_does_not_hold_is_our_fault(monkeypatch):
    from factorysim.study import theory

    broken = [
        row._replace(holds=False, reason="planted") for row in theory.theory_rows(2, ["max-min"])
    ]
    monkeypatch.setattr(theory, "theory_rows", lambda *given: broken)
    done = factorysim("check", "--only", "theory.max-min")
    assert done.code == 1
    assert "planted" in done.out


def test_theory_that_could_not_be_run_is_told_in_json_too(monkeypatch, tmp_path):
    from factorysim.study import theory
    from factorysim.study.theory.row import failed

    monkeypatch.setattr(theory, "theory_rows", lambda *given: [failed("mm1", "a book", "planted")])
    page = tmp_path / "page.html"
    done = factorysim("check", "--only", "theory.mm1", "--json", "--page", page)
    assert done.code == 1
    (row,) = json.loads(done.out)["rows"]
    assert (row["low"], row["high"], row["reason"]) == (None, None, "planted")
    assert "planted" in page.read_text(encoding="utf-8")


def test_a_table_without_its_columns_is_the_users_slip(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("id,value\n", encoding="utf-8")
    done = factorysim("check", "--data", str(path))
    assert done.code == 2
    assert "mine.csv:1: model: found no such column" in done.err


def test_a_calibration_is_a_catalog_file_that_a_run_takes(tmp_path):
    lines = [
        f"c{c},Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,server,256,16,{c},tpot_ms,8,\n"
        for c in (1, 2, 3, 4, 6, 8, 12, 16)
    ]
    table, out = tmp_path / "mine.csv", tmp_path / "mine.yaml"
    table.write_text(HEAD + "".join(lines), encoding="utf-8")
    done = factorysim("calibrate", "--data", str(table), "--out", str(out))
    assert done.code == 0, done.err
    assert "80 % band" in done.out
    shown = factorysim("validate", str(out))
    assert shown.code == 0, shown.err
    again = factorysim("check", "--data", str(table), "--catalog", str(out), "--json")
    before = factorysim("check", "--data", str(table), "--json")
    mean = [json.loads(one.out)["scores"][0]["mean"] for one in (before, again)]
    assert mean[1] < mean[0]


NASTY = (
    '"</script><script>alert(1)</script>",Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,'
    "static,512,32,4,tpot_ms,6,\n"
    '"[bold]x[/] \x1b[31m",<img src=x onerror=alert(1)>,H100-SXM-80GB,1,TP1,vLLM,fp8,'
    "static,512,32,4,tpot_ms,6,\n"
)


def test_a_check_as_a_page(tmp_path):
    path, page = tmp_path / "mine.csv", tmp_path / "page.html"
    path.write_text(HEAD + GOOD + BAD + NASTY, encoding="utf-8")
    done = factorysim("check", "--data", path, "--page", page, "--workers", "1")
    assert done.code == 0, done.err
    assert f"page: {page}" in done.err
    assert "Predicted: 2 of 7 rows" in done.out
    text = page.read_text(encoding="utf-8")
    assert "2 of 7 rows are predicted" in text
    for told in ("NoSuchLLM", "its id is that of line 2", "GB of weights", "\\x1b[31m"):
        assert told in text
    assert "&lt;/script&gt;" in text
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "\x1b" not in text


def test_a_page_beside_json(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("an earlier page", encoding="utf-8")
    done = factorysim("check", "--only", "theory.max-min", "--json", "--page", page)
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["rows"]) == 3
    assert "All 3 rows hold" in page.read_text(encoding="utf-8")
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


def test_a_page_is_written_where_theory_does_not_hold(monkeypatch, tmp_path):
    from factorysim.study import theory

    broken = [
        row._replace(holds=False, reason="planted") for row in theory.theory_rows(2, ["max-min"])
    ]
    monkeypatch.setattr(theory, "theory_rows", lambda *given: broken)
    page = tmp_path / "page.html"
    done = factorysim("check", "--only", "theory.max-min", "--page", page, "--quiet")
    assert (done.code, done.err) == (1, "")
    assert "no: planted" in page.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_refused_before_the_work(table, tmp_path, monkeypatch):
    from factorysim import study

    monkeypatch.setattr(study.check, "check", lambda *_, **__: pytest.fail("it ran"))
    for place in (tmp_path, tmp_path / "no" / "page.html", table):
        done = factorysim("check", "--data", table, "--page", place)
        assert (done.code, done.out) == (2, "")
        assert "expected a place to write" in done.err
    assert table.read_text(encoding="utf-8").startswith(HEAD)


def test_check_bounds_what_would_be_measured(table, tmp_path):
    """By the residuals of the catalog in use; of a device that nobody compared there are none."""
    path = tmp_path / "cpu.csv"
    path.write_text(
        HEAD + GOOD + GOOD.replace("good", "cpu").replace("H100-SXM-80GB", "EPYC 9965"),
        encoding="utf-8",
    )
    done = factorysim("check", "--data", str(path), "--json", "--workers", "1")
    rows = {row["id"]: row for row in json.loads(done.out)["rows"]}
    assert rows["good"]["low"] < rows["good"]["got"] < rows["good"]["high"]
    assert rows["good"]["class"] == "seen"
    assert (rows["cpu"]["low"], rows["cpu"]["high"]) == (None, None)


STATIC = "Llama-3.1-8B-Instruct,{},1,TP1,vLLM,bf16,static,128,16,{},tpot_ms,{},\n"
HALVES = "".join(
    f"{name}{batch},{STATIC.format(device, batch, value)}"
    for name, device, value in (("h", "H100-SXM-80GB", 7), ("a", "A100-SXM-80GB", 11))
    for batch in (1, 2, 3, 4)
)


@pytest.fixture
def halves(tmp_path):
    path = tmp_path / "halves.csv"
    path.write_text(HEAD + HALVES, encoding="utf-8")
    return path


def test_leaving_out_scores_what_no_fit_has_seen_and_writes_bands(halves, tmp_path):
    out = tmp_path / "bands.yaml"
    words = ("calibrate", "--leave-out", "generation", "--data", str(halves), "--workers", "1")
    done = factorysim(*words, "--json", "--out", str(out))
    assert done.code == 0, done.err
    told = json.loads(done.out)["classes"]
    assert told["generation"]["folds"] == ["ampere", "hopper"]
    [score] = told["generation"]["scores"]
    assert (score["quantity"], score["load"], score["rows"]) == ("tpot", "static", 8)
    assert score["banded"] == 8
    again = factorysim("check", "--data", str(halves), "--json", "--catalog", str(out),
                       "--workers", "1")  # fmt: skip
    row = next(row for row in json.loads(again.out)["rows"] if row["id"] == "a1")
    [band] = [b for b in told["generation"]["bands"] if b["load"] == "all"]
    # Four rows carry no factor; of this generation another engine was seen.
    assert row["class"] == "unseen engine"
    assert row["high"] == pytest.approx(row["got"] * band["bounds"]["high"], rel=1e-3)


def test_leaving_out_tells_errors_coverage_and_ranks_in_eighty_columns(halves):
    done = factorysim("calibrate", "--leave-out", "generation", "--data", str(halves),
                      "--workers", "1")  # fmt: skip
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert "2 folds: ampere, hopper" in text
    assert "Left out by generation" in text
    assert "of 4 pairs" in text
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--leave-out", "generation", "--only", "vllm"), "--only"),
        (("--json",), "--leave-out"),
        (("--leave-out", "device"), "device"),
    ],
)
def test_what_calibrate_cannot_do_together_is_the_users_slip(options, words):
    done = factorysim("calibrate", *options)
    assert done.code == 2
    assert words in done.err
