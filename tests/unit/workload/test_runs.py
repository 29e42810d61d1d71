"""Lists of block ids as runs: the same as lists of ids."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from factorysim.workload.runs import (
    blocks_in,
    common_blocks,
    head_of,
    ids_of,
    lengthened,
    runs_of_ids,
)

ids = st.lists(st.integers(0, 4), max_size=12)


def test_what_two_lists_share_ends_where_one_of_them_turns_off():
    assert common_blocks(((4, 2), (9, 1)), ((4, 3), (9, 1))) == 2


@given(ids, ids)
def test_runs_are_the_ids_that_they_stand_for(a, b):
    runs = runs_of_ids(a)
    assert list(ids_of(runs)) == a
    assert blocks_in(runs) == len(a)
    assert all(sum(x) != y[0] for x, y in pairwise(runs))
    common = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    assert common_blocks(runs, runs_of_ids(b)) == (
        min(len(a), len(b)) if common is None else common
    )


@given(ids, st.integers(0, 14))
def test_a_head_is_the_first_ids(a, blocks):
    assert list(ids_of(head_of(runs_of_ids(a), blocks))) == a[:blocks]


@given(ids, st.integers(0, 6), st.integers(1, 5))
def test_a_longer_list_has_the_new_ids_behind_the_old(a, first, count):
    whole = [*a, *range(first, first + count)]
    assert lengthened(runs_of_ids(a), first, count) == runs_of_ids(whole)
