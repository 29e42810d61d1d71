"""Gathering and laying out by time against the obvious ways to do them."""

from hypothesis import given
from hypothesis import strategies as st

from factorysim.workload.gather import Gathering, Place
from factorysim.workload.intervals import waits_by_time

KEYS = st.sampled_from("abcdefgh")
ROWS = st.lists(
    st.tuples(KEYS, st.none() | st.integers(0, 5), st.lists(KEYS, max_size=2)), max_size=40
)


def naive(rows):
    """Join sets of keys until none overlap; sort the sessions by their first time and row."""
    parts = [{key} for key, _, _ in rows] + [{key, *ties} for key, _, ties in rows]
    joined: list[set] = []
    for part in parts:
        touching = [other for other in joined if other & part]
        joined = [other for other in joined if not other & part]
        joined.append(part.union(*touching))
    sessions = []
    for part in joined:
        mine = [n for n, (key, _, _) in enumerate(rows) if key in part]
        times = [at for n in mine if (at := rows[n][1]) is not None]
        if mine:
            sessions.append((min(times, default=0), mine))
    return [mine for _, mine in sorted(sessions)]


@given(ROWS, st.sampled_from([1, 10**6]))
def test_gathering_is_what_sets_of_keys_say(rows, spool_bytes):
    with Gathering(spool_bytes) as gathering:
        for line, (key, at_ns, ties) in enumerate(rows):
            gathering.add(line, f"{key}{line}", Place(key, at_ns, tuple(ties)))
        told = list(gathering.sessions())
    assert [[line for line, _ in session] for session in told] == naive(rows)
    assert all(text == f"{rows[line][0]}{line}" for session in told for line, text in session)


SPANS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 6)).map(lambda one: (one[0], sum(one))),
    max_size=14,
)


@given(SPANS)
def test_each_waits_for_the_last_that_had_ended(spans):
    """Compare with the definition: ended before, and none between the two."""
    turn = {
        place: n for n, place in enumerate(sorted(range(len(spans)), key=lambda p: (*spans[p], p)))
    }

    def before(a, b):
        return spans[a][1] <= spans[b][0] and turn[a] < turn[b]

    places = range(len(spans))
    expected = [
        tuple(
            a
            for a in places
            if before(a, b) and not any(before(a, c) and before(c, b) for c in places)
        )
        for b in places
    ]
    assert waits_by_time(spans) == expected
