"""The clock keeps its promise: runs of steps, single steps and the naive loop agree.

Bit for bit: instants, tokens, preemptions, hits and the order in which calls
leave; every row of steps, expanded, is the list of steps that the naive loop
walked. Workloads are generated with ties on purpose: many events at one
instant, and at the instants (or one femtosecond beside) at which steps end; and
with contents that collide (`exactness_contents`).
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorysim.physics.speculation import Pace
from factorysim.records import GapRow, StepChunk
from factorysim.sim.call import Call, Limits
from factorysim.sim.clock import ARRIVAL, FS_PER_S, Clock
from factorysim.sim.replica import Replica
from tests.property.exactness_contents import contents, first_blocks, texts
from tests.property.exactness_laws import LinearLaw, PiecewiseLaw, WindowChunkLaw
from tests.property.naive_replica import (
    Drafting,
    Event,
    Interrupt,
    NaiveCall,
    NaiveLimits,
    NaiveResult,
    NaiveStep,
    Submission,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

    from factorysim.physics.step import StepLaw
    from factorysim.records import StepRow
    from tests.property.exactness_contents import Runs


class Case(NamedTuple):
    """A replica and what befalls it."""

    limits: NaiveLimits
    laws: Sequence[StepLaw]
    events: Sequence[Event]


class Outcome(NamedTuple):
    """What the simulator made of a case."""

    replica: Replica
    calls: dict[int, Call]
    departures: list[tuple[int, int]]
    rows: list[StepRow]
    gaps: list[GapRow]


def simulate(case: Case, *, stepwise: bool, end_fs: int) -> Outcome:
    """Run a case through the simulator's own clock and replica, up to and with `end_fs`."""
    clock = Clock()
    departures: list[tuple[int, int]] = []
    replica = Replica(
        clock,
        0,
        case.laws[0],
        Limits(*case.limits[:-1], stepwise=stepwise, pace=pace_of(case.limits.drafting)),
        on_done=lambda call: departures.append((clock.now, call.number)),
    )
    calls: dict[int, Call] = {}

    def happen(event: Event) -> None:
        if isinstance(event, Submission):
            calls[event.number] = Call(
                number=event.number,
                session=event.session,
                prompt_tokens=event.prompt,
                output_tokens=event.output,
                content=event.content,
                priority=event.priority,
                u=event.u,
            )
            replica.submit(calls[event.number])
        elif event.kind == "cancel":
            if event.argument in calls:
                replica.cancel(calls[event.argument])
        elif event.kind == "change_law":
            replica.change_law(case.laws[event.argument])
        elif event.kind == "fail":
            replica.fail()
        else:
            replica.repair()

    for index, event in enumerate(case.events):
        clock.at(event.at_fs, ARRIVAL + index, happen, event)
    clock.run_until(end_fs + 1)
    rows = list(StepChunk.of(replica.rows, replica.limits.pace))
    gaps = [GapRow(*row) for row in replica.gaps]
    return Outcome(replica, calls, departures, rows, gaps)


# What must agree


def check(case: Case) -> None:
    """Hold both clocks to the naive loop."""
    naive = serve(*case)
    end_fs = max([case.events[-1].at_fs, *(instant for instant, _ in naive.departures)])
    for stepwise in (False, True):
        outcome = simulate(case, stepwise=stepwise, end_fs=end_fs)
        assert outcome.departures == naive.departures
        for number, call in naive.calls.items():
            assert seen(outcome.calls[number]) == expected(call), number
        check_rows(outcome.rows, naive.steps, stepwise=stepwise)
        assert_gaps(outcome, naive)
        check_conservation(case, outcome, naive)


def seen(call: Call) -> dict[str, object]:
    """What the simulator says of a call."""
    return {
        "outcome": call.outcome,
        "queued_fs": call.queued_fs,
        "scheduled_fs": call.scheduled_fs,
        "first_token_fs": call.first_token_fs,
        "last_token_fs": call.last_token_fs,
        "hit_tokens": call.hit_tokens,
        "computed_tokens": call.computed_tokens,
        "recomputed_tokens": call.recomputed_tokens,
        "output_made": call.output_made,
        "preemptions": call.preemptions,
    }


def expected(call: NaiveCall) -> dict[str, object]:
    """What the naive loop says of it."""
    return {
        "outcome": call.outcome,
        "queued_fs": call.sub.at_fs,
        "scheduled_fs": call.scheduled_fs,
        "first_token_fs": call.emitted_fs[0] if call.emitted_fs else None,
        "last_token_fs": call.emitted_fs[-1] if call.emitted_fs else None,
        "hit_tokens": call.hit,
        "computed_tokens": call.computed,
        "recomputed_tokens": call.recomputed,
        "output_made": call.made,
        "preemptions": call.preemptions,
    }


def check_rows(rows: Sequence[StepRow], steps: Sequence[NaiveStep], *, stepwise: bool) -> None:
    """Expand each row of steps and compare it with the steps walked one by one."""
    assert sum(row.steps for row in rows) == len(steps)
    first = 0
    for row in rows:
        part = steps[first : first + row.steps]
        first += row.steps
        assert row.kv_blocks == part[0].held_blocks
        if part[0].cut_fs is not None:
            check_lost(row, part[0])
            continue
        assert all(step.cut_fs is None for step in part)
        assert row.steps == 1 or not stepwise
        assert in_fs(row.started_s) == part[0].started_fs
        assert in_fs(row.finished_s) == part[-1].started_fs + part[-1].duration_fs
        assert [row.step_fs + k * row.slope_fs for k in range(row.steps)] == [
            step.duration_fs for step in part
        ]
        assert {(row.decodes, row.prompts)} == {(len(s.decodes), len(s.chunks)) for s in part}
        for name in ("prompt", "context", "window", "pair", "prior"):
            field = f"{name}_tokens"
            assert getattr(row, field) == float(sum(getattr(step, field) for step in part)), field
        assert row.emitted_tokens == sum(step.emitted for step in part)
        assert row.accepted_tokens == sum(step.accepted for step in part)
        assert row.waiting == part[0].waiting


def in_fs(seconds: float) -> int:
    """Femtoseconds of a record's float seconds, exact for the short times of these tests."""
    return round(seconds * FS_PER_S)


def check_lost(row: StepRow, step: NaiveStep) -> None:
    """A step cut by a failure has taken time and made nothing."""
    assert step.cut_fs is not None
    assert (row.steps, row.step_fs) == (1, step.cut_fs - step.started_fs)
    assert (row.decodes, row.prompts) == (len(step.decodes), len(step.chunks))
    assert (in_fs(row.started_s), in_fs(row.finished_s)) == (step.started_fs, step.cut_fs)
    assert row[8:15] == (0,) * 7
    assert row.accepted_tokens == 0


def assert_gaps(outcome: Outcome, naive: NaiveResult) -> None:
    """The gaps between tokens that rows of steps and of gaps stand for are the real ones."""
    told: Counter[int] = Counter()
    for row in outcome.rows:
        ordinary = row.decodes - row.survivors - row.apart
        told[row.step_fs] += ordinary
        told[row.step_fs + row.stall_fs] += row.survivors
        for step in range(1, row.steps):
            told[row.step_fs + step * row.slope_fs] += row.decodes
        told[0] += row.accepted_tokens
    told.update(in_fs(gap.gap_s) for gap in outcome.gaps)
    real: Counter[int] = Counter()
    for call in naive.calls.values():
        real.update(b - a for a, b in zip(call.emitted_fs, call.emitted_fs[1:], strict=False))
    assert +told == +real


def check_conservation(case: Case, outcome: Outcome, naive: NaiveResult) -> None:
    """Blocks and tokens: none lost, none made."""
    replica, ledger = outcome.replica, outcome.replica.ledger
    assert replica.steps == sum(step.cut_fs is None for step in naive.steps)
    assert replica.busy_fs == sum(
        step.duration_fs if step.cut_fs is None else step.cut_fs - step.started_fs
        for step in naive.steps
    )
    assert not replica.running
    assert replica.waiting == 0
    left = (naive.free_blocks, naive.cached_blocks, 0)
    assert (ledger.free, ledger.evictable, ledger.held) == left
    assert ledger.free + ledger.evictable == case.limits.blocks
    check_drafts(case, outcome)
    calls = outcome.calls.values()
    assert len(outcome.departures) == len(calls)
    for call in calls:
        if call.outcome == "completed":
            assert call.hit_tokens + call.computed_tokens == call.prompt_tokens
            assert call.output_made == call.output_tokens
    chunked = sum(row.prompt_tokens for row in outcome.rows)
    computed = sum(call.computed_tokens + call.recomputed_tokens for call in calls)
    assert chunked == computed
    assert sum(row.emitted_tokens for row in outcome.rows) == sum(c.output_made for c in calls)
    assert sum(row.recomputed_tokens for row in outcome.rows) == sum(
        call.recomputed_tokens for call in calls
    )


def check_drafts(case: Case, outcome: Outcome) -> None:
    """What steps say of drafts and what calls say adds up."""
    drafts, drafting = outcome.replica.drafts(), case.limits.drafting
    assert (drafts is None) == (drafting is None)
    if drafts is None or drafting is None:
        return
    verifies = sum(row.steps * row.decodes for row in outcome.rows if row.emitted_tokens)
    accepted = sum(row.accepted_tokens for row in outcome.rows)
    assert drafts.drafted == verifies * drafting.draft_tokens
    assert drafts.drafted == accepted + drafts.rejected + drafts.wasted


def pace_of(drafting: Drafting | None) -> Pace | None:
    """The simulator's word for it."""
    if drafting is None:
        return None
    mean, drafts = drafting
    return Pace(mean.numerator, mean.denominator, drafts)


# Cases


@st.composite
def linear_laws(draw: DrawFn, window: int | None) -> LinearLaw:
    """Small integers, zeros among them."""
    return LinearLaw(
        per_step=draw(st.sampled_from([1, 100, 1000])),
        per_decode=draw(st.integers(0, 9)),
        per_prompt_token=draw(st.integers(0, 9)),
        per_prompt=draw(st.integers(0, 9)),
        per_emitting=draw(st.integers(0, 9)),
        fixed=draw(st.integers(0, 9)),
        slope=draw(st.integers(0, 9)),
        window=window,
        window_fs=0 if window is None else draw(st.integers(0, 9)),
        chunk_fs=draw(st.integers(0, 5)),
        prior_fs=draw(st.integers(0, 5)),
        pair_fs=draw(st.integers(0, 2)),
        drawn_fs=draw(st.sampled_from([0, 0, 777])),
    )


@st.composite
def window_chunk_laws(draw: DrawFn, window: int | None) -> WindowChunkLaw:
    """Chunks whose time is not linear in what is cached."""
    return WindowChunkLaw(**vars(draw(linear_laws(window))))


@st.composite
def piecewise_laws(draw: DrawFn, window: int | None) -> PiecewiseLaw:
    """Knots anywhere that contexts reach, neighbours and jumps down among them."""
    linear = draw(linear_laws(window))
    knots = sorted(draw(st.sets(st.integers(1, 250), max_size=6)))
    pieces = draw(
        st.lists(
            st.tuples(st.integers(0, 500), st.integers(0, 9)),
            min_size=len(knots) + 1,
            max_size=len(knots) + 1,
        )
    )
    moves = draw(st.integers(0, 20))
    values = {"knots": tuple(knots), "pieces": tuple(pieces), "knots_per_decode": moves}
    return PiecewiseLaw(**(vars(linear) | values))


def laws_of(window: int | None) -> st.SearchStrategy[StepLaw]:
    """Laws of one LLM: its sliding window stays, whatever becomes of the rest."""
    return st.one_of(linear_laws(window), window_chunk_laws(window), piecewise_laws(window))


@st.composite
def submissions(draw: DrawFn) -> Submission:
    """A call; its instant, number and content are set later."""
    prompt = draw(st.one_of(st.integers(1, 6), st.integers(1, 70), st.integers(20, 70)))
    output = draw(st.one_of(st.integers(1, 4), st.integers(1, 60)))
    return Submission(
        at_fs=0,
        number=0,
        session=draw(st.integers(0, 3)),
        prompt=prompt,
        output=output,
        priority=draw(st.integers(-1, 1)),
        u=draw(st.sampled_from([0.1, 0.5, 0.9])),
    )


@st.composite
def draftings(draw: DrawFn) -> Drafting:
    """Means between a token and all that is drafted, and one more; both ends among them."""
    drafts = draw(st.integers(1, 6))
    parts = draw(st.one_of(st.integers(1, 4), st.integers(1, 12), st.just(1000)))
    most = parts * (drafts + 1)
    tokens = draw(st.one_of(st.integers(parts, most), st.sampled_from([parts, most])))
    return Drafting(Fraction(tokens, parts), drafts)


@st.composite
def limits_for(draw: DrawFn, calls: Sequence[Submission], drafting: Drafting | None) -> NaiveLimits:
    """From ample KV to hardly any, and budgets down to what sequences verify."""
    drafts = 0 if drafting is None else drafting.draft_tokens
    block_tokens = draw(st.one_of(st.integers(1, 4), st.integers(1, 8), st.integers(1, 32)))
    sizes = [-(-(call.prompt + call.output - 1 + drafts) // block_tokens) for call in calls]
    largest, total = max(sizes, default=1), sum(sizes)
    blocks = draw(
        st.one_of(
            st.integers(largest, largest + 2),
            st.integers(largest, largest + 8),
            st.integers(max(1, largest - 1), largest + total // 3 + 1),
            st.just(total + 2),
        )
    )
    max_sequences = draw(st.integers(1, 8))
    spare = draw(st.sampled_from([0, 1, 2, 5, 20, 200]))
    return NaiveLimits(
        block_tokens=block_tokens,
        blocks=blocks,
        token_budget=max_sequences * (drafts + 1) + spare,
        max_sequences=max_sequences,
        scheduler=draw(st.sampled_from(["vllm", "prefill_first"])),
        order=draw(st.sampled_from(["fcfs", "priority"])),
        retain=draw(st.sampled_from(["session"] * 8 + ["none"])),
        drafting=drafting,
    )


@st.composite
def interrupts(draw: DrawFn, calls: int, law_count: int) -> Interrupt:
    """Mostly cancels, changes of law, and failures that are mended."""
    kind = draw(st.sampled_from(["cancel", "cancel", "change_law", "fail", "repair", "repair"]))
    if kind == "cancel":
        return Interrupt(0, "cancel", draw(st.integers(0, max(0, calls - 1))))
    if kind == "change_law":
        return Interrupt(0, "change_law", draw(st.integers(0, law_count - 1)))
    return Interrupt(0, kind)


@st.composite
def cases(draw: DrawFn, *, speculate: bool = False) -> Case:
    """A replica and events on a coarse grid of instants; some are then moved to ends of steps."""
    drafting = draw(draftings()) if speculate else None
    law_count = draw(st.sampled_from([1, 1, 2, 3]))
    window = draw(st.none() | st.integers(1, 40))
    laws = [draw(laws_of(window)) for _ in range(law_count)]
    fewest = draw(st.sampled_from([1, 3, 6]))
    calls = draw(st.lists(submissions(), min_size=fewest, max_size=12))
    limits = draw(limits_for(calls, drafting))
    told = draw(texts())
    calls = [
        call._replace(content=draw(contents(told, call.prompt, call.output, limits.block_tokens)))
        for call in calls
    ]
    others = draw(
        st.one_of(
            st.just([]),
            st.lists(interrupts(len(calls), law_count), max_size=5),
        )
    )
    events: list[Event] = draw(st.permutations([*calls, *others]))
    unit = draw(st.sampled_from([0, 1, 100, 1000, 5000, 20000]))
    now, number = 0, 0
    placed: list[Event] = []
    for event in events:
        now += unit * draw(st.sampled_from([0, 0, 1, 1, 2, 7]))
        if draw(st.booleans()):
            now = end_of_a_step(draw, Case(limits, laws, placed), now)
        moved = event._replace(at_fs=now)
        if isinstance(moved, Submission):
            moved = moved._replace(number=number)
            number += 1
        placed.append(moved)
    placed += questions(draw(st.permutations(told)), limits, now + 10**8, number)
    return Case(limits, laws, placed)


def questions(
    told: Sequence[Runs], limits: NaiveLimits, at_fs: int, number: int
) -> list[Submission]:
    """A call for each text when all others have left: its hit tells what is still cached."""
    size = limits.block_tokens
    blocks = min(limits.blocks, 60)
    return [
        Submission(at_fs, number + index, 0, blocks * size, 1, first_blocks(runs, blocks))
        for index, runs in enumerate(told)
    ]


def end_of_a_step(draw: DrawFn, so_far: Case, now: int) -> int:
    """An instant, not before `now`, at which a step ends given what has happened so far."""
    steps = serve(*so_far, checked=False).steps
    ends = [step.started_fs + step.duration_fs for step in steps if step.cut_fs is None]
    later = [end for end in ends if end > now]
    if not later:
        return now
    beside = draw(st.sampled_from([0, 0, 0, -1, 1]))
    return later[draw(st.integers(0, min(len(later) - 1, 30)))] + beside


STRICT = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("scheduler", ["vllm", "prefill_first"])
def test_an_arrival_cuts_a_run_though_a_call_was_cancelled_in_line(
    scheduler: Literal["vllm", "prefill_first"],
) -> None:
    """Two at a time. 3 is cancelled behind 2; 4 comes in 0's long run and need not wait."""
    limits = NaiveLimits(16, 1000, token_budget=64, max_sequences=2, scheduler=scheduler)
    events = [
        Submission(0, 0, 0, prompt=1, output=50),
        *[Submission(0, number, number, prompt=1, output=1) for number in (1, 2, 3)],
        Interrupt(50, "cancel", 3),
        Submission(30000, 4, 4, prompt=1, output=1),
    ]
    check(Case(limits, [LinearLaw()], events))


@settings(STRICT, max_examples=400)
@given(cases())
def test_run_length_stepwise_and_the_naive_loop_agree(case: Case) -> None:
    check(case)


@settings(STRICT, max_examples=400)
@given(cases(speculate=True))
def test_they_agree_where_decodes_speculate(case: Case) -> None:
    check(case)


@pytest.mark.slow
@settings(STRICT, max_examples=4000)
@given(cases(speculate=True))
def test_they_agree_on_thousands_of_workloads_that_speculate(case: Case) -> None:
    check(case)


@pytest.mark.slow
@settings(STRICT, max_examples=4000)
@given(cases())
def test_they_agree_on_thousands_of_workloads(case: Case) -> None:
    check(case)
