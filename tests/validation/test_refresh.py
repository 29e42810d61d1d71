"""What the refresh of standing shares costs in accuracy, against a ten times finer one."""

from __future__ import annotations

import pytest

from analysis.bench.fabric import fabric_refresh


@pytest.fixture(scope="module")
def measured():
    """Rings of steps, and flows that slow them, on three links."""
    return fabric_refresh()


def test_there_is_contention_to_be_wrong_about(measured):
    """Else the errors below could not fail."""
    assert measured["slowed_by"] > 0.05
    assert measured["cuts"] > 1000


def test_a_finer_refresh_cuts_more_runs(measured):
    assert measured["cuts"] < measured["finer_cuts"] < measured["finest_cuts"]


def test_the_threshold_of_two_percent_costs_less_than_that(measured):
    """A share that is off by less than 2 % all the time gives times that are, too."""
    assert measured["threshold_error_max"] < 0.02


def test_cutting_at_the_ends_of_steps_costs_less_than_what_contention_does(measured):
    """Shares that last for less than a step are missed: the rest must be seen."""
    assert measured["both_error_max"] < measured["slowed_by"] / 2
