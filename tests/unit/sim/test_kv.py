"""The KV ledger: counts that add up, and in which order blocks are taken."""

from __future__ import annotations

import pytest

from factorysim.sim.call import Call
from factorysim.sim.kv import Ledger


def begin(ledger: Ledger, tokens: int, first: int) -> Call:
    """Take blocks for a call's context, and register those that are full."""
    call = Call(0, 0, tokens, 1, content=((first, tokens // ledger.block_tokens),))
    ledger.take(-(-tokens // ledger.block_tokens))
    ledger.free += ledger.register(call, tokens // ledger.block_tokens)
    return call


def filled() -> Ledger:
    """Ten blocks of 4 tokens: 3 free, and three extents of 2, 2 and 3 blocks, 10 the oldest."""
    ledger = Ledger(10, 4)
    for tokens, first in ((11, 10), (8, 20), (12, 30)):
        ledger.release(begin(ledger, tokens, first), tokens)
    return ledger


def cached(ledger: Ledger) -> list[tuple[int, int]]:
    return [(extent.first, extent.count) for extent in ledger.extents()]


def test_what_a_call_leaves_behind_is_evictable_but_for_the_block_it_has_not_filled():
    ledger = filled()
    assert cached(ledger) == [(10, 2), (20, 2), (30, 3)]
    assert (ledger.free, ledger.evictable, ledger.held) == (3, 7, 0)


def test_free_blocks_go_first_then_the_oldest_extent_from_its_tail():
    ledger = filled()
    ledger.take(4)
    assert cached(ledger) == [(10, 1), (20, 2), (30, 3)]
    assert (ledger.free, ledger.evictable, ledger.held) == (0, 6, 4)
    ledger.take(2)
    assert cached(ledger) == [(20, 1), (30, 3)]


def test_private_and_shared_blocks_of_a_running_call_are_held():
    ledger = Ledger(10, 4)
    call = begin(ledger, 11, 10)
    assert call.shared == 2
    assert (ledger.free, ledger.evictable, ledger.held) == (7, 0, 3)
    ledger.release(call, 11)
    assert (ledger.free, ledger.evictable, ledger.held) == (8, 2, 0)


def test_a_copy_of_what_is_cached_is_free_at_once():
    ledger = Ledger(10, 4)
    first = begin(ledger, 12, 10)
    second = begin(ledger, 11, 10)
    assert (ledger.free, ledger.held) == (10 - 3 - 1, 4)
    ledger.release(first, 12)
    assert (ledger.free, ledger.evictable, ledger.held) == (6, 1, 3)
    ledger.release(second, 11)
    assert (ledger.free, ledger.evictable, ledger.held) == (7, 3, 0)


def test_a_copy_of_what_was_evictable_is_free_and_the_cached_one_held():
    ledger = filled()
    call = begin(ledger, 12, 30)
    assert (ledger.free, ledger.evictable, ledger.held) == (3, 4, 3)
    ledger.release(call, 12)
    assert (ledger.free, ledger.evictable, ledger.held) == (3, 7, 0)


def test_more_than_there_is_cannot_be_taken():
    with pytest.raises(AssertionError, match="more blocks"):
        filled().take(11)


def test_a_failure_frees_everything():
    ledger = filled()
    ledger.clear()
    assert (ledger.free, ledger.evictable, ledger.held) == (10, 0, 0)
