"""A quantity over time: what was so many for so long, gathered in equal bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from factorysim.records import SampleRow

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class Series:
    """Integral of a sum of intervals over each of `bins` equal bins from 0 to `end_s`.

    Examples
    --------
    >>> busy = Series("busy_cores", "tools", 10.0, 5)
    >>> busy.add(np.array([1.0, 5.0]), np.array([6.0, 5.5]), np.array([2.0, 1.0]))
    >>> [row.value for row in busy.samples()]
    [1.0, 2.0, 2.25, 0.0, 0.0]
    """

    def __init__(self, name: str, place: str, end_s: float, bins: int) -> None:
        self._name = name
        self._place = place
        self._end_s = end_s
        self._integral = np.zeros(bins)

    def add(self, start_s: Floats, stop_s: Floats, value: Floats) -> None:
        """Add intervals, each with its value; what is after the end is cut off."""
        bins = len(self._integral)
        width_s = self._end_s / bins
        start, stop = (np.clip(t / width_s, 0.0, bins) for t in (start_s, stop_s))
        amount = value * width_s
        first, last = (np.minimum(t.astype(np.int64), bins - 1) for t in (start, stop))
        # As if each interval lasted for ever from its start, less the same from its stop.
        rate = np.zeros(bins + 1)
        for sign, at, index in ((1.0, start, first), (-1.0, stop, last)):
            np.add.at(self._integral, index, sign * amount * (index + 1 - at))
            np.add.at(rate, index + 1, sign * amount)
        self._integral += np.cumsum(rate)[:bins]

    def samples(self) -> list[SampleRow]:
        """Mean of each bin."""
        width_s = self._end_s / len(self._integral)
        return [
            SampleRow((i + 0.5) * width_s, self._name, self._place, float(integral) / width_s)
            for i, integral in enumerate(self._integral)
        ]
