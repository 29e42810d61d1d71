"""Recorded sessions in each mode of replay: both clocks agree, and starts are what it says."""

from copy import copy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.workload.replay import replayed
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from factorysim.workload.traces import read_trace
from tests.unit.sim.builders import MS, Listed, UnitLaw, plan, run, scenario

MODES = ("open", "closed", "think_only")
WEKA = Path(__file__).resolve().parents[3] / "shared" / "traces" / "weka_claude_code"
NS_MS = 10**6
DELAYS = st.sampled_from([0, 0, NS_MS, 50 * NS_MS])
STARTS = st.none() | st.integers(0, 2_000).map(lambda ms: ms * NS_MS)


@st.composite
def recorded(draw):
    """A session whose nodes wait for some of those before them, or start at an instant."""
    nodes = []
    for index in range(draw(st.integers(1, 8))):
        after = tuple(draw(st.sets(st.integers(0, index - 1), max_size=2))) if index else ()
        after = tuple(sorted(after))
        at_ns, delay_ns = draw(STARTS), draw(DELAYS)
        kind = draw(st.sampled_from(["llm", "llm", "tool", "gap"])) if index else "llm"
        match kind:
            case "llm":
                prompt = draw(st.integers(1, 300))
                node = LlmNode(prompt, draw(st.integers(1, 20)), draw(st.integers(0, prompt)))
                node.after, node.delay_ns, node.at_ns = after, delay_ns, at_ns
            case "tool":
                cpu_s, remote_ns = draw(st.sampled_from([0.0, 0.125])), draw(DELAYS)
                node = ToolNode("t", cpu_s=cpu_s, remote_ns=remote_ns)
                node.after, node.delay_ns, node.at_ns = after, delay_ns, at_ns
            case _:
                node = GapNode(delay_ns, draw(st.sampled_from(["user", "client"])), after)
        nodes.append(node)
    # The first call that waits has a start, so that the trace can be replayed open.
    for node in nodes:
        if isinstance(node, LlmNode) and node.after and node.at_ns is None:
            node.at_ns = 7 * NS_MS
            break
    return nodes


def in_mode(drawn, mode):
    sessions = [
        Session(f"x{i}", i * 10 * NS_MS, [copy(n) for n in nodes]) for i, nodes in enumerate(drawn)
    ]
    waits = any(node.after for nodes in drawn for node in nodes)
    refused = not waits and mode != "open"
    return list(replayed(iter(sessions), None if refused else mode, Path("t")))


def rows(sessions, clock, *, horizon_s=100.0, blocks=200):
    ran = run(
        scenario(run={"clock": clock}, serving={"max_sequences": 4}),
        plan(UnitLaw(token_fs=MS // 10), replicas=2, blocks=blocks, hosts=1),
        [Listed("s", [Session(s.sid, s.at_ns, [copy(n) for n in s.nodes]) for s in sessions])],
        horizon_s=horizon_s,
    )
    assert not ran.broken()
    return ran.calls, ran.tools, ran.sessions


@settings(max_examples=40, deadline=None)
@given(st.lists(recorded(), min_size=1, max_size=5), st.sampled_from(MODES))
def test_both_clocks_give_the_same_rows_in_every_mode(drawn, mode):
    sessions = in_mode(drawn, mode)
    run_length, stepwise = (rows(sessions, clock) for clock in ("run_length", "stepwise"))
    assert run_length == stepwise
    calls = sum(isinstance(node, LlmNode) for one in sessions for node in one.nodes)
    assert len(run_length[0]) == calls


@settings(max_examples=40, deadline=None)
@given(recorded(), st.sampled_from([MS // 10, MS]))
def test_calls_with_a_start_begin_then_in_open_replay_whatever_the_factory(nodes, token_fs):
    [session] = in_mode([nodes], "open")
    starts = sorted(
        (session.at_ns + node.at_ns) / 1e9
        for node in session.nodes
        if isinstance(node, LlmNode) and not node.after and node.at_ns is not None
    )
    ran = run(scenario(), plan(UnitLaw(token_fs=token_fs), hosts=1), [Listed("s", [session])])
    seen = sorted(row.arrived_s for row in ran.calls)
    for start in starts:
        assert any(abs(start - other) < 1e-12 for other in seen)


@pytest.mark.skipif(not WEKA.exists(), reason=f"{WEKA} is not here")
@pytest.mark.parametrize("mode", MODES)
def test_both_clocks_replay_recorded_coding_sessions_alike(mode):
    """One session has sub-agents, which in `open` start when they did."""
    sessions = []
    for name in ("trace_0277", "trace_0016"):
        path = WEKA / f"{name}.json.gz"
        sessions += replayed(read_trace(path), mode, path)
    assert any(one.src["weka"].get("subagents") for one in sessions)
    assert sum(isinstance(node, LlmNode) for one in sessions for node in one.nodes) == 65
    law = UnitLaw(token_fs=10**9, decode_fs=10**12)
    outcomes = []
    for clock in ("run_length", "stepwise"):
        ran = run(
            scenario(run={"clock": clock}, serving={"token_budget": 65_536}),
            plan(law, replicas=2, blocks=200_000, hosts=1),
            [Listed("s", [copy(one) for one in sessions])],
            horizon_s=1e7,
        )
        assert not ran.broken()
        outcomes.append((ran.calls, ran.sessions, ran.tools))
    assert outcomes[0] == outcomes[1]
    assert {row.outcome for row in outcomes[0][1]} == {"completed"}
