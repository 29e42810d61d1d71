"""How the speed of an engine moved with its date: what predictions are off by, per year.

Factors belong to an engine on a generation, whatever its version; a stack gains tens of per
cent in months, so old rows are predicted too quick and new ones too slow. The slope of the
residuals over the dates of the rows says by how much; sources go together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.study.measured.compare import Compared

ROWS_LEAST, SOURCES_LEAST = 8, 3
SPAN_YEARS = 0.4
"""Between the first date and the last, at least."""
CENTRAL = 0.9
"""Quantile of Student's distribution that bounds the central 80 %."""
TIMES = ("tpot", "itl")
RATES = ("throughput", "tokens_per_s_per_user")


class Trend(NamedTuple):
    """Growth of measured over predicted speed of an engine on a generation."""

    engine: str
    generation: str
    per_year: float
    """As a share: 0.1 is 10 % quicker each year."""
    low: float
    high: float
    """The central 80 %."""
    rows: int
    sources: int
    since: str
    until: str


def trends(rows: Iterable[Compared]) -> list[Trend]:
    """Find the trend of each engine on each generation whose rows have dates enough.

    Loads at their limit are left out: there a small error of a step is a large one.
    """
    groups: dict[tuple[str, str], list[Compared]] = {}
    for row in rows:
        timed = row.quantity in (*TIMES, *RATES) and row.load != "offered"
        if timed and row.error is not None and row.error > -1.0 and years(row.date) is not None:
            groups.setdefault((row.engine, row.generation), []).append(row)
    found = [_trend(*key, mine) for key, mine in sorted(groups.items())]
    return [one for one in found if one is not None]


def years(date: str) -> float | None:
    """Read a date, of a year, a month or a day, as years; None if it is none.

    Examples
    --------
    >>> years("2025-07-01"), years("2025"), years("soon")
    (2025.5, 2025.5, None)
    """
    parts = date.split("-")
    if not 1 <= len(parts) <= 3 or not all(part.isdigit() for part in parts):
        return None
    year, month, day = (int(part) for part in (*parts, "0", "0")[:3])
    if not month:
        return year + 0.5
    return year + (month - 1 + (day - 1 if day else 15) / 30.5) / 12


def _trend(engine: str, generation: str, rows: Sequence[Compared]) -> Trend | None:
    import numpy as np
    from scipy.stats import t as student

    at = np.array([years(row.date) for row in rows], dtype=np.float64)
    sources = sorted({row.source for row in rows})
    span = float(at.max() - at.min())
    if len(rows) < ROWS_LEAST or len(sources) < SOURCES_LEAST or span < SPAN_YEARS:
        return None
    gained = np.array([_gained(row) for row in rows])
    centred = at - at.mean()
    spread = float((centred**2).sum())
    slope = float((centred * gained).sum()) / spread
    left = gained - gained.mean() - slope * centred
    scores = [
        float((centred * left)[[row.source == source for row in rows]].sum()) for source in sources
    ]
    freedom = len(sources) - 1
    # Of few clusters a sandwich is too narrow: the usual correction (Cameron and Miller 2015).
    error = math.sqrt(sum(score**2 for score in scores) * len(sources) / freedom) / spread
    wide = float(student.ppf(CENTRAL, freedom)) * error
    dates = sorted(row.date for row in rows)
    return Trend(
        engine, generation, math.expm1(slope), math.expm1(slope - wide), math.expm1(slope + wide),
        len(rows), len(sources), dates[0], dates[-1],
    )  # fmt: skip


def _gained(row: Compared) -> float:
    """Logarithm of measured over predicted speed."""
    assert row.error is not None
    off = math.log1p(row.error)
    return off if row.quantity in TIMES else -off
