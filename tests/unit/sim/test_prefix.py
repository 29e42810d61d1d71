"""The prefix tree: cases on paper. `tests/property/test_prefix_tree.py` holds it to a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from factorysim.sim.call import Call
from factorysim.sim.prefix import PrefixTree, path

if TYPE_CHECKING:
    from factorysim.workload.content import Runs


def serve(tree: PrefixTree, content: Runs, upto: int = 1000) -> Call:
    """Find what is cached for a call, and register the rest."""
    call = Call(0, 0, 1, 1, content=content)
    hit = tree.match(content, upto)
    if hit[0]:
        tree.lock(call, hit)
    tree.register(call, upto)
    return call


def found(tree: PrefixTree, content: Runs, most: int = 1000) -> tuple[int, int]:
    """How many leading blocks are cached, and how many of them nobody has locked."""
    return tree.match(content, most)[:2]


def leave(tree: PrefixTree, *contents: Runs) -> None:
    """Serve calls one after another, and let each go."""
    for content in contents:
        tree.unlock(serve(tree, content))


def extents(tree: PrefixTree) -> list[tuple[int, int, int]]:
    """First id, blocks and locks of all that is cached."""
    return sorted((e.first, e.count, e.refs) for e in tree.extents())


def test_blocks_are_found_from_the_first_on_and_no_further_than_asked():
    tree = PrefixTree()
    leave(tree, ((10, 4), (50, 2)))
    assert found(tree, ((10, 4), (50, 2))) == (6, 6)
    assert found(tree, ((10, 4), (50, 2)), 5) == (5, 5)
    assert found(tree, ((10, 4), (51, 2))) == (4, 4)
    assert found(tree, ((11, 3),)) == (0, 0)
    assert found(tree, ((10, 2), (12, 2), (50, 9))) == (6, 6)
    assert found(tree, ()) == (0, 0)


def test_a_block_is_known_by_all_before_it_not_by_its_id_alone():
    tree = PrefixTree()
    leave(tree, ((1, 1), (7, 3)), ((2, 1), (7, 2)))
    assert extents(tree) == [(1, 1, 0), (2, 1, 0), (7, 2, 0), (7, 3, 0)]
    assert found(tree, ((2, 1), (7, 3))) == (3, 3)


def test_looking_changes_nothing():
    tree = PrefixTree()
    leave(tree, ((0, 8),))
    tree.match(((0, 3), (90, 2)), 100)
    assert extents(tree) == [(0, 8, 0)]


def test_what_others_have_locked_is_told_apart():
    tree = PrefixTree()
    leave(tree, ((0, 8),))
    serve(tree, ((0, 3),))
    assert found(tree, ((0, 8),)) == (8, 5)
    assert tree.evictable == 5


def test_a_history_stays_one_extent_over_its_calls():
    tree = PrefixTree()
    for blocks in range(1, 50):
        leave(tree, ((0, blocks),))
    assert extents(tree) == [(0, 49, 0)]


def test_an_extent_is_cut_where_paths_part_and_the_tail_stays_what_it_was():
    tree = PrefixTree()
    long = serve(tree, ((0, 8),))
    leaf = long.leaf
    short = serve(tree, ((0, 3), (90, 2)))
    assert extents(tree) == [(0, 3, 2), (3, 5, 1), (90, 2, 1)]
    assert long.leaf is leaf
    assert [e.first for e in path(leaf)] == [3, 0]
    tree.unlock(short)
    assert extents(tree) == [(0, 3, 1), (3, 5, 1), (90, 2, 0)]


def test_an_extent_that_two_have_locked_does_not_grow():
    tree = PrefixTree()
    first = serve(tree, ((0, 6),), 4)
    second = serve(tree, ((0, 6),), 4)
    assert tree.register(first, 6) == 0
    assert tree.register(second, 6) == 2
    assert extents(tree) == [(0, 4, 2), (4, 2, 2)]


def test_copies_of_what_another_registered_meanwhile_are_told():
    tree = PrefixTree()
    first, second = (Call(n, 0, 1, 1, content=((0, 9),)) for n in range(2))
    assert tree.register(first, 3) == 0
    assert tree.follows(second)
    assert tree.register(second, 5) == 3
    assert not tree.follows(second)
    assert tree.follows(first)
    assert tree.register(first, 9) == 2
    assert (first.shared, second.shared) == (9, 5)


def test_no_more_is_registered_than_is_named():
    tree = PrefixTree()
    assert serve(tree, ((0, 2), (7, 1)), 50).shared == 3


def test_the_path_unlocked_longest_ago_goes_first_from_its_tail():
    tree = PrefixTree()
    leave(tree, ((0, 4),), ((10, 4),), ((20, 4),), ((0, 4),))
    tree.evict(3)
    assert extents(tree) == [(0, 4, 0), (10, 1, 0), (20, 4, 0)]
    tree.evict(3)
    assert extents(tree) == [(0, 4, 0), (20, 2, 0)]
    assert (tree.evictable, tree.evicted) == (6, 6)


def test_a_trunk_goes_after_its_branches_by_its_own_age():
    tree = PrefixTree()
    leave(tree, ((0, 2), (10, 2)), ((50, 2),), ((0, 2), (20, 2)), ((60, 2),))
    tree.evict(2)
    assert extents(tree) == [(0, 2, 0), (20, 2, 0), (50, 2, 0), (60, 2, 0)]
    tree.evict(2)  # the trunk was used again after 50
    assert extents(tree) == [(0, 2, 0), (20, 2, 0), (60, 2, 0)]
    tree.evict(3)
    assert extents(tree) == [(0, 1, 0), (60, 2, 0)]


def test_a_tail_keeps_its_turn_when_its_head_is_used_again():
    tree = PrefixTree()
    leave(tree, ((0, 4),), ((10, 4),))
    leave(tree, ((0, 2),))
    tree.evict(2)
    assert extents(tree) == [(0, 2, 0), (10, 4, 0)]
    tree.evict(4)
    assert extents(tree) == [(0, 2, 0)]


def test_what_is_locked_does_not_go():
    tree = PrefixTree()
    leave(tree, ((0, 4),))
    held = serve(tree, ((0, 2),))
    tree.evict(2)
    with pytest.raises(AssertionError, match="more blocks"):
        tree.evict(1)
    tree.unlock(held)
    tree.evict(2)
    assert extents(tree) == []


def test_a_tail_that_went_can_be_registered_again():
    tree = PrefixTree()
    leave(tree, ((0, 6),))
    tree.evict(4)
    assert found(tree, ((0, 6),)) == (2, 2)
    leave(tree, ((0, 6),))
    assert extents(tree) == [(0, 6, 0)]


def test_those_that_wait_for_eviction_are_no_more_than_there_are():
    tree = PrefixTree()
    for _ in range(100):
        leave(tree, ((0, 4),), ((9, 4),))
    assert len(tree._queue) == 2


def test_a_failure_empties_it():
    tree = PrefixTree()
    leave(tree, ((0, 4),))
    tree.clear()
    assert extents(tree) == []
    assert tree.evictable == 0
    leave(tree, ((7, 1),))
    tree.evict(1)
