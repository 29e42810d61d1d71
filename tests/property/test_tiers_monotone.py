"""Tiers of more room, or of more bandwidth, never make things worse: for calls one at a time.

A larger store under `lru` holds all that a smaller one holds (the stack property)
as long as both are told of the same uses in the same order. That is so with
`fetch: always` and calls that do not overlap: what is in HBM does then not depend on
whether blocks were loaded or computed. With `cheaper`, with TTLs, or where calls
overlap, a larger store may decide otherwise or later, and it need not hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.workload.runs import runs_of
from tests.property.exactness_contents import first_blocks, texts
from tests.property.exactness_laws import LinearLaw
from tests.property.naive_replica import NaiveLimits, Submission
from tests.property.naive_tiers import NaiveTier, NaiveTierRules
from tests.property.test_exactness import STRICT, Case
from tests.property.test_tiers_exactness import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

FAR_APART = 10**9
"""Femtoseconds between calls: each finds the replica idle, and all that was sent landed."""
LAW = LinearLaw(per_prompt_token=50, chunk_fs=3, prior_fs=1)


@st.composite
def lone_calls(draw: DrawFn) -> Case:
    """Calls that return to a few texts, one at a time, in an HBM that holds few of them."""
    told = draw(texts())
    block_tokens = draw(st.integers(1, 4))
    calls = []
    for number in range(draw(st.integers(3, 15))):
        prompt, output = draw(st.integers(1, 40)), draw(st.integers(1, 10))
        blocks = (prompt + output) // block_tokens
        content = runs_of(first_blocks(draw(st.sampled_from(told)), blocks))
        calls.append(Submission(number * FAR_APART, number, 0, prompt, output, content))
    largest = max(-(-(call.prompt + call.output - 1) // block_tokens) for call in calls)
    blocks = largest + draw(st.sampled_from([0, 1, 4, 10]))
    return Case(NaiveLimits(block_tokens, blocks, 64, 4), [LAW], calls)


def served(
    case: Case, tiers: Sequence[NaiveTier], fetch: str, batch: int = 1
) -> tuple[list[int], list[int]]:
    """Hit tokens and duration of each call."""
    rules = NaiveTierRules(tuple(tiers), "evict", fetch, None, batch)  # type: ignore[arg-type]
    end_fs = len(case.events) * FAR_APART
    calls = simulate(case, rules, stepwise=False, end_fs=end_fs).outcome.calls
    hits, times = [], []
    for call in calls.values():
        assert call.last_token_fs is not None
        assert call.queued_fs is not None
        hits.append(call.hit_tokens)
        times.append(call.last_token_fs - call.queued_fs)
    return hits, times


@settings(STRICT, max_examples=150)
@given(lone_calls(), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))
def test_a_bigger_tier_never_lowers_a_hit(case: Case, small: int, more: int, batch: int) -> None:
    sizes = (small, small + more)
    hits = [served(case, [NaiveTier(size, 5, 1, 1)], "always", batch)[0] for size in sizes]
    assert all(one <= other for one, other in zip(*hits, strict=True))


@settings(STRICT, max_examples=100)
@given(lone_calls(), st.integers(1, 20), st.integers(1, 60))
def test_one_more_tier_never_lowers_a_hit(case: Case, first: int, second: int) -> None:
    one = NaiveTier(first, 5, 1, 1)
    alone = served(case, [one], "always")[0]
    both = served(case, [one, NaiveTier(second, 9, 2, 2)], "always")[0]
    assert all(some <= more for some, more in zip(alone, both, strict=True))


@settings(STRICT, max_examples=150)
@given(
    lone_calls(),
    st.integers(1, 60),
    st.sampled_from([1, 20, 90, 400]),
    st.sampled_from([2, 5]),
)
def test_more_bandwidth_never_slows_a_call(
    case: Case, size: int, fetch_fs: int, times: int
) -> None:
    fast = served(case, [NaiveTier(size, 5, 1, fetch_fs)], "always")
    slow = served(case, [NaiveTier(size, 5, 1, fetch_fs * times)], "always")
    assert fast[0] == slow[0]
    assert all(one <= other for one, other in zip(fast[1], slow[1], strict=True))


@settings(STRICT, max_examples=150)
@given(lone_calls(), st.sampled_from([1, 20, 60, 400]), st.integers(1, 60))
def test_cheaper_is_never_slower_than_to_compute(case: Case, fetch_fs: int, size: int) -> None:
    """An idle replica and an idle road: estimates are what happens, for each call by itself."""
    tier = NaiveTier(size, 5, 1, fetch_fs)
    cheaper, never = (served(case, [tier], fetch)[1] for fetch in ("cheaper", "never"))
    assert all(one <= other for one, other in zip(cheaper, never, strict=True))
