"""Distributions as tables: fitted to values, drawn by a normal score."""

from __future__ import annotations

from bisect import bisect_left
from math import ceil, erfc, expm1, log1p, sqrt
from typing import TYPE_CHECKING

import numpy as np

from factorysim.spec.twin import Table

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_TAIL = (0.002, 0.005, 0.01, 0.015)
GRID = (*_TAIL, *(place / 40 for place in range(1, 40)), *(1.0 - share for share in _TAIL[::-1]))
"""Shares at which a table has values, where it has that many."""
ENDS = 5
"""Values whose mean stands for the smallest and for the largest: no row is told."""
DIGITS = 3
"""Of a value: enough for a distribution, too few to tell a row by."""
STEPS = (1.0, 0.1, 0.01)
"""Of recorded times; finer ones make no difference."""
SQRT_HALF = sqrt(0.5)


def fit_table(values: npt.ArrayLike) -> Table:
    """Fit a table to values of at least 0.

    The share at each value is counted, so it is exact there; the values themselves
    are quantiles rounded to three digits, and the ends are means of five.

    Examples
    --------
    >>> table = fit_table([1, 1, 1, 2, 2, 9] * 10)
    >>> table.values, [round(share, 3) for share in table.cdf]
    ((1.0, 2.0, 9.0), [0.5, 0.833, 1.0])
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    edges = [_rounded(ordered[max(0, ceil(share * count) - 1)]) for share in GRID]
    few, step = min(ENDS, count), _step(ordered)
    ends = [_rounded(_multiple(end.mean(), step)) for end in (ordered[:few], ordered[-few:])]
    points = sorted({*(edge for edge in edges if ends[0] <= edge <= ends[1]), *ends})
    shares = np.searchsorted(ordered, points, side="right") / count
    values, cdf = [points[0]], [round(float(shares[0]), 6)]
    for value, share in zip(points[1:], shares[1:].round(6).tolist(), strict=True):
        if share > cdf[-1]:
            values.append(value)
            cdf.append(share)
    cdf[-1] = 1.0
    return Table(values=tuple(values), cdf=tuple(cdf), step=step)


def _multiple(value: float, step: float) -> float:
    return float(round(value / step) * step if step else value)


def _step(values: Floats) -> float:
    """Find the coarsest step of which all values are multiples; 0 if none is."""
    for step in STEPS:
        if np.allclose(values / step, np.rint(values / step), rtol=0.0, atol=1e-6):
            return step
    return 0.0


def _rounded(value: float) -> float:
    """Round to `DIGITS` digits; whole numbers stay whole."""
    rounded = float(f"{value:.{DIGITS}g}")
    return float(round(rounded)) if rounded >= 10 ** (DIGITS - 1) else rounded


class Draw:
    """A table, ready to turn normal scores into values.

    Examples
    --------
    >>> draw = Draw(Table(values=(1, 2, 4), cdf=(0.5, 0.75, 1.0), step=1))
    >>> [draw.value(score) for score in (-1.0, 0.0, 0.5, 3.0)]
    [1.0, 1.0, 2.0, 4.0]
    """

    __slots__ = ("_logs", "_shares", "_slopes", "_step", "_values")

    def __init__(self, table: Table) -> None:
        self._values = table.values
        self._shares, self._step = table.cdf, table.step
        self._logs = [log1p(value) for value in table.values]
        self._slopes = [
            (self._logs[i + 1] - self._logs[i]) / (table.cdf[i + 1] - table.cdf[i])
            for i in range(len(table.cdf) - 1)
        ]

    def value(self, score: float) -> float:
        """Value at a standard normal score."""
        share = 0.5 * erfc(-score * SQRT_HALF)
        place = bisect_left(self._shares, share)
        if not place:
            return self._values[0]
        log = self._logs[place - 1] + self._slopes[place - 1] * (share - self._shares[place - 1])
        value = expm1(log)
        if self._step:
            value = ceil(value / self._step - 1e-9) * self._step
        return min(value, self._values[place])

    def whole(self, score: float) -> int:
        """Count at a standard normal score."""
        return round(self.value(score))
