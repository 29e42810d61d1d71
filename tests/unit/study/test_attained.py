"""What a rate says of the SLOs while some sessions are under way."""

import pytest

from factorysim.study.attained import Attained, Point, is_inside, open_note


def seen(share, least, most, attain=0.9):
    return Attained(share, least, most, attain, 10, (share,), {})


def point(rate, *streams):
    named = {f"s{number}": one for number, one in enumerate(streams)}
    return Point(rate, rate, is_inside(streams, None), named, None, None, "")


MET, SO_FAR, OPEN, MISSED = (
    seen(0.95, 0.95, 0.95),
    seen(0.95, 0.5, 0.98),
    seen(0.85, 0.8, 0.92),
    seen(0.5, 0.4, 0.6),
)


@pytest.mark.parametrize(
    ("streams", "inside", "misses", "judgement"),
    [
        ([MET, MET], True, False, "met"),
        ([MET, SO_FAR], True, False, "so_far"),
        ([SO_FAR, OPEN], False, True, "undecided"),
        ([SO_FAR, MISSED], False, True, "missed"),
        ([seen(None, 0.0, 1.0)], False, False, "undecided"),
        ([seen(None, None, None), MET], True, False, "met"),
        ([seen(0.9 - 1e-12, 0.9 - 1e-12, 0.9 - 1e-12)], True, False, "met"),
    ],
)
def test_a_point_is_judged_as_a_run(streams, inside, misses, judgement):
    one = point(1.0, *streams)
    assert (one.inside, one.misses, one.judgement) == (inside, misses, judgement)


def test_the_note_tells_between_which_rates_nothing_is_sure():
    points = [point(1.0, MET), point(2.0, MET, SO_FAR), point(3.0, OPEN), point(4.0, MISSED)]
    assert open_note(points, "sessions/s") == (
        "up to 48.0% of the sessions of s1 (at 2 sessions/s) were still under way at the end; "
        "SLOs are sure to be met up to 1 and to be missed from 4: a longer run.drain "
        "would tell more"
    )
    assert "met at none of these rates and to be missed at none" in open_note(
        points[1:3], "sessions/s"
    )
    assert open_note([points[0], points[3]], "sessions/s") is None
