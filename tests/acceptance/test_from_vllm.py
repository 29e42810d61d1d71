"""`factorysim from-vllm`: a command line of vLLM's becomes a scenario that runs."""

import json

import pytest

from tests.acceptance.program import factorysim
from tests.unit.load.hf_configs import llama


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("vllm serve meta-llama/Llama-3.1-8B-Instruct --port 8000", ("--device", "h100_sxm")),
        ("vllm serve Qwen/Qwen3-32B -tp 4 -q fp8 --max-model-len 40k", ("--rack", "hgx_h200")),
        (
            "vllm serve deepseek-ai/DeepSeek-R1-0528 -dp 8 --enable-expert-parallel",
            ("--device", "b200_sxm"),
        ),
        (
            "vllm serve openai/gpt-oss-120b --speculative-config "
            """'{"method": "ngram", "num_speculative_tokens": 3}'""",
            ("--device", "mi355x", "--acceptance", 0.5),
        ),
        (
            "vllm serve meta-llama/Llama-3.3-70B-Instruct -tp 8 --no-enable-chunked-prefill",
            ("--device", "h100_sxm", "--replicas", 3),
        ),
    ],
)
def test_the_scenario_is_accepted(command, more, tmp_path):
    out = tmp_path / "mine.yaml"
    told = factorysim("from-vllm", command, *more, "--out", out)
    assert (told.code, told.out) == (0, ""), told.err
    checked = factorysim("validate", out)
    assert checked.code == 0, checked.err


def test_the_scenario_runs(tmp_path):
    out = tmp_path / "mine.yaml"
    command = "vllm serve meta-llama/Llama-3.1-8B-Instruct --max-num-seqs 8"
    factorysim("from-vllm", command, "--device", "h100_sxm", "--concurrency", 16, "--out", out)
    run = factorysim(
        "run", out, "--json", "--out", tmp_path / "run", "--reps", 1,
        "--set", "run.window=20 s", "--set", "run.warmup=2 s",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert json.loads(run.out)


def test_an_imported_llm_is_served(tmp_path, monkeypatch):
    from factorysim.catalog import load_catalog

    monkeypatch.chdir(tmp_path)
    config = llama(load_catalog().llm("llama_3_1_8b"))
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert factorysim(
        "catalog", "import-llm", "config.json", "--id", "my-llm", "--out", "facts.yaml"
    ).code == 0  # fmt: skip
    told = factorysim(
        "from-vllm", "vllm serve me/my-llm", "--device", "h100_sxm", "--catalog", "facts.yaml",
        "--out", "mine.yaml",
    )  # fmt: skip
    assert told.code == 0, told.err
    checked = factorysim("validate", "mine.yaml")
    assert checked.code == 0, checked.err


def test_facts_that_the_scenario_could_not_read_are_refused(tmp_path, monkeypatch):
    facts, out = tmp_path / "facts.yaml", tmp_path / "apart" / "mine.yaml"
    facts.write_text("schema: factorysim.catalog/1\n")
    out.parent.mkdir()
    command = ("from-vllm", "vllm serve Qwen/Qwen3-8B", "--device", "h100_sxm")
    told = factorysim(*command, "--catalog", facts, "--out", out)
    assert told.code == 2
    assert "put one beside the other" in told.err
    assert not out.exists()
    monkeypatch.chdir(out.parent)
    told = factorysim(*command, "--catalog", facts)
    assert told.code == 0
    assert "catalog: facts.yaml" in told.out
    assert "must lie beside it" in told.err


def test_without_a_device_the_part_is_printed(tmp_path):
    told = factorysim("from-vllm", "vllm serve Qwen/Qwen3-8B -tp 2")
    assert told.code == 0
    assert "deployments:" in told.out
    assert "topology:" not in told.out
    assert "--device or --rack makes it whole" in told.err


def test_nothing_is_written_or_run_where_something_is_wrong(tmp_path):
    out, mark = tmp_path / "mine.yaml", tmp_path / "mark"
    command = f"vllm serve Qwen/Qwen3-8B; touch {mark}"
    told = factorysim("from-vllm", command, "--device", "h100_sxm", "--out", out)
    assert told.code == 2
    assert "the shell's `;`" in told.err
    told = factorysim("from-vllm", f"vllm serve $(touch {mark})", "--out", out)
    assert told.code == 2
    told = factorysim("from-vllm", f"vllm serve `touch {mark}`", "--out", out)
    assert told.code == 2
    assert list(tmp_path.iterdir()) == []


def test_control_characters_reach_no_terminal():
    told = factorysim("from-vllm", "vllm serve '\x1b[2J'")
    assert told.code == 2
    assert "\x1b" not in told.err
