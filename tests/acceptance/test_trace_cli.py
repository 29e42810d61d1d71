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
