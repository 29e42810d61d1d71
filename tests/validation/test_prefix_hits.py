"""Hit rates of recorded traffic in one cache that never evicts: as counted from the ids alone.

The whole simulator serves the calls one after another, so that each finds all that
came before it. The rates are those that the reference gives for these files (FAST'25
Mooncake, Table 2 has 40 % for its whole trace; kv-cache-tester's sessions).
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from factorysim.workload.runs import runs_of_ids
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


def weka_session(path: Path) -> tuple[Session, list[bool]]:
    """Main agent's requests as a chain, and which of them bring a tool's result."""
    recorded = json.loads(gzip.decompress(path.read_bytes()))
    requests = [one for one in recorded["requests"] if one.get("type") != "subagent"]
    nodes = [
        LlmNode(
            one["in"],
            max(1, one["out"]),
            after=(place - 1,) if place else (),
            hashes=runs_of_ids(one["hash_ids"]),
            block_tokens=recorded["block_size"],
        )
        for place, one in enumerate(requests)
    ]
    tools = ["tool_result" in one["input_types"] for one in requests]
    return Session(recorded["id"], 0, nodes, hash_scope="session"), tools


@pytest.mark.slow
@pytest.mark.skipif(not WEKA.exists(), reason=f"no {WEKA}")
def test_claude_code_sessions_hit_96_5_percent_and_97_5_after_tools():
    recorded = [weka_session(path) for path in sorted(WEKA.glob("*.json.gz"))]
    calls = served([session for session, _ in recorded])
    by_session: dict[int, list] = {}
    for call in sorted(calls, key=lambda call: call.call):
        by_session.setdefault(call.session, []).append(call)
    after_tools = [
        call
        for number, (_, tools) in enumerate(recorded)
        for call, tool in zip(by_session[number], tools, strict=True)
        if tool
    ]
    assert len(calls) == 10_024
    assert rate(calls) == pytest.approx(0.965, abs=0.001)
    assert rate(after_tools) == pytest.approx(0.975, abs=0.001)
