"""Time series in equal bins, weighed by what of each bin lies inside the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from factorysim.metrics.inputs import Tables, Window

    Floats = npt.NDArray[np.float64]


def half_bin(at_s: Floats) -> float:
    """Half the width of equal bins that are given by their middles, the first from 0 on.

    Examples
    --------
    >>> import numpy as np
    >>> half_bin(np.array([3.0])), half_bin(np.array([1.0, 3.0]))
    (3.0, 1.0)
    """
    return float(at_s[0] if len(at_s) == 1 else (at_s[1] - at_s[0]) / 2)


def bin_weights(at_s: Floats, window: Window) -> Floats:
    """Seconds of each bin, given by its middle, that lie inside the window."""
    import numpy as np

    if not len(at_s):
        return np.zeros(0)
    half = half_bin(at_s)
    overlap = np.minimum(at_s + half, window.end_s) - np.maximum(at_s - half, window.start_s)
    weight: Floats = np.maximum(overlap, 0.0)
    return weight


def mean_in_window(tables: Tables, window: Window, name: str, places: Iterable[str]) -> float:
    """Mean over the window of a series, summed over places; 0 where nothing was recorded.

    A bin that the window cuts counts by its share, as if it were even inside.
    """
    series, total = tables.timeseries, 0.0
    for place in places:
        mine = series["series"].equal(name) & series["place"].equal(place)
        weight = bin_weights(series["at_s"][mine], window)
        if weight.sum() > 0:
            total += float((series["value"][mine] * weight).sum() / weight.sum())
    return total
