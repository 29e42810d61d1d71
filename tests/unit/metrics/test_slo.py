"""Verdicts, with what is in flight counted against its SLO only once it is past it."""

import numpy as np
import pytest

from factorysim.metrics.inputs import Window
from factorysim.metrics.slo import (
    MET,
    MISSED,
    UNKNOWN,
    call_verdicts,
    goodput,
    missed,
    session_verdicts,
)
from factorysim.spec.stream import SloSpec
from tests.unit.metrics.builders import call, columns, flying, reasons, session, tables, values

SLOS = {"code": SloSpec(ttft="2 s", tpot="200 ms", turn="5 s", session="8 s", attain=0.9)}
WINDOW = Window(0.0, 50.0)


def verdict_of(row, end_s=100.0):
    return int(call_verdicts(columns("calls", [row]), SLOS, end_s)[0])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (call(0), MET),
        (call(0, ttft_s=2.1), MISSED),
        (call(0, ttft_s=1.9), MET),
        (call(0, tpot_s=0.21), MISSED),
        (call(0, tpot_s=0.19), MET),
        (call(0, tokens=1, tpot_s=9.0), MET),  # one token has no TPOT
        (call(0, outcome="rejected"), MISSED),
        (call(0, outcome="failed"), MISSED),
        (flying(0, arrived_s=99.0), UNKNOWN),
        (flying(0, arrived_s=97.0), MISSED),  # no token after 3 s
        (flying(0, arrived_s=90.0, first_token_s=91.0, requested_tokens=101), UNKNOWN),
        # 9 s for 10 tokens more is over 0.2 s each, however soon it ends.
        (flying(0, arrived_s=90.0, first_token_s=91.0, requested_tokens=11), MISSED),
    ],
)
def test_calls(row, expected):
    assert verdict_of(row) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (session(0), MET),
        (session(0, turn_max_s=5.1), MISSED),
        (session(0, active_s=8.1), MISSED),
        (session(0, outcome="failed"), MISSED),
        (session(0, arrived_s=98.0, outcome="censored"), UNKNOWN),
        # The row counts the present turn of a session in flight, and no gap.
        (session(0, arrived_s=50.0, outcome="censored", turn_max_s=3.0), UNKNOWN),
        (session(0, arrived_s=50.0, outcome="censored", turn_max_s=6.0), MISSED),
    ],
)
def test_sessions(row, expected):
    data = tables([row], [call(0)])
    assert session_verdicts(data, SLOS, np.array([MET], np.int8)).tolist() == [expected]


def test_a_call_that_missed_makes_its_session_miss():
    data = tables([session(0), session(1)], [call(0), call(1, ttft_s=3.0)])
    calls = call_verdicts(data.calls, SLOS, 100.0)
    assert session_verdicts(data, SLOS, calls).tolist() == [MET, MISSED]


def test_goodput_counts_who_arrived_in_the_window_and_met_all():
    sessions = [session(i) for i in range(10)] + [session(10, arrived_s=60.0, finished_s=61.0)]
    calls = [call(i, ttft_s=3.0 if i == 0 else 1.0) for i in range(10)] + [call(10, arrived_s=60.0)]
    found = goodput(tables(sessions, calls), WINDOW, SLOS)
    assert values(found)["sessions.in_slo"] == 9.0
    assert values(found)["goodput.sessions_per_s"] == pytest.approx(9 / 50)
    assert values(found)["goodput.output_tokens_per_s"] == pytest.approx(9 * 11 / 50)
    assert values(found)["slo.sessions"] == pytest.approx(0.9)
    assert values(found)["slo.met"] == 1.0
    assert values(found, "stream", "code")["slo.sessions"] == pytest.approx(0.9)
    strict = {"code": SLOS["code"].model_copy(update={"attain": 0.95})}
    assert values(goodput(tables(sessions, calls), WINDOW, strict))["slo.met"] == 0.0


def test_without_an_slo_there_is_no_goodput():
    found = goodput(tables([session(0)], [call(0)]), WINDOW, {"code": SloSpec()})
    assert set(reasons(found).values()) == {"no stream has an SLO"}
    assert "goodput.sessions_per_s" in reasons(found)


def test_the_undecided_are_left_out_of_attainment():
    sessions = [session(0), session(1, arrived_s=48.0, outcome="censored")]
    data = tables(sessions, [call(0)], end_s=50.0)
    assert values(goodput(data, WINDOW, SLOS))["slo.sessions"] == 1.0


def test_whether_an_slo_is_met_is_withheld_where_those_in_flight_could_turn_it():
    sessions = [session(i) for i in range(8)]
    sessions += [session(8 + i, arrived_s=48.0, outcome="censored") for i in range(2)]
    data = tables(sessions, [call(i) for i in range(8)], end_s=50.0)
    found = goodput(data, WINDOW, SLOS)
    assert values(found, "stream", "code")["slo.least"] == pytest.approx(0.8)
    assert values(found, "stream", "code")["slo.most"] == 1.0
    assert (
        reasons(found)["slo.met"]
        == "not decided: 20.0% of a stream's sessions were still under way"
    )
    loose = {"code": SLOS["code"].model_copy(update={"attain": 0.8})}
    assert values(goodput(data, WINDOW, loose))["slo.met"] == 1.0


def test_a_stream_that_asks_for_nothing_leaves_nothing_undecided():
    flying_on = [session(i, arrived_s=48.0, outcome="censored", stream="free") for i in (1, 2)]
    data = tables([session(0), *flying_on], [call(0)], end_s=50.0)
    found = goodput(data, WINDOW, SLOS | {"free": SloSpec()})
    assert values(found)["slo.met"] == 1.0


def test_each_threshold_is_told_apart_and_a_session_may_miss_several():
    sessions = [session(i) for i in range(8)]
    sessions[0] = session(0, turn_max_s=6.0, active_s=6.0)
    sessions[1] = session(1, turn_max_s=6.0, active_s=9.0)
    sessions[2] = session(2, outcome="failed")
    sessions[3] = session(3, arrived_s=60.0, finished_s=99.0)  # after the window
    calls = [call(i) for i in range(8)]
    calls[4] = call(4, ttft_s=3.0)
    calls[5] = call(5, ttft_s=3.0, tpot_s=0.3)
    found = missed(tables(sessions, calls), WINDOW, SLOS)
    shares = values(found, "stream", "code")
    assert shares == {
        "slo.missed.ttft": pytest.approx(2 / 7),
        "slo.missed.tpot": pytest.approx(1 / 7),
        "slo.missed.turn": pytest.approx(2 / 7),
        "slo.missed.session": pytest.approx(1 / 7),
        "slo.missed.failed": pytest.approx(1 / 7),
    }
    assert all(one.n == 7 for one in found)


def test_only_thresholds_that_a_stream_asks_for_are_told():
    data = tables([session(0)], [call(0)])
    found = missed(data, WINDOW, {"code": SloSpec(tpot="1 s")})
    assert {one.name for one in found} == {"slo.missed.tpot", "slo.missed.failed"}
    assert missed(data, WINDOW, {"code": SloSpec()}) == []


def test_the_undecided_miss_nothing():
    flying_on = session(1, arrived_s=48.0, outcome="censored")
    found = missed(tables([session(0), flying_on], [call(0)], end_s=50.0), WINDOW, SLOS)
    assert {one.n for one in found} == {1}
