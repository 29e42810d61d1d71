"""`factorysim trace fit`, as a user types it: a file, a comparison, a stream that uses it."""

import json

from factorysim.resources import resource_root
from tests.acceptance.program import SMALL, factorysim

QUICKSTART = resource_root("scenarios") / "traces" / "quickstart.jsonl.gz"


def test_a_trace_becomes_a_twin_that_a_scenario_draws_from(tmp_path):
    twin = tmp_path / "twin.yaml"
    done = factorysim("trace", "fit", QUICKSTART, twin)
    assert done.code == 0, done.err
    assert "joined by the blocks they repeat" in done.out
    assert "first prompt, tokens" in done.out
    assert max(map(len, done.out.splitlines()[1:])) <= 80
    assert factorysim("validate", twin).out.endswith("ok (twin)\n")
    calls = "calls: {prompt_tokens: {mean: 1}, output_tokens: {mean: 1}}"
    scenario = tmp_path / "s.yaml"
    wide = "serving: {max_sequences: 8, token_budget: 200000}"
    small = "serving: {max_sequences: 1, token_budget: 16}"
    scenario.write_text(SMALL.replace(calls, "agent: twin.yaml").replace(small, wide))
    run = factorysim("run", scenario, "--out", tmp_path / "run", "--json")
    assert run.code == 0, run.err
    assert json.loads(run.out)["calls.completed"]["value"] > 0


def test_inspect_holds_a_twin_against_its_trace(tmp_path):
    twin = tmp_path / "twin.yaml"
    fitted = factorysim("trace", "fit", QUICKSTART, twin).out
    told = factorysim("trace", "inspect", QUICKSTART, "--twin", twin)
    assert told.code == 0, told.err
    assert fitted.split("\n", 1)[1] in told.out
    data = json.loads(factorysim("trace", "inspect", QUICKSTART, "--twin", twin, "--json").out)
    assert {"source", "twin", "distance", "noise"} <= set(data["twin"]["quantities"][0])
    other = tmp_path / "agent.yaml"
    other.write_text("schema: factorysim.agent/1\n")
    assert factorysim("trace", "inspect", QUICKSTART, "--twin", other).code == 2


def test_sessions_of_an_agent_and_of_a_twin_are_written_as_a_trace(tmp_path):
    twin, out = tmp_path / "twin.yaml", tmp_path / "out.jsonl.zst"
    factorysim("trace", "fit", QUICKSTART, twin)
    for agent in ("customer_service", twin):
        done = factorysim("trace", "generate", out, "--agent", agent, "--duration", "5 min")
        assert done.code == 0, done.err
        told = json.loads(factorysim("trace", "inspect", out, "--json").out)
        assert told["format"] == "fstrace"
        assert told["sessions"] > 50
    assert factorysim("trace", "generate", out, "--agent", "nobody").code == 2


def test_bad_options_are_told(tmp_path):
    few = tmp_path / "few.jsonl"
    row = '{"timestamp": 0, "input_length": 600, "output_length": 8, "hash_ids": [0, 1]}\n'
    few.write_text(row * 3)
    done = factorysim("trace", "fit", few, tmp_path / "twin.yaml")
    assert done.code == 2
    assert "at least 10" in done.err
    assert not (tmp_path / "twin.yaml").exists()
