"""Each statistic against theory."""

import numpy as np
import pytest
from scipy import stats

from factorysim.metrics.statistics import mser5, paired_difference, t_interval, wilson_interval


def mm1_waits(rng, rho, n):
    """Waits of an M/M/1 queue by Lindley's recursion, from a stationary start."""
    # Stationary wait: zero with probability 1 - rho, else exponential (1 - rho).
    wait = rng.exponential(1 / (1 - rho)) if rng.random() < rho else 0.0
    service, gaps = rng.exponential(size=n), rng.exponential(1 / rho, size=n)
    total = 0.0
    for s, a in zip(service.tolist(), gaps.tolist(), strict=True):
        total += wait
        wait = max(0.0, wait + s - a)
    return total / n


def test_t_intervals_cover_the_mean_wait_of_mm1():
    """Mean wait is rho / (1 - rho) services: Kleinrock, Queueing Systems I, 3.2."""
    rng, rho, experiments = np.random.default_rng(11), 0.5, 200
    covered = 0
    for _ in range(experiments):
        interval = t_interval([mm1_waits(rng, rho, 300) for _ in range(5)])
        covered += interval.low <= rho / (1 - rho) <= interval.high
    # 95 % of 200, within four standard deviations, and a little for skewed means.
    assert 0.87 * experiments <= covered <= 0.99 * experiments


def test_t_interval_is_the_textbooks():
    interval = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445105 * np.sqrt(2.5 / 5)  # t(0.975, 4), any table
    assert interval.mean == 3.0
    assert interval.high - 3.0 == pytest.approx(half, rel=1e-8)
    assert 3.0 - interval.low == pytest.approx(half, rel=1e-8)
    with pytest.raises(ValueError, match="two replications"):
        t_interval([1.0])


def test_wilson_is_scipys():
    for successes, trials in ((0, 10), (3, 10), (10, 10), (481, 500)):
        expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
        assert wilson_interval(successes, trials) == pytest.approx(tuple(expected))
    with pytest.raises(ValueError, match="trial"):
        wilson_interval(0, 0)


def test_mser5_cuts_a_decaying_transient():
    """AR noise around 10 with a transient of time constant 200: gone after a few of them."""
    rng = np.random.default_rng(3)
    t = np.arange(5000)
    series = 10 + 20 * np.exp(-t / 200) + rng.normal(size=t.size)
    cut = mser5(series)
    assert cut is not None
    assert cut % 5 == 0
    assert 300 <= cut <= 1500
    assert abs(series[cut:].mean() - 10) < abs(series.mean() - 10) / 4


def test_mser5_leaves_a_steady_series_almost_whole():
    cut = mser5(10 + np.random.default_rng(4).normal(size=5000))
    assert cut is not None
    assert cut < 500


def test_mser5_is_the_argmin_of_its_definition():
    series = np.random.default_rng(5).exponential(size=600) + np.linspace(3, 0, 600).clip(1)
    means = series.reshape(-1, 5).mean(axis=1)
    n = len(means)
    errors = [((means[d:] - means[d:].mean()) ** 2).sum() / (n - d) ** 2 for d in range(n // 2 + 1)]
    assert mser5(series) == int(np.argmin(errors)) * 5


@pytest.mark.parametrize(("square", "cut"), [(2.14, 0), (2.17, 5)])
def test_mser5_divides_by_the_square_of_what_is_left(square, cut):
    """A batch of x, then 20 of +-1 in turn: 20 / 20^2 against (20 + x^2 20/21) / 21^2.

    The two are equal at x^2 = 2.05 x 21/20 = 2.1525: below it the batch stays.
    """
    means = [square**0.5, *[1.0, -1.0] * 10]
    assert mser5(np.repeat(means, 5)) == cut


@pytest.mark.parametrize("series", [np.arange(5000.0), np.ones(30)])
def test_mser5_refuses_a_trend_and_too_short_a_series(series):
    assert mser5(series) is None


def test_mser5_takes_a_constant_series_whole():
    assert mser5(np.full(500, 7.0)) == 0


def test_common_random_numbers_show_in_the_factor():
    rng = np.random.default_rng(6)
    shared = rng.normal(size=2000)
    a, b = shared + 0.1 * rng.normal(size=2000), 1 + shared + 0.1 * rng.normal(size=2000)
    paired = paired_difference(a.tolist(), b.tolist())
    assert paired.low < 1.0 < paired.high
    # (1.01 + 1.01) / (0.01 + 0.01); a variance ratio of 2000 pairs errs by some 5 %.
    assert paired.variance_reduction == pytest.approx(101, rel=0.2)
    apart = paired_difference(a.tolist(), (1 + rng.normal(size=2000)).tolist())
    assert apart.variance_reduction == pytest.approx(1.0, rel=0.2)
    assert paired.high - paired.low < (apart.high - apart.low) / 5
    assert paired_difference([1.0, 2.0], [2.0, 3.0]).variance_reduction is None
    with pytest.raises(ValueError, match="both sides"):
        paired_difference([1.0], [1.0, 2.0])
