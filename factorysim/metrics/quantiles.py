"""Quantiles that say when they are not known, and those of gaps between tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.inputs import Value

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
TAIL = 20
"""Observations that must lie beyond a quantile: with fewer it is mostly noise."""
CENSORED_MAX = 0.01
"""Share of unfinished observations up to which the mean of the others is given."""
SETTLED_SHARE = 0.3
"""Share of rows on one side of the bracket at which a bisection drops them."""
FS_PER_S = 10**15


def distribution(base: str, known: npt.NDArray[np.float64], censored: int) -> list[Value]:
    """Mean and quantiles of a sample of which `censored` more have not ended.

    What has not ended counts as longer than everything seen, so a quantile among
    it is withheld; so is one with fewer than 20 observations beyond it, and the
    mean where more than 1 % have not ended (it would be of the short ones).

    Examples
    --------
    >>> import numpy as np
    >>> mean, p50, p95, p99 = distribution("ttft_s", np.arange(1.0, 101.0), 0)
    >>> mean.value, p50.value, p99.reason
    (50.5, 50.5, 'p99 needs 2000 observations, there are 100')
    """
    import numpy as np

    ordered = np.sort(known)
    n = len(ordered) + censored
    values = [_mean(base, ordered, censored)]
    for label, q in QUANTILES.items():
        value, reason = _quantile(ordered, censored, label, q)
        values.append(Value(f"{base}.{label}", value, n, reason))
    return values


def _mean(base: str, known: npt.NDArray[np.float64], censored: int) -> Value:
    n = len(known) + censored
    name = f"{base}.mean"
    if not len(known):
        return Value(name, None, n, "nothing was measured" if n == 0 else "none has ended")
    if censored > CENSORED_MAX * n:
        share = f"{censored} of {n} had not ended: the mean of the others would be too low"
        return Value(name, None, n, share)
    return Value(name, float(known.mean()), n)


def _quantile(
    ordered: npt.NDArray[np.float64], censored: int, label: str, q: float
) -> tuple[float | None, str]:
    """Linear interpolation of the order statistics, as NumPy's default."""
    n = len(ordered) + censored
    if n * (1 - q) < TAIL - 1e-9:
        return None, f"{label} needs {round(TAIL / (1 - q))} observations, there are {n}"
    rank = (n - 1) * q
    low = int(rank)
    if low + 1 >= len(ordered):
        return None, f"{label} falls among the {censored} of {n} that had not ended"
    share = rank - low
    return float(ordered[low] * (1 - share) + ordered[low + 1] * share), ""


class Gaps(NamedTuple):
    """Gaps between tokens as arithmetic progressions, integer femtoseconds.

    Row i stands for ``weight[i]`` copies of each of ``first[i] + k * slope[i]``,
    ``k = 0 .. times[i] - 1``. Slopes are not negative.
    """

    first: npt.NDArray[np.int64]
    slope: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    weight: npt.NDArray[np.int64]

    def total(self) -> int:
        """Count the gaps."""
        return int((self.times * self.weight).sum())

    def mean_s(self) -> float:
        """Mean gap in seconds."""
        middle = self.first + self.slope * ((self.times - 1) / 2)
        return float((middle * (self.times * self.weight)).sum() / self.total() / FS_PER_S)


def gaps_of_runs(
    steps: npt.NDArray[np.int64],
    step_fs: npt.NDArray[np.int64],
    slope_fs: npt.NDArray[np.int64],
    decodes: npt.NDArray[np.int64],
    survivors: npt.NDArray[np.int64],
    stall_fs: npt.NDArray[np.int64],
    apart: npt.NDArray[np.int64],
    together: npt.NDArray[np.int64] | None = None,
) -> Gaps:
    """Gaps that runs of steps made, without walking their steps.

    Each step ends one gap of each decode, as long as the step; but in the first
    step, those of the `survivors` are longer by the stall before the run, and
    those of the decodes `apart` are rows of their own table. Tokens that came
    `together` with the one before them end a gap of 0.
    """
    import numpy as np

    n, first, slope = steps, step_fs, slope_fs
    odd = ((survivors > 0) & (stall_fs > 0)) | (apart > 0)
    # A whole run is one progression; of an odd one, the first step comes apart.
    start = np.where(odd, first + slope, first)
    times = np.where(odd, n - 1, n)
    # A shrinking progression is the same one read backwards.
    start = np.where(slope < 0, start + slope * (times - 1), start)
    rows = [Gaps(start, np.abs(slope), times, decodes)]
    if odd.any():
        some = np.flatnonzero(odd & (n > 0))
        zero, one = np.zeros_like(some), np.ones_like(some)
        stalled, long = survivors[some], first[some] + stall_fs[some]
        plain = decodes[some] - stalled - apart[some]
        rows += [Gaps(first[some], zero, one, plain), Gaps(long, zero, one, stalled)]
    if together is not None and together.any():
        zero, one = np.zeros_like(together), np.ones_like(together)
        rows.append(Gaps(zero, zero, one, together))
    joined = join_gaps(rows)
    kept = (joined.times > 0) & (joined.weight > 0)
    return Gaps(*(column[kept] for column in joined))


def single_gaps(gap_s: npt.NDArray[np.float64]) -> Gaps:
    """Gaps that were recorded one by one."""
    import numpy as np

    first = np.rint(gap_s * FS_PER_S).astype(np.int64)
    return Gaps(first, np.zeros_like(first), np.ones_like(first), np.ones_like(first))


def join_gaps(parts: list[Gaps]) -> Gaps:
    """All gaps of several sets."""
    import numpy as np

    empty = np.zeros(0, np.int64)
    parts = parts or [Gaps(empty, empty, empty, empty)]
    return Gaps(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def gap_values(base: str, gaps: Gaps) -> list[Value]:
    """Mean and quantiles of gaps, with the rules of `distribution`."""
    n = gaps.total()
    if n == 0:
        why = "no call made a second token"
        return [Value(f"{base}.{label}", None, 0, why) for label in ("mean", *QUANTILES)]
    values = [Value(f"{base}.mean", gaps.mean_s(), n)]
    for label, q in QUANTILES.items():
        if n * (1 - q) < TAIL - 1e-9:
            why = f"{label} needs {round(TAIL / (1 - q))} observations, there are {n}"
            values.append(Value(f"{base}.{label}", None, n, why))
        else:
            values.append(Value(f"{base}.{label}", gap_quantile(gaps, q) / FS_PER_S, n))
    return values


def gap_quantile(gaps: Gaps, q: float) -> int:
    """Smallest gap, in fs, that at least a share `q` of all gaps does not exceed.

    Bisection on the number of gaps up to a value. Progressions that lie wholly on
    one side of the bracket are settled and leave, so the work is a few passes.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.array([1])
    >>> gap_quantile(Gaps(one * 10, one * 2, one * 5, one), 0.5)
    14
    """
    import numpy as np

    wanted = int(np.ceil(q * gaps.total() - 1e-9))
    last = gaps.first + gaps.slope * (gaps.times - 1)
    low, high = int(gaps.first.min()), int(last.max())
    below = 0
    while low < high:
        middle = (low + high) // 2
        if below + int(_up_to(gaps, middle).sum()) >= wanted:
            high = middle
        else:
            low = middle + 1
        under, over = last < low, gaps.first > high
        if (under | over).mean() > SETTLED_SHARE:
            below += int((gaps.times * gaps.weight)[under].sum())
            open_ = ~(under | over)
            gaps, last = Gaps(*(column[open_] for column in gaps)), last[open_]
    return low


def _up_to(gaps: Gaps, limit_fs: int) -> npt.NDArray[np.int64]:
    """How many gaps of each row are at most `limit_fs`."""
    import numpy as np

    room = limit_fs - gaps.first
    done = np.where(gaps.slope > 0, room // np.maximum(gaps.slope, 1) + 1, gaps.times)
    done = np.where(room < 0, 0, np.minimum(done, gaps.times))
    counts: npt.NDArray[np.int64] = done * gaps.weight
    return counts
