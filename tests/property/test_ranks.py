"""Attention-DP keeps the clock's promise: runs, single steps and the naive loop agree, bit for bit.

Cases are those of `test_exactness`, served by one to four ranks: with laws whose lines cross
in the middle of runs, caches that thrash, cancels, failures, both schedulers and orders.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.records import GapRow, StepChunk
from factorysim.sim.call import Call
from factorysim.sim.clock import Clock
from factorysim.sim.ranks import RankedReplica, parts_of
from tests.property.exactness_laws import LinearLaw, PiecewiseLaw, WindowChunkLaw
from tests.property.naive_ranks import RankedResult, serve_ranked
from tests.property.naive_replica import Interrupt, NaiveLimits, NaiveTuning, Submission
from tests.property.test_exactness import (
    SCHEDULERS,
    STRICT,
    Case,
    cases,
    expected,
    in_fs,
    limits_of,
    made_up_laws,
    play,
    seen,
)

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from factorysim.records import StepRow


@dataclass(frozen=True)
class LinearRanks(LinearLaw):
    """A rank pays for its own counts, and for the tokens of all."""

    ranks: int = 2
    per_shared_token: int = 0

    def rank_base(
        self, decodes: int, prompt_tokens: int, prompts: int, emitting: int, tokens: int
    ) -> int:
        own = self.base(decodes, prompt_tokens, prompts, emitting)
        return own + self.per_shared_token * tokens


@dataclass(frozen=True)
class PiecewiseRanks(LinearRanks, PiecewiseLaw):
    """Pieces between knots."""


@dataclass(frozen=True)
class WindowRanks(LinearRanks, WindowChunkLaw):
    """Chunks that are not linear in what came before."""


class Outcome(NamedTuple):
    """What the simulator made of a case."""

    replica: RankedReplica
    calls: dict[int, Call]
    departures: list[tuple[int, int]]
    rows: list[StepRow]
    gaps: list[GapRow]


def ranked(law: LinearLaw, ranks: int, per_shared_token: int) -> LinearRanks:
    kind = LinearRanks
    if isinstance(law, PiecewiseLaw):
        kind = PiecewiseRanks
    elif isinstance(law, WindowChunkLaw):
        kind = WindowRanks
    return kind(**vars(law), ranks=ranks, per_shared_token=per_shared_token)


@st.composite
def ranked_cases(draw: DrawFn) -> Case:
    case = draw(cases(SCHEDULERS[:2]))
    case = case._replace(limits=case.limits._replace(tuning=NaiveTuning()))
    ranks = draw(st.integers(1, 4))
    shared = draw(st.sampled_from([0, 0, 3]))
    laws = [draw(made_up_laws(case.laws[0].window)) for _ in case.laws]
    return case._replace(laws=[ranked(law, ranks, shared) for law in laws])


@st.composite
def crossing_cases(draw: DrawFn) -> Case:
    """Few long contexts on some ranks, many short ones on others, which grow faster."""
    slope = draw(st.integers(1, 9))
    law = LinearRanks(
        per_step=draw(st.sampled_from([1, 100, 1000])),
        per_decode=draw(st.sampled_from([0, 0, 1])),
        per_emitting=0,
        fixed=draw(st.integers(0, 9)),
        slope=slope,
        ranks=draw(st.integers(2, 4)),
        per_shared_token=draw(st.sampled_from([0, 3])),
    )
    # At once, so that they go around the ranks; those that only fill a round leave at once.
    living = [draw(st.integers(0, 3)) for _ in range(law.ranks)]
    events: list[Submission | Interrupt] = []
    for round_ in range(max(living)):
        for lives in living:
            prompt, output = 1, 1
            if round_ < lives:
                prompt = draw(st.integers(1, 40 if lives > 1 else 160))
                output = draw(st.integers(40, 150))
            events.append(Submission(0, len(events), 0, prompt, output))
    later = draw(st.sampled_from([0, 3000, 40000]))
    events.append(Submission(later, len(events), 0, 5, 20))
    blocks = draw(st.sampled_from([300, 80]))
    return Case(NaiveLimits(4, blocks, 4000, 16), [law], events)


def simulate(case: Case, *, stepwise: bool, end_fs: int) -> Outcome:
    """Run a case through an engine of ranks, up to and with `end_fs`."""
    clock = Clock()
    departures: list[tuple[int, int]] = []
    law = case.laws[0]
    limits = limits_of(case.limits, stepwise=stepwise)
    replica = RankedReplica(
        clock,
        0,
        law,
        limits._replace(blocks=limits.blocks * law.ranks),
        on_done=lambda call: departures.append((clock.now, call.number)),
    )
    calls = play(case, clock, replica, end_fs)
    rows = list(StepChunk.of(replica.rows))
    return Outcome(replica, calls, departures, rows, [GapRow(*row) for row in replica.gaps])


def check(case: Case, *, checked: bool = True) -> None:
    """Hold both clocks to the naive loop."""
    naive = serve_ranked(*case, checked=checked)
    end_fs = max([case.events[-1].at_fs, *(instant for instant, _ in naive.departures)])
    for stepwise in (False, True):
        outcome = simulate(case, stepwise=stepwise, end_fs=end_fs)
        assert outcome.departures == naive.departures
        for number, call in naive.calls.items():
            assert seen(outcome.calls[number]) == expected(call), number
        check_rows(outcome, naive)
        check_gaps(outcome, naive)
        check_caches(outcome, naive)


def check_rows(outcome: Outcome, naive: RankedResult) -> None:
    """Each row of steps, expanded, is what the ranks did together."""
    steps = naive.steps
    assert sum(row.steps for row in outcome.rows) == len(steps)
    assert outcome.replica.steps == sum(step.cut_fs is None for step in steps)
    first = 0
    for row in outcome.rows:
        part = steps[first : first + row.steps]
        first += row.steps
        assert row.kv_blocks == sum(rank.held_blocks for rank in part[0].ranks), (
            "held after the first step was scheduled"
        )
        if part[0].cut_fs is not None:
            assert (row.steps, row.step_fs) == (1, part[0].cut_fs - part[0].started_fs)
            assert row.emitted_tokens == row.prompt_tokens == 0
            continue
        assert in_fs(row.started_s) == part[0].started_fs
        assert in_fs(row.finished_s) == part[-1].started_fs + part[-1].duration_fs
        assert [row.step_fs + k * row.slope_fs for k in range(row.steps)] == [
            step.duration_fs for step in part
        ]
        ranks = [rank for step in part for rank in step.ranks]
        assert row.decodes == sum(len(rank.decodes) for rank in part[0].ranks)
        assert row.prompts == sum(len(rank.chunks) for rank in part[0].ranks)
        for name in ("prompt", "context", "window", "pair", "prior"):
            field = f"{name}_tokens"
            assert getattr(row, field) == sum(getattr(rank, field) for rank in ranks), field
        assert row.emitted_tokens == sum(rank.emitting for rank in ranks)
        assert row.waiting == sum(rank.waiting for rank in part[0].ranks)


def check_gaps(outcome: Outcome, naive: RankedResult) -> None:
    """The gaps between tokens that rows stand for are the real ones."""
    told: Counter[int] = Counter()
    for row in outcome.rows:
        told[row.step_fs] += row.decodes - row.survivors - row.apart
        told[row.step_fs + row.stall_fs] += row.survivors
        for step in range(1, row.steps):
            told[row.step_fs + step * row.slope_fs] += row.decodes
    told.update(in_fs(gap.gap_s) for gap in outcome.gaps)
    real: Counter[int] = Counter()
    for call in naive.calls.values():
        real.update(b - a for a, b in zip(call.emitted_fs, call.emitted_fs[1:], strict=False))
    assert +told == +real


def check_caches(outcome: Outcome, naive: RankedResult) -> None:
    """Nothing is held at the end, and each rank caches what the naive one does."""
    parts = parts_of(outcome.replica)
    for rank, reference in zip(parts, naive.ranks, strict=True):
        assert not rank.running
        assert rank.waiting == 0
        ledger = rank.ledger
        assert (ledger.free, ledger.evictable) == (
            reference.owners.count(None),
            reference.evictable(),
        )
    assert sum(row.emitted_tokens for row in outcome.rows) == sum(
        call.output_made for call in outcome.calls.values()
    )


def test_a_run_ends_where_another_rank_becomes_the_longest() -> None:
    """One call of 100 tokens on rank 0, two of 10 on rank 1, 3 fs a token of context.

    All prompts are computed in one step. Then rank 0 takes 3 (101 + k), rank 1
    3 (22 + 2 k): they are equal at k = 79, and from k = 80 on rank 1 is longer.
    """
    law = LinearRanks(per_decode=0, per_emitting=0, ranks=2)
    limits = NaiveLimits(16, 1000, 4000, 16)
    events = [
        Submission(0, 0, 0, prompt=100, output=201),
        Submission(0, 1, 0, prompt=10, output=201),
        Submission(0, 2, 0, prompt=1, output=1),
        Submission(0, 3, 0, prompt=10, output=201),
    ]
    check(Case(limits, [law], events))
    rows = simulate(Case(limits, [law], events), stepwise=False, end_fs=10**9).rows
    assert [row.steps for row in rows] == [1, 80, 120]
    assert [row.slope_fs for row in rows[1:]] == [3, 6]
    assert rows[1].step_fs == 1000 + 3 * 101
    assert rows[2].step_fs == 1000 + 3 * (22 + 2 * 80)


@settings(STRICT, max_examples=60)
@given(crossing_cases())
def test_they_agree_where_ranks_overtake_each_other(case: Case) -> None:
    check(case, checked=False)  # long, and without anything that the other cases lack


@settings(STRICT, max_examples=150)
@given(ranked_cases())
def test_runs_single_steps_and_the_naive_ranks_agree(case: Case) -> None:
    check(case)


@pytest.mark.slow
@settings(STRICT, max_examples=3000)
@given(ranked_cases())
def test_they_agree_on_thousands_of_workloads(case: Case) -> None:
    check(case)
