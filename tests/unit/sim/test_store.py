"""A store of KV blocks: what it finds, what it parts with, and in which order."""

from __future__ import annotations

from types import SimpleNamespace

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


def test_what_was_not_used_for_long_expires():
    one = store(20, Span(LINE, 0, 8), Span(((), 100), 0, 8))
    assert one.oldest_fs() == 0
    assert one.expire(0) == [Span(LINE, 0, 8)]
    assert (one.oldest_fs(), one.used, one.evicted) == (1, 8, 8)


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
