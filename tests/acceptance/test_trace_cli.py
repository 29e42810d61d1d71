"""`factorysim trace`, as a user types it."""

import json

import pytest
from typer.testing import CliRunner

from factorysim.cli.trace import app
from factorysim.errors import SpecError, TraceError
from factorysim.resources import resource_root

QUICKSTART = str(resource_root("scenarios") / "traces" / "quickstart.jsonl.gz")


def run(*args: str):
    return CliRunner().invoke(app, list(args))


def test_inspect_tells_what_a_trace_holds():
    text = run("inspect", QUICKSTART).stdout
    assert "mooncake" in text
    assert "sessions_per_s" in text
    told = json.loads(run("inspect", QUICKSTART, "--json").stdout)
    assert told["format"] == "mooncake"
    assert told["llm_calls"] == told["sessions"] > 500
    assert told["tool_calls"] == 0
    assert 0.5 < told["block_hit_share"] < 0.8
    assert set(told["prompt_tokens"]["quantiles"]) == {"p10", "p50", "p90", "p99"}


def test_generate_writes_the_same_trace_for_the_same_seed(tmp_path):
    a, b, c = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    for out, seed in [(a, "3"), (b, "3"), (c, "4")]:
        done = run("generate", str(out), "--duration", "1 min", "--rate", "2 /s", "--seed", seed)
        assert done.exit_code == 0
    assert a.read_bytes() == b.read_bytes() != c.read_bytes()


def test_convert_goes_to_fstrace_and_back(tmp_path):
    middle, back, again = tmp_path / "m.jsonl.gz", tmp_path / "b.jsonl", tmp_path / "a.jsonl"
    assert run("convert", QUICKSTART, str(middle)).exit_code == 0
    assert json.loads(run("inspect", str(middle), "--json").stdout)["format"] == "fstrace"
    assert run("convert", str(middle), str(back), "--to", "mooncake").exit_code == 0
    assert run("convert", QUICKSTART, str(again), "--to", "mooncake").exit_code == 0
    assert back.read_bytes() == again.read_bytes()


def weka_folder(tmp_path):
    """Two sessions of a coding agent: a prompt, and a tool's result that lengthens it."""
    folder = tmp_path / "weka"
    folder.mkdir()
    for name in ("a", "b"):
        first = {"t": 0, "in": 640, "out": 20, "hash_ids": list(range(10)), "api_time": 1}
        then = {"t": 4.5, "in": 1280, "out": 20, "hash_ids": list(range(20)), "think_time": 3.5}
        rows = [first | {"input_types": ["text"]}, then | {"input_types": ["tool_result"]}]
        told = {"id": name, "block_size": 64, "hash_id_scope": "local", "requests": rows}
        (folder / f"{name}.json").write_text(json.dumps(told))
    return folder


def test_a_folder_of_weka_sessions_is_inspected_and_converted(tmp_path):
    folder, out = weka_folder(tmp_path), tmp_path / "one.jsonl.gz"
    told = json.loads(run("inspect", str(folder), "--json").stdout)
    assert told["format"] == "weka"
    assert (told["sessions"], told["llm_calls"], told["tool_calls"]) == (2, 4, 2)
    assert told["block_hit_share"] == pytest.approx(1280 / 3840), "each session has ids of its own"
    assert run("convert", str(folder), str(out)).exit_code == 0
    again = json.loads(run("inspect", str(out), "--json").stdout)
    assert again | {"file": "", "format": ""} == told | {"file": "", "format": ""}


def test_a_scenario_replays_a_folder_of_weka_sessions(tmp_path):
    from tests.acceptance.program import changed, factorysim

    weka_folder(tmp_path)
    arrivals = "arrivals: {process: poisson, rate: 0.5 /s}"
    text = changed("calls: {prompt_tokens: {mean: 1}, output_tokens: {mean: 1}}", "trace: weka")
    text = changed(arrivals, "arrivals: {process: poisson, rate: 1 /s}", text)
    text = changed("kind: steady_state", "kind: terminating", text)
    text = changed("max_sequences: 1, token_budget: 16", "token_budget: 4096", text)
    text = changed("warmup: 20 s, ", "", text)
    (tmp_path / "s.yaml").write_text(text)
    assert factorysim("validate", tmp_path / "s.yaml").code == 0
    done = factorysim("run", tmp_path / "s.yaml", "--json", "--out", tmp_path / "r")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["calls.completed"]["value"] == 4
    assert told["kv.hit_rate"]["value"] == pytest.approx(1280 / 3840)
    inputs = json.loads((tmp_path / "r" / "manifest.json").read_text())["inputs"]
    assert [one["path"][-6:] for one in inputs] == ["a.json", "b.json"]
    (tmp_path / "weka" / "a.json").write_text('{"block_size": 64, "requests": []}')
    bad = factorysim("run", tmp_path / "s.yaml", "--out", tmp_path / "r")
    assert bad.code == 2
    assert "a.json:1" in bad.err


def test_bad_traces_and_options_are_the_user_s_errors(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("junk\n")
    assert isinstance(run("inspect", str(bad)).exception, TraceError)
    assert isinstance(run("convert", str(bad), str(tmp_path / "o")).exception, TraceError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl"]
    done = run("generate", str(tmp_path / "o"), "--rate", "fast")
    assert isinstance(done.exception, SpecError)
    assert "--rate" in str(done.exception)


@pytest.mark.parametrize("command", ["inspect", "generate", "convert"])
def test_every_command_explains_itself(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.stdout
