"""Bands of the model's own error, from the residuals of predictions.

A residual is the logarithm of measured over predicted. Those of one source go together: it
measured with one setup, which the prediction has not seen. So a band is that of a new row of
a new source, under a one-way random-effects model: between sources, within sources, and what
is not known of the centre; with few sources the quantile is Student's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

CENTRAL = 0.8
"""Share of rows that a band is to hold."""


class Effects(NamedTuple):
    """What a one-way random-effects model says of residuals."""

    mean: float
    """Of the logarithms, sources weighted by how much each tells."""
    mean_error: float
    """Standard error of it."""
    between: float
    """Standard deviation of sources."""
    within: float
    """Of rows of one source."""
    freedom: float
    """Degrees of freedom of the variance of a new row of a new source."""


class Bounds(NamedTuple):
    """Central 80 % of measured over predicted."""

    value: float
    low: float
    high: float

    def hold(self, logs: Floats) -> npt.NDArray[np.bool_]:
        """Tell which residuals are inside."""
        inside: npt.NDArray[np.bool_] = (logs >= math.log(self.low)) & (logs <= math.log(self.high))
        return inside


def effects(logs: Sequence[float] | Floats, sources: Sequence[str]) -> Effects:
    """Split the variance of residuals into that between sources and that within.

    Moments of the analysis of variance, unequal sizes (Searle, Casella and McCulloch,
    Variance Components, 1992, section 3.6); degrees of freedom by Satterthwaite (1946).
    Nothing tells one source from its kind: then between is taken to be as within, a guess.

    Examples
    --------
    >>> found = effects([0.1, 0.1, -0.1, -0.1], ["a", "a", "b", "b"])
    >>> round(found.mean, 3), round(found.between, 3), found.within, found.freedom
    (0.0, 0.141, 0.0, 1.0)
    """
    values = np.asarray(logs, dtype=np.float64)
    names, which = np.unique(np.asarray(sources), return_inverse=True)
    size = np.bincount(which).astype(np.float64)
    rows, groups = len(values), len(names)
    means = np.bincount(which, values) / size
    inner = float(((values - means[which]) ** 2).sum())
    within = inner / (rows - groups) if rows > groups else 0.0
    if groups == 1:
        error = math.sqrt(within * (1.0 + 1.0 / rows))
        spread = math.sqrt(within)
        return Effects(float(means[0]), error, spread, spread, max(rows - 1.0, 1.0))
    grand = float(values.mean())
    outer = float((size * (means - grand) ** 2).sum()) / (groups - 1)
    usual = (rows - float((size**2).sum()) / rows) / (groups - 1)
    between = (outer - within) / usual
    if between <= 0.0:
        all_rows = float(((values - grand) ** 2).sum()) / (rows - 1)
        return Effects(grand, math.sqrt(all_rows / rows), 0.0, math.sqrt(all_rows), rows - 1.0)
    weight = 1.0 / (between + within / size)
    mean, error = float((weight * means).sum() / weight.sum()), float(1.0 / weight.sum())
    first, second = outer / usual, (1.0 - 1.0 / usual) * within
    unsure = first**2 / (groups - 1) + (second**2 / (rows - groups) if rows > groups else 0.0)
    freedom = (first + second) ** 2 / unsure if unsure else groups - 1.0
    return Effects(mean, math.sqrt(error), math.sqrt(between), math.sqrt(within), freedom)


def bounds(
    logs: Sequence[float] | Floats, sources: Sequence[str], *, centred: bool = False
) -> Bounds:
    """Bound the central 80 % of measured over predicted, for a new row of a new source.

    Parameters
    ----------
    logs
        Logarithms of measured over predicted.
    centred
        Around the prediction itself: the mean error widens the band, and does not shift it.

    Examples
    --------
    >>> found = bounds([0.1, 0.1, -0.1, -0.1], ["a", "a", "b", "b"])
    >>> round(found.low, 2), round(found.high, 2)
    (0.59, 1.7)
    """
    from scipy.stats import t

    found = effects(logs, sources)
    variance = found.between**2 + found.within**2
    variance += found.mean**2 if centred else found.mean_error**2
    half = float(t.ppf((1.0 + CENTRAL) / 2.0, max(1.0, found.freedom))) * math.sqrt(variance)
    middle = 0.0 if centred else found.mean
    return Bounds(math.exp(middle), math.exp(middle - half), math.exp(middle + half))
