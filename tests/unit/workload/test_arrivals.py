"""Arrival processes: rate, burstiness, scaling, and streams that do not depend on each other."""

from itertools import islice

import numpy as np
import pytest

from factorysim.spec.arrivals import FixedConcurrency, GammaArrivals, PoissonArrivals, TraceArrivals
from factorysim.workload.arrivals import arrival_times, unit_times
from factorysim.workload.renewal import GammaGaps

N = 100_000


def gaps(cv: float, seed: int = 1) -> np.ndarray:
    return np.diff(list(islice(unit_times(seed, 0, "s", GammaGaps(cv)), N + 1)))


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_gaps_have_mean_one_and_the_given_cv(cv):
    drawn = gaps(cv)
    half_width = 4 * cv / np.sqrt(N)
    assert abs(drawn.mean() - 1.0) < half_width
    assert half_width < 0.05
    assert drawn.std() / drawn.mean() == pytest.approx(cv, rel=0.03)


def test_the_process_is_stationary_from_the_start():
    """E[N(t)] = t of an equilibrium renewal process: Cox, Renewal Theory, section 4.6.

    An ordinary one of cv 2 would begin with 1.5 arrivals too many.
    """
    counts = []
    for seed in range(2000):
        times = unit_times(seed, 0, "s", GammaGaps(2.0))
        counts.append(next(i for i, t in enumerate(times) if t > 10.0))
    half_width = 4 * np.std(counts) / np.sqrt(len(counts))
    assert abs(np.mean(counts) - 10.0) < half_width
    assert half_width < 0.75


@pytest.mark.parametrize("process", ["poisson", "gamma"])
def test_twice_the_rate_gives_the_same_arrivals_at_half_the_times(process):
    kind = {"poisson": PoissonArrivals, "gamma": GammaArrivals}[process]
    slow = kind(process=process, rate="3/s")
    fast = kind(process=process, rate="6/s")
    a = list(islice(arrival_times(slow, 7, 0, "code"), 10_000))
    b = list(islice(arrival_times(fast, 7, 0, "code"), 10_000))
    assert max(abs(x - 2 * y) for x, y in zip(a, b, strict=True)) <= 1
    assert all(isinstance(x, int) for x in a[:3])
    assert a == sorted(a)


def test_rate_is_arrivals_a_second():
    times = list(
        islice(arrival_times(PoissonArrivals(process="poisson", rate="5/s"), 1, 0, "s"), N)
    )
    assert len(times) / (times[-1] / 1e9) == pytest.approx(5.0, rel=4 / np.sqrt(N))


def test_streams_and_replications_differ():
    kind = PoissonArrivals(process="poisson", rate="1/s")
    first = [
        next(arrival_times(kind, seed, replication, name))
        for seed, replication, name in [(1, 0, "a"), (1, 0, "b"), (1, 1, "a"), (2, 0, "a")]
    ]
    assert len(set(first)) == 4


def test_fixed_concurrency_starts_at_once_and_traces_have_their_own_times():
    fixed = FixedConcurrency(process="fixed_concurrency", concurrency=3)
    assert list(islice(arrival_times(fixed, 1, 0, "s"), 3)) == [0, 0, 0]
    with pytest.raises(ValueError, match="trace"):
        arrival_times(TraceArrivals(), 1, 0, "s")
