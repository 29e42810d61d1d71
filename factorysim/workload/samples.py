"""Whole numbers by the million of which a mean, quantiles and a total are told.

Equal values are counted together: lengths of prompts are a few thousand different
ones, however long a trace is. Where there are more, as of times in nanoseconds, values
are rounded to 13 significant bits.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

QUANTILES = (0.1, 0.5, 0.9, 0.99)
DISTINCT_MOST = 2**18
"""Values that are told apart exactly; from then on quantiles are within 1 in 8,192."""
KEPT_BITS = 13


class Lengths(NamedTuple):
    """A distribution of tokens, counts or seconds."""

    total: float
    mean: float
    quantiles: dict[str, float]


class Sample:
    """Values of which only the distribution is kept.

    Examples
    --------
    >>> sample = Sample()
    >>> for value in (5, 3, 4, 4):
    ...     sample.append(value)
    >>> sample.fold()
    >>> sample.total, sample.quantile(0.5)
    (16, 4.0)
    """

    def __init__(self) -> None:
        import numpy as np

        self._new = array("q")
        self.append = self._new.append
        """Take a value; `fold` before there are too many."""
        self._values: Ints = np.empty(0, np.int64)
        self._counts: Ints = np.empty(0, np.int64)
        self.total = 0
        self.count = 0

    def fold(self) -> None:
        """Count what was taken: from then on it costs its different values."""
        import numpy as np

        if not self._new:
            return
        new = np.array(self._new)
        del self._new[:]
        self.count += len(new)
        # In two halves, since a sum of times may exceed 64 bits.
        self.total += (int((new >> 32).sum()) << 32) + int((new & (2**32 - 1)).sum())
        values, counts = np.unique(new, return_counts=True)
        self._merge(np.concatenate([self._values, values]), np.concatenate([self._counts, counts]))
        if len(self._values) > DISTINCT_MOST:
            self._merge(_rounded(self._values), self._counts)

    def _merge(self, values: Ints, counts: Ints) -> None:
        import numpy as np

        self._values, places = np.unique(values, return_inverse=True)
        self._counts = np.zeros(len(self._values), np.int64)
        np.add.at(self._counts, places, counts)

    @property
    def timed(self) -> bool:
        """Whether any value is not 0."""
        return bool(self._values.any())

    def quantile(self, share: float) -> float:
        """Interpolate between the two values next to a share of those in order."""
        import numpy as np

        place = (self.count - 1) * share
        low = int(place)
        upto = np.cumsum(self._counts)
        below, above = (
            float(self._values[np.searchsorted(upto, rank, side="right")])
            for rank in (low, min(low + 1, self.count - 1))
        )
        return below + (above - below) * (place - low)

    def lengths(self, unit: float = 1) -> Lengths | None:
        """Tell the distribution in another unit; None of nothing."""
        if not self.count:
            return None
        points = {f"p{round(100 * share)}": self.quantile(share) / unit for share in QUANTILES}
        total = self.total if unit == 1 else self.total / unit
        return Lengths(total, self.total / self.count / unit, points)


def _rounded(values: Ints) -> Ints:
    """Keep the highest bits of values, and put them in the middle of what they stand for."""
    import numpy as np

    sizes = np.abs(values)
    spare = np.maximum(np.frexp(sizes.astype(np.float64))[1] - KEPT_BITS, 0)
    middle = np.where(spare > 0, np.left_shift(1, np.maximum(spare - 1, 0), dtype=np.int64), 0)
    kept: Ints = np.sign(values) * (((sizes >> spare) << spare) + middle)
    return kept
