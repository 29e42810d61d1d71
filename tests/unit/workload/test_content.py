"""What the blocks of a session's calls hold, worked out on paper with blocks of 10 tokens."""

from __future__ import annotations

from factorysim.workload.content import SESSION_BITS, Contents, Runs


def ids(runs: Runs) -> list[int]:
    return [block for first, count in runs for block in range(first, first + count)]


def test_only_full_blocks_are_named():
    assert Contents(0, 10).next_call(5, 4, 0) == ()
    assert Contents(0, 10).next_call(5, 5, 0) == ((0, 1),)


def test_a_history_that_only_grows_is_one_run():
    session = Contents(0, 10)
    assert session.next_call(33, 14, 0) == ((0, 4),)
    assert session.next_call(60, 5, 47) == ((0, 6),)
    assert session.next_call(90, 30, 65) == ((0, 12),)


def test_what_is_not_repeated_is_new_from_the_block_on_in_which_it_begins():
    session = Contents(0, 10)
    session.next_call(50, 50, 0)
    assert session.next_call(80, 20, 59) == ((0, 5), (10, 5))
    assert session.next_call(120, 0, 100) == ((0, 5), (10, 7))
    assert session.next_call(70, 0, 70) == ((0, 5), (10, 2))
    assert session.next_call(80, 0, 70) == ((0, 5), (10, 2), (17, 1))


def test_nothing_repeated_is_nothing_shared():
    session = Contents(0, 10)
    first, second = session.next_call(50, 50, 0), session.next_call(50, 50, 0)
    assert not set(ids(first)) & set(ids(second))


def test_more_repeated_than_there_was_is_what_there_was():
    session = Contents(0, 10)
    session.next_call(20, 5, 0)
    assert session.next_call(90, 0, 80) == ((0, 9),)
    assert session.next_call(20, 0, 80) == ((0, 2),)


def test_siblings_share_what_both_repeat_of_the_call_before_them():
    session = Contents(0, 10)
    session.next_call(40, 20, 0)
    one, other = session.next_call(90, 10, 60), session.next_call(90, 10, 60)
    assert ids(one)[:6] == ids(other)[:6] == list(range(6))
    assert not set(ids(one)[6:]) & set(ids(other)[6:])


def test_sessions_share_no_ids():
    last = 2**SESSION_BITS - 1
    assert max(ids(Contents(3, 10).next_call(500, 500, 0))) <= (3 << SESSION_BITS) + last
    assert min(ids(Contents(4, 10).next_call(500, 500, 0))) == 4 << SESSION_BITS
