"""Tiers of fixed rates keep the clock's promise: runs, single steps and a naive loop agree.

As in `test_exactness`, with stores of every size below HBM, writes and reads that land
at the instants at which steps end, tools that begin, and times to live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.records import GapRow, StepChunk
from factorysim.sim.call import Call
from factorysim.sim.clock import ARRIVAL, TRANSFER, Clock
from factorysim.sim.costs import StepCosts
from factorysim.sim.replica import Replica
from factorysim.sim.shelf import Shelf
from factorysim.sim.tier_log import Log
from factorysim.sim.tiers import ReplicaTiers, Rules, TieredLedger
from factorysim.workload.runs import ids_of, runs_of
from tests.property.exactness_contents import ENDLESS, first_blocks, texts
from tests.property.naive_replica import NaiveLimits, Submission, serve
from tests.property.naive_tiers import NaiveTier, NaiveTiered, NaiveTierRules, ToolBegins
from tests.property.test_exactness import (
    STRICT,
    Case,
    Outcome,
    assert_gaps,
    check_conservation,
    check_rows,
    expected,
    interrupts,
    laws_of,
    limits_of,
    seen,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hypothesis.strategies import DrawFn

    from tests.property.naive_replica import Event, Path


class FixedRoad:
    """A latency and a time a block, both ways, for all that comes."""

    def __init__(self, clock: Clock, tiers: Sequence[NaiveTier]) -> None:
        self._clock = clock
        self._tiers = tiers
        self._sent = 0

    def carry(
        self,
        lanes: Sequence[tuple[int, int]],
        size_bytes: int,
        kind: str,
        landed: Callable[[], None],
    ) -> None:
        verb, level = kind.split("_")
        tier = self._tiers[int(level)]
        each = tier.store_fs if verb == "store" else tier.fetch_fs
        due_fs = self._clock.now_fs + tier.latency_fs + each * size_bytes
        self._clock.at(due_fs, TRANSFER + self._sent, lambda _: landed())
        self._sent += 1

    def estimate_fs(self, lanes: Sequence[tuple[int, int]], size_bytes: int, kind: str) -> int:
        [(level, _)] = lanes
        tier = self._tiers[level]
        return tier.latency_fs + tier.fetch_fs * size_bytes


class Tiered(NamedTuple):
    """What a replica with tiers made of a case."""

    outcome: Outcome
    shelves: list[Shelf]
    log: Log


def simulate(case: Case, rules: NaiveTierRules, *, stepwise: bool, end_fs: int) -> Tiered:
    """Run a case through the simulator's own clock, replica and stores."""
    clock, log = Clock(), Log(block_tokens=case.limits.block_tokens)
    road = FixedRoad(clock, rules.tiers)
    shelves: list[Shelf] = []
    for level in range(len(rules.tiers) - 1, -1, -1):
        shelf = Shelf(
            clock,
            log,
            road,
            len(shelves),
            str(level),
            rules.tiers[level].blocks,
            (level,),
            1.0,
            below=shelves[0] if shelves else None,
            ttl_fs=rules.ttl_fs,
        )
        shelves.insert(0, shelf)
    limits = limits_of(case.limits, stepwise=stepwise, watched=True)
    tiers = ReplicaTiers(
        clock,
        log,
        road,
        Rules(rules.offload, rules.fetch, limits.token_budget),
        TieredLedger(limits.blocks, limits.block_tokens, rules.batch),
        StepCosts(case.laws[0]),
        shelves,
        (0,),
        [(level,) for level in range(len(shelves))],
        1.0,
    )
    departures: list[tuple[int, int]] = []
    replica = Replica(
        clock,
        0,
        case.laws[0],
        limits,
        on_done=lambda call: departures.append((clock.now, call.number)),
        tiers=tiers,
    )
    calls: dict[int, Call] = {}

    def happen(event: object) -> None:
        if isinstance(event, Submission):
            number, session, content = event.number, event.session, event.content
            calls[number] = call = Call(
                number, session, event.prompt, event.output, content=content, u=event.u
            )
            call.priority = event.priority
            replica.submit(call)
        elif isinstance(event, ToolBegins):
            begun = calls.get(event.number)
            if begun is not None and begun.outcome == "completed":
                known = begun.prompt_tokens + begun.output_tokens - 1
                tiers.tool_begins(begun.content, known // limits.block_tokens)
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
    rows = list(StepChunk.of(replica.rows))
    gaps = [GapRow(*row) for row in replica.gaps]
    assert not tiers.fetching
    assert tiers.started_blocks == tiers.landed_blocks + tiers.lost_blocks
    return Tiered(Outcome(replica, calls, departures, rows, gaps), shelves, log)


def blocks_by_age(shelf: Shelf) -> list[tuple[Path, bool]]:
    """Every block of a store by its path, least recently used first, and whether it is there."""
    told: list[tuple[Path, bool]] = []
    for piece in shelf.pieces():
        runs, first = piece.line
        before = tuple(ids_of(runs))
        told += [
            ((*before, *range(first, first + high)), piece.landed)
            for high in range(piece.high, piece.low, -1)
        ]
    return told


def check(case: Case, rules: NaiveTierRules) -> NaiveTiered:
    """Hold both clocks to the naive loop."""
    naive = NaiveTiered(case.limits, case.laws, rules)
    result = serve(*case, replica=naive)
    times = [event.at_fs for event in case.events] + [at for at, _ in result.departures]
    end_fs = max([naive.now_fs, *times])
    for stepwise in (False, True):
        outcome, shelves, log = simulate(case, rules, stepwise=stepwise, end_fs=end_fs)
        assert outcome.departures == result.departures
        for number, call in result.calls.items():
            assert seen(outcome.calls[number]) == expected(call), number
            waited = naive.kv_fs.get(number, 0), naive.kv_stall_fs.get(number, 0)
            assert (outcome.calls[number].fetch_fs, outcome.calls[number].fetch_stall_fs) == waited
        check_rows(outcome.rows, result.steps, stepwise=stepwise)
        assert_gaps(outcome, result)
        check_conservation(case, outcome, result)
        for shelf, store in zip(shelves, naive.stores, strict=True):
            entries = sorted(store.entries.items(), key=lambda item: item[1].turn)
            assert blocks_by_age(shelf) == [(path, entry.landed) for path, entry in entries]
            assert shelf.used == len(entries) == shelf.stored - shelf.evicted
            assert shelf.offered == shelf.present + shelf.stored + shelf.beyond
        hits = {(row[5], int(str(row[2]))): row[8] for row in log.rows if row[3] == "hit"}
        assert set(hits) == {key for key, tokens in naive.tier_hits.items() if tokens}
        for call in outcome.calls.values():
            log.check(call)
        assert not log.hits_amiss
        assert not log.waits_amiss
    return naive


@st.composite
def rules_for(draw: DrawFn, case: Case) -> NaiveTierRules:
    """Stores from a block to more than there are, faster and slower than computing."""
    tiers = draw(
        st.lists(
            st.builds(
                NaiveTier,
                blocks=st.sampled_from([1, 5, 20, 40, 60, 500]),
                latency_fs=st.sampled_from([1, 10, 500, 3000]),
                store_fs=st.sampled_from([0, 1, 10, 400]),
                fetch_fs=st.sampled_from([0, 1, 10, 100, 1000]),
            ),
            min_size=1,
            max_size=3,
        )
    )
    return NaiveTierRules(
        tuple(tiers),
        offload=draw(st.sampled_from(["evict", "evict", "evict", "tool_call"])),
        fetch=draw(st.sampled_from(["always", "always", "cheaper", "cheaper", "never"])),
        ttl_fs=draw(st.sampled_from([None, None, 1, 1000, 50_000])),
        batch=draw(st.sampled_from([1, 1, 2, 5, 50])),
    )


@st.composite
def returning_calls(draw: DrawFn) -> Case:
    """Sessions whose calls come back to what they have told, in an HBM that holds few of them."""
    window = draw(st.sampled_from([None, None, 9]))
    laws = [draw(laws_of(window)) for _ in range(draw(st.sampled_from([1, 1, 2])))]
    block_tokens = draw(st.integers(1, 4))
    told = [*draw(texts()), ((7000, ENDLESS),)]  # two at least
    calls: list[Submission] = []
    now = 0
    unit = draw(st.sampled_from([10, 300, 3000, 30_000, 60_000]))
    for number in range(draw(st.integers(6, 14))):
        prompt = draw(st.one_of(st.integers(1, 40), st.integers(20, 40)))
        output = draw(st.integers(1, 25))
        blocks = (prompt + draw(st.sampled_from([0, output]))) // block_tokens
        content = runs_of(first_blocks(draw(st.sampled_from(told)), blocks))
        now += unit * draw(st.sampled_from([0, 1, 1, 2, 5]))
        priority = draw(st.integers(-1, 1))
        calls.append(Submission(now, number, 0, prompt, output, content, priority))
    largest = max(-(-(call.prompt + call.output - 1) // block_tokens) for call in calls)
    sequences = draw(st.integers(1, 5))
    limits = NaiveLimits(
        block_tokens,
        largest + draw(st.sampled_from([0, 0, 1, 2, 5, 12, 30])),
        token_budget=sequences + draw(st.sampled_from([0, 3, 10, 100])),
        max_sequences=sequences,
        scheduler=draw(st.sampled_from(["vllm", "vllm", "prefill_first"])),
        order=draw(st.sampled_from(["fcfs", "fcfs", "priority"])),
    )
    events: list[Event] = [*calls]
    others = st.lists(interrupts(len(calls), len(laws)), max_size=3)
    events += [
        other._replace(at_fs=draw(st.integers(0, now + unit)))
        for other in draw(st.one_of(st.just([]), others))
    ]
    return Case(limits, laws, events)


@st.composite
def tiered_cases(draw: DrawFn) -> tuple[Case, NaiveTierRules]:
    """A replica with tiers, and tools among what befalls it, some as others land or steps end."""
    case = draw(returning_calls())
    rules = draw(rules_for(case))
    events = list(case.events)
    calls = [event for event in events if isinstance(event, Submission)]
    for _ in range(draw(st.sampled_from([0, 1, 5]))):
        one = draw(st.sampled_from(calls))
        later = draw(st.sampled_from([0, 100, 1000, 20_000, 90_000]))
        events.append(ToolBegins(one.at_fs + later, one.number))  # type: ignore[arg-type]
    if draw(st.booleans()):
        naive = NaiveTiered(case.limits, case.laws, rules)
        serve(case.limits, case.laws, case.events, replica=naive, checked=False)
        ties = sorted({0, *naive.landed_fs, *(step.started_fs for step in naive.steps)})
        for place in draw(st.lists(st.integers(0, len(events) - 1), max_size=3)):
            at_fs = draw(st.sampled_from(ties)) + draw(st.sampled_from([0, 0, 1, -1]))
            events[place] = events[place]._replace(at_fs=max(0, at_fs))
    events.sort(key=lambda event: event.at_fs)
    return Case(case.limits, case.laws, renumbered(events)), rules


def renumbered(events: list[Event]) -> list[Event]:
    """Number calls in the order in which they come, as whoever submits them does."""
    calls = [event for event in events if isinstance(event, Submission)]
    numbers = {call.number: number for number, call in enumerate(calls)}
    told: list[Event] = []
    for event in events:
        if isinstance(event, Submission | ToolBegins):
            told.append(event._replace(number=numbers[event.number]))
        elif event.kind == "cancel":
            told.append(event._replace(argument=numbers.get(event.argument, 0)))
        else:
            told.append(event)
    return told


@settings(STRICT, max_examples=200)
@given(tiered_cases())
def test_runs_steps_and_the_naive_loop_agree_on_tiers(tiered: tuple[Case, NaiveTierRules]) -> None:
    check(*tiered)


@pytest.mark.slow
@settings(STRICT, max_examples=3000)
@given(tiered_cases())
def test_they_agree_on_thousands_of_tiers(tiered: tuple[Case, NaiveTierRules]) -> None:
    check(*tiered)
