"""What became of drafts: shares and lengths over the verifies that end in the window."""

import pytest

from factorysim.metrics.activity import activities
from factorysim.metrics.inputs import Window
from factorysim.metrics.speculation import speculation_values
from factorysim.physics.speculation import Pace
from tests.unit.metrics.builders import layout, reasons, station, step, tables, values

WINDOW = Window(10.0, 60.0)
PACE = Pace(12, 5, 3)
RATE, LENGTH = "speculation.acceptance_rate", "speculation.acceptance_length"


def found(steps, *stations):
    plan = layout(*(stations or (station(pace=PACE),)))
    activity, _ = activities(tables(steps=steps), WINDOW, plan.serving())
    return speculation_values(plan, activity)


def verifies(started_s, finished_s, accepted, **changes):
    """Ten verifies of four sequences."""
    made = 40 + accepted
    return step(started_s, finished_s, emitted_tokens=made, accepted_tokens=accepted, **changes)


def test_of_whole_runs_both_are_sums_over_sums():
    told = values(found([verifies(10.0, 20.0, 56), verifies(20.0, 30.0, 50)]))
    assert told[RATE] == pytest.approx(106 / (80 * 3))
    assert told[LENGTH] == pytest.approx(1 + 106 / 80)


def test_a_run_that_is_cut_counts_the_drafts_of_its_verifies_inside():
    """Four of its ten end inside: the 14th to 17th, floor(2.4 k) tokens by the k-th."""
    made = [12 * k // 5 for k in range(18)]
    before = step(0.0, 3.0, steps=7, emitted_tokens=4 * made[7], accepted_tokens=4 * (made[7] - 7))
    told = values(found([before, verifies(4.0, 14.0, 56)]))
    assert told[LENGTH] == pytest.approx((made[17] - made[13]) / 4)
    assert told[RATE] == pytest.approx((made[17] - made[13] - 4) / 12)
    # What calls did not want any more was cut off in its last step.
    told = values(found([before, verifies(4.0, 14.0, 50)]))
    assert told[LENGTH] == pytest.approx((4 * (made[17] - made[13]) - 6) / 16)


def test_a_step_that_was_lost_verified_nothing():
    lost = step(20.0, 21.0, steps=1, emitted_tokens=0)
    whole = verifies(30.0, 40.0, 56)
    assert values(found([lost, whole])) == values(found([whole]))


def test_each_deployment_that_speculates_has_its_own():
    idle = station("c", first_replica=4, pace=PACE)
    plan = (station("a", pace=PACE), station("b", first_replica=2), idle)
    told = found([verifies(10.0, 20.0, 56), step(10.0, 20.0, replica=2)], *plan)
    assert values(told, "deployment", "a") == values(told)
    assert values(told, "deployment", "b") == {}
    assert values(told, "deployment", "c") == {RATE: None, LENGTH: None}


def test_without_drafts_the_reason_is_told():
    assert reasons(found([step(10.0, 20.0)], station()))[RATE] == "no deployment speculates"
    assert reasons(found([]))[LENGTH] == "no verify ended in the window"
