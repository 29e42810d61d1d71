"""What holds of every format: told by its rows, kept by fstrace/1, replayed with a clean audit."""

import pytest

from factorysim.run import simulate
from factorysim.spec.scenario import ScenarioSpec
from factorysim.workload.detect import detect
from factorysim.workload.formats import FORMATS
from factorysim.workload.fswrite import write_fstrace
from factorysim.workload.session import GapNode, LlmNode, ToolNode
from factorysim.workload.traces import read_trace, trace_meta
from tests.unit.run.builders import mm1
from tests.unit.workload.readers.samples import SAMPLES


@pytest.fixture(params=SAMPLES)
def named(request, tmp_path):
    """A format, and a file of it under a name that tells nothing."""
    path = tmp_path / "trace.bin"
    path.write_text(SAMPLES[request.param].text)
    return request.param, path


def count(sessions, kind):
    return sum(isinstance(node, kind) for session in sessions for node in session.nodes)


def test_it_is_told_by_its_rows(named):
    name, path = named
    told = detect(path)
    assert told.format == name
    assert any("experimental" in note for note in told.notes) == (
        FORMATS[name].status == "experimental"
    )


def test_nothing_is_lost_or_invented(named):
    name, path = named
    sample = SAMPLES[name]
    sessions = list(read_trace(path))
    kinds = (LlmNode, ToolNode, GapNode)
    found = (len(sessions), *(count(sessions, kind) for kind in kinds))
    assert found == (sample.sessions, sample.calls, sample.tools, sample.gaps)
    assert sessions[0].at_ns == 0 or name in ("aiperf", "llmservingsim")
    assert [session.at_ns for session in sessions] == sorted(s.at_ns for s in sessions)
    assert bool(count(sessions, ToolNode)) <= FORMATS[name].tools
    hashed = any(n.hashes for s in sessions for n in s.nodes if isinstance(n, LlmNode))
    assert hashed == ("hashes" in FORMATS[name].prefixes)


def test_fstrace_keeps_all_of_it(named, tmp_path):
    name, path = named
    middle, again = tmp_path / "m.jsonl.gz", tmp_path / "a.jsonl.gz"
    sessions = list(read_trace(path))
    write_fstrace(middle, sessions, trace_meta(path, name))
    back = list(read_trace(middle, "fstrace"))
    assert back == sessions
    write_fstrace(again, back, trace_meta(middle, "fstrace"))
    assert list(read_trace(again, "fstrace")) == sessions


def scenario(path, name: str) -> ScenarioSpec:
    """One GPU with a fixed law, and the trace with its own arrivals."""
    plan = mm1().model_dump(by_alias=True, exclude_unset=True)
    plan["streams"] = {"t": {"llm": "any", "trace": str(path), "format": name}}
    plan["deployments"]["queue"]["law"] = {
        "kind": "fixed",
        "prompt": {"kind": "deterministic", "mean": "100 ms"},
    }
    plan["serving"] |= {"token_budget": 4096, "max_sequences": 8}
    run = {"kind": "terminating", "window": "2000 s", "drain": "0 s", "replications": 1}
    return ScenarioSpec.model_validate(plan | {"run": run | {"seed": 1}})


def test_it_replays_with_a_clean_audit(named, tmp_path):
    name, path = named
    done = simulate(scenario(path, name), out=tmp_path / "run", workers=1)
    assert all(done.audit.values())
    sample = SAMPLES[name]
    values = {key: metric.value for key, metric in done.summary.items()}
    assert values["sessions.completed"] == sample.sessions
    assert values["calls.completed"] == sample.calls
