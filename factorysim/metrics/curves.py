"""Distribution functions with few points, for drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

POINTS = 200
"""Of a curve: more than its pixels can tell apart."""


class Curve(NamedTuple):
    """Share of a sample that is at most so large."""

    value: Floats
    """Rising; shape ``(points,)``."""
    share: Floats
    """Of all, those that have not ended included: it ends below 1 where there are any."""
    n: int
    censored: int
    """Of them, those that had not ended: longer than told, by how much nobody knows."""

    def reached(self, share: float) -> float:
        """Give the least corner that so many are at most; the last where none is that high."""
        import numpy as np

        place = int(np.searchsorted(self.share, share))
        return float(self.value[min(place, len(self.value) - 1)])


def empirical(
    known: Floats, censored: int = 0, points: int = POINTS, *, decades: bool = False
) -> Curve:
    """Draw the empirical distribution function through at most `points` of its corners.

    The corners are even in rank, and again even in the last tenth and the last
    hundredth, where people look.

    Parameters
    ----------
    decades
        Adds a third as many, even on a logarithmic axis of what is left above, down to
        the last one of all.

    Examples
    --------
    >>> import numpy as np
    >>> curve = empirical(np.array([3.0, 1.0, 2.0]), censored=1)
    >>> curve.value.tolist(), curve.share.tolist(), curve.n
    ([1.0, 2.0, 3.0], [0.25, 0.5, 0.75], 4)
    """
    import numpy as np

    ordered = np.sort(known)
    n = len(ordered) + censored
    if not len(ordered):
        return Curve(np.zeros(0), np.zeros(0), n, censored)
    each = max(2, points // 3)
    parts = [np.linspace(from_, 1.0, each) for from_ in (0.0, 0.9, 0.99)]
    if decades:
        above = np.geomspace(1.0, max(1.0, 0.01 * len(ordered)), each)
        parts.append(1.0 - np.minimum(above / max(1, len(ordered) - 1), 1.0))
    rank = np.unique(np.rint(np.concatenate(parts) * (len(ordered) - 1)).astype(np.int64))
    return Curve(ordered[rank], (rank + 1) / n, n, censored)
