"""Hit rates of recorded traffic in one cache that never evicts: as counted from the ids alone.

The whole simulator serves the calls one after another, so that each finds all that
came before it. The rates are those that the reference gives for these files (FAST'25
Mooncake, Table 2 has 40 % for its whole trace; kv-cache-tester's sessions).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from factorysim.workload.inspect import summarize
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.traces import read_trace
from tests.unit.sim.builders import Listed, UnitLaw, plan, run, scenario

TRACES = Path(__file__).parents[3] / "shared" / "traces"
MOONCAKE = TRACES / "mooncake_conversation_trace.jsonl.gz"
WEKA = TRACES / "weka_claude_code"


def served(sessions):
    """Calls of the sessions, one at a time, on one replica with room for all they hold."""
    spec = scenario(
        streams={"s": {"calls": None, "trace": "recorded.jsonl"}},
        serving={"max_sequences": 1, "token_budget": 1 << 20},
    )
    law = UnitLaw(token_fs=1, decode_fs=1)
    ran = run(spec, plan(law, blocks=1 << 40), [Listed("s", sessions)], horizon_s=1e6)
    assert not ran.broken()
    assert all(call.outcome == "completed" for call in ran.calls)
    return ran.calls


def rate(calls):
    return sum(call.hit_tokens for call in calls) / sum(call.prompt_tokens for call in calls)


@pytest.mark.skipif(not MOONCAKE.exists(), reason=f"no {MOONCAKE}")
def test_mooncake_conversations_hit_37_4_percent():
    calls = served(list(read_trace(MOONCAKE)))
    assert len(calls) == 12_031
    assert rate(calls) == pytest.approx(0.374, abs=0.001)


def main_agent(session: Session) -> Session:
    """The main agent's calls of a session, one after another without a pause."""
    spans = [one["nodes"] for one in session.src["weka"].get("subagents", ())]
    apart = {place for first, end in spans for place in range(first, end)}
    calls = [
        node
        for place, node in enumerate(session.nodes)
        if isinstance(node, LlmNode) and place not in apart
    ]
    nodes = [
        replace(call, after=(place - 1,) if place else (), delay_ns=0, at_ns=None)
        for place, call in enumerate(calls)
    ]
    return replace(session, nodes=nodes)


@pytest.mark.slow
@pytest.mark.skipif(not WEKA.exists(), reason=f"no {WEKA}")
def test_claude_code_sessions_hit_96_5_percent_and_97_5_after_tools():
    recorded = [main_agent(session) for session in read_trace(WEKA)]
    asked = [session.nodes for session in recorded]
    calls = served(recorded)
    by_session: dict[int, list] = {}
    for call in sorted(calls, key=lambda call: call.call):
        by_session.setdefault(call.session, []).append(call)
    after_tools = [
        call
        for number, nodes in enumerate(asked)
        for call, node in zip(by_session[number], nodes, strict=True)
        if node.initiator == "tool"
    ]
    assert len(calls) == 10_024
    assert rate(calls) == pytest.approx(0.965, abs=0.001)
    assert rate(after_tools) == pytest.approx(0.975, abs=0.001)


@pytest.mark.slow
@pytest.mark.skipif(not WEKA.exists(), reason=f"no {WEKA}")
def test_sub_agents_find_what_their_session_has_computed():
    """All 10,466 requests, and the rate that is counted from their ids in the order of the file."""
    sessions = list(read_trace(WEKA))
    assert sum(len(session.src["weka"].get("subagents", ())) for session in sessions) == 40
    calls = served(sessions)
    assert len(calls) == 10_466
    assert rate(calls) == pytest.approx(summarize(read_trace(WEKA)).block_hit_share, abs=0.0005)
