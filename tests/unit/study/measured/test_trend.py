"""The trend of an engine with its date: planted, and where there is none to tell."""

import math

import numpy as np
import pytest

from factorysim.study.measured.compare import Compared
from factorysim.study.measured.trend import trends


def row(date, gain, source, quantity="tpot", load="closed"):
    """A row whose measured speed is `gain` over the predicted one, as a logarithm."""
    error = math.expm1(gain if quantity in ("tpot", "itl") else -gain)
    return Compared(
        "a", 1, quantity, 1.0, 1.0 + error, error, "", (), quantity, "vllm", "hopper", load,
        source, date=date,
    )  # fmt: skip


def rows(per_year, noise=0.05, load="closed", years=(2024, 2025, 2026), seed=7):
    rng = np.random.default_rng(seed)
    for year in years:
        for source in "abcd":
            shift = rng.normal(0, noise)
            for quantity in ("tpot", "throughput"):
                gain = math.log1p(per_year) * (year - 2025) + shift + rng.normal(0, noise)
                yield row(f"{year}-03", gain, f"{source}{year}", quantity, load)


@pytest.mark.parametrize("per_year", [-0.2, 0.0, 0.3])
def test_a_planted_trend_comes_back_inside_its_band(per_year):
    """The band holds it in 80 % of 200 worlds, within three standard errors of that share."""
    found = [trends(rows(per_year, seed=seed))[0] for seed in range(200)]
    held = np.mean([one.low < per_year < one.high for one in found])
    assert abs(held - 0.8) < 3 * math.sqrt(0.8 * 0.2 / 200)
    assert np.mean([one.per_year for one in found]) == pytest.approx(per_year, abs=0.01)
    first = found[0]
    assert (first.rows, first.sources, first.since, first.until) == (24, 12, "2024-03", "2026-03")


def test_dates_too_near_or_rows_of_limits_tell_none():
    assert trends(rows(0.3, years=(2025,))) == []
    assert trends(rows(0.3, load="offered")) == []
    assert trends(list(rows(0.3))[:7]) == []
    assert trends([row("soon", 0.1, str(k)) for k in range(20)]) == []
