"""Capacity of an M/M/1 queue against its formula.

The sojourn of an M/M/1 queue is exponential at rate mu - lambda (Kleinrock, Queueing
Systems I, section 3.2). So a share `attain` has its token within t up to exactly
lambda = mu + ln(1 - attain) / t.
"""

from math import log

import numpy as np
import pytest

from factorysim import theory
from factorysim.spec.stream import SloSpec
from factorysim.study.bisection import STEP, Search
from factorysim.study.capacity import capacity
from factorysim.study.crossing import Asked, Tried, ends
from tests.unit.run.builders import mm1

MU, TOLERANCE = 1.0, 0.02
WARM_S = 100.0


def exact(attain, limit_s):
    """Give the rate of the formula, once its quantile is seen to agree."""
    rate = MU + log(1 - attain) / limit_s
    assert theory.mm1_sojourn_quantile(rate, 1 / MU, attain) == pytest.approx(limit_s)
    return rate


def queue(attain, limit_s, **run):
    base = mm1(rate="0.5 /s", **run)
    slo = SloSpec(ttft=f"{limit_s} s", attain=attain)
    stream = base.streams["calls"].model_copy(update={"slo": slo})
    return base.model_copy(update={"streams": {"calls": stream}})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attain", "limit_s", "window", "replications"),
    [(0.5, 4, "3000 s", 8), (0.8, 4, "3000 s", 8), (0.95, 10, "1000 s", 30)],
)
def test_the_capacity_of_one_server_is_that_of_the_formula(attain, limit_s, window, replications):
    """High attainment and short windows are where a mean of critical rates is too high."""
    rate = exact(attain, limit_s)
    scenario = queue(attain, limit_s, window=window, warmup="100 s", replications=replications)
    found = capacity(scenario, tolerance=TOLERANCE)
    assert found.ci_high - found.ci_low < 0.2 * rate  # else the test could not fail
    assert found.ci_low <= rate <= found.ci_high
    assert found.binds.threshold == "ttft"
    # Load of a single server: the saturation at the capacity.
    assert found.saturation == pytest.approx(found.rate / MU, abs=0.05)


def in_time(gaps, services, rate, window_s, limit_s):
    """Share of the arrivals of a window that are through within the limit, by replication.

    Lindley's recursion by its closed form: a wait is how far the sum of services less
    gaps lies above its least so far.
    """
    arrivals = np.cumsum(gaps, axis=1) / rate
    steps = services[:, :-1] - np.diff(arrivals, axis=1)
    sums = np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))
    sojourns = sums - np.minimum.accumulate(sums, axis=1) + services
    measured = (arrivals >= WARM_S) & (arrivals < WARM_S + window_s)
    return ((sojourns <= limit_s) & measured).sum(axis=1) / measured.sum(axis=1)


def experiment(seed, attain, limit_s, window_s, replications):
    """Search and interval as `capacity` has them, on a queue of a few lines."""
    random = np.random.default_rng(seed)
    calls = int(2.4 * (window_s + WARM_S)) + 200
    gaps, services = random.exponential(size=(2, replications, calls))
    tried = {}

    def holds(scale):
        shares = in_time(gaps, services, 0.5 * scale, window_s, limit_s)
        tried[scale] = Tried(scale, [Asked(shares.tolist(), attain)])
        return shares.mean() >= attain

    search = Search(0.1, 10.0, TOLERANCE)
    while (scale := search.next()) is not None:
        search.tell(scale, holds(scale))
    asked = len(tried)
    if ends(tried.values()).low is None:
        holds(min(tried) / STEP)
    if ends(tried.values()).high is None:
        holds(max(tried) * STEP)
    low, high = ends(tried.values())
    assert low is not None
    assert high is not None
    low, high = min(low, search.inside), max(high, search.outside)
    return 0.5 * low, 0.5 * search.inside, 0.5 * high, asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attain", "limit_s", "window_s", "replications"),
    [(0.95, 10, 1000, 5), (0.95, 10, 1000, 30), (0.95, 10, 300, 40), (0.8, 4, 1000, 8)],
)
def test_the_interval_holds_the_formula_as_often_as_it_says(
    attain, limit_s, window_s, replications
):
    """Of 100 experiments 90 to 99: 95 and its standard error of 2.2, twice."""
    rate = exact(attain, limit_s)
    seen = [experiment(s, attain, limit_s, window_s, replications) for s in range(100)]
    assert 90 <= sum(low <= rate <= high for low, _, high, _ in seen) <= 99
    rates = np.array([found for _, found, _, _ in seen])
    # The bracket's lower end is told, half the tolerance below the crossing in the mean;
    # windows that begin with an empty queue add 0.007 at most.
    error = 3 * rates.std(ddof=1) / 10 + TOLERANCE / 2 * rate + 0.007
    assert error < 0.04 * rate
    assert rates.mean() == pytest.approx(rate, abs=error)
    assert max(asked for *_, asked in seen) <= 9


def test_the_queue_of_a_few_lines_is_that_of_the_formula():
    """Else coverage would be of something else."""
    random = np.random.default_rng(1)
    gaps, services = random.exponential(size=(2, 40, 8000))
    shares = in_time(gaps, services, exact(0.95, 10), 9000.0, 10)
    error = 3 * shares.std(ddof=1) / 40**0.5
    assert error < 0.01
    assert shares.mean() == pytest.approx(0.95, abs=error)
