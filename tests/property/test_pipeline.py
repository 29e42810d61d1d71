"""A pipeline's instants are those of the max-plus table, with micro-batches formed naively.

Cases are those of `test_exactness`, on one to four stages: prompts in chunks, caches
that thrash, cancels, failures, both schedulers and orders.
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
from factorysim.sim.pipeline import PipelineReplica
from tests.property.exactness_laws import LinearLaw
from tests.property.naive_pipeline import PipelineResult, serve_pipeline
from tests.property.naive_replica import NaiveTuning
from tests.property.test_exactness import (
    SCHEDULERS,
    STRICT,
    Case,
    cases,
    expected,
    in_fs,
    laws_of,
    limits_of,
    play,
    seen,
)

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from factorysim.physics.step import StepLaw
    from factorysim.records import StepRow


@dataclass(frozen=True)
class Staged(LinearLaw):
    """Stages of any laws, and hops that grow with tokens."""

    stages: tuple[StepLaw, ...] = ()
    hop_fixed_fs: int = 0
    hop_per_token: int = 0
    hop_token_bytes: float = 0.0

    def hop_fs(self, tokens: int, share: float) -> int:
        return self.hop_fixed_fs + self.hop_per_token * tokens


class Outcome(NamedTuple):
    """What the simulator made of a case."""

    replica: PipelineReplica
    calls: dict[int, Call]
    departures: list[tuple[int, int]]
    rows: list[StepRow]
    gaps: list[GapRow]


@st.composite
def staged_cases(draw: DrawFn) -> Case:
    case = draw(cases(SCHEDULERS[:2]))
    case = case._replace(limits=case.limits._replace(tuning=NaiveTuning(), encoder=None))
    window = case.laws[0].window
    stages = draw(st.integers(1, 4))
    laws = [
        Staged(
            window=window,
            stages=tuple(draw(laws_of(window)) for _ in range(stages)),
            hop_fixed_fs=draw(st.sampled_from([0, 0, 50, 3000])),
            hop_per_token=draw(st.integers(0, 5)),
        )
        for _ in case.laws
    ]
    return case._replace(laws=laws)


def simulate(case: Case, end_fs: int) -> Outcome:
    """Run a case through a pipeline, up to and with `end_fs`."""
    clock = Clock()
    departures: list[tuple[int, int]] = []
    replica = PipelineReplica(
        clock,
        0,
        case.laws[0],
        limits_of(case.limits),
        on_done=lambda call: departures.append((clock.now, call.number)),
    )
    calls = play(case, clock, replica, end_fs)
    rows = list(StepChunk.of(replica.rows))
    return Outcome(replica, calls, departures, rows, [GapRow(*row) for row in replica.gaps])


def check(case: Case) -> None:
    """Hold the simulator to the table."""
    naive = serve_pipeline(*case)
    end_fs = max([case.events[-1].at_fs, *(instant for instant, _ in naive.departures)])
    outcome = simulate(case, end_fs)
    assert outcome.departures == naive.departures
    for number, call in naive.calls.items():
        assert seen(outcome.calls[number]) == expected(call), number
    check_rows(outcome, naive)
    check_gaps(outcome, naive)
    assert not outcome.replica.running
    ledger = outcome.replica.ledger
    assert (ledger.free, ledger.evictable) == (naive.free_blocks, naive.cached_blocks)


def check_rows(outcome: Outcome, naive: PipelineResult) -> None:
    """Rows end when their steps do, and are as long as their stages work on average."""
    rows = iter(outcome.rows)
    busy = 0
    for step in naive.ended:
        until = step.landed_fs if step.lost_fs is None else step.lost_fs
        spans = zip(step.starts_fs, step.ends_fs, strict=True)
        mean = sum(max(0, min(end, until) - start) for start, end in spans) // len(step.ends_fs)
        busy += mean
        if step.lost_fs is not None:
            if mean:
                row = next(rows)
                assert (row.step_fs, in_fs(row.finished_s)) == (mean, until)
                assert row.emitted_tokens == row.prompt_tokens == 0
            continue
        row, work = next(rows), step.work
        assert in_fs(row.finished_s) == until == step.ends_fs[-1]
        assert (row.step_fs, in_fs(row.started_s)) == (mean, until - mean)
        assert (row.decodes, row.prompts) == (len(work.decodes), len(work.chunks))
        assert (row.emitted_tokens, row.waiting) == (work.emitting, work.waiting)
        assert row.kv_blocks == work.held_blocks
        for name in ("prompt", "context", "window", "pair", "prior"):
            assert getattr(row, f"{name}_tokens") == getattr(work, f"{name}_tokens"), name
    assert next(rows, None) is None
    assert outcome.replica.busy_fs == busy
    assert outcome.replica.steps == sum(step.lost_fs is None for step in naive.ended)


def check_gaps(outcome: Outcome, naive: PipelineResult) -> None:
    """The gaps between tokens that rows stand for are the real ones."""
    told: Counter[int] = Counter()
    for row in outcome.rows:
        if row.emitted_tokens:
            told[row.step_fs] += row.decodes - row.survivors - row.apart
            told[row.step_fs + row.stall_fs] += row.survivors
    told.update(in_fs(gap.gap_s) for gap in outcome.gaps)
    real: Counter[int] = Counter()
    for call in naive.calls.values():
        real.update(b - a for a, b in zip(call.emitted_fs, call.emitted_fs[1:], strict=False))
    assert +told == +real


@settings(STRICT, max_examples=150)
@given(staged_cases())
def test_a_pipeline_is_its_max_plus_table(case: Case) -> None:
    check(case)


@pytest.mark.slow
@settings(STRICT, max_examples=3000)
@given(staged_cases())
def test_it_is_on_thousands_of_workloads(case: Case) -> None:
    check(case)
