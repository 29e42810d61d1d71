"""Bracket and bisect: the highest scale at which something holds, if it holds below it.

What is asked is told by whoever uses it, one scale at a time. The scales asked for
depend on the answers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, floor
from typing import NamedTuple

STEP = 2.0
"""Ratio of neighbouring scales while there is no bracket."""
NOISE = 3.0
"""Standard errors by which a share must rise with the scale to be told."""
RISE_LEAST = 0.01
SLACK = 1e-9
"""Of whole numbers that a division has gone over."""


class Search:
    """The search of one critical scale, from 1 outwards and then inwards on a log grid.

    Parameters
    ----------
    low, high
        Bounds on the scale; nothing outside is asked.
    tolerance
        The bracket's ends are no further apart than this, relative to the lower.
    units
        Scales are whole multiples of one in so many (concurrency: 1 / sessions); None:
        any number.

    Examples
    --------
    >>> search = Search(0.01, 100.0, 0.02)
    >>> while (scale := search.next()) is not None:
    ...     search.tell(scale, scale <= 3.3)
    >>> search.inside <= 3.3 < search.outside < search.inside * 1.02
    True
    """

    def __init__(self, low: float, high: float, tolerance: float, units: int | None = None) -> None:
        self._low, self._high = low, high
        self._tolerance = tolerance
        self._units = units
        self.inside: float | None = None
        """Highest scale known to hold."""
        self.outside: float | None = None
        """Lowest scale known not to."""

    def next(self) -> float | None:
        """Scale to ask next; None: found, or out of bounds."""
        if self.inside is None and self.outside is None:
            return self._snapped(min(max(1.0, self._low), self._high))
        if self.outside is None:
            assert self.inside is not None  # one of them is
            return self.beyond(self.inside, STEP)
        if self.inside is None:
            return self.beyond(self.outside, 1 / STEP)
        if self.outside <= self.inside * (1 + self._tolerance):
            return None
        middle = self._snapped((self.inside * self.outside) ** 0.5)
        return middle if self.inside < middle < self.outside else self._between()

    def tell(self, scale: float, holds: bool) -> None:
        """Take the answer for the scale that was asked."""
        if holds:
            self.inside = scale
        else:
            self.outside = scale

    def beyond(self, scale: float, ratio: float) -> float | None:
        """Give the scale a step further up or down; None: it is at a bound."""
        further = self._snapped(min(max(scale * ratio, self._low), self._high))
        moved = further > scale if ratio > 1 else further < scale
        return further if moved else None

    def within(self, scale: float) -> float:
        """Give the highest scale that may be asked and is no higher; any, without a grid."""
        return floor(scale * self._units + SLACK) / self._units if self._units else scale

    def _snapped(self, scale: float) -> float:
        """Round to the grid, within the bounds."""
        if self._units is None:
            return scale
        least = max(1, ceil(self._low * self._units - SLACK))
        most = max(least, floor(self._high * self._units + SLACK))
        return min(max(round(scale * self._units), least), most) / self._units

    def _between(self) -> float | None:
        """Give a point of the grid inside the bracket that rounding has missed."""
        if self._units is None:
            return None
        assert self.inside is not None
        assert self.outside is not None
        after = (round(self.inside * self._units) + 1) / self._units
        return after if after < self.outside else None


class Share(NamedTuple):
    """A share of `n` trials at one scale."""

    scale: float
    share: float
    n: int


def rises(points: Sequence[Share]) -> list[tuple[Share, Share]]:
    """Pairs of neighbours in scale between which the share rises by more than its noise.

    Bisection takes for granted that it falls. A rise counts from three standard
    errors of the difference (binomial) and one per cent on.

    Examples
    --------
    >>> rises([Share(1.0, 0.9, 1000), Share(2.0, 0.5, 1000)])
    []
    >>> len(rises([Share(2.0, 0.9, 1000), Share(1.0, 0.5, 1000)]))
    1
    """
    ordered = sorted(points)
    found: list[tuple[Share, Share]] = []
    for a, b in pairwise(ordered):
        pooled = (a.share * a.n + b.share * b.n) / (a.n + b.n)
        error = (pooled * (1 - pooled) * (1 / a.n + 1 / b.n)) ** 0.5
        if b.share - a.share > max(NOISE * error, RISE_LEAST):
            found.append((a, b))
    return found
