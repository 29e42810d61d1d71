"""Gateway, turns and lengths where long prompts are computed apart from their tokens."""

from __future__ import annotations

from typing import Any

import pytest

from factorysim.graph.plan import FactoryPlan
from factorysim.sim.factory import run_replication
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import Listed, Ran, Rows, scenario
from tests.unit.sim.test_handoff import plan

ABOVE = 40
ADMISSION = {
    "token_bucket": {"rate": "1500 tok/s", "burst": 150},
    "queue_limit": {"calls": 4, "per": "router"},
    "retry": {"attempts": 4, "backoff": "20 ms"},
}


def fleet() -> FactoryPlan:
    """Two replicas for short prompts; for long ones a prefill and a decode replica."""
    apart = plan(prefill=1, decode=3)
    decode, prefill = apart.serve
    short = decode._replace(
        name="short", role="serve", kv_state=None, replicas=decode.replicas[1:], kv_blocks=500
    )
    long = decode._replace(replicas=decode.replicas[:1], prompts_above=ABOVE)
    return apart._replace(serve=(short, long, prefill._replace(prompts_above=ABOVE)))


def served(clock: str, horizon_s: float, **serving: Any) -> Ran:
    spec = scenario(
        streams={"a": {"tenant": "t"}, "b": {}},
        serving={"kv": {"block_tokens": 1}, "max_sequences": 2, **serving},
        run={"clock": clock},
    )
    lists = []
    for stream, prompts in (("a", (10, 40, 41)), ("b", (80, 20))):
        sessions = []
        for i in range(24):
            prompt = prompts[i % len(prompts)]
            nodes = [LlmNode(prompt, 3), LlmNode(prompt + 30, 4, prompt + 3, after=(0,))]
            sessions.append(Session(f"{stream}{i}", i * 9_000_000, nodes))
        lists.append(Listed(stream, sessions))
    sink = Rows()
    closing = run_replication(
        spec, fleet(), lists, replication=0, horizon_s=horizon_s, arrivals_end_s=horizon_s,
        sink=sink,
    )  # fmt: skip
    tables = sink.tables
    return Ran(closing, tables["sessions"], tables["calls"], tables["tools"], tables["steps"])


@pytest.mark.parametrize("horizon_s", [0.07, 0.2, 60.0])
@pytest.mark.parametrize(
    "router",
    [
        {"policy": "least_outstanding"},
        {"policy": "power_of_two"},
        {"policy": "shared_queue", "share": {"weights": {"t": 2}}},
    ],
    ids=lambda router: router["policy"],
)
@pytest.mark.parametrize("admission", [None, ADMISSION], ids=["open", "gated"])
def test_every_law_holds_and_both_clocks_agree(admission, router, horizon_s):
    ran = [
        served(clock, horizon_s, admission=admission, router=router)
        for clock in ("run_length", "stepwise")
    ]
    assert ran[0].broken() == []
    assert ran[0].calls == ran[1].calls
    assert ran[0].sessions == ran[1].sessions
    for call in ran[0].calls:
        expected = "d" if call.prompt_tokens > ABOVE else "short"
        assert call.deployment == expected
    if admission is not None and horizon_s > 1:
        assert max(call.attempts for call in ran[0].calls) > 1
        assert {call.outcome for call in ran[0].calls} >= {"completed", "rejected"}
