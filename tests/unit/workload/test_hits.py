"""Caches without bounds against one that is kept naively, block by block."""

from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.workload import hits
from factorysim.workload.hits import TTL_S, BlockTimes
from factorysim.workload.runs import runs_of_ids

calls = st.lists(
    st.tuples(st.lists(st.integers(0, 12) | st.integers(60, 70), max_size=8), st.integers(0, 4000)),
    max_size=12,
)


def naive(last: dict[int, int], ids: list[int], now: int) -> list[int]:
    held = []
    for ttl in (float("inf"), *TTL_S):
        count = 0
        while count < len(ids) and ids[count] in last and now - last[ids[count]] <= ttl:
            count += 1
        held.append(count)
    return held


@settings(max_examples=150, deadline=None, derandomize=True)
@given(calls=calls, dense=st.sampled_from([0, 8, 2**26]), again=st.booleans())
def test_as_many_leading_blocks_are_held_as_one_by_one(calls, dense, again):
    before, hits.DENSE_MOST = hits.DENSE_MOST, dense
    try:
        times = BlockTimes(cleared=True)
        for _ in range(1 + again):
            last: dict[int, int] = {}
            now = 0
            for ids, wait in calls:
                now += wait
                assert times.use(runs_of_ids(ids), now, now + 2) == naive(last, ids, now)
                last.update(dict.fromkeys(ids, now + 2))
            times.clear()
    finally:
        hits.DENSE_MOST = before


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    calls=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), min_size=1, max_size=3),
            st.integers(0, 400),
            st.integers(0, 2000),
        ),
        max_size=12,
    )
)
def test_runs_across_the_end_of_the_array_are_held_like_others(calls):
    """Ids from 8 on go to the dictionary; uses may end before the end of one that began before."""
    before, hits.DENSE_MOST = hits.DENSE_MOST, 8
    try:
        times = BlockTimes()
        last: dict[int, int] = {}
        now = 0
        for runs, wait, took in calls:
            now += wait
            ids = [first + n for first, count in runs for n in range(count)]
            assert times.use(tuple(runs), now, now + took) == naive(last, ids, now)
            last.update({block: max(last.get(block, 0), now + took) for block in ids})
    finally:
        hits.DENSE_MOST = before


def test_long_prompts_are_counted_as_short_ones_are():
    times = BlockTimes()
    assert times.use(((0, 1000), (5000, 500)), 10, 10) == [0, 0, 0, 0]
    assert times.use(((0, 1000), (5000, 499), (9000, 1)), 80, 80) == [1499, 0, 1499, 1499]
    assert times.use(((0, 400), (7000, 600)), 100, 100) == [400, 400, 400, 400]


def test_long_prompts_are_held_as_one_by_one():
    """A prompt of 300 blocks of which the 200th was used last an hour ago."""
    times = BlockTimes()
    times.use(((0, 300),), 0, 0)
    times.use(((0, 199),), 3500, 3500)
    assert times.use(((0, 300),), 3550, 3550) == [300, 199, 199, 300]


def test_too_many_scattered_ids_are_given_up(monkeypatch):
    monkeypatch.setattr(hits, "SPARSE_MOST", 10)
    times = BlockTimes()
    for n in range(6):
        times.use(((2**70 + 100 * n, 2),), n, n)
    assert times.full
    assert len(times._sparse) == 10
