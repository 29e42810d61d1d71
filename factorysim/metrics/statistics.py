"""Intervals between replications, warm-up, and paired differences."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

CONFIDENCE = 0.95
MSER_BATCH = 5


class Interval(NamedTuple):
    """A mean, and where the true one lies with the confidence asked for."""

    mean: float
    low: float
    high: float


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Student's interval for the mean of independent replications.

    Raises
    ------
    ValueError
        With fewer than two values: one replication says nothing of the spread.

    Examples
    --------
    >>> t_interval([9.0, 10.0, 11.0]).low
    7.515...
    """
    import numpy as np

    n = len(values)
    if n < 2:
        raise ValueError("an interval needs two replications")
    mean = float(np.mean(values))
    spread = float(np.std(values, ddof=1)) / n**0.5
    half = _t_quantile(confidence, n - 1) * spread
    return Interval(mean, mean - half, mean + half)


@lru_cache
def _t_quantile(confidence: float, freedom: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.5 + confidence / 2, freedom))


def wilson_interval(
    successes: int, trials: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval for a share of independent trials; sound near 0 and 1 too.

    Raises
    ------
    ValueError
        If there are no trials, or more successes than trials.

    References
    ----------
    .. [1] Wilson, "Probable inference", JASA 22 (1927).

    Examples
    --------
    >>> low, high = wilson_interval(0, 50)
    >>> low, round(high, 4)
    (0.0, 0.0713)
    """
    from scipy import stats

    if not 0 <= successes <= trials or trials == 0:
        raise ValueError("successes of at least one trial")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    share, scale = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    half = z / scale * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def mser5(series: npt.NDArray[np.float64]) -> int | None:
    """Observations to delete from the front, by MSER-5.

    Batches of five are averaged; the cut is where the standard error of the mean of
    what is left is least.

    Returns
    -------
    None where the least lies at half the series or there are fewer than ten
    batches: the transient may not be over, and a longer run is needed [2]_.

    References
    ----------
    .. [1] White, "An effective truncation heuristic for bias reduction in
       simulation output", Simulation 69 (1997).
    .. [2] Hoad and Robinson, "Implementing MSER-5 in commercial simulation
       software", Winter Simulation Conference 2011.

    Examples
    --------
    >>> import numpy as np
    >>> mser5(np.concatenate([np.full(20, 9.0), np.tile([1.0, 2.0], 100)]))
    20
    """
    import numpy as np

    batches = len(series) // MSER_BATCH
    if batches < 10:
        return None
    means = series[: batches * MSER_BATCH].reshape(batches, MSER_BATCH).mean(axis=1)
    left = np.arange(batches, 0, -1)
    # Around the overall mean, so that sums of squares keep their digits.
    means = means - means.mean()
    sums = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum((means * means)[::-1])[::-1]
    error = np.maximum(squares - sums * sums / left, 0.0) / (left * left)
    half = batches // 2
    cut = int(np.argmin(error[: half + 1]))
    return None if cut >= half else cut * MSER_BATCH


class Difference(NamedTuple):
    """B - A over replications that met the same demand."""

    mean: float
    low: float
    high: float
    variance_reduction: float | None
    """Variance of the difference without common random numbers over that with them."""


def paired_difference(
    a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE
) -> Difference:
    """Paired-t interval of ``b - a``, and what common random numbers gained.

    Raises
    ------
    ValueError
        With fewer than two pairs, or unequal lengths.

    Examples
    --------
    >>> paired_difference([1.0, 2.0, 3.0], [2.0, 3.1, 3.9]).mean
    1.0
    """
    import numpy as np

    difference = np.subtract(b, a, dtype=float) if len(a) == len(b) else None
    if difference is None:
        raise ValueError("as many replications on both sides")
    interval = t_interval(difference.tolist(), confidence)
    apart = float(np.var(a, ddof=1) + np.var(b, ddof=1))
    together = float(np.var(difference, ddof=1))
    return Difference(*interval, apart / together if together > 0 else None)
