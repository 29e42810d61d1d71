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
        self._level = np.zeros(len(edges_s))
        self._moment = np.zeros(len(edges_s))

    def add(self, since_s: Floats, until_s: Floats, value: Floats | float = 1.0) -> None:
        """Add rows; one that ends before it begins must not be among them."""
        self._change(since_s, value, 1.0)
        self._change(until_s, value, -1.0)

    def _change(self, at_s: Floats, value: Floats | float, sign: float) -> None:
        """Let the level change at instants: what lies before the first edge counts from there."""
        import numpy as np

        count = len(self._edges)
        at = np.maximum(at_s, self._edges[0]) - self._edges[0]
        place = np.searchsorted(self._edges, at_s, side="left")
        weight = np.broadcast_to(np.asarray(value, np.float64), at.shape)
        kept = place < count
        where = place[kept]
        self._level += sign * np.bincount(where, weight[kept], count)
        self._moment += sign * np.bincount(where, (weight * at)[kept], count)

    def means(self) -> Floats:
        """Mean of the sum of all rows in each bin, shape ``(bins,)``."""
        import numpy as np

        since = self._edges - self._edges[0]
        area = since * np.cumsum(self._level) - np.cumsum(self._moment)
        mean: Floats = np.diff(area) / np.diff(self._edges)
        return mean
