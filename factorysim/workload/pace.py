"""How evenly sessions arrive, told from instants that pass by in order of time."""

from __future__ import annotations

import math

BIN_NS = 10 * 10**9
"""Of the counts whose dispersion tells bursts, as in the published figures."""


class Pace:
    """Sums of the gaps between arrivals, and of the arrivals in each 10 s.

    The sums are whole numbers and exact, however many arrivals there are.

    Examples
    --------
    >>> pace = Pace()
    >>> for second in (0, 1, 3, 9):
    ...     pace.add(second * 10**9)
    >>> pace.count, pace.duration_s, pace.rate
    (4, 9.0, 0.3333333333333333)
    >>> round(pace.gap_cv, 6)  # gaps of 1, 2 and 6 s: the root of 7 over 3
    0.881917
    """

    def __init__(self) -> None:
        self.count = 0
        self._first_ns = self._last_ns = 0
        self._gap_squares = 0
        self._bin = self._in_bin = 0
        """The bin of the last arrival, and the arrivals in it so far."""
        self._bin_squares = 0
        """Of the bins before that."""

    def add(self, at_ns: int) -> None:
        """Count an arrival that is not before the last."""
        if not self.count:
            self._first_ns = self._last_ns = at_ns
        self.count += 1
        self._gap_squares += (at_ns - self._last_ns) ** 2
        self._last_ns = at_ns
        place = (at_ns - self._first_ns) // BIN_NS
        if place != self._bin:
            self._bin_squares += self._in_bin**2
            self._bin, self._in_bin = place, 0
        self._in_bin += 1

    @property
    def duration_s(self) -> float:
        """From the first arrival to the last."""
        return (self._last_ns - self._first_ns) / 1e9

    @property
    def rate(self) -> float | None:
        """Arrivals a second; None if all come at once."""
        return (self.count - 1) / self.duration_s if self.duration_s else None

    @property
    def gap_cv(self) -> float | None:
        """Standard deviation over mean of the gaps; None of less than two."""
        gaps, whole_ns = self.count - 1, self._last_ns - self._first_ns
        if gaps < 2 or not whole_ns:
            return None
        over = gaps * self._gap_squares - whole_ns**2  # gaps**2 times the variance of all
        return math.sqrt(over * gaps / (gaps - 1)) / whole_ns

    @property
    def counts(self) -> tuple[float, float] | None:
        """Mean and variance of the arrivals in 10 s; None of less than two such times.

        The last 10 s, which are not over, are left out.
        """
        bins = self._bin
        if self.count < 3 or bins < 2:
            return None
        within = self.count - self._in_bin
        over = bins * self._bin_squares - within**2
        return within / bins, over / (bins * (bins - 1))
