"""Arrival processes against renewal theory, and their rates against their profiles."""

from itertools import islice, takewhile

import numpy as np
import pytest
from scipy import stats

from factorysim.rng import stream
from factorysim.spec.arrivals import (
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    PopulationArrivals,
    WeibullArrivals,
)
from factorysim.workload.arrivals import arrival_times
from factorysim.workload.intensity import expected
from factorysim.workload.populations import population_times, zipf_shares
from factorysim.workload.renewal import GammaGaps, WeibullGaps, gaps_of, renewal_times, window_times


def counts(times, length, windows):
    """Arrivals in windows that follow each other."""
    edges = np.arange(windows + 1) * length
    listed = np.array(list(takewhile(lambda t: t < edges[-1], times)))
    return np.histogram(listed, edges)[0]


def interval(values, times=4.0):
    """Mean, and so many standard errors of it."""
    return np.mean(values), times * np.std(values, ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("family", ["gamma", "weibull"])
@pytest.mark.parametrize("cv", [0.5, 2.0])
def test_counts_of_a_renewal_process_vary_as_theory_says(family, cv):
    """Var N(t) = cv^2 t + 1/6 + cv^4/2 - mu_3/3, equilibrium: Cox, Renewal Theory, 4.5 (eq. 18).

    The leading term is the index of dispersion, cv^2.
    """
    length = 300.0
    gaps = gaps_of(family, cv)
    if family == "gamma":
        third = 2.0 * cv**4
    else:
        law = stats.weibull_min(gaps.shape, scale=gaps.scale)
        third = float(law.stats("s")) * cv**3
    variance = cv**2 * length + 1 / 6 + cv**4 / 2 - third / 3
    seen = [
        counts(renewal_times(stream(seed, family), gaps), length, 40).var(ddof=1)
        for seed in range(30)
    ]
    mean, half_width = interval(seen)
    assert abs(mean - variance) < half_width
    assert half_width < 0.25 * variance


@pytest.mark.parametrize("gaps", [GammaGaps(2.0), WeibullGaps(0.6)])
def test_a_renewal_process_is_stationary_from_the_start(gaps):
    """E[N(t)] = t, by blocks without end as by windows."""
    length = 3.0
    drawn = [
        (
            sum(1 for _ in takewhile(lambda t: t < length, renewal_times(stream(seed), gaps, 16))),
            len(window_times(stream(seed, "w"), gaps, length)),
        )
        for seed in range(1500)
    ]
    for seen in zip(*drawn, strict=True):
        mean, half_width = interval(seen)
        assert abs(mean - length) < half_width
        assert half_width < 0.7


def test_weibull_gaps_have_the_shape_asked_for():
    drawn = WeibullGaps(0.5).draw(stream(3), 20_000)
    law = stats.weibull_min(0.5, scale=WeibullGaps(0.5).scale)
    assert stats.kstest(drawn, law.cdf).pvalue > 1e-4
    assert stats.kstest(drawn, stats.expon.cdf).pvalue < 1e-9


def test_the_first_weibull_gap_is_the_residual_of_one_under_way():
    """Its density is the survival function over the mean: Cox, Renewal Theory, 5.2."""
    law = stats.weibull_min(0.7, scale=WeibullGaps(0.7).scale)
    firsts = [WeibullGaps(0.7).residual(stream(seed)) for seed in range(3000)]
    grid = np.linspace(0.0, 60.0, 60_001)
    cdf = np.concatenate(([0.0], np.cumsum((law.sf(grid[:-1]) + law.sf(grid[1:])) / 2 * 1e-3)))
    assert stats.kstest(firsts, lambda x: np.interp(x, grid, cdf)).pvalue > 1e-4


def test_counts_of_a_modulated_process_vary_by_the_closed_form():
    """IDC(t) of an MMPP2: Fischer and Meier-Hellstern, Performance Evaluation 18 (1993), 2.4."""
    fast, slow, leave_fast, leave_slow, length = 8.0, 1.0, 0.2, 0.1, 12.0
    states = {
        "fast": {"rate": f"{fast}/s", "sojourn": f"{1 / leave_fast} s"},
        "slow": {"rate": f"{slow}/s", "sojourn": f"{1 / leave_slow} s"},
    }
    spec = MmppArrivals.model_validate({"process": "mmpp", "states": states})
    both = leave_fast + leave_slow
    mean_rate = (fast * leave_slow + slow * leave_fast) / both
    assert spec.rate == pytest.approx(mean_rate)
    burst = 2 * (fast - slow) ** 2 * leave_fast * leave_slow / (both**3 * mean_rate)
    theory = 1 + burst * (1 - (1 - np.exp(-both * length)) / (both * length))
    means, ratios = [], []
    for seed in range(20):
        times = (at / 1e9 for at in arrival_times(spec, seed, 0, "s"))
        seen = counts(times, length, 200)
        means.append(seen.mean() / length)
        ratios.append(seen.var(ddof=1) / (mean_rate * length))
    for values, target in ((means, mean_rate), (ratios, theory)):
        mean, half_width = interval(values)
        assert abs(mean - target) < half_width
        assert half_width < 0.2 * target


def test_states_share_the_time_by_visits_and_sojourns():
    """Of a chain a -> b -> c -> a with a detour, by its embedded chain and mean sojourns."""
    states = {
        "a": {"rate": "9/s", "sojourn": "4 s", "to": {"b": 1.0}},
        "b": {"rate": "0/s", "sojourn": "1 s", "to": {"a": 1.0, "c": 3.0}},
        "c": {"rate": "3/s", "sojourn": "2 s", "to": {"a": 1.0}},
    }
    spec = MmppArrivals.model_validate({"process": "mmpp", "states": states})
    # Visits: a 4, b 4, c 3 in a round of four.
    assert spec.time_shares == pytest.approx({"a": 16 / 26, "b": 4 / 26, "c": 6 / 26})
    assert spec.rate == pytest.approx((16 * 9 + 6 * 3) / 26)


HOURS = [0.2] * 6 + [1.0] * 6 + [3.0] * 4 + [1.0] * 8
DAYS = [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize("between", ["steps", "linear"])
@pytest.mark.parametrize("kind", [PoissonArrivals, GammaArrivals, WeibullArrivals])
def test_hours_get_the_sessions_that_their_profile_says(kind, between):
    """Counts by hour over weeks, against the rate of the hour; linear: its trapezoids."""
    levels = np.outer(DAYS, HOURS).ravel()
    levels /= levels.mean()
    weeks, rate, start = 26, 0.01, 33
    process = kind.model_fields["process"].annotation.__args__[0]
    profile = {"hours": HOURS, "days": DAYS, "between": between}
    spec = kind.model_validate(
        {"process": process, "rate": f"{rate}/s", "profile": profile, "start": f"{start} h"}
    )
    times = (at / 1e9 for at in arrival_times(spec, 5, 0, "s"))
    seen = counts(times, 3600.0, 168 * weeks).reshape(weeks, 168)
    if between == "linear":
        last, following = np.roll(levels, 1), np.roll(levels, -1)
        levels = 0.75 * levels + 0.125 * (last + following)
    mean = np.roll(levels, -start) * rate * 3600.0
    assert expected(spec, 168 * 3600.0) == pytest.approx(168 * 3600.0 * rate)
    assert expected(spec, 5 * 3600.0) == pytest.approx(mean[:5].sum())
    cv = getattr(spec, "cv", 1.0) or 2.0
    # Of 168 hours, by Bonferroni, and of the whole.
    error = cv * np.sqrt(mean / weeks)
    assert np.all(np.abs(seen.mean(axis=0) - mean) < 4.5 * error + 0.05 * mean)
    assert abs(seen.mean() - rate * 3600.0) < 4 * cv * np.sqrt(rate * 3600.0 / seen.size)
    assert np.corrcoef(seen.mean(axis=0), mean)[0, 1] > 0.95


def test_a_spike_brings_so_many_times_the_mean():
    spikes = {
        "launch": {"at": "100 s", "length": "50 s", "times": 10.0},
        "outage": {"at": "140 s", "length": "20 s", "times": 0.0},
    }
    spec = PoissonArrivals.model_validate({"process": "poisson", "rate": "2/s", "spikes": spikes})
    runs = 300
    edges = [0.0, 100.0, 140.0, 150.0, 160.0, 260.0]
    mean = np.array([200.0, 800.0, 0.0, 0.0, 200.0])
    seen = np.zeros(5)
    for seed in range(runs):
        times = [at / 1e9 for at in islice(arrival_times(spec, seed, 0, "s"), 1400)]
        assert times[-1] > edges[-1]
        seen += np.histogram(times, edges)[0]
    assert np.all(np.abs(seen / runs - mean) <= 4 * np.sqrt(mean / runs))
    assert expected(spec, 260.0) == pytest.approx(1200.0)


def test_clients_send_by_zipf_and_in_bursts_of_their_own():
    spec = PopulationArrivals(
        process="population", rate="5/s", clients=30, skew=1.2, family="weibull", cv=2.0
    )
    drawn = list(islice(population_times(spec, 3, 0, "s"), 200_000))
    span = drawn[-1][0]
    for client in (0, 1, 5, 29):
        mine = np.array([at for at, one in drawn if one == client])
        mean = zipf_shares(30, 1.2)[client] * span
        assert abs(len(mine) - mean) < 4 * 2.0 * np.sqrt(mean)
        gaps = np.diff(mine)
        # The cv of n gaps of cv 2, by its spread over parts of them.
        parts = [part.std() / part.mean() for part in np.array_split(gaps, 12)]
        centre, half_width = interval(parts)
        assert abs(centre - 2.0) < half_width + 0.15
