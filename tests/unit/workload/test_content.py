"""What the blocks of a session's calls hold, worked out on paper with blocks of 10 tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from factorysim.workload.content import SESSION_BITS, Contents, blocks_of_hashes
from factorysim.workload.runs import Runs, ids_of, runs_of_ids
from factorysim.workload.session import LlmNode


def ids(runs: Runs) -> list[int]:
    return list(ids_of(runs))


def test_only_full_blocks_are_named():
    assert Contents(0, 10).next_call(LlmNode(5, 4, 0)) == ()
    assert Contents(0, 10).next_call(LlmNode(5, 5, 0)) == ((0, 1),)


def test_a_history_that_only_grows_is_one_run():
    session = Contents(0, 10)
    assert session.next_call(LlmNode(33, 14, 0)) == ((0, 4),)
    assert session.next_call(LlmNode(60, 5, 47)) == ((0, 6),)
    assert session.next_call(LlmNode(90, 30, 65)) == ((0, 12),)


def test_what_is_not_repeated_is_new_from_the_block_on_in_which_it_begins():
    session = Contents(0, 10)
    session.next_call(LlmNode(50, 50, 0))
    assert session.next_call(LlmNode(80, 20, 59)) == ((0, 5), (10, 5))
    assert session.next_call(LlmNode(120, 0, 100)) == ((0, 5), (10, 7))
    assert session.next_call(LlmNode(70, 0, 70)) == ((0, 5), (10, 2))
    assert session.next_call(LlmNode(80, 0, 70)) == ((0, 5), (10, 2), (17, 1))


def test_nothing_repeated_is_nothing_shared():
    session = Contents(0, 10)
    first, second = session.next_call(LlmNode(50, 50, 0)), session.next_call(LlmNode(50, 50, 0))
    assert not set(ids(first)) & set(ids(second))


def test_more_repeated_than_there_was_is_what_there_was():
    session = Contents(0, 10)
    session.next_call(LlmNode(20, 5, 0))
    assert session.next_call(LlmNode(90, 0, 80)) == ((0, 9),)
    assert session.next_call(LlmNode(20, 0, 80)) == ((0, 2),)


def test_siblings_share_what_both_repeat_of_the_call_before_them():
    session = Contents(0, 10)
    session.next_call(LlmNode(40, 20, 0))
    one, other = session.next_call(LlmNode(90, 10, 60)), session.next_call(LlmNode(90, 10, 60))
    assert ids(one)[:6] == ids(other)[:6] == list(range(6))
    assert not set(ids(one)[6:]) & set(ids(other)[6:])


def test_a_context_goes_on_where_it_was_whatever_others_did_meanwhile():
    session = Contents(0, 10)
    assert session.next_call(LlmNode(50, 10, 0)) == ((0, 6),)
    assert session.next_call(LlmNode(30, 10, 0, context=1)) == ((6, 4),)
    assert session.next_call(LlmNode(30, 10, 0, context=2)) == ((10, 4),)
    assert session.next_call(LlmNode(60, 20, 40, context=1)) == ((6, 4), (14, 4))
    assert session.next_call(LlmNode(90, 10, 60)) == ((0, 6), (18, 4))


def test_sub_agents_begin_alike_and_not_as_their_caller_does():
    sessions = [Contents(n, 10, shared=3) for n in range(2)]
    own = [ids(s.next_call(LlmNode(50, 0, shared_tokens=30))) for s in sessions]
    subs = [
        ids(s.next_call(LlmNode(50, 0, shared_tokens=20, context=n)))
        for s in sessions
        for n in (1, 2)
    ]
    assert own[0][:3] == own[1][:3]
    assert len({tuple(sub[:2]) for sub in subs}) == 1
    assert len({tuple(sub[2:]) for sub in subs}) == 4
    assert not set(own[0]) & set(subs[0])


def test_sessions_share_no_ids():
    last = 2**SESSION_BITS - 1
    assert max(ids(Contents(3, 10).next_call(LlmNode(500, 500, 0)))) <= (3 << SESSION_BITS) + last
    assert min(ids(Contents(4, 10).next_call(LlmNode(500, 500, 0)))) == 4 << SESSION_BITS


def test_sessions_of_an_agent_begin_alike_and_go_on_apart():
    one, other = Contents(0, 10, shared=4), Contents(1, 10, shared=4)
    a = ids(one.next_call(LlmNode(60, 20, shared_tokens=35)))
    b = ids(other.next_call(LlmNode(90, 0, shared_tokens=35)))
    assert a[:3] == b[:3]
    assert not set(a[3:]) & set(b[3:])
    stranger = Contents(2, 10, shared=5).next_call(LlmNode(60, 1, shared_tokens=35))
    assert not set(a) & set(ids(stranger))


def test_what_is_shared_is_found_again_after_another_context():
    session = Contents(0, 10, shared=0)
    first = ids(session.next_call(LlmNode(60, 10, shared_tokens=30)))
    between = ids(session.next_call(LlmNode(50, 10)))  # a sub-agent: nothing in common
    again = ids(session.next_call(LlmNode(80, 10, shared_tokens=30)))
    assert not set(first) & set(between)
    assert again[:3] == first[:3]
    assert not set(again[3:]) & set(first + between)


def test_nothing_is_shared_where_the_cache_is_the_sessions_own():
    one, other = Contents(0, 10), Contents(1, 10)
    a = one.next_call(LlmNode(60, 0, shared_tokens=35))
    assert not set(ids(a)) & set(ids(other.next_call(LlmNode(60, 0, shared_tokens=35))))


def test_hashes_of_a_trace_hold_in_all_its_sessions_or_in_one():
    call = LlmNode(64, 1, hashes=((3, 2),), block_tokens=32)
    named = [ids(Contents(n, 16, trace=t).next_call(call)) for n, t in ((0, 0), (1, 0), (1, 1))]
    own = [ids(Contents(n, 16).next_call(call)) for n in (0, 1)]
    assert named[0] == named[1]
    assert len({block for one in (*named[1:], *own) for block in one}) == 16
    drawn = Contents(3, 16, shared=7).next_call(LlmNode(99, 9, shared_tokens=50))
    assert not set(ids(drawn)) & set(named[0])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 40), st.integers(1, 40))
def test_blocks_of_hashes_are_alike_just_where_their_tokens_are(chain, hash_tokens, size):
    """Against token by token: prefix-chained hashes, another chain that forks somewhere."""
    tokens = len(chain) * hash_tokens
    hashes = [sum(10**i * (h + 1) for i, h in enumerate(chain[: n + 1])) for n in range(len(chain))]
    for fork in range(len(chain) + 1):
        other = hashes[:fork] + [h + 10**14 for h in hashes[fork:]]
        a, b = (
            ids(blocks_of_hashes(runs_of_ids(h), hash_tokens, size, tokens, 5))
            for h in (hashes, other)
        )
        assert len(a) == len(b) == tokens // size
        common = fork * hash_tokens // size
        assert a[:common] == b[:common]
        assert not set(a[common:]) & set(b[common:])
        assert len(set(a)) == len(a)
