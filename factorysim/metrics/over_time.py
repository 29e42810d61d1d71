"""Means over equal bins of what changes by steps: rows that each hold a value for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class BinMeans:
    """Adds up rows of (since, until, value), and gives the mean of their sum in each bin.

    Rows come in any order and number: only two sums a bin are kept. No row is walked
    bin by bin, so a long one costs as much as a short one.

    Parameters
    ----------
    edges_s
        Shape ``(bins + 1,)``, seconds, rising.

    Examples
    --------
    >>> import numpy as np
    >>> bins = BinMeans(np.array([0.0, 2.0, 4.0]))
    >>> bins.add(np.array([1.0, 0.0]), np.array([3.0, 4.0]), np.array([10.0, 1.0]))
    >>> bins.means()
    array([6., 6.])
    """

    def __init__(self, edges_s: Floats) -> None:
        import numpy as np

        self._edges = edges_s
        self._change = np.zeros(len(edges_s))
        self._partial = np.zeros(len(edges_s))

    def add(self, since_s: Floats, until_s: Floats, value: Floats | float = 1.0) -> None:
        """Add rows; one that ends before it begins must not be among them."""
        self._changed(since_s, value, 1.0)
        self._changed(until_s, value, -1.0)

    def _changed(self, at_s: Floats, value: Floats | float, sign: float) -> None:
        """Let the level change at instants: what lies before the first edge counts from there.

        A change counts in its own bin for what of the bin is left, and whole in all later
        ones: so what has gone leaves nothing behind but the rounding of its own bin.
        """
        import numpy as np

        count = len(self._edges)
        weight = np.broadcast_to(np.asarray(value, np.float64), np.shape(at_s))
        bins = np.searchsorted(self._edges, at_s, side="left")
        kept = bins < count
        where, much = bins[kept], sign * weight[kept]
        left = self._edges[where] - np.maximum(at_s[kept], self._edges[0])
        self._change += np.bincount(where, much, count)
        self._partial += np.bincount(where, much * left, count)

    def means(self) -> Floats:
        """Mean of the sum of all rows in each bin, shape ``(bins,)``."""
        import numpy as np

        before = np.cumsum(self._change)[:-1]
        mean: Floats = before + self._partial[1:] / np.diff(self._edges)
        return mean
