"""The KV ledger: counts that add up, and who is evicted first."""

from __future__ import annotations

import pytest

from factorysim.sim.kv import Ledger


def filled() -> Ledger:
    """Ten blocks of 4 tokens: 2 free, and extents of three sessions, 1 the oldest."""
    ledger = Ledger(10, 4)
    ledger.take(8)
    for session, tokens, blocks in ((1, 11, 3), (2, 8, 2), (3, 10, 3)):
        ledger.keep(session, tokens, blocks)
    return ledger


def test_kept_blocks_are_evictable_not_held():
    ledger = filled()
    assert (ledger.free, ledger.evictable, ledger.held) == (2, 8, 0)


def test_free_blocks_go_first_then_the_oldest_extent_from_its_tail():
    ledger = filled()
    ledger.take(3)
    assert ledger.kept[1] == (8, 2)
    assert (ledger.free, ledger.evictable, ledger.held) == (0, 7, 3)
    ledger.take(3)
    assert list(ledger.kept.items()) == [(2, (4, 1)), (3, (10, 3))]


def test_an_extent_keeps_its_turn_when_only_its_tail_goes():
    ledger = filled()
    ledger.take(3)
    assert next(iter(ledger.kept)) == 1


def test_a_returning_session_adopts_the_head_and_frees_the_rest():
    ledger = filled()
    ledger.adopt(3, 2)
    assert (ledger.free, ledger.evictable, ledger.held) == (3, 5, 2)


def test_keeping_again_replaces_the_extent_and_makes_it_the_youngest():
    ledger = filled()
    ledger.take(2)
    ledger.keep(1, 5, 2)
    assert list(ledger.kept) == [2, 3, 1]
    assert (ledger.free, ledger.evictable) == (3, 7)


def test_more_than_there_is_cannot_be_taken():
    with pytest.raises(AssertionError, match="more blocks"):
        filled().take(11)
