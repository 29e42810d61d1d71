"""KV that comes from other replicas: when it fits, who joins, who must not leave, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from factorysim.sim.call import MOVING, Call
from factorysim.sim.decodes import Decodes
from factorysim.sim.dock import Dock
from factorysim.sim.kv import Ledger
from tests.unit.sim.builders import MS
from tests.unit.sim.test_replica import LIMITS, Bench, ms

SIZE = 4
"""Tokens of a block."""


class Away:
    """A prompt that is computed elsewhere; notes what it is told."""

    asked_fs = None
    first_made = True

    def __init__(self, context: int, told: list[Any] | None = None) -> None:
        self.context = context
        self.told: list[Any] = [] if told is None else told
        """Tokens that need not come, then the instant from which the call decodes."""

    def reserved(self, held_tokens: int) -> None:
        self.told.append(held_tokens)

    def joins(self, now_fs: int) -> None:
        self.told.append(now_fs)


def coming(number: int, context: int, told: list[Any] | None = None, **more: Any) -> Call:
    """A call whose prompt is computed elsewhere, and its first token made there."""
    call = Call(number, number, context, more.pop("output", 5), **more)
    call.handoff = Away(context, told)
    call.output_made = 1
    call.first_token_fs = call.emitted_fs = 0
    return call


def cached(ledger: Ledger, content: tuple[tuple[int, int], ...], blocks: int) -> None:
    """Let a ledger have the first blocks of a content, locked by nobody."""
    call = Call(1000, 1000, blocks * SIZE, 1, content=content)
    ledger.take(blocks)
    ledger.free += ledger.register(call, blocks)
    ledger.release(call, blocks * SIZE)


@pytest.mark.parametrize(("context", "held"), [(32, 24), (33, None)])
def test_blocks_that_a_call_finds_here_are_no_room_for_the_rest_of_it(context, held):
    """Of 10 blocks two are taken, two free, and the 6 cached are the call's own."""
    ledger = Ledger(10, SIZE)
    cached(ledger, ((0, 6),), 6)
    ledger.take(2)
    call = coming(0, context, content=((0, 9),))
    assert Dock().reserve(call, ledger) == held
    if held is None:
        assert (ledger.free, ledger.evictable, call.shared) == (2, 6, 0)
    else:
        assert (ledger.free, ledger.evictable, call.shared) == (0, 0, 6)


def reserved(*calls: Call, ledger: Ledger) -> Dock:
    dock = Dock()
    for call in calls:
        assert dock.reserve(call, ledger) is not None
    return dock


def test_kv_that_has_landed_can_be_found_and_copies_of_it_are_free():
    """Two of the same 10 tokens: 3 blocks each, and one copy of the two that are full."""
    ledger, decodes = Ledger(10, SIZE), Decodes(SIZE, None, note_joiners=True)
    pair = [coming(number, 10, content=((0, 4),)) for number in (0, 1)]
    dock = reserved(*pair, ledger=ledger)
    assert ledger.free == 4
    for call in pair:
        assert dock.land(call)
    dock.join(ledger, decodes, 0)
    assert ledger.free == 6
    assert ledger.match(((0, 4),), 4)[:2] == (2, 0)
    assert (decodes.count, decodes.context) == (2, 20)


def test_those_that_landed_at_one_step_join_in_order_of_number():
    ledger, decodes = Ledger(10, SIZE), Decodes(SIZE, None, note_joiners=True)
    told: list[int] = []
    trio = [coming(number, context, told) for number, context in enumerate((4, 8, 12))]
    dock = reserved(*trio, ledger=ledger)
    for call in (trio[2], trio[0], trio[1]):
        dock.land(call)
    dock.join(ledger, decodes, 7)
    assert decodes.joiners == trio
    assert told == [7, 7, 7]
    assert dock.landed == []


def test_a_call_that_was_let_go_after_it_landed_never_decodes():
    ledger, decodes = Ledger(10, SIZE), Decodes(SIZE, None, note_joiners=True)
    stays, goes = coming(0, 4), coming(1, 8)
    dock = reserved(stays, goes, ledger=ledger)
    for call in (goes, stays):
        dock.land(call)
    dock.forget(goes)
    dock.join(ledger, decodes, 0)
    assert (decodes.count, decodes.joiners) == (1, [stays])
    assert goes.state == MOVING


# On a replica.

DECODE = LIMITS._replace(role="decode", block_tokens=SIZE)


class Landing(Bench):
    """A replica that decodes what others have computed."""

    def coming(self, at_ms: float, lands_ms: float | None, context: int, **more: Any) -> Call:
        """Submit a call whose KV lands then; None: never."""
        call = coming(self._number, context, **more)
        self._number += 1
        self.at(at_ms, self.replica.submit, call)
        if lands_ms is not None:
            self.at(lands_ms, self.replica.land, call)
        return call


def told(call: Call) -> list[int]:
    assert isinstance(call.handoff, Away)
    return call.handoff.told


def test_a_call_that_is_cancelled_once_its_kv_has_landed_leaves_as_the_step_ends():
    bench = Landing(DECODE)
    first = bench.coming(0, 1, 4, output=9)
    second = bench.coming(0, 3.25, 8, output=9)
    bench.at(3.5, bench.replica.cancel, second)
    bench.run()
    assert (first.outcome, second.outcome) == ("completed", "cancelled")
    assert told(second) == [0]
    assert ms(first.last_token_fs) == 1 + 8
    assert bench.replica.ledger.free == DECODE.blocks


@pytest.mark.parametrize("order", ["fcfs", "priority"])
def test_who_waits_for_kv_is_not_preempted(order):
    """8 blocks, of which two wait for KV; from 5 ms on the two that decode want a fourth each."""
    bench = Landing(DECODE._replace(blocks=8, order=order))
    old = bench.coming(0, 1, 8, output=8, priority=0)
    young = bench.coming(0, 1, 8, output=8, priority=1)
    moving = bench.coming(0, 100, 8, output=2, priority=2)
    bench.run(50)
    # from 1 ms on 3 + 3 + 2; after four steps each has 12 tokens and wants a block
    assert [call.preemptions for call in (old, young, moving)] == [0, 1, 0]
    assert ms(old.last_token_fs) == 8
    bench.run()
    assert {call.outcome for call in (old, young, moving)} == {"completed"}
    assert told(moving) == [0, 100 * MS]
    assert bench.replica.ledger.free == 8


def test_the_least_of_those_present_is_preempted_by_priority():
    """They came in another order than they rank: the first is the least, the last on its way."""
    bench = Landing(DECODE._replace(blocks=11, order="priority"))
    least = bench.coming(0, 1, 8, output=8, priority=5)
    mid = bench.coming(0.25, 1, 8, output=8, priority=4)
    best = bench.coming(0.5, 1, 8, output=8, priority=3)
    moving = bench.coming(0.75, 100, 8, output=2, priority=9)
    bench.run(50)
    assert [call.preemptions for call in (least, mid, best, moving)] == [1, 0, 0, 0]


def test_a_call_whose_kv_will_not_come_makes_room_at_once():
    bench = Landing(DECODE._replace(max_sequences=2))
    decoding = bench.coming(0, 1, 4, output=50)
    gone = bench.coming(0, None, 4)
    late = bench.coming(2, 30, 4)
    bench.at(10.5, bench.replica.drop, gone, "failed")
    reserved_ms = []
    late.handoff.reserved = lambda _: reserved_ms.append(bench.clock.now_fs / MS)  # type: ignore[union-attr, method-assign]
    bench.run()
    assert (decoding.outcome, gone.outcome, late.outcome) == ("completed", "failed", "completed")
    assert reserved_ms == [11]
