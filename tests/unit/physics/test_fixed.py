import math

import numpy as np
import pytest

from factorysim.physics.fixed import fixed_law, quantile
from factorysim.spec.law import Distribution, FixedLaw


def law(**fields):
    return fixed_law(FixedLaw(kind="fixed", **fields))


def test_a_step_with_decodes_takes_the_given_time():
    fixed = law(decode="20 ms")
    assert fixed.base(1, 0, 0, 1) == fixed.base(64, 100, 2, 65) == 20 * 10**12
    assert fixed.base(0, 100, 1, 1) == 1
    assert fixed.piece(8, 10**9) == (0, 0, None)
    assert (fixed.chunk(100, 50), fixed.chunk_slope(100)) == (0, 0)


def test_prompts_draw_from_their_distribution():
    fixed = law(prompt={"kind": "exponential", "mean": "2 s"})
    assert fixed.draws
    assert fixed.prompt(0.5) == round(2 * math.log(2) * 1e15)
    assert not law(decode="1 s").draws
    assert law(decode="1 s").prompt(0.5) == 0


@pytest.mark.parametrize(
    ("kind", "cv"),
    [("exponential", 1.0), ("lognormal", 0.7), ("gamma", 0.5), ("gamma", 2.0), ("uniform", 0.3)],
)
def test_moments_of_each_distribution(kind, cv):
    """Mean and deviation by the midpoint rule over a million quantiles."""
    times = Distribution(kind=kind, mean="3 s", cv=cv)
    n = 20_000
    # Midpoints crowd towards 1, where the tail is.
    edges = 1.0 - (1.0 - np.arange(n + 1) / n) ** 4
    values = np.array([quantile(times, u) for u in (edges[:-1] + edges[1:]) / 2])
    mean = float(np.sum(values * np.diff(edges)))
    deviation = math.sqrt(float(np.sum((values - mean) ** 2 * np.diff(edges))))
    assert mean == pytest.approx(3.0, rel=2e-3)
    assert deviation / mean == pytest.approx(cv, rel=1e-2)


def test_deterministic_times_do_not_vary():
    for times in (
        Distribution(kind="deterministic", mean="3 s"),
        Distribution(kind="gamma", mean="3 s", cv=0.0),
    ):
        assert quantile(times, 0.01) == quantile(times, 0.99) == 3.0


def test_the_edges_of_a_uniform_stay_finite():
    for kind in ("exponential", "lognormal", "gamma"):
        times = Distribution(kind=kind, mean="1 s", cv=1.0)
        assert 0 <= quantile(times, 0.0) < quantile(times, 1.0) < 1e4


def test_activity_is_unknown(runs):
    activity = law(decode="1 s").activity(runs(decodes=3))
    assert all(values.tolist() == [0.0] for values in activity)
