"""How long a spike is felt, on staircases that are drawn by hand."""

import numpy as np
import pytest

from factorysim.metrics.inputs import Spike, Window
from factorysim.metrics.recovery import count, level_before, recovery_s, recovery_values
from tests.unit.metrics.builders import call, flying, layout, reasons, session, tables, values

WINDOW = Window(0.0, 100.0)
LAUNCH = Spike("code", "launch", 40.0, 50.0)
NAMES = [f"recovery_s.{what}" for what in ("waiting", "calls", "sessions")]


def waiting(*spans):
    """Calls that wait for their first token from one time to another, and end a second later."""
    return [
        call(n, came_s, left_s - came_s, 0.1)._replace(finished_s=left_s + 1.0)
        for n, (came_s, left_s) in enumerate(spans)
    ]


def found(calls=(), sessions=(), spikes=(LAUNCH,), window=WINDOW):
    data = tables(sessions=list(sessions), calls=list(calls))
    return recovery_values(data, window, layout(spikes=tuple(spikes)))


def test_who_comes_as_another_leaves_changes_nothing():
    there = count(np.array([1.0, 3.0]), np.array([3.0, 5.0]))
    assert there.at_s.tolist() == [1.0, 3.0, 5.0]
    assert there.number.tolist() == [1.0, 1.0, 0.0]
    assert [there.after(at) for at in (0.5, 1.0, 3.0, 5.0)] == [0.0, 1.0, 1.0, 0.0]


def test_nobody_at_all_is_a_level_of_none():
    there = count(np.zeros(0), np.zeros(0))
    assert level_before(there, 0.0, 10.0) == 0.0
    assert recovery_s(there, 0.0, 20.0, 30.0) == 0.0


@pytest.mark.parametrize(("busy_s", "level"), [(0.49, 0.0), (0.5, 0.0), (0.51, 1.0)])
def test_the_level_is_what_is_not_exceeded_in_95_percent_of_the_time(busy_s, level):
    there = count(np.array([2.0]), np.array([2.0 + busy_s]))
    assert level_before(there, 0.0, 10.0) == level


def test_a_level_weighs_by_time_and_not_by_who_comes():
    came = np.array([1.0, *np.arange(2.0, 2.3, 0.01)])
    left = np.array([9.0, *np.arange(2.005, 2.305, 0.01)])
    assert level_before(count(came, left), 0.0, 10.0) == 1.0


def test_a_spike_is_felt_until_as_few_wait_as_before():
    """One waits for most of the time before; five at the spike's end, the fourth leaves at 62 s."""
    calls = waiting((5, 39), (41, 55), (42, 58), (43, 60), (44, 62), (45, 80))
    got = values(found(calls))
    assert got["recovery_s.waiting"] == pytest.approx(12.0)
    assert got["recovery_s.calls"] == pytest.approx(13.0)
    assert got["recovery_s.sessions"] == 0.0


def test_a_spike_that_leaves_nobody_waiting_is_not_felt():
    assert values(found(waiting((41, 42), (43, 49))))["recovery_s.waiting"] == 0.0


def test_the_first_time_counts_whatever_comes_later():
    calls = waiting((45, 60), (70, 90), (70, 90))
    assert values(found(calls))["recovery_s.waiting"] == pytest.approx(10.0)


def test_what_does_not_come_back_has_no_value_and_says_how_long_was_watched():
    sessions = [session(1, 45.0, outcome="censored"), session(2, 45.0, 99.0)]
    got = found([flying(1, 45.0)], sessions)
    assert values(got)["recovery_s.sessions"] is None
    assert reasons(got)["recovery_s.waiting"] == (
        "spike launch: felt for more than 50 s, until the window's end (level 0)"
    )


def test_what_comes_back_after_the_arrivals_ended_is_not_known():
    calls = waiting((45, 95))
    assert values(found(calls))["recovery_s.waiting"] == pytest.approx(45.0)
    short = found(calls, window=Window(0.0, 90.0))
    assert "more than 40 s" in reasons(short)["recovery_s.waiting"]


def test_who_was_rejected_or_failed_waits_no_longer():
    calls = [flying(1, 45.0)._replace(outcome="rejected", finished_s=57.0)]
    assert values(found(calls))["recovery_s.waiting"] == pytest.approx(7.0)


def test_calls_of_other_streams_are_left_out():
    calls = [row._replace(stream="other") for row in waiting((45, 99))] + waiting((46, 51))
    assert values(found(calls))["recovery_s.waiting"] == pytest.approx(1.0)


def test_of_several_spikes_each_has_a_row_and_the_longest_is_told():
    second = Spike("code", "late", 70.0, 80.0)
    calls = waiting((45, 50.5), (75, 85))
    got = found(calls, spikes=(LAUNCH, second))
    assert values(got, "spike", "code.launch")["recovery_s.waiting"] == pytest.approx(0.5)
    assert values(got, "spike", "code.late")["recovery_s.waiting"] == pytest.approx(5.0)
    assert values(got)["recovery_s.waiting"] == pytest.approx(5.0)


def test_one_that_is_not_over_withholds_the_longest():
    second = Spike("code", "late", 70.0, 80.0)
    got = found(waiting((45, 50.5), (75, 200)), spikes=(LAUNCH, second))
    assert values(got)["recovery_s.waiting"] is None
    assert reasons(got)["recovery_s.waiting"].startswith("spike late: felt for more than 20 s")
    assert values(got, "spike", "code.launch")["recovery_s.waiting"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("spike", "reason"),
    [
        (Spike("code", "first", 0.0, 10.0), "spike first: no time before it to compare with"),
        (Spike("code", "last", 90.0, 100.0), "spike last: not over before the window is"),
    ],
)
def test_a_spike_without_a_before_or_an_after_has_no_value(spike, reason):
    got = reasons(found(spikes=(spike,)))
    assert got == dict.fromkeys(NAMES, reason)


def test_without_spikes_the_names_say_so():
    got = reasons(found(spikes=()))
    assert got == dict.fromkeys(NAMES, "no stream has a spike of more than its usual rate")
