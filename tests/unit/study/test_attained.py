"""What a rate says of the SLOs while some sessions are under way."""

from types import SimpleNamespace

import pytest

from factorysim.metrics.inputs import Value
from factorysim.metrics.replication import Replication
from factorysim.spec.stream import SloSpec
from factorysim.study.attained import Attained, Point, attained, is_inside, open_note


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


def said(share, known, past, *, least, most):
    """What a replication says of stream `s`; its tenant has the same name."""
    values = [
        Value("slo.sessions", share, known, "", "stream", "s"),
        Value("slo.least", least, 0, "", "stream", "s"),
        Value("slo.most", most, 0, "", "stream", "s"),
        Value("slo.missed.ttft", past, known, "", "stream", "s"),
        Value("slo.sessions", 0.1, 1000, "", "tenant", "s"),
        Value("slo.sessions", 0.2, 1000, "", "stream", "other"),
        Value("slo.missed.ttft", 0.8, 1000, "", "stream", "other"),
        Value("slo.sessions", 0.3, 1000),
    ]
    return Replication(values, [], [], 1.0, 10.0)


def test_a_stream_got_the_mean_of_its_replications_and_nothing_of_others():
    streams = {
        "s": SimpleNamespace(slo=SloSpec(ttft="1 s", attain=0.9)),
        "free": SimpleNamespace(slo=SloSpec()),
        "silent": SimpleNamespace(slo=SloSpec(turn="1 s", attain=0.5)),
    }
    replications = [
        said(0.9, 10, 0.1, least=0.5, most=1.0),
        said(0.7, 30, 0.2, least=0.7, most=0.8),
        said(None, 0, None, least=0.0, most=1.0),
    ]
    found = attained(streams, replications)
    assert list(found) == ["s", "silent"]
    one = found["s"]
    assert one[:4] == pytest.approx((0.8, 0.4, 2.8 / 3, 0.9))
    assert (one.sessions, one.shares) == (40, (0.9, 0.7, None))
    assert one.missed == {"ttft": pytest.approx(0.15)}
    assert found["silent"] == (None, None, None, 0.5, 0, (None,) * 3, {})


def test_the_note_names_the_highest_rate_that_is_sure_and_the_lowest_that_is_not():
    rates = [MET, MET, OPEN, MISSED, MISSED]
    points = [point(float(rate), one) for rate, one in enumerate(rates, 1)]
    assert "met up to 2 and to be missed from 4" in open_note(points, "sessions/s")


def test_a_backlog_that_grows_is_not_inside():
    assert is_inside([MET], "unsettled")
    assert not is_inside([MET], "overloaded")
