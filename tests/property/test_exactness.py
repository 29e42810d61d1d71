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
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorysim.physics.speculation import Pace
from factorysim.physics.vision import Encoder
from factorysim.records import GapRow, StepChunk
from factorysim.sim.call import Call, Limits, Tuning
from factorysim.sim.clock import ARRIVAL, FS_PER_S, Clock
from factorysim.sim.schedulers import scheduler_kind
from tests.property.exactness_contents import contents, first_blocks, texts
from tests.property.exactness_laws import LinearLaw, PiecewiseLaw, WindowChunkLaw, sparse_law
from tests.property.naive_replica import (
    Drafting,
    Event,
    Interrupt,
    NaiveCall,
    NaiveLimits,
    NaiveResult,
    NaiveStep,
    NaiveTuning,
    Submission,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

    from factorysim.physics.roofline import RooflineLaw
    from factorysim.physics.step import StepLaw
    from factorysim.records import StepRow
    from factorysim.sim.call import Scheduler
    from factorysim.sim.replica import Replica
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


def limits_of(given: NaiveLimits, *, stepwise: bool = False, watched: bool = False) -> Limits:
    """The same rules as the simulator takes them."""
    return Limits(
        *given[:7],
        stepwise=stepwise,
        watched=watched,
        tuning=Tuning(*given.tuning),
        context_tokens=given.context_tokens,
        encoder=given.encoder,
        pace=pace_of(given.drafting),
    )


def play(case: Case, clock: Clock, replica: Replica, end_fs: int) -> dict[int, Call]:
    """Let what a case tells befall a replica, up to and with `end_fs`; returns its calls."""
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
            calls[event.number].image_tokens = event.images
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
    return calls


def simulate(case: Case, *, stepwise: bool, end_fs: int) -> Outcome:
    """Run a case through the simulator's own clock and replica, up to and with `end_fs`."""
    clock = Clock()
    departures: list[tuple[int, int]] = []
    limits = limits_of(case.limits, stepwise=stepwise)
    replica = scheduler_kind(limits)(
        clock,
        0,
        case.laws[0],
        limits,
        on_done=lambda call: departures.append((clock.now, call.number)),
    )
    calls = play(case, clock, replica, end_fs)
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
    if case.limits.scheduler in ("orca", "static", "trtllm"):
        assert not any(call.preemptions for call in naive.calls.values())


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
        "stall_fs": call.stall_fs,
        "first_stall_fs": call.first_stall_fs,
    }


def expected(call: NaiveCall) -> dict[str, object]:
    """What the naive loop says of it."""
    return {
        "outcome": call.outcome,
        "queued_fs": call.sub.at_fs,
        "scheduled_fs": call.scheduled_fs,
        "first_token_fs": call.emitted_fs[0] if call.emitted_fs else None,
        # The end of an answer comes with its batch, where there is one.
        "last_token_fs": call.left_fs if call.answered else (call.emitted_fs or [None])[-1],
        "hit_tokens": call.hit,
        "computed_tokens": call.computed,
        "recomputed_tokens": call.recomputed,
        "output_made": call.made,
        "preemptions": call.preemptions,
        "stall_fs": call.stall_fs,
        "first_stall_fs": call.first_stall_fs,
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
        shapes = {(len(step.decodes), step.idle or len(step.chunks)) for step in part}
        assert {(row.decodes, row.prompts)} == shapes
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
    assert (row.decodes, row.prompts) == (len(step.decodes), step.idle or len(step.chunks))
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
    assert chunked == computed + replica.padded()
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


@st.composite
def sparse_laws(draw: DrawFn, topk: int) -> RooflineLaw:
    """The roofline of sparse attention: bound by memory, or by arithmetic."""
    bandwidth = draw(st.sampled_from([1e15, 3e15, 1e16]))
    flops = draw(st.sampled_from([1e16, 1e17, 1e18]))
    compressed = topk % 4 == 0 and draw(st.booleans())
    return sparse_law(topk, bandwidth, flops, compressed=compressed)


def laws_of(window: int | None) -> st.SearchStrategy[StepLaw]:
    """Laws of one LLM: its window stays, be it sliding or of selected tokens."""
    laws = made_up_laws(window)
    return laws if window is None else st.one_of(laws, sparse_laws(window))


def made_up_laws(window: int | None) -> st.SearchStrategy[LinearLaw]:
    """Those that are sums of numbers."""
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
        images=draw(st.sampled_from([0, 0, 1, prompt])),
    )


SCHEDULERS: tuple[Scheduler, ...] = (
    "vllm", "prefill_first", "sarathi", "sglang", "orca", "static", "trtllm"
)  # fmt: skip


@st.composite
def tunings(draw: DrawFn, scheduler: Scheduler) -> NaiveTuning:
    """The keys that a scheduler reads."""
    if scheduler == "vllm":
        return NaiveTuning(prefill_every=draw(st.sampled_from([1, 1, 2, 3, 7])))
    if scheduler == "sglang":
        return NaiveTuning(
            mixed_chunk=draw(st.booleans()),
            conservativeness=draw(st.sampled_from([0.0, 0.2, 0.3, 1.0])),
            decay_steps=draw(st.sampled_from([600, 20, 2])),
        )
    if scheduler == "orca":
        return NaiveTuning(reserve=draw(st.sampled_from(["oracle", "pow2", 40, 130])))
    if scheduler == "static":
        return NaiveTuning(max_queue_delay_fs=draw(st.sampled_from([0, 0, 900, 5000, 40000])))
    return NaiveTuning()


@st.composite
def draftings(draw: DrawFn) -> Drafting:
    """Means between a token and all that is drafted, and one more; both ends among them."""
    drafts = draw(st.integers(1, 6))
    parts = draw(st.one_of(st.integers(1, 4), st.integers(1, 12), st.just(1000)))
    most = parts * (drafts + 1)
    tokens = draw(st.one_of(st.integers(parts, most), st.sampled_from([parts, most])))
    return Drafting(Fraction(tokens, parts), drafts)


@st.composite
def limits_for(
    draw: DrawFn,
    calls: Sequence[Submission],
    schedulers: Sequence[Scheduler],
    drafting: Drafting | None = None,
) -> NaiveLimits:
    """From ample KV to hardly any, and budgets down to what sequences decode or verify."""
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
    scheduler = draw(st.sampled_from(schedulers))
    spare = draw(st.sampled_from([0, 1, 2, 5, 20, 200]))
    return NaiveLimits(
        block_tokens=block_tokens,
        blocks=blocks,
        token_budget=max_sequences * (drafts + 1) + spare,
        max_sequences=max_sequences,
        scheduler=scheduler,
        order=draw(st.sampled_from(["fcfs", "priority"])),
        retain=draw(st.sampled_from(["session"] * 8 + ["none"])),
        tuning=draw(tunings(scheduler)) if drafting is None else NaiveTuning(),
        context_tokens=draw(st.sampled_from([None, None, 60, 100])),
        encoder=draw(st.sampled_from([None, Encoder(7, 40)])),
        drafting=drafting,
    )


@st.composite
def crowds(
    draw: DrawFn, schedulers: Sequence[Scheduler], drafting: Drafting | None
) -> tuple[list[Submission], NaiveLimits]:
    """Many short prompts with long outputs, more at once than the KV has room for in the end."""
    rng = draw(st.randoms(use_true_random=True))  # uniform: small numbers are not a crowd
    calls = [
        call._replace(prompt=rng.randint(1, 20), output=rng.randint(20, 90))
        for call in draw(st.lists(submissions(), min_size=7, max_size=10))
    ]
    drafts = 0 if drafting is None else drafting.draft_tokens
    limits = draw(limits_for(calls, schedulers, drafting))
    size = rng.choice([1, 2, 4, 8])
    largest = max(-(-(call.prompt + call.output + drafts) // size) for call in calls)
    places = rng.randint(4, 8)
    spare = limits.token_budget - limits.max_sequences * (drafts + 1)
    return calls, limits._replace(
        block_tokens=size,
        blocks=round(largest * rng.uniform(1.1, 2.5)),
        max_sequences=places,
        token_budget=places * (drafts + 1) + spare,
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
def cases(
    draw: DrawFn, schedulers: Sequence[Scheduler] = SCHEDULERS, *, speculate: bool = False
) -> Case:
    """A replica and events on a coarse grid of instants; some are then moved to ends of steps."""
    drafting = draw(draftings()) if speculate else None
    law_count = draw(st.sampled_from([1, 1, 2, 3]))
    window = draw(st.none() | st.integers(1, 40))
    laws = [draw(laws_of(window)) for _ in range(law_count)]
    crowded = draw(st.booleans())
    if crowded:
        calls, limits = draw(crowds(schedulers, drafting))
    else:
        fewest = draw(st.sampled_from([1, 3, 6]))
        calls = draw(st.lists(submissions(), min_size=fewest, max_size=12))
        limits = draw(limits_for(calls, schedulers, drafting))
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
    unit = draw(st.sampled_from([0, 1, 100] if crowded else [0, 1, 100, 1000, 5000, 20000]))
    now, number = 0, 0
    placed: list[Event] = []
    for event in events:
        now += unit * draw(st.sampled_from([0, 0, 1, 1, 2, 7]))
        if not crowded and draw(st.booleans()):
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


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_an_arrival_cuts_a_run_though_a_call_was_cancelled_in_line(scheduler: Scheduler) -> None:
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
@given(cases(("vllm", "prefill_first")))
def test_run_length_stepwise_and_the_naive_loop_agree(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("scheduler", SCHEDULERS[2:])
@settings(STRICT, max_examples=150)
@given(data=st.data())
def test_they_agree_for_schedulers_by_name(scheduler: Scheduler, data: st.DataObject) -> None:
    check(data.draw(cases((scheduler,))))


@st.composite
def sparse_cases(draw: DrawFn) -> Case:
    """Contexts that pass the number of selected tokens at different steps, in one batch."""
    topk = draw(st.integers(2, 40))
    laws = draw(st.lists(sparse_laws(topk), min_size=1, max_size=2))
    calls = draw(st.lists(submissions(), min_size=2, max_size=8))
    limits = draw(limits_for(calls, SCHEDULERS[:2]))
    events: list[Event] = []
    now = 0
    for number, call in enumerate(calls):
        now += draw(st.sampled_from([0, 0, 500, 7000]))
        events.append(call._replace(at_fs=now, number=number))
    if len(laws) > 1:
        events.append(Interrupt(now + draw(st.integers(0, 9000)), "change_law", 1))
    return Case(limits, laws, events)


@settings(STRICT, max_examples=150)
@given(sparse_cases())
def test_sparse_attention_is_exact_at_every_knee(case: Case) -> None:
    check(case)


def test_a_run_ends_where_a_sequence_reaches_its_selection() -> None:
    """Alone, from 3 tokens on with 9 selected: five steps grow by a token, then none does."""
    law = sparse_law(9, 1e15, 1e18, compressed=False)
    limits = NaiveLimits(16, 100, token_budget=64, max_sequences=2)
    case = Case(limits, [law], [Submission(0, 0, 0, prompt=3, output=20)])
    check(case)
    rows = simulate(case, stepwise=False, end_fs=10**9).rows
    assert [row.steps for row in rows] == [1, 6, 13]
    growth = [row.slope_fs for row in rows[1:]]
    assert growth[0] - growth[1] == law.window_fs > 0
    assert growth[1] == law.slope_fs > 0


@settings(STRICT, max_examples=400)
@given(cases(SCHEDULERS[:2], speculate=True))
def test_they_agree_where_decodes_speculate(case: Case) -> None:
    check(case)


@pytest.mark.slow
@settings(STRICT, max_examples=4000)
@given(cases(SCHEDULERS[:2], speculate=True))
def test_they_agree_on_thousands_of_workloads_that_speculate(case: Case) -> None:
    check(case)


@pytest.mark.slow
@settings(STRICT, max_examples=4000)
@given(cases())
def test_they_agree_on_thousands_of_workloads(case: Case) -> None:
    check(case)
