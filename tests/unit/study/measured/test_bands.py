"""Bands from residuals: planted variances come back, and new rows of new sources are held."""

import math

import numpy as np
import pytest

from factorysim.study.measured.bands import Bounds, bounds, effects


def world(seed, sources, rows, between, within, mean=0.0):
    """Residuals of a world whose variances are known."""
    rng = np.random.default_rng(seed)
    own = np.repeat(rng.normal(mean, between, sources), rows)
    names = [f"source {k}" for k in range(sources) for _ in range(rows)]
    return own + rng.normal(0.0, within, sources * rows), names


def test_planted_variances_come_back():
    found = effects(*world(1, 300, 20, between=0.2, within=0.1, mean=0.05))
    assert found.between == pytest.approx(0.2, rel=0.1)
    assert found.within == pytest.approx(0.1, rel=0.05)
    assert found.mean == pytest.approx(0.05, abs=0.03)
    assert found.mean_error == pytest.approx(0.2 / math.sqrt(300), rel=0.15)


def test_a_planted_band_comes_back():
    found = bounds(*world(2, 300, 20, between=0.2, within=0.1, mean=0.05))
    half = 1.2816 * math.hypot(0.2, 0.1)
    assert math.log(found.high / found.low) / 2 == pytest.approx(half, rel=0.1)
    assert math.log(found.value) == pytest.approx(0.05, abs=0.03)


def test_unequal_sources_do_not_drown_each_other():
    """One source of a thousand rows says no more of sources than one of ten."""
    logs = np.concatenate([np.full(1000, 0.4), np.full(10, -0.4), np.full(10, 0.0)])
    names = ["a"] * 1000 + ["b"] * 10 + ["c"] * 10
    found = effects(logs, names)
    assert found.mean == pytest.approx(0.0, abs=1e-9)
    assert found.between == pytest.approx(0.4, rel=0.5)


def coverage(make, between, within, sources=5, rows=8, worlds=400):
    inside = []
    for seed in range(worlds):
        logs, names = world(seed, sources + 1, rows, between, within)
        new = np.array([name == f"source {sources}" for name in names])
        known = [name for name, one in zip(names, new, strict=True) if not one]
        inside.append(make(logs[~new], known).hold(logs[new]).mean())
    return float(np.mean(inside))


@pytest.mark.parametrize(("between", "within"), [(0.3, 0.1), (0.1, 0.3), (0.2, 0.2), (0.0, 0.2)])
@pytest.mark.parametrize("centred", [False, True])
def test_new_sources_are_held_by_eight_bands_of_ten(between, within, centred):
    found = coverage(lambda *told: bounds(*told, centred=centred), between, within)
    assert 0.7 < found < 0.9


def test_rows_taken_as_independent_would_not_be_held():
    """Else the test above could not fail: sources matter."""

    def plain(logs, _):
        half = 1.2816 * logs.std(ddof=1) / math.sqrt(3)
        return Bounds(1.0, math.exp(logs.mean() - half), math.exp(logs.mean() + half))

    assert coverage(plain, 0.3, 0.1) < 0.7


def test_two_sources_make_a_wider_band_than_twenty():
    def width(sources):
        widths = []
        for seed in range(60):
            found = bounds(*world(seed, sources, 6, between=0.2, within=0.05))
            widths.append(math.log(found.high / found.low))
        return float(np.mean(widths))

    assert width(2) > 1.5 * width(20)


def test_around_the_prediction_a_bias_widens_and_does_not_shift():
    logs, names = world(3, 50, 6, between=0.1, within=0.1, mean=0.3)
    shifted, centred = bounds(logs, names), bounds(logs, names, centred=True)
    assert shifted.value == pytest.approx(math.exp(0.3), rel=0.05)
    assert centred.value == 1.0
    assert centred.low == pytest.approx(1 / centred.high)
    assert centred.high / centred.low > shifted.high / shifted.low
