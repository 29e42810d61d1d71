"""A store of KV blocks: what it finds, what it parts with, and in which order."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace

import pytest

from factorysim.sim.prefix import PrefixTree
from factorysim.sim.store import Span, Store, joined, lines_of, span_of

LINE = ((), 0)
AFTER = (((0, 10),), 50)
"""A line that goes on from ten blocks of the first."""


def store(blocks=20, *spans, keep=None):
    made = Store(blocks, keep)
    for at, span in enumerate(spans):
        made.reserve(span, at)
        made.land(span)
    return made


def test_what_is_on_its_way_has_its_room_but_is_not_found():
    one = Store(10)
    one.reserve(Span(LINE, 0, 6), 0)
    assert (one.used, one.landing, one.reach(LINE, 0, 10)) == (6, 6, 0)
    assert one.missing(Span(LINE, 0, 8)) == [Span(LINE, 6, 8)]
    assert one.make_room(10, 0) == []
    one.land(Span(LINE, 0, 6))
    assert (one.used, one.landing, one.reach(LINE, 0, 10)) == (6, 0, 6)


def test_a_block_is_another_one_after_other_blocks():
    one = store(20, Span(((), 50), 0, 4))
    assert one.reach(AFTER, 0, 4) == 0
    assert one.reach(((), 50), 1, 3) == 3


def test_the_least_recently_used_goes_first_from_its_tail():
    one = store(20, Span(LINE, 0, 8), Span(((), 100), 0, 8))
    one.touch(Span(LINE, 0, 3), 9)
    assert one.make_room(9, 9) == [Span(LINE, 3, 8)]
    assert one.make_room(12, 9) == [Span(((), 100), 5, 8)]
    assert one.reach(LINE, 0, 20) == 3


def test_a_use_is_one_of_all_that_comes_before():
    one = store(20, Span(LINE, 0, 10), Span(((), 100), 0, 5), Span(AFTER, 0, 5))
    one.touch(Span(AFTER, 0, 2), 9)
    gone = [span for _ in range(20) for span in one.make_room(one.blocks - one.used + 1, 9)]
    assert [span.line for span in joined(gone)] == [((), 100), AFTER, LINE]
    assert sum(span.high - span.low for span in gone) == 20


def test_what_is_better_kept_goes_after_all_else():
    keep = {LINE: 100}
    one = store(20, Span(LINE, 0, 8), Span(((), 100), 0, 8), keep=keep)
    assert one.make_room(12, 50) == [Span(((), 100), 0, 8)]
    assert one.make_room(13, 50) == [Span(LINE, 7, 8)]  # nothing else is left
    assert one.make_room(14, 100) == [Span(LINE, 6, 7)]


def test_blocks_are_better_kept_until_an_instant_and_not_at_it():
    pieces = Span(LINE, 0, 8), Span(((), 100), 0, 6), Span(((), 200), 0, 6)
    assert store(20, *pieces, keep={LINE: 100}).make_room(2, 100) == [Span(LINE, 6, 8)]
    one = store(20, *pieces, keep={LINE: 200, ((), 100): 100})
    assert one.make_room(2, 100) == [Span(((), 100), 4, 6)]


def test_what_was_not_used_for_long_expires():
    one = store(20, Span(LINE, 0, 8), Span(((), 100), 0, 8))
    assert one.oldest_fs() == 0
    assert one.expire(0) == [Span(LINE, 0, 8)]
    assert (one.oldest_fs(), one.used, one.evicted) == (1, 8, 8)


RUNS = ((4, 3), (9, 4), (20, 2))


@pytest.mark.parametrize(
    ("start", "stop", "told"),
    [
        (0, 9, [(0, 0, 3), (1, 0, 4), (2, 0, 2)]),
        (3, 7, [(1, 0, 4)]),
        (2, 3, [(0, 2, 3)]),
        (3, 8, [(1, 0, 4), (2, 0, 1)]),
        (4, 6, [(1, 1, 3)]),
        (8, 9, [(2, 1, 2)]),
        (7, 20, [(2, 0, 2)]),
        (9, 20, []),
    ],
)
def test_contents_are_walked_line_by_line(start, stop, told):
    lines = [(RUNS[:run], RUNS[run][0]) for run in range(3)]
    spans = [Span(lines[run], low, high) for run, low, high in told]
    assert list(lines_of(RUNS, start, stop)) == spans


def test_only_spans_that_meet_are_joined():
    apart = [Span(LINE, 5, 8), Span(LINE, 2, 4), Span(AFTER, 0, 2), Span(LINE, 0, 2)]
    assert joined(apart) == apart
    assert joined([Span(LINE, 2, 4), Span(LINE, 4, 6)]) == [Span(LINE, 2, 4), Span(LINE, 4, 6)]


class Blocks:
    """A store with an entry for each block, least recently used first."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.entries = {}
        """When each was used, and whether it has landed, by path."""
        self.evicted = 0

    def touch(self, path, now):
        for length in range(len(path), 0, -1):
            if path[:length] in self.entries:
                _, landed = self.entries.pop(path[:length])
                self.entries[path[:length]] = (now, landed)

    def oldest(self):
        return next((path for path, (_, landed) in self.entries.items() if landed), None)

    def part(self, path):
        del self.entries[path]
        self.evicted += 1
        return path


def paths_of(content):
    ids = [first + k for first, count in content for k in range(count)]
    return [tuple(ids[:length]) for length in range(1, len(ids) + 1)]


def blocks_of(spans):
    """Paths of spans, each from its tail."""
    told = []
    for (runs, first), low, high in spans:
        paths = paths_of((*runs, (first, high)))
        told += paths[len(paths) - (high - low) :][::-1]
    return told


CONTENTS = (((0, 12),), ((0, 5), (50, 6)), ((0, 5), (50, 3), (80, 4)), ((100, 7),))


@pytest.mark.parametrize("seed", range(60))
def test_a_store_does_what_one_with_an_entry_a_block_does(seed):
    draw = Random(seed)
    one, naive = Store(draw.choice([6, 12, 25])), Blocks(0)
    naive.blocks, on_way = one.blocks, []
    for now in range(40):
        content = draw.choice(CONTENTS)
        paths = paths_of(content)
        [span] = draw.sample(list(lines_of(content, 0, len(paths))), 1)
        low, high = sorted(draw.sample(range(span.low, span.high + 1), 2))
        span = Span(span.line, low, high)
        mine = blocks_of([span])[::-1]
        match draw.choice(["put", "put", "land", "land", "touch", "expire"]):
            case "put":
                missing = one.missing(span)
                lacked = [path for path in mine if path not in naive.entries]
                assert blocks_of(missing[::-1])[::-1] == lacked
                assert all(gap.low < gap.high for gap in missing)
                assert one.held(span) == len(mine) - len(lacked)
                for gap in missing:
                    blocks = min(gap.high - gap.low, one.blocks - one.landing)
                    if not blocks:
                        continue
                    gap = Span(gap.line, gap.low, gap.low + blocks)
                    gone = one.make_room(blocks, now)
                    short = len(naive.entries) + blocks - naive.blocks
                    parted = [naive.part(naive.oldest()) for _ in range(short)]
                    assert blocks_of(gone) == parted
                    one.reserve(gap, now)
                    naive.entries |= dict.fromkeys(blocks_of([gap]), (now, False))
                    on_way.append(gap)
            case "land" if on_way:
                landed = on_way.pop(draw.randrange(len(on_way)))
                one.land(landed)
                for path in blocks_of([landed]):
                    naive.entries[path] = (naive.entries[path][0], True)
            case "touch":
                one.touch(span, now)
                naive.touch(mine[-1], now)
            case "expire":
                before = now - draw.choice([5, 10, 20])
                parted = blocks_of(one.expire(before))
                due = [p for p, (at, landed) in naive.entries.items() if landed and at <= before]
                assert parted == [naive.part(path) for path in due]
        here = [path in naive.entries and naive.entries[path][1] for path in mine]
        assert one.reach(*span) - low == next(
            (k for k, has in enumerate(here) if not has), len(here)
        )
        assert one.begins(*span) - low == next((k for k, has in enumerate(here) if has), len(here))
        assert blocks_of((p.line, p.low, p.high) for p in one.pieces()) == list(naive.entries)
        assert (one.used, one.evicted) == (len(naive.entries), naive.evicted)
        assert one.landing == sum(not landed for _, landed in naive.entries.values())
        oldest = naive.oldest()
        assert one.oldest_fs() == (None if oldest is None else naive.entries[oldest][0])


def test_spans_of_extents_and_of_contents_are_the_same():
    tree = PrefixTree()
    content = ((7, 4), (30, 6))
    call = SimpleNamespace(content=content, leaf=None, shared=0, run=0, end=0)
    tree.register(call, 2)
    other = SimpleNamespace(content=((7, 3),), leaf=None, shared=0, run=0, end=0)
    tree.register(other, 3)
    tree.register(call, 10)
    told = [span for extent in tree.extents() for span in [span_of(extent, extent.count)]]
    asked = list(lines_of(content, 0, 10))
    whole = {(span.line, block) for span in told for block in range(span.low, span.high)}
    assert whole == {(span.line, block) for span in asked for block in range(span.low, span.high)}
