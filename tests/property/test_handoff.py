"""Hand-offs keep the clock's promise, and every law: runs of steps against single ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.physics.speculation import Pace
from factorysim.physics.vision import Encoder
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.test_handoff import plan, shaped, simulate

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

HOWS = [
    {},
    {"overlap": "layers"},
    {"first_token_from": "decode"},
    {"overlap": "layers", "first_token_from": "decode", "local_prefill_below": 9},
]


@st.composite
def sessions(draw: DrawFn) -> list[Session]:
    """Chains of one to three calls that repeat some of what came before, many at one instant."""
    made = []
    for number in range(draw(st.integers(1, 8))):
        nodes: list[LlmNode] = []
        context = 0
        for k in range(draw(st.integers(1, 3))):
            repeated = draw(st.integers(0, context)) if k else 0
            prompt = repeated + draw(st.integers(1, 14))
            output = draw(st.integers(1, 12))
            after = (k - 1,) if k else ()
            shown = draw(st.sampled_from([0, 0, prompt - repeated]))
            nodes.append(LlmNode(prompt, output, repeated, after, image_tokens=shown))
            context = prompt + output
        made.append(Session(f"s{number}", draw(st.integers(0, 12)) * 10**6, nodes))
    return sorted(made, key=lambda one: one.at_ns)


def check(
    made: list[Session], how: dict[str, object], shape: dict[str, int], kv: dict[str, object]
):
    """Walk a workload by runs and step by step, and compare everything but the steps' rows."""
    factory = shaped(plan(**shape), encoder=Encoder(10**9, 10**10), context_tokens=45)
    serving = {"kv": kv, "token_budget": 24, "max_sequences": 6}
    runs = simulate(made, factory, how=how, horizon_s=0.2, **serving)
    single = simulate(made, factory, how=how, horizon_s=0.2, clock="stepwise", **serving)
    assert not runs["broken"]
    assert not single["broken"]
    for table in ("calls", "sessions", "handoffs", "transfers"):
        assert runs.get(table) == single.get(table), table
    # Gaps are written as the run ends that they are of: their order tells of runs.
    assert sorted(runs.get("gaps", ())) == sorted(single.get("gaps", ()))
    return runs


CASES = {
    "made": sessions(),
    "how": st.sampled_from(HOWS),
    "shape": st.fixed_dictionaries(
        {
            "prefill": st.integers(1, 2),
            "decode": st.integers(1, 2),
            "p_blocks": st.integers(40, 80),
            "d_blocks": st.integers(70, 140),
            "pace": st.sampled_from([None, Pace(5, 2, 3), Pace(13, 7, 2), Pace(1, 1, 1)]),
        }
    ),
    "kv": st.fixed_dictionaries(
        {
            "block_tokens": st.sampled_from([1, 2, 4]),
            "retain": st.sampled_from(["shared", "none"]),
        }
    ),
}


@settings(deadline=None, max_examples=60)
@given(**CASES)
def test_runs_and_single_steps_agree(made, how, shape, kv):
    check(made, how, shape, kv)


@pytest.mark.slow
@settings(deadline=None, max_examples=1500)
@given(**CASES)
def test_runs_and_single_steps_agree_at_length(made, how, shape, kv):
    check(made, how, shape, kv)


def test_the_workloads_reach_what_they_are_for():
    """Preemption of a call that was handed off, hits at the destination, local prefills."""
    nodes = [LlmNode(10, 12), LlmNode(20, 12, prefix_tokens=12, after=(0,))]
    made = [Session(f"s{k}", 0, list(nodes)) for k in range(6)]
    ran = check(made, {}, {"p_blocks": 60, "d_blocks": 60}, {"block_tokens": 1, "retain": "shared"})
    assert any(row.preemptions for row in ran["calls"])
    alone = check(made[:1], {}, {}, {"block_tokens": 1, "retain": "shared"})
    assert [row.held_tokens for row in alone["handoffs"]] == [0, 12]
