"""A store in its place: lanes, what it sends and hands down, when blocks leave on time."""

from __future__ import annotations

from math import e, log

import pytest

from factorysim.sim.clock import ARRIVAL, TRANSFER
from factorysim.sim.roads import FabricRoad
from factorysim.sim.shelf import Shelf, _spread
from factorysim.sim.store import Span
from factorysim.sim.tool_times import ToolTimes, keep_fs
from tests.unit.sim.tier_builders import Bench

LINE = ((), 0)
OTHER = ((), 100)


def spans(shelf):
    return [(piece.line[1], piece.low, piece.high) for piece in shelf.pieces()]


def put(shelf, *told, sources=(1,), near=None):
    shelf.put([Span(*span) for span in told], sources, near or shelf.nodes)


# Lanes.


def shared(nodes, lanes, bench=None):
    bench = bench or Bench(100)
    shelf = Shelf(bench.clock, bench.log, bench.road, 0, "x", 50, nodes, 1.0, shared=True)
    return shelf, list(range(lanes))


def test_a_shared_store_takes_its_nodes_in_turn():
    shelf, near = shared((7, 8, 9), 2)
    assert shelf.next_ends(near) == [7, 8]  # to look does not turn
    assert [shelf.ends(near) for _ in range(4)] == [[7, 8], [9, 7], [8, 9], [7, 8]]
    five, near = shared((7, 8, 9), 5)
    assert [five.ends(near) for _ in range(2)] == [[7, 8, 9, 7, 8], [9, 7, 8, 9, 7]]


def test_a_servers_store_takes_what_is_nearest():
    bench = Bench(100)
    shelf = Shelf(bench.clock, bench.log, bench.road, 0, "x", 50, (7, 8), 1.0)
    assert [shelf.ends((8, 7, 7)) for _ in range(2)] == [[8, 7, 7]] * 2


def test_lanes_are_spread_over_nodes_neighbours_the_same():
    assert _spread((7, 8), 4) == [7, 7, 8, 8]
    assert _spread((7, 8, 9), 2) == [7, 8]
    assert _spread((7,), 3) == [7, 7, 7]
    assert _spread((7, 8, 9), 4) == [7, 7, 8, 9]


def test_bytes_are_written_once_over_all_lanes():
    bench = Bench(100, block_bytes=10.0)
    put(bench.shelves[0], (LINE, 0, 7), sources=(1, 2, 3), near=(90, 90, 90))
    assert bench.road.sent == [("store_t0", [(1, 90), (2, 90), (3, 90)], 23)]  # 70 B / 3
    bench.at(5).road.land("store_t0")
    assert bench.log.rows[0][2:9] == ("t0", "store", -1, -1, 7, 70.0, 0)
    assert bench.log.noted_fs["store_t0"] == 5
    assert bench.log.stored_blocks["t0"] == 7


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_on_several_lanes_has_landed_with_the_last_of_them(order):
    class Lanes:
        def __init__(self):
            self.transfers = []
            self.sent_by_kind = {"kv_store_x": 20, "kv": 7, "prompt": 9}

        def transfer(self, *told, kind):
            self.transfers.append((*told[:3], kind, told[4]))

        def estimate_fs(self, lanes, size_bytes):
            return len(lanes) * size_bytes

    bench, lanes, landed = Bench(1), Lanes(), []
    road = FabricRoad(bench.clock, lanes)
    road.carry([(1, 5), (2, 6)], 10, "store_x", lambda: landed.append(bench.clock.now_fs))
    assert [t[:4] for t in lanes.transfers] == [(1, 5, 10, "kv_store_x"), (2, 6, 10, "kv_store_x")]
    bench.at(3)
    lanes.transfers[order[0]][4]()
    assert (landed, road.landed_bytes, road.landed_by_kind) == ([], 10, {})
    bench.at(8)
    lanes.transfers[order[1]][4]()
    assert (landed, road.landed_bytes, road.landed_by_kind) == ([8], 20, {"store_x": 20})
    assert (road.took_fs, road.lanes) == ({"store_x": 8}, {"store_x": 2})
    assert road.carried() == {"store_x": 20}
    assert road.estimate_fs([(1, 5), (2, 6)], 4, "fetch_host") == 8


# What goes where.


def test_what_is_there_is_not_sent_again_but_is_used():
    bench = Bench(100).stored(0, LINE, 2, 5).stored(0, OTHER, 0, 3)
    put(bench.at(9).shelves[0], (LINE, 0, 7))
    shelf = bench.shelves[0]
    assert [(kind, size) for kind, _, size in bench.road.sent] == [("store_t0", 4)]
    assert (shelf.offered, shelf.present, shelf.beyond, shelf.stored) == (7, 3, 0, 10)
    assert spans(shelf) == [(100, 0, 3), (0, 5, 7), (0, 2, 5), (0, 0, 2)]


def test_room_is_made_by_what_was_used_longest_ago_which_goes_down():
    bench = Bench(10, 100).stored(0, LINE, 0, 6, 1).stored(0, OTHER, 0, 4, 2)
    put(bench.at(9).shelves[0], (((), 200), 0, 3))
    assert spans(bench.shelves[0]) == [(0, 0, 3), (100, 0, 4), (200, 0, 3)]
    assert spans(bench.shelves[1]) == [(0, 3, 6)]
    assert [row[2:4] for row in bench.log.rows] == [("t0", "evict")]
    assert bench.log.rows[0][6:8] == (3, 3.0)
    lanes = {kind: sent for kind, sent, _ in bench.road.sent}
    assert lanes == {"store_t1": [(90, 91)], "store_t0": [(1, 90)]}


def test_what_there_is_no_room_for_at_all_goes_down_from_the_replica():
    """Of 8 blocks on their way nothing can be evicted: 2 of 5 find room."""
    bench = Bench(10, 100, devices=(1, 2))
    put(bench.shelves[0], (LINE, 0, 8), sources=(1, 2), near=(90, 90))
    put(bench.shelves[0], (OTHER, 0, 5), sources=(1, 2), near=(90, 90))
    assert spans(bench.shelves[0]) == [(0, 0, 8), (100, 0, 2)]
    assert spans(bench.shelves[1]) == [(100, 2, 5)]
    assert bench.road.sent[1] == ("store_t1", [(1, 91), (2, 91)], 2)  # 3 B / 2
    assert bench.shelves[0].beyond == bench.shelves[1].offered == 3
    last = Bench(10)
    put(last.shelves[0], (LINE, 0, 13))
    assert (last.shelves[0].stored, last.shelves[0].beyond) == (10, 3)


def test_blocks_without_room_go_down_from_their_tail():
    """Two gaps of one span are beyond all room: the later one first, as blocks came."""
    bench = Bench(4, 100)
    put(bench.shelves[0], (LINE, 3, 5), (OTHER, 0, 2))
    put(bench.shelves[0], (LINE, 0, 8))
    assert spans(bench.shelves[1]) == [(0, 5, 8), (0, 0, 3)]
    assert bench.shelves[0].present == 2
    assert spans(bench.shelves[0]) == [(100, 0, 2), (0, 3, 5)]
    assert [kind for kind, _, _ in bench.road.sent] == ["store_t0", "store_t1"]


def test_the_later_of_what_has_no_room_finds_it_first_below():
    bench = Bench(4, 3, 100)
    put(bench.shelves[0], (LINE, 3, 5), (OTHER, 0, 2))
    put(bench.shelves[0], (LINE, 0, 8))
    assert spans(bench.shelves[1]) == [(0, 5, 8)]
    assert spans(bench.shelves[2]) == [(0, 0, 3)]


def test_what_finds_room_is_no_use_of_the_next_tier():
    bench = Bench(100, 100).stored(1, LINE, 0, 4, 1)
    put(bench.at(9).shelves[0], (LINE, 0, 4))
    assert (bench.shelves[1].oldest_fs(), bench.shelves[1].offered) == (1, 0)


def test_the_path_of_what_comes_does_not_make_room_for_it():
    bench = Bench(10, 100).stored(0, LINE, 0, 4, 1).stored(0, OTHER, 0, 6, 2)
    put(bench.at(9).shelves[0], (LINE, 4, 7))
    assert spans(bench.shelves[0]) == [(100, 0, 3), (0, 4, 7), (0, 0, 4)]


@pytest.mark.parametrize(
    ("upper_shared", "lower_shared", "lanes"),
    [
        (False, False, [(90, 91)]),
        (False, True, [(90, 190)]),
        (True, True, [(190, 190)]),
    ],
)
def test_stores_hand_down_from_their_nodes(upper_shared, lower_shared, lanes):
    told = [level for level, one in enumerate((upper_shared, lower_shared)) if one]
    bench = Bench(4, 100, shared=told).stored(0, LINE, 0, 4)
    bench.shelves[0].demote(bench.shelves[0].make_room(2, 0))
    assert bench.road.sent == [("store_t1", lanes, 2)]
    if upper_shared:
        bench.shelves[0].demote(bench.shelves[0].make_room(3, 0))
        assert bench.road.sent[1][1] == [(191, 191)]


# On time.


def test_what_is_not_used_leaves_to_the_femtosecond():
    bench = Bench(100, 100, ttl_fs=50).stored(0, LINE, 0, 4, 10).stored(0, OTHER, 0, 4, 11)
    shelf = bench.shelves[0]
    shelf._set_alarm()
    bench.clock.run_until(60)
    assert (shelf.used, shelf.evicted) == (8, 0)
    bench.clock.run_until(61)
    assert spans(shelf) == [(100, 0, 4)]
    assert spans(bench.shelves[1]) == [(0, 0, 4)]
    bench.clock.run_until(62)
    assert shelf.used == 0


def test_the_last_tier_parts_first_with_what_is_due_in_all():
    """Else what comes from above would be there, and used."""
    bench = Bench(100, 100, ttl_fs=50).stored(0, LINE, 0, 4).stored(1, LINE, 0, 4)
    for shelf in bench.shelves:
        shelf._set_alarm()
    bench.clock.run_until(51)
    lower = bench.shelves[1]
    assert (lower.evicted, lower.present, lower.stored) == (4, 0, 8)


def test_a_use_puts_the_alarm_off_and_a_landing_sets_it():
    bench = Bench(100, ttl_fs=50)
    shelf = bench.shelves[0]
    put(shelf, (LINE, 0, 4))
    bench.clock.run_until(80)
    assert shelf.used == 4  # on its way
    bench.road.land("store_t0")
    shelf.touch(Span(LINE, 0, 4), 70)
    bench.clock.run_until(120)
    assert shelf.used == 4
    bench.clock.run_until(121)
    assert shelf.used == 0


@pytest.mark.parametrize(("priority", "left"), [(TRANSFER + (1 << 40), 4), (ARRIVAL, 0)])
def test_time_is_up_after_all_transfers_of_an_instant_and_before_arrivals(priority, left):
    bench = Bench(100, ttl_fs=50).stored(0, LINE, 0, 4)
    shelf = bench.shelves[0]
    shelf._set_alarm()
    bench.clock.at(50, priority, lambda _: shelf.touch(Span(LINE, 0, 4), 50))
    bench.clock.run_until(51)
    assert shelf.used == left


def test_what_lands_late_leaves_at_once():
    bench = Bench(100, ttl_fs=50)
    put(bench.shelves[0], (LINE, 0, 4))
    bench.clock.run_until(80)
    bench.road.land("store_t0")
    bench.clock.run_until(81)
    assert bench.shelves[0].used == 0


def test_without_a_time_to_live_nothing_is_timed():
    bench = Bench(100)
    put(bench.shelves[0], (LINE, 0, 4))
    bench.road.land("store_t0")
    assert bench.clock.heap == []


# Tools.


def test_means_are_of_the_class_and_rounded_down():
    seen = ToolTimes()
    assert seen.mean_fs("a") is None
    for took in (1, 2, 5):
        seen.ended("a", took)
    seen.ended("b", 100)
    assert (seen.mean_fs("a"), seen.mean_fs("b")) == (2, 100)
    seen.ended("a", 2)
    assert seen.mean_fs("a") == 2  # 10 / 4


def test_kv_is_kept_as_long_as_it_gains():
    """The derivative of (1 - exp(-t / m)) R - s t is 0 at m ln(R / (s m))."""
    mean, refill, share = 10**12, 10**15, 0.25
    kept = keep_fs(mean, refill, share)
    assert kept == int(mean * log(refill / (share * mean)))

    def gain(t):
        return (1 - e ** (-t / mean)) * refill - share * t

    assert gain(kept) > max(gain(kept * 0.99), gain(kept * 1.01))
    assert keep_fs(1000, 1000, 1.0) == keep_fs(2000, 1000, 0.5) == keep_fs(2000, 1000, 0.6) == 0
    assert keep_fs(0, 1000, 0.5) == keep_fs(None, 1000, 0.5) == 0
    assert keep_fs(10**6, 10**6 + 100, 1.0) == 99
