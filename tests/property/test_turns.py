"""Turns of tenants: the bound of start-time fair queueing, whatever comes when.

Goyal, Vin, Cheng, SIGCOMM 1996, theorem 1: over any time in which two have something
waiting, the work let go of each over its weight differs by at most their largest calls
over their weights, added up.
"""

from __future__ import annotations

from fractions import Fraction
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.sim.turns import Turns
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import MS, Listed, UnitLaw, calls, plan, run, scenario

if TYPE_CHECKING:
    from tests.unit.sim.builders import Ran

WEIGHTS = {"a": 1, "b": 3, "c": 7}
CALLS = st.tuples(st.sampled_from("abc"), st.sampled_from([1, 1, 3, 20]))
OPS = st.lists(
    st.tuples(CALLS | st.none(), st.integers(1, 12)),  # None: let the next go
    max_size=14,
).map(lambda bursts: [op for op, times in bursts for _ in range(times)])


@settings(max_examples=300, deadline=None)
@given(OPS)
def test_no_two_that_wait_drift_further_apart_than_a_call_each(ops):
    turns = Turns({"b": 3, "c": 7})
    queue: list[tuple[int, int, str, int]] = []
    waiting = {name: [] for name in WEIGHTS}
    history = []
    for number, op in enumerate(ops):
        gone = None
        if op is not None:
            tenant, tokens = op
            heappush(queue, (turns.tag(tenant, tokens), number, tenant, tokens))
            waiting[tenant].append(number)
        elif queue:
            tag, first, tenant, tokens = heappop(queue)
            assert waiting[tenant].pop(0) == first  # each in its own order
            turns.let_go(tag)
            gone = tenant, tokens
        history.append((gone, {name for name, listed in waiting.items() if listed}))
    largest = {
        name: max((op[1] for op in ops if op is not None and op[0] == name), default=0)
        for name in WEIGHTS
    }
    for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
        bound = Fraction(largest[one], WEIGHTS[one]) + Fraction(largest[other], WEIGHTS[other])
        for start in range(len(history)):
            work = dict.fromkeys(WEIGHTS, 0)
            for gone, present in history[start:]:
                # Who had its last call let go was waiting until then.
                if gone is not None:
                    work[gone[0]] += gone[1]
                left = present | ({gone[0]} if gone is not None else set())
                if not {one, other} <= left:
                    break
                drift = Fraction(work[one], WEIGHTS[one]) - Fraction(work[other], WEIGHTS[other])
                assert abs(drift) <= bound
                if not {one, other} <= present:
                    break


def crowded(share: dict[str, Any] | None, clock: str = "run_length") -> Ran:
    """One replica, a tenant with many calls at once and one with few that come later."""
    router = {"policy": "shared_queue"} | ({} if share is None else {"share": share})
    spec = scenario(
        streams={"many": {"tenant": "big"}, "few": {"tenant": "small"}},
        serving={"max_sequences": 1, "router": router},
        run={"clock": clock},
    )
    crowd = calls([0] * 40, prompt=20, output=5)
    later = calls([30 + i * 2 for i in range(8)], prompt=20, output=5, prefix="d")
    return run(spec, plan(UnitLaw()), [Listed("many", crowd), Listed("few", later)])


def ends(ran: Ran, stream: str) -> list[float]:
    return sorted(call.finished_s for call in ran.calls if call.stream == stream)


def test_who_has_few_calls_does_not_wait_for_all_of_who_has_many():
    alone, fair = crowded(None), crowded({})
    assert not fair.broken()
    assert ends(alone, "few")[0] > ends(alone, "many")[-1]
    # Of 24 ms each in turn: the eight are through after about sixteen.
    assert ends(fair, "few")[-1] < ends(fair, "many")[0] + 0.024 * 19
    assert ends(fair, "many")[-1] == pytest.approx(ends(alone, "few")[-1])


@pytest.mark.parametrize("weight", [1, 3])
def test_weights_are_shares_of_tokens(weight):
    fair = crowded({"weights": {"small": weight}})
    last = ends(fair, "few")[-1]
    meanwhile = sum(end <= last for end in ends(fair, "many")) - 2  # one went before any waited
    assert meanwhile == pytest.approx(8 / weight, abs=1.5)


def test_both_clocks_take_the_same_turns():
    share = {"per": "stream", "weights": {"few": 2}}
    a, b = crowded(share), crowded(share, "stepwise")
    assert (a.calls, a.sessions) == (b.calls, b.sessions)


def test_turns_are_taken_by_tokens_not_by_calls():
    spec = scenario(
        streams={"long": {}, "short": {}},
        serving={"max_sequences": 1, "router": {"policy": "shared_queue", "share": {}}},
    )
    long = [Session(f"l{i}", 0, [LlmNode(39, 1)]) for i in range(10)]
    short = [Session(f"s{i}", 0, [LlmNode(9, 1)]) for i in range(40)]
    ran = run(spec, plan(UnitLaw(token_fs=MS)), [Listed("long", long), Listed("short", short)])
    half = 0.4
    done = {n: sum(c.prompt_tokens for c in ran.calls if c.stream == n and c.finished_s <= half)
            for n in ("long", "short")}  # fmt: skip
    assert done["long"] == pytest.approx(done["short"], abs=2 * 40)
