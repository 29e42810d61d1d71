"""Whatever overlaps, the slices of a timeline nest, and nothing is lost or moved."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from factorysim.report.timeline.lanes import lanes, pauses
from factorysim.report.timeline.packets import Tape
from factorysim.report.timeline.phases import call_phases
from factorysim.report.timeline.slices import Slices, nanoseconds, one_name
from factorysim.report.timeline.view import evenly
from tests.unit.report.timeline.parsed import Parsed

SPANS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 8)), min_size=1, max_size=60
)


def columns(spans):
    group, start, length = np.array(spans, np.int64).T
    return group, start, start + length


@given(SPANS)
def test_a_lane_is_free_when_something_starts_on_it(spans):
    group, start, end = columns(spans)
    lane = lanes(group, start, end)
    for i in range(len(spans)):
        for k in range(i):
            if (group[i], lane[i]) == (group[k], lane[k]):
                assert end[i] <= start[k] or end[k] <= start[i]


@given(SPANS)
def test_there_are_no_more_lanes_than_things_at_once(spans):
    group, start, end = columns(spans)
    lane = lanes(group, start, end)
    for one in set(group.tolist()):
        mine = (group == one) & (end > start)
        most = max((((start <= t) & (t < end) & mine).sum() for t in start[mine]), default=0)
        assert lane[group == one].max() + 1 <= max(1, most + (end == start)[group == one].sum())


@given(SPANS)
def test_pauses_are_when_nothing_goes_on(spans):
    group, start, end = columns(spans)
    since, until = np.zeros(4, np.int64), np.full(4, 50)
    found = pauses(group, start, end, since, until)
    for one in range(4):
        busy = np.zeros(50, bool)
        for a, b in zip(start[group == one], end[group == one], strict=True):
            busy[a:b] = True
        idle = np.zeros(50, bool)
        for _, a, b in [row for row in zip(*found, strict=True) if row[0] == one]:
            assert not idle[a:b].any()
            idle[a:b] = True
        assert (idle == ~busy).all()


@given(SPANS)
def test_slices_on_lanes_come_back_as_they_were(spans):
    group, start, end = columns(spans)
    lane = lanes(group, start, end)
    tape = Tape()
    table = np.array([[tape.track(f"{g} {k}") for k in range(lane.max() + 1)] for g in range(4)])
    track, args = table[group, lane], {"number": np.arange(len(spans))}
    outer = Slices("outer", one_name("outer", len(spans)), track, start, end, 0, args)
    half = (start + end) // 2
    parts = [
        Slices("inner", one_name("inner", len(spans)), track, a, b, 1).where(b > a)
        for a, b in ((start, half), (half, end))
    ]
    parsed = Parsed(b"".join([*tape.tracks(), *tape.slices([*parts, outer])]))
    found = {one.args["number"]: one for one in parsed.of("outer")}
    assert [(found[k].start_ns, found[k].end_ns) for k in range(len(spans))] == [
        (a, b) for a, b in zip(start.tolist(), end.tolist(), strict=True)
    ]
    assert all(one.depth == (one.category == "inner") for one in parsed.slices)
    assert sum(one.end_ns - one.start_ns for one in parsed.of("inner")) == (end - start).sum()


INSTANTS = ("arrived_s", "queued_s", "scheduled_s", "first_token_s", "last_token_s", "finished_s")


@given(st.lists(st.floats(0, 1e6), min_size=6, max_size=6).map(sorted), st.integers(1, 6))
def test_phases_fill_a_call_to_the_nanosecond_however_far_it_has_come(instants, known):
    values = [*instants[:known], *[np.nan] * (6 - known)]
    row = {name: np.array([value]) for name, value in zip(INSTANTS, values, strict=True)}
    bounds = call_phases({**row, "held_s": np.zeros(1)}, end_s=2e6).bounds_s[0]
    ns = nanoseconds(bounds)
    assert (np.diff(ns) >= 0).all()
    end = instants[5] if known == 6 else 2e6
    assert np.diff(ns).sum() == nanoseconds(np.array([end]))[0] - ns[0]


@given(st.integers(0, 500), st.integers(1, 600))
def test_an_even_choice_is_of_different_things_and_even(total, most):
    chosen = evenly(total, most)
    assert len(chosen) == min(total, most)
    steps = np.diff(chosen)
    assert ((chosen >= 0) & (chosen < max(total, 1))).all()
    assert not len(steps) or (steps.min() > 0 and steps.max() - steps.min() <= 1)
