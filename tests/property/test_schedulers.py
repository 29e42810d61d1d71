"""What must hold between schedulers: a call alone is served alike by all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tests.property.exactness_laws import LinearLaw
from tests.property.naive_replica import NaiveLimits, Submission
from tests.property.test_exactness import SCHEDULERS, STRICT, Case, laws_of, simulate

if TYPE_CHECKING:
    from factorysim.physics.step import StepLaw


@STRICT
@given(
    st.none().flatmap(laws_of),
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=5),
    st.integers(1, 16),
)
def test_one_call_at_a_time_takes_as_long_with_all_of_them(
    law: StepLaw, sizes: list[tuple[int, int]], block_tokens: int
) -> None:
    """Prompts within the budget, and nobody to wait for, to share with or to hold up."""
    apart = 10**7
    events = [
        Submission(number * apart, number, number, prompt, output)
        for number, (prompt, output) in enumerate(sizes)
    ]
    told = []
    for scheduler in SCHEDULERS:
        limits = NaiveLimits(block_tokens, 200, 60, 4, scheduler)
        made = simulate(Case(limits, [law], events), stepwise=False, end_fs=len(sizes) * apart)
        told.append(
            [(c.scheduled_fs, c.first_token_fs, c.last_token_fs) for c in made.calls.values()]
        )
        assert all(call.outcome == "completed" for call in made.calls.values())
    assert told == [told[0]] * len(SCHEDULERS)


@STRICT
@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(1, 40)), min_size=2, max_size=12),
    st.integers(0, 3000),
    st.integers(9, 40),
)
def test_no_gap_under_sarathi_is_longer_than_a_full_step(
    sizes: list[tuple[int, int]], apart: int, budget: int
) -> None:
    """Stall-free: with KV for all, what others bring costs a decode one step of the budget."""
    law = LinearLaw(slope=0, prior_fs=0, pair_fs=0)
    events = [
        Submission(number * apart, number, number, prompt, output)
        for number, (prompt, output) in enumerate(sizes)
    ]
    limits = NaiveLimits(4, 2000, budget, 8, "sarathi")
    made = simulate(Case(limits, [law], events), stepwise=False, end_fs=10**9)
    most = law.base(8, budget, 8, 8) + law.chunk(budget, 0) + 8 * law.chunk(1, 0)
    assert all(row.step_fs <= most and not row.stall_fs for row in made.rows)
    assert not made.gaps
