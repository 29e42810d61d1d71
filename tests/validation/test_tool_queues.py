"""A tools station as the queues of the textbooks; tolerances from replications."""

from __future__ import annotations

import numpy as np
import pytest

from factorysim.graph.plan import HostPlan, ToolPlan
from factorysim.rng import stream
from factorysim.sim.clock import ARRIVAL, Clock
from factorysim.sim.tools import ToolJob, ToolStation
from factorysim.theory import md1_wait, mg1_ps_sojourn, mmc_sojourn

FS = 10**15
RATE = 0.6
"""Arrivals per second and core; service takes a second on average."""
WARM_UP = 500


def exponential(draw, n):
    return draw.exponential(1.0, n)


def fixed(draw, n):
    return np.ones(n)


def hyperexponential(draw, n):
    """Mean 1, squared coefficient of variation 2.125: a quarter are long."""
    return np.where(draw.random(n) < 0.25, draw.exponential(2.5, n), draw.exponential(0.5, n))


def sojourn(discipline, cores, service, seed, jobs):
    """Mean time in the station of the jobs after the warm-up."""
    draw = stream(seed, "tool queues", discipline, cores)
    at_fs = np.cumsum(draw.exponential(1 / (RATE * cores), jobs)) * FS
    work = service(draw, jobs)
    env = Clock()
    done: list[ToolJob] = []
    host = HostPlan(0, 0, cores, cores, 1.0, 1e9, 0, 1e9, 0.0, 1.0)
    station = ToolStation(env, ToolPlan("t", "c", discipline, 1.0, (host,)), done.append)

    def arrive(number):
        station.submit(ToolJob(number, 0, float(work[number])))
        if number + 1 < jobs:
            env.at(int(at_fs[number + 1]), ARRIVAL, arrive, number + 1)

    env.at(int(at_fs[0]), ARRIVAL, arrive, 0)
    env.run_until(10**9 * FS)
    return np.mean([(j.finished_fs - j.ready_fs) / FS for j in done if j.number >= WARM_UP])


def agrees(discipline, cores, service, expected, *, runs=24, jobs=12_000):
    """Whether three standard errors hold the expected value, and are below 5 % of it."""
    means = [sojourn(discipline, cores, service, seed, jobs) for seed in range(runs)]
    half_width = 3.0 * np.std(means, ddof=1) / np.sqrt(runs)
    assert half_width < 0.05 * expected, "else a law off by 5 % could pass"
    assert abs(np.mean(means) - expected) < half_width


@pytest.mark.slow
def test_whole_cores_with_exponential_work_are_mmc():
    """Erlang C: Kleinrock, Queueing Systems I, section 3.5."""
    agrees("fcfs", 3, exponential, mmc_sojourn(3 * RATE, 1.0, 3))


@pytest.mark.slow
def test_one_core_with_fixed_work_is_md1():
    """Pollaczek-Khinchine: Kleinrock, Queueing Systems I, section 5.6."""
    agrees("fcfs", 1, fixed, md1_wait(RATE, 1.0) + 1.0)


@pytest.mark.slow
def test_a_shared_core_feels_only_the_mean_of_the_work():
    """Insensitivity of M/G/1-PS: Kleinrock, Queueing Systems II, section 4.4."""
    agrees("ps", 1, hyperexponential, mg1_ps_sojourn(RATE, 1.0))


@pytest.mark.slow
def test_shared_cores_with_exponential_work_are_mmc_in_the_mean():
    """Jobs of one core on c: the number present is that of M/M/c, so is the mean sojourn."""
    agrees("ps", 3, exponential, mmc_sojourn(3 * RATE, 1.0, 3))
