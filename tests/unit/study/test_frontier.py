"""A frontier keeps what nothing beats, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from factorysim.study.frontier import frontier

NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0, 8.0])


def beats(a, b) -> bool:
    return a != b and a[0] >= b[0] and a[1] >= b[1]


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_what_is_kept_is_beaten_by_nothing_and_beats_the_rest(points):
    kept = frontier(points)
    assert not any(
        beats(points[other], points[place]) for place in kept for other in range(len(points))
    )
    for place in set(range(len(points))) - set(kept):
        assert any(beats(points[k], points[place]) or points[k] == points[place] for k in kept)
    values = [points[place] for place in kept]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)
