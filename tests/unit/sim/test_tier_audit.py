"""What rows of tiers are held to: what calls say of themselves, blocks, bytes and times."""

from __future__ import annotations

from collections import Counter

import pytest

from factorysim.sim.clock import S_PER_FS
from factorysim.sim.store import Span
from factorysim.sim.tier_audit import audit_tiers
from factorysim.sim.tier_log import Log
from tests.unit.sim.tier_builders import BLOCK, Bench, NotingRoad, call_of

LINE = ((), 0)


# Of each call.


def told(*notes, hbm=0):
    """Notes of events, tiers, blocks, times and tokens, all of call 3."""
    log = Log(block_tokens=BLOCK)
    for event, tier, blocks, times, tokens in notes:
        log.note(event, tier, blocks, times, call=3, hit_tokens=tokens)
    log.found_in_hbm(call_of((), 200, 3), hbm)
    return log


def checked(log, hit_tokens=0, fetch_fs=0, outcome="completed", fetching_fs=None):
    """Whether hits and waits are right."""
    call = call_of((), 200, 3)
    call.hit_tokens, call.fetch_fs, call.outcome = hit_tokens, fetch_fs, outcome
    log.check(call, fetching_fs)
    return not log.hits_amiss, not log.waits_amiss


TWO = (
    ("fetch", "host", 3, (5, 9), 0),
    ("fetch", "nvme", 2, (5, 25), 0),
    ("hit", "host", 0, (25, 25), 30),
    ("hit", "nvme", 0, (25, 25), 20),
)


@pytest.mark.parametrize(
    ("hits", "waited", "right"),
    [
        (60, 20, (True, True)),
        (59, 20, (False, True)),
        (61, 20, (False, True)),
        (60, 19, (True, False)),
        (60, 21, (True, False)),
        (60, 24, (True, False)),  # tiers send at once: 4 and 20 are no 24
        (60, 4, (True, False)),
    ],
)
def test_calls_are_held_to_their_rows(hits, waited, right):
    assert checked(told(*TWO, hbm=10), hits, waited) == right


def test_tiers_that_land_in_another_order_make_the_same_wait():
    assert checked(told(*reversed(TWO), hbm=10), 60, 20) == (True, True)


def test_fetches_of_several_waits_add_up():
    again = ("fetch", "host", 1, (100, 107), 0)
    assert checked(told(*TWO, again, hbm=10), 60, 27) == (True, True)
    assert checked(told(*TWO, again, hbm=10), 60, 20, fetching_fs=100) == (True, True)
    assert checked(told(*TWO, again, hbm=10), 60, 27, fetching_fs=100) == (True, False)


def test_a_tier_gives_no_more_than_was_fetched_from_it():
    more = ("hit", "host", 0, (25, 25), 1)
    assert checked(told(*TWO, more, hbm=9), 60, 20) == (False, True)
    less = told(*TWO[:3], ("hit", "nvme", 0, (25, 25), 5), hbm=10)
    assert checked(less, 45, 20) == (True, True)


def test_nothing_told_of_a_call_is_nothing_found():
    log = Log(block_tokens=BLOCK)
    assert checked(log) == (True, True)
    assert checked(log, hit_tokens=1) == (False, True)
    other = Log(block_tokens=BLOCK)
    assert checked(other, fetch_fs=1) == (True, False)


def test_calls_that_were_cut_off_are_forgotten():
    log = told(*TWO, hbm=10)
    assert checked(log, 0, 0, outcome="failed") == (True, True)
    assert checked(log) == (True, True)  # nothing is left of it
    assert (log.found_tokens, log.hit_tokens, log.noted_wait_fs, log.waited_fs) == (0, 0, 0, 0)


def test_sums_and_words_say_what_is_wrong():
    log = told(*TWO, hbm=10)
    checked(log, 70, 33)
    assert (log.found_tokens, log.hit_tokens) == (60, 70)
    assert (log.noted_wait_fs, log.waited_fs) == (20, 33)
    assert "30 in host (3 blocks)" in log.hits_amiss[0]
    assert log.waits_amiss == ["call 3: 33 fs, its 1 fetches 20 fs"]


def test_the_first_call_of_all_is_checked_too():
    log = Log(block_tokens=BLOCK)
    log.note("fetch", "host", 3, (5, 9), call=0)
    log.check(call_of((), 200, 0))
    assert log.waits_amiss == ["call 0: 0 fs, its 1 fetches 4 fs"]


def test_rows_are_counted_by_event_and_tier():
    log = told(*TWO)
    log.note("store", "host", 7, (2, 5), size_bytes=70.0)
    log.note("store", "host", 1, (5, 6), size_bytes=10.0, replica=4)
    assert log.count == len(log.rows) == 6
    assert (log.noted_blocks["store_host"], log.noted_bytes["store_host"]) == (8, 80.0)
    assert (log.noted_fs["store_host"], log.noted_fs["fetch_nvme"]) == (4, 20)
    assert log.rows[-1] == (5 * S_PER_FS, 6 * S_PER_FS, "host", "store", 4, -1, 1, 10.0, 0)
    assert log.rows[3][4:] == (-1, 3, 0, 0.0, 20)


# Of all.


class Counted(NotingRoad):
    """Keeps the books of a `FabricRoad` for one whose bytes have all landed."""

    def __init__(self, *, short=0):
        super().__init__()
        self.short = short
        self.landed_bytes = 0
        self.landed_by_kind, self.took_fs, self.lanes = Counter(), Counter(), Counter()

    def carry(self, lanes, size_bytes, kind, landed):
        self.sent.append((kind, list(lanes), size_bytes))
        size = size_bytes * len(lanes)
        self.lanes[kind] += len(lanes)
        self.landed_bytes += size - self.short
        self.landed_by_kind[kind] += size
        landed()

    def carried(self):
        sizes = Counter()
        for kind, lanes, size_bytes in self.sent:
            sizes[kind] += size_bytes * len(lanes) - self.short
        return dict(sizes)

    def found_bytes(self):
        return 0


def busy(monkeypatch, road, **options):
    """Blocks out of HBM, down a tier, and back into HBM for a call."""
    monkeypatch.setattr("tests.unit.sim.tier_builders.NotingRoad", lambda: road)
    bench = Bench(12, 100, hbm=30, devices=(1, 2), **options).cached(((0, 20),), 20)
    bench.ledger.take(30)
    bench.ledger.free += 30
    bench.consider(call_of(((0, 20),), 205))
    return bench


def broken(bench):
    lines = audit_tiers(bench.shelves, [bench.tiers], bench.log, bench.road)
    return [line.name.split(": ")[-1] for line in lines if not line.ok]


def test_sound_books_pass(monkeypatch):
    bench = busy(monkeypatch, Counted(), block_bytes=6.0, lane_bytes=4.0)
    assert bench.tiers.landed_blocks == 20
    assert {kind for kind, _, _ in bench.road.sent} == {
        "store_t0", "store_t1", "fetch_t0", "fetch_t1",
    }  # fmt: skip
    assert broken(bench) == []


@pytest.mark.parametrize(("block_bytes", "lane_bytes"), [(7.0, 3.3), (1.1, 0.7), (6.9, 4.4)])
def test_half_a_byte_a_lane_is_rounding(monkeypatch, block_bytes, lane_bytes):
    bench = busy(monkeypatch, Counted(), block_bytes=block_bytes, lane_bytes=lane_bytes)
    assert broken(bench) == []


def test_more_than_rounding_is_not(monkeypatch):
    """A batch a block, 20 fetched: two lanes each, so each transfer may be off by a byte."""
    sound = busy(monkeypatch, Counted(short=1), block_bytes=6.0, lane_bytes=4.0)
    assert broken(sound) == []
    short = busy(monkeypatch, Counted(short=2), block_bytes=6.0, lane_bytes=4.0)
    assert broken(short) == ["bytes on the fabric = blocks sent and read"]


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("offered", "blocks offered = there + sent + without room"),
        ("present", "blocks offered = there + sent + without room"),
        ("beyond", "blocks offered = there + sent + without room"),
        ("stored", "blocks offered = there + sent + without room"),
        ("evicted", "blocks handed down = offered to the next tier"),
        ("landing", "blocks sent = landed + on their way"),
        ("used", "blocks sent = evicted + held"),
    ],
)
@pytest.mark.parametrize("by", [1, -1])
def test_each_count_of_a_store_is_held_to_another(monkeypatch, name, law, by):
    bench = busy(monkeypatch, Counted(), block_bytes=6.0, lane_bytes=4.0)
    setattr(bench.shelves[0], name, getattr(bench.shelves[0], name) + by)
    assert law in broken(bench)


@pytest.mark.parametrize("name", ["started_blocks", "landed_blocks", "lost_blocks"])
def test_each_count_of_fetches_is_held_to_another(monkeypatch, name):
    bench = busy(monkeypatch, Counted(), block_bytes=6.0, lane_bytes=4.0)
    setattr(bench.tiers, name, getattr(bench.tiers, name) + 1)
    assert "blocks begun = landed + lost + under way" in broken(bench)


def test_reads_are_held_to_what_was_begun_and_to_the_fabric(monkeypatch):
    bench = busy(monkeypatch, Counted(), block_bytes=6.0, lane_bytes=4.0)
    bench.tiers.read_blocks[0] += 1
    bench.tiers.read_blocks[1] -= 1
    assert broken(bench) == ["bytes on the fabric = blocks sent and read"]
    bench.tiers.read_blocks[1] += 1
    assert "blocks begun = read from stores" in broken(bench)


def test_times_of_rows_are_held_to_the_road(monkeypatch):
    bench = busy(monkeypatch, Counted(), block_bytes=6.0, lane_bytes=4.0)
    bench.road.took_fs["store_t0"] += 1
    assert broken(bench) == ["times of rows = on the road (fs)"]


def test_blocks_in_two_pieces_of_a_store_are_found():
    bench = Bench(100)
    shelf = bench.shelves[0]
    shelf.reserve(Span(LINE, 0, 5), 0)
    shelf.reserve(Span(LINE, 4, 6), 0)
    bench.road = Counted()
    [held] = [
        line
        for line in audit_tiers(bench.shelves, [bench.tiers], bench.log, bench.road)
        if line.name == "KV tiers: blocks sent = evicted + held"
    ]
    assert not held.ok
    assert "some twice" in held.detail
