"""The backlog test: silent on stable queues, loud on unstable ones."""

import numpy as np
import pytest

from factorysim.metrics.demand import number_in_system
from factorysim.metrics.inputs import Value
from factorysim.metrics.overload import overload
from factorysim.metrics.replication import Replication


def queue(rng, rho, length_s=2000.0, warm_s=500.0):
    """Single server, Poisson arrivals at rate rho, exponential services of mean 1."""
    n = int(rho * (warm_s + length_s) * 1.2)
    arrived = np.cumsum(rng.exponential(1 / rho, size=n))
    service = rng.exponential(size=n)
    finished, free = np.empty(n), 0.0
    for i in range(n):
        free = max(free, arrived[i]) + service[i]
        finished[i] = free
    edges = np.linspace(warm_s, warm_s + length_s, 41)
    backlog = number_in_system(arrived, finished, edges)
    return Replication([], [], backlog.tolist(), rho, length_s)


def test_stable_queues_are_left_alone():
    rng = np.random.default_rng(1)
    found = [overload([queue(rng, 0.8) for _ in range(5)]) for _ in range(10)]
    assert {verdict.state for verdict in found} == {"steady"}


@pytest.mark.parametrize("replications", [1, 2, 5])
def test_an_unstable_queue_is_called_so(replications):
    rng = np.random.default_rng(2)
    verdict = overload([queue(rng, 1.3) for _ in range(replications)])
    assert verdict.state == "overloaded"
    # 0.3 of 1.3 arrivals a second pile up.
    assert verdict.growth_share == pytest.approx(0.3 / 1.3, rel=0.25)
    assert "pile up" in str(verdict)


def test_a_fixed_number_in_system_is_no_trend():
    steady = Replication([], [], [8.0] * 40, 2.0, 100.0)
    assert overload([steady] * 5).state == "steady"
    assert overload([steady]).state == "steady"


def test_growth_below_full_load_is_a_run_that_is_too_short():
    rng = np.random.default_rng(4)

    def with_load(load):
        found = [queue(rng, 1.3) for _ in range(3)]
        return overload([r._replace(values=[Value("saturation", load)]) for r in found])

    assert with_load(0.5).state == "unsettled"
    assert "a longer run would tell" in str(with_load(0.5))
    assert with_load(0.95).state == "overloaded"


def line(growth, load=None):
    """A backlog that grows by `growth` sessions a second, in 40 bins of 5 s; 2 arrive a second."""
    values = [] if load is None else [Value("saturation", load)]
    return Replication(values, [], [growth * 5.0 * (i + 0.5) for i in range(40)], 2.0, 200.0)


def test_growth_is_sessions_that_stay_over_sessions_that_come():
    assert overload([line(0.5)]).growth_share == pytest.approx(0.5 / 2)


@pytest.mark.parametrize(("share", "state"), [(0.0197, "steady"), (0.0203, "overloaded")])
def test_two_of_a_hundred_arrivals_must_pile_up(share, state):
    assert overload([line(2.0 * share)]).state == state


@pytest.mark.parametrize(("p_value", "state"), [(0.0098, "overloaded"), (0.0102, "steady")])
def test_three_slopes_are_tested_at_one_percent(p_value, state):
    """Student's t of 2 degrees: p = (1 - t / sqrt(2 + t^2)) / 2, solved for t.

    Slopes of 1 - d, 1, 1 + d have a mean of 1 and a standard error of d / sqrt(3).
    """
    c = 1 - 2 * p_value
    t = c * np.sqrt(2 / (1 - c**2))
    d = np.sqrt(3) / t
    verdict = overload([line(slope) for slope in (1 - d, 1.0, 1 + d)])
    assert verdict.p_value == pytest.approx(p_value, rel=1e-6)
    assert verdict.state == state


@pytest.mark.parametrize(("load", "state"), [(0.89, "unsettled"), (0.91, "overloaded")])
def test_a_pool_is_full_at_nine_tenths(load, state):
    assert overload([line(0.5, load)]).state == state


def test_number_in_system_is_the_integral():
    rng = np.random.default_rng(3)
    arrived = np.sort(rng.uniform(0, 10, 50))
    finished = arrived + rng.exponential(size=50)
    finished[::7] = np.nan
    edges = np.linspace(0, 10, 11)
    grid = (np.arange(100_000) + 0.5) * 1e-4
    gone = np.where(np.isnan(finished), np.inf, finished)
    present = sum((grid >= a) & (grid < g) for a, g in zip(arrived, gone, strict=True))
    expected = present.reshape(10, -1).mean(axis=1)
    assert number_in_system(arrived, finished, edges) == pytest.approx(expected, abs=1e-3)
