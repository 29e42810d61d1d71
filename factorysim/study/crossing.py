"""Between which scales a share that falls may cross what is asked, as chance would have it.

Two intervals are at hand, and the wider end of both is taken:

- Of the share, by scale. Where Student's interval of the replications holds what is
  asked, chance may have put the crossing there.
- Of the crossing, by the jackknife: how far it moves without one replication.

Losses have a long tail, so that a few replications that happen to be alike make the first
too narrow; the second is so where replications are many. Between scales that were tried,
shares are taken as straight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import exp, inf, log
from typing import NamedTuple

from factorysim.metrics.statistics import t_interval


class Asked(NamedTuple):
    """What replications got at one scale of something that is asked for."""

    shares: Sequence[float | None]
    """By replication; None: unknown."""
    attain: float


class Tried(NamedTuple):
    """One scale; all that is asked for must be reached."""

    scale: float
    asked: Sequence[Asked]


class Ends(NamedTuple):
    """Of an interval; None where it goes on beyond the scales that were tried."""

    low: float | None
    high: float | None


def ends(tried: Iterable[Tried]) -> Ends:
    """Scales between which the crossing is, at 95 %, from two replications on.

    Examples
    --------
    >>> shares = {1.0: (0.95, 0.94, 0.96), 2.0: (0.84, 0.85, 0.86), 4.0: (0.02, 0.01, 0.03)}
    >>> found = ends(Tried(x, [Asked(some, 0.9)]) for x, some in shares.items())
    >>> round(found.low, 2), round(found.high, 2)
    (1.25, 1.75)
    """
    ordered = sorted(tried, key=lambda one: one.scale)
    lows, highs = zip(_of_shares(ordered), _of_crossings(ordered), strict=True)
    low, high = min(lows), max(highs)
    return Ends(low if 0 < low < inf else None, high if 0 < high < inf else None)


def _of_shares(ordered: Sequence[Tried]) -> tuple[float, float]:
    """First scale at which shares may be too low, last at which they may suffice."""
    floors: list[tuple[float, float]] = []
    ceilings: list[tuple[float, float]] = []
    for one in ordered:
        spread = [
            (t_interval(known), asked.attain)
            for asked in one.asked
            if len(known := [share for share in asked.shares if share is not None]) > 1
        ]
        if spread:
            floors.append((one.scale, min(found.low - attain for found, attain in spread)))
            ceilings.append((one.scale, min(found.high - attain for found, attain in spread)))
    return _first(floors), _last(ceilings)


def _of_crossings(ordered: Sequence[Tried]) -> tuple[float, float]:
    """Jackknife the logarithm of the crossing.

    References
    ----------
    .. [1] Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), chapter 3.
    """
    n = max(len(asked.shares) for one in ordered for asked in one.asked)
    whole = _crossing(ordered, None)
    without = [_crossing(ordered, leave) for leave in range(n)]
    if not 0 < min(whole, *without) <= max(whole, *without) < inf:
        return (0.0 if 0 in without else whole), (inf if inf in without else whole)
    pseudo = [n * log(whole) - (n - 1) * log(one) for one in without]
    mean, low, _ = t_interval(pseudo)
    return exp(log(whole) - (mean - low)), exp(log(whole) + (mean - low))


def _crossing(ordered: Sequence[Tried], leave: int | None) -> float:
    """Where the mean share first falls below what is asked, one replication left out."""
    margins: list[tuple[float, float]] = []
    for one in ordered:
        short: list[float] = []
        for asked in one.asked:
            known = [s for r, s in enumerate(asked.shares) if s is not None and r != leave]
            if known:
                short.append(sum(known) / len(known) - asked.attain)
        if short:
            margins.append((one.scale, min(short)))
    return _first(margins)


def _first(margins: Sequence[tuple[float, float]]) -> float:
    """Where margins first turn negative; 0: before all that is known, infinity: never."""
    if not margins or margins[0][1] < 0:
        return 0.0
    return next((_zero(a, b) for a, b in pairwise(margins) if b[1] < 0), inf)


def _last(margins: Sequence[tuple[float, float]]) -> float:
    """Where margins are last not negative; infinity: beyond all that is known, 0: never."""
    if not margins or margins[-1][1] >= 0:
        return inf
    return next((_zero(a, b) for a, b in reversed([*pairwise(margins)]) if a[1] >= 0), 0.0)


def _zero(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Where the line through two points, on either side of it, is 0."""
    return a[0] + (b[0] - a[0]) * a[1] / (a[1] - b[1])
