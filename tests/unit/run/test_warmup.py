"""Warm-up: given, none, found, or honestly not found."""

import numpy as np
import pytest

from factorysim.run.replication import Outcome, PilotSink
from factorysim.run.warmup import decide_warmup, from_pilots
from tests.unit.metrics.builders import call, closing, session
from tests.unit.run.builders import mm1


def never(jobs):
    raise AssertionError("no pilots were asked for")


def outcomes(series, calls=None):
    return [
        Outcome(i, closing(), None, (list(one), list(one if calls is None else calls)))
        for i, one in enumerate(series)
    ]


def test_given_and_terminating_need_no_pilots():
    assert decide_warmup(mm1(warmup="90 s"), never).seconds == 90.0
    assert decide_warmup(mm1(kind="terminating"), never).seconds == 0.0


def test_five_pilots_as_long_as_the_window():
    asked = []

    def run(jobs):
        asked.extend(jobs)
        return iter(outcomes([np.full(1000, 3.0)] * len(jobs)))

    found = decide_warmup(mm1(warmup="auto"), run)
    assert found.seconds == 0.0
    assert len(asked) == 5
    assert {job.horizon_s for job in asked} == {200.0}
    assert {job.folder for job in asked} == {None}
    assert len({job.replication for job in asked}) == 5


def test_the_cut_is_in_seconds_and_the_later_one_holds():
    rng = np.random.default_rng(1)
    bins = np.arange(1000)
    noise = [rng.normal(size=1000) for _ in range(5)]
    slow = 10 + 20 * np.exp(-bins / 60) + rng.normal(size=1000)
    found = from_pilots(outcomes([10 + n for n in noise], slow), 500.0)
    assert found.how == "mser5"
    assert 30.0 < found.seconds < 250.0


def test_a_trend_is_not_a_steady_state():
    found = from_pilots(outcomes([np.arange(1000.0)] * 5), 600.0)
    assert (found.how, found.seconds) == ("not found", 300.0)
    assert "longer run.window" in found.note


def test_a_pilot_keeps_who_came_and_went():
    sink = PilotSink()
    sink.rows("sessions", [session(0, 10.0, 20.0), session(1, 15.0, outcome="censored")])
    sink.rows("calls", [call(0, arrived_s=12.0)])
    sink.rows("steps", [("dropped",)])
    sessions, calls = sink.presence(100.0)
    assert np.mean(sessions) == pytest.approx((10 + 85) / 100)
    assert np.mean(calls) == pytest.approx(2.0 / 100)
    assert np.mean(PilotSink().presence(10.0)[0]) == 0.0
