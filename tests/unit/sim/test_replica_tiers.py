"""What one replica does with its tiers: what it fetches, from where, and what it credits."""

from __future__ import annotations

import pytest

from factorysim.physics.step import Piece
from factorysim.sim.call import FETCHING, GONE, WAITING
from factorysim.sim.store import Span
from factorysim.sim.tiers import (
    ADMIT,
    BATCH_SHARE,
    BLOCKED,
    FETCHED,
    Fetch,
    Stretch,
    TieredLedger,
    fetched_blocks,
)
from tests.unit.sim.builders import UnitLaw
from tests.unit.sim.tier_builders import BLOCK, Bench, call_of

LINE = ((), 0)
TEN = ((0, 10),)
"""Content of ten blocks."""


class Quadratic(UnitLaw):
    """A prompt token costs 10, each prior one of a chunk 1 more, an emitting step 7."""

    def base(self, decodes, prompt_tokens, prompts, emitting):
        return 10 * prompt_tokens + 7 * emitting + 100 * (prompts - 1) + 1000 * decodes

    def chunk(self, tokens, prior):
        return tokens * prior

    def piece(self, decodes, context):
        return Piece(0, 0, None)


def parts(fetch):
    return [(part.level, part.span.low, part.span.high, part.after) for part in fetch.parts]


# Out of HBM.


@pytest.mark.parametrize(
    ("blocks", "batch"), [(1, 1), (127, 1), (255, 1), (256, 2), (1280, 10), (12_800, 100)]
)
def test_hbm_evicts_a_128th_of_its_blocks_at_a_time(blocks, batch):
    assert TieredLedger(blocks, BLOCK).batch == batch
    assert BATCH_SHARE == 128


@pytest.mark.parametrize(("asked", "evicted"), [(10, 0), (11, 4), (14, 4), (15, 8), (30, 20)])
def test_whole_batches_are_evicted_as_far_as_there_are_blocks(asked, evicted):
    bench = Bench(500, hbm=30, batch=4).cached(((0, 20),), 20)
    assert (bench.ledger.free, bench.ledger.evictable) == (10, 20)
    bench.ledger.take(asked)
    assert bench.ledger.evicted == evicted
    assert bench.ledger.free == 10 + evicted - asked
    assert bench.shelves[0].stored == evicted == bench.tiers.handed_blocks
    assert bool(bench.log.rows) == (evicted > 0)


def test_the_tail_goes_first_and_the_leaf_that_was_unlocked_longest_ago():
    bench = Bench(500, hbm=30).cached(((0, 5),), 5).cached(((50, 5),), 5).cached(((0, 3),), 3)
    bench.ledger.take(20 + 7)
    spans = [(piece.line, piece.low, piece.high) for piece in bench.shelves[0].pieces()]
    assert sorted(spans) == [(LINE, 3, 5), (((), 50), 0, 5)]
    # Two of the first, which only its head was used of since, then the second.
    assert [row[3] for row in bench.log.rows] == ["evict"]
    assert bench.log.rows[0][6:8] == (7, 7.0)


def test_what_is_locked_or_has_something_after_it_stays():
    """The first text is locked again, and the second has grown, since they could be evicted."""
    bench = Bench(500, hbm=30).cached(((0, 5),), 5).cached(((50, 5),), 5)
    bench.cached(((50, 5), (80, 4)), 9)
    call = call_of(((0, 5),), 60)
    bench.ledger.lock(call, bench.found(call))
    bench.ledger.take(30 - 14 + 6)
    spans = [(piece.line, piece.low, piece.high) for piece in bench.shelves[0].pieces()]
    assert sorted(spans) == [(((), 50), 3, 5), ((((50, 5),), 80), 0, 4)]


def test_copies_are_made_of_what_hbm_has_as_a_tool_begins():
    bench = Bench(500, offload="tool_call").cached(TEN, 6)
    bench.tiers.tool_begins(TEN, 9)
    assert (bench.shelves[0].stored, bench.tiers.copied_blocks) == (6, 6)
    assert bench.tiers.handed_blocks == 6
    bench.ledger.take(100)
    assert bench.shelves[0].stored == 6  # evictions are lost
    assert bench.tiers.handed_blocks == 6
    other = Bench(500).cached(TEN, 6)
    other.tiers.tool_begins(TEN, 9)
    assert other.shelves[0].stored == other.tiers.handed_blocks == 0


def test_copies_are_of_what_is_locked_too():
    bench = Bench(500, offload="tool_call").cached(TEN, 6)
    call = call_of(TEN, 95)
    bench.ledger.lock(call, bench.found(call))
    bench.tiers.tool_begins(TEN, 9)
    assert bench.shelves[0].stored == 6


def test_the_tail_of_a_copy_finds_room_first():
    content = ((0, 3), (50, 3))
    bench = Bench(3, 100, offload="tool_call").cached(content, 6)
    bench.tiers.tool_begins(content, 6)
    assert [[piece.line for piece in shelf.pieces()] for shelf in bench.shelves] == [
        [(((0, 3),), 50)], [LINE],
    ]  # fmt: skip


def test_copies_are_put_from_their_tail_so_that_heads_are_the_youngest():
    content = ((0, 3), (50, 3))
    bench = Bench(500, offload="tool_call").cached(content, 6)
    bench.tiers.tool_begins(content, 6)
    lines = [piece.line for piece in bench.shelves[0].pieces()]
    assert lines == [(((0, 3),), 50), LINE]


# What is found.


def test_each_block_is_read_from_the_fastest_tier_that_has_it():
    """By block: HBM has two, the second tier 2 to 9, the first 4 to 6; all but the last count."""
    bench = Bench(100, 100).cached(TEN, 2).stored(1, LINE, 0, 10).stored(0, LINE, 4, 6)
    fetch = bench.tiers._choose(call_of(TEN, 100), 2)
    assert parts(fetch) == [(1, 2, 4, 2), (0, 4, 6, 4), (1, 6, 9, 6)]
    assert (fetch.until, fetch.level_blocks) == (9, [2, 5])
    one_more = bench.tiers._choose(call_of(TEN, 101), 2)
    assert one_more.until == 10  # whose last token is none of these blocks


def test_a_gap_ends_what_is_found():
    bench = Bench(100, 100).stored(0, LINE, 0, 3).stored(1, LINE, 4, 10)
    fetch = bench.tiers._choose(call_of(TEN, 200), 0)
    assert parts(fetch) == [(0, 0, 3, 0)]
    nothing = bench.tiers._choose(call_of(TEN, 200), 3)
    assert (nothing.parts, nothing.until) == ([], 3)


def test_a_prompt_of_several_lines_is_found_to_its_end():
    content = ((0, 4), (50, 3))
    bench = Bench(100).stored(0, LINE, 1, 4).stored(0, (((0, 4),), 50), 0, 2)
    fetch = bench.tiers._choose(call_of(content, 200), 1)
    assert parts(fetch) == [(0, 1, 4, 1), (0, 0, 2, 4)]
    assert fetch.until == 6


def test_what_is_on_its_way_is_not_found():
    bench = Bench(100)
    bench.shelves[0].reserve(Span(LINE, 0, 5), 0)
    assert bench.tiers._choose(call_of(TEN, 200), 0).parts == []


# Fetch or recompute.


@pytest.mark.parametrize(
    ("each_fs", "blocks"), [(100, 0), (99, 8), (101, 0), (1, 8)]
)  # a token takes 10 to compute, so a block 100; HBM has none, of 9 blocks the store has 8
def test_a_fetch_must_be_cheaper_and_not_only_as_cheap(each_fs, blocks):
    bench = Bench(100, fetch="cheaper").stored(0, LINE, 0, 8)
    bench.road.each_fs = {90: each_fs}
    fetch = bench.tiers._choose(call_of(TEN, 91), 0)
    assert fetch.until == blocks
    assert bench.road.asked == [([(90, 1)], 8)]


@pytest.mark.parametrize(
    ("first", "second", "until"),
    [
        (50, 50, 8),  # 4 blocks each, at once: 200 instead of 800
        (99, 99, 8),  # 396 and not 792 in all: tiers send at the same time
        (50, 149, 8),  # 596 and nothing, against 200 and 400
        (50, 150, 4),  # 600 and nothing: no better than to compute the rest
        (50, 200, 4),
        (199, 50, 8),  # the first alone is worth nothing, with the second it is
        (200, 50, 0),
    ],
)
def test_tiers_send_at_once_and_the_slowest_decides(first, second, until):
    bench = Bench(100, 100, fetch="cheaper").stored(0, LINE, 0, 4).stored(1, LINE, 4, 8)
    bench.road.each_fs = {90: first, 91: second}
    assert bench.tiers._choose(call_of(TEN, 81), 0).until == until


def test_each_device_loads_what_it_holds():
    bench = Bench(100, fetch="cheaper", devices=(1, 2), lane_bytes=2.6).stored(0, LINE, 0, 8)
    assert bench.tiers._choose(call_of(TEN, 91), 0).until == 8
    assert bench.road.asked == [([(90, 1), (90, 2)], 21)]


def test_parts_of_one_tier_are_weighed_together():
    """Two lines of it, of 4 blocks each: the road is asked for all 8."""
    content = ((0, 4), (50, 4))
    bench = Bench(100, fetch="cheaper").stored(0, LINE, 0, 4).stored(0, (((0, 4),), 50), 0, 4)
    assert bench.tiers._choose(call_of(content, 81), 0).until == 8
    assert bench.road.asked == [([(90, 1)], 8)]


def test_what_hbm_has_need_not_be_computed():
    """6 blocks are missing, which take 600; the store's 5 take 500 and the rest 100."""
    bench = Bench(100, fetch="cheaper").cached(TEN, 3).stored(0, LINE, 0, 8)
    bench.road.each_fs = {90: 100}
    assert bench.tiers._choose(call_of(TEN, 90), 3).until == 3
    bench.road.each_fs = {90: 99}
    assert bench.tiers._choose(call_of(TEN, 90), 3).until == 8
    assert bench.road.asked[-1] == ([(90, 1)], 5)


def test_prompts_are_computed_in_chunks_and_the_last_one_emits():
    bench = Bench(10, law=Quadratic(), budget=40)
    tiers = bench.tiers
    assert tiers.prefill_fs(0, 40) == 400 + 7
    assert tiers.prefill_fs(0, 41) == 400 + 10 + 40 + 7
    assert tiers.prefill_fs(30, 100) == (400 + 40 * 30) + (300 + 30 * 70) + 7
    assert tiers.prefill_fs(100, 100) == 0
    before = dict(tiers.costs.bases)
    assert tiers.prefill_fs(0, 40) == 407  # by heart
    assert tiers.costs.bases == before


def test_never_fetches_nothing_and_always_all():
    for fetch, until in (("never", 0), ("always", 8)):
        bench = Bench(100, fetch=fetch).stored(0, LINE, 0, 8)
        bench.road.each_fs = {90: 10**6}
        assert bench.tiers._choose(call_of(TEN, 100), 0).until == until
        assert bench.road.asked == []


# Under way.


def test_a_call_fetches_once_and_comes_back():
    bench = Bench(100, 100, lane_bytes=2.6, devices=(1, 2)).at(7)
    bench.cached(TEN, 2).stored(0, LINE, 2, 5).stored(1, LINE, 5, 8)
    call = call_of(TEN, 95)
    assert bench.consider(call) == FETCHED
    assert (call.state, call.context) == (FETCHING, 80)
    assert bench.ledger.held == 8
    assert bench.moved("fetch") == [
        ("fetch_t0", [(90, 1), (90, 2)], 8),  # 3 blocks of 2.6 bytes to each device
        ("fetch_t1", [(91, 1), (91, 2)], 8),
    ]
    assert bench.tiers.read_blocks == [3, 3]
    assert bench.tiers.read_bytes == [pytest.approx(15.6)] * 2
    assert bench.tiers.started_blocks == 6 == fetched_blocks(call)
    bench.at(10).road.land("fetch_t1")
    assert bench.back == []
    bench.at(19).road.land("fetch_t0")
    assert bench.back == [call]
    assert (call.fetch_fs, call.fetch_stall_fs, call.context) == (12, 0, 0)
    assert bench.tiers.landed_blocks == 6
    assert bench.ledger.held == 0
    assert bench.found(call)[0] == 8
    rows = [row[2:9] for row in bench.log.rows]
    assert rows == [("t1", "fetch", -1, 0, 3, 16.0, 0), ("t0", "fetch", -1, 0, 3, 16.0, 0)]
    call.state = WAITING
    assert bench.consider(call) == ADMIT  # once in each wait


def test_a_wait_after_a_preemption_is_a_stall():
    bench = Bench(100).stored(0, LINE, 0, 5)
    call = call_of(TEN, 95)
    call.preemptions = 1
    bench.at(5).consider(call)
    bench.at(9).road.land("fetch_t0")
    assert (call.fetch_fs, call.fetch_stall_fs) == (4, 4)


def test_the_head_of_a_prompt_is_the_youngest_of_what_was_read():
    content = ((0, 3), (50, 3))
    bench = Bench(100).stored(0, LINE, 0, 3).stored(0, (((0, 3),), 50), 0, 3)
    bench.stored(0, ((), 70), 0, 2)
    bench.at(4).consider(call_of(content, 95))
    used = [(piece.line, piece.used_fs) for piece in bench.shelves[0].pieces()]
    assert used == [(((), 70), 0), ((((0, 3),), 50), 4), (LINE, 4)]


@pytest.mark.parametrize(("room", "fate"), [(5, BLOCKED), (6, FETCHED)])
def test_a_fetch_waits_for_hbm_blocks(room, fate):
    """Of 8 blocks HBM has two, which nobody has locked: they are not room for the others."""
    bench = Bench(100, hbm=2 + room).cached(TEN, 2).stored(0, LINE, 0, 8)
    assert bench.consider(call_of(TEN, 95)) == fate


def test_a_decision_holds_until_the_blocks_are_there_and_is_then_made_anew():
    bench = Bench(100, hbm=10, fetch="cheaper").stored(0, LINE, 0, 8)
    bench.ledger.take(5)
    call = call_of(TEN, 95)
    assert bench.at(3).consider(call) == BLOCKED
    decided = call.fetch
    bench.stored(0, LINE, 8, 9)
    assert bench.at(4).consider(call) == BLOCKED
    assert call.fetch is decided
    bench.ledger.free += 5
    bench.road.each_fs = {90: 10**6}
    assert bench.at(5).consider(call) == ADMIT  # it is not worth it any more
    assert (call.fetch.parts, call.fetch.at_fs) == ([], 5)


def test_a_new_decision_may_want_more_blocks_than_there_are():
    bench = Bench(100, hbm=8).stored(0, LINE, 0, 8)
    bench.ledger.take(1)
    call = call_of(TEN, 95)
    assert bench.at(3).consider(call) == BLOCKED
    bench.ledger.free += 1
    bench.stored(0, LINE, 8, 9)
    assert bench.at(4).consider(call) == BLOCKED
    assert call.fetch.until == 9
    assert bench.moved("fetch") == []


@pytest.mark.parametrize(("room", "fate"), [(6, BLOCKED), (7, FETCHED)])
def test_a_new_decision_needs_room_for_what_hbm_lacks(room, fate):
    """Of 9 blocks HBM has two, and locked: 7 are to come, one more than was first found."""
    bench = Bench(100, hbm=30).cached(TEN, 2).stored(0, LINE, 0, 8)
    holder = call_of(TEN, 25, number=9)
    bench.ledger.lock(holder, bench.found(holder))
    bench.ledger.take(28)
    call = call_of(TEN, 95)
    assert bench.at(3).consider(call) == BLOCKED
    bench.ledger.free += room
    bench.stored(0, LINE, 8, 9)
    assert bench.at(4).consider(call) == fate
    assert call.fetch.until == 9


def test_a_decision_of_the_same_instant_is_not_made_again():
    bench = Bench(100, hbm=8).stored(0, LINE, 0, 8)
    bench.ledger.take(1)
    call = call_of(TEN, 95)
    bench.at(3).consider(call)
    bench.stored(0, LINE, 8, 9)
    bench.ledger.free += 1
    assert bench.consider(call) == FETCHED
    assert call.fetch.until == 8


def test_a_device_that_fails_loses_its_fetches_and_no_store():
    bench = Bench(100).stored(0, LINE, 0, 5)
    gone, call = call_of(TEN, 95, number=1), call_of(TEN, 95, number=2)
    bench.consider(gone)
    bench.consider(call)
    gone.state = GONE
    assert bench.tiers.fail() == [call]
    assert bench.tiers.lost_blocks == 10
    bench.ledger.clear()
    bench.road.land("fetch_t0")
    assert (bench.back, bench.tiers.landed_blocks, call.fetch_fs) == ([], 0, 0)
    assert bench.shelves[0].reach(LINE, 0, 10) == 5


# What is credited.


def credited(bench, call, low, high):
    bench.log.rows.clear()
    bench.log._told.pop(call.number, None)
    bench.tiers.credit(call, low, high)
    tiers = {row[2]: row[8] for row in bench.log.rows}
    return bench.log._told[call.number].found_tokens["hbm"], tiers


@pytest.mark.parametrize(
    ("low", "high", "hbm", "tiers"),
    [
        (0, 80, 20, {"t0": 30, "t1": 30}),
        (0, 90, 30, {"t0": 30, "t1": 30}),  # somebody has cached one more meanwhile
        (0, 60, 20, {"t0": 30, "t1": 10}),  # the tail has been evicted again
        (0, 50, 20, {"t0": 30}),
        (0, 20, 20, {}),
        (0, 10, 10, {}),
        (35, 80, 0, {"t0": 15, "t1": 30}),  # the rest it had before it was preempted
        (85, 90, 5, {}),
        (60, 40, 0, {}),
    ],
)
def test_hits_are_those_of_hbm_as_the_fetch_began_and_of_each_tier(low, high, hbm, tiers):
    bench = Bench(100, 100).cached(TEN, 2).stored(0, LINE, 2, 5).stored(1, LINE, 5, 8)
    call = call_of(TEN, 95)
    bench.consider(call)
    assert credited(bench, call, low, high) == (hbm, tiers)


def test_hits_beyond_the_prompt_are_nobodys():
    bench = Bench(100).stored(0, LINE, 0, 8)
    call = call_of(TEN, 75)
    call.known = 95
    bench.consider(call)
    assert credited(bench, call, 0, 80) == (0, {"t0": 75})


def test_without_a_fetch_all_hits_are_of_hbm():
    bench = Bench(100)
    call = call_of(TEN, 75)
    assert credited(bench, call, 10, 40) == (30, {})
    assert credited(bench, call, 40, 10) == (0, {})
    call.fetch = Fetch([Stretch(0, Span(LINE, 0, 3), 0)], 3, 1, 0)  # decided, and not begun
    assert credited(bench, call, 0, 40) == (40, {})
    assert fetched_blocks(call_of(TEN, 75)) == 0
