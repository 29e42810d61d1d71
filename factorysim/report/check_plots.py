"""Where the points of a check's figures stand: predicted against measured, and their ratios.

Figures are 360 units wide, so that their letters are as large on a phone as beside a text.
"""

from __future__ import annotations

from math import ceil, floor, log2, log10
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.page import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from factorysim.study.measured.compare import Compared

    Point = tuple[float, float]
    Title = Callable[[Compared], str]

WIDTH = 360.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 338.0, 10.0, 296.0
"""Edges of a scatter; left of it and below are the numbers of its axes."""
BAND = 0.2
"""Shaded on both sides of a right prediction."""
DOTS_MOST = 1000
"""Of a figure; of more rows every n-th is drawn, in the order of their errors."""
LABELS_MOST = 6
BEYOND = 4.0
"""Powers of two of predicted over measured that strips reach; what is farther off
stands at their end."""
STRIP = 36.0
"""Height of a strip and its label."""
STRIPS_MOST = 40
LABEL = 36
"""Characters of a group's name."""
INSET = 14.0
"""Between the ends of strips and the edges of their figure."""
GOLDEN = 0.618034
"""Its multiples, less what is whole of them, are spread evenly however many there are."""


class Dot(NamedTuple):
    """A point of a figure, and what it says to whoever points at it."""

    x: float
    y: float
    mark: int
    title: str


class Tick(NamedTuple):
    """A number of an axis."""

    at: float
    text: str


class Scatter(NamedTuple):
    """Predicted against measured, both axes alike and logarithmic."""

    dots: tuple[Dot, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    band: tuple[Point, ...]
    """Corners of what is at most `BAND` off."""
    left_out: int
    """Rows that are not drawn: too many, or not above 0."""


class Strip(NamedTuple):
    """Ratios of one group, on a line."""

    label: str
    rows: int
    top: float
    middle: float
    """Where the median stands."""
    dots: tuple[Dot, ...]
    beyond: int
    """Rows that are farther off than the axis reaches."""


class Strips(NamedTuple):
    """Predicted over measured, a line for each group."""

    strips: tuple[Strip, ...]
    ticks: tuple[Tick, ...]
    band: tuple[float, float]
    bottom: float
    left_out: int


class _Pair(NamedTuple):
    row: Compared
    measured: float
    predicted: float

    @property
    def ratio(self) -> float:
        return self.predicted / self.measured


def scatter(rows: Sequence[Compared], marks: Mapping[str, int], title: Title) -> Scatter | None:
    """Place predictions against measurements; None where no prediction is above 0.

    Parameters
    ----------
    rows
        Predicted, of one quantity in one unit.
    marks
        Engine -> number of its mark.
    """
    pairs = [pair for pair in _pairs(rows) if pair.predicted > 0.0]
    if not pairs:
        return None
    values = [value for pair in pairs for value in (pair.measured, pair.predicted)]
    low, high = _range(log10(min(values)), log10(max(values)))
    drawn = _thinned(pairs, DOTS_MOST)
    dots = tuple(
        Dot(
            _between(log10(pair.measured), low, high, LEFT, RIGHT),
            _between(log10(pair.predicted), low, high, BOTTOM, TOP),
            marks[pair.row.engine],
            title(pair.row),
        )
        for pair in drawn
    )
    numbers = _numbers(low, high)
    across = tuple(Tick(_between(k, low, high, LEFT, RIGHT), text) for k, text in numbers)
    up = tuple(Tick(_between(k, low, high, BOTTOM, TOP), text) for k, text in numbers)
    return Scatter(dots, across, up, _corners(low, high), len(rows) - len(drawn))


def strips(
    groups: Mapping[str, Sequence[Compared]], marks: Mapping[str, int], title: Title
) -> Strips:
    """Place predicted over measured of each group on one logarithmic axis."""
    shown = list(groups.items())[:STRIPS_MOST]
    most = DOTS_MOST // max(1, len(shown))
    made = tuple(
        _strip(label, _pairs(rows), TOP + STRIP * number, marks, title, most)
        for number, (label, rows) in enumerate(shown)
    )
    in_all = sum(len(rows) for rows in groups.values())
    ends = ((2.0**-BEYOND, "1/16"), (2.0**BEYOND, "16"))
    inner = ((0.25, "1/4"), (0.5, "1/2"), (1.0, "1"), (2.0, "2"), (4.0, "4"))
    return Strips(
        made,
        tuple(Tick(_ratio_at(ratio), text) for ratio, text in (*inner, *ends)),
        (_ratio_at(1.0 - BAND), _ratio_at(1.0 + BAND)),
        TOP + STRIP * len(made),
        in_all - sum(len(one.dots) for one in made),
    )


def _strip(
    label: str,
    pairs: Sequence[_Pair],
    top: float,
    marks: Mapping[str, int],
    title: Title,
    most: int,
) -> Strip:
    dots = tuple(
        Dot(
            _ratio_at(pair.ratio),
            round(top + 20.0 + 10.0 * (k * GOLDEN % 1.0), 1),
            marks[pair.row.engine],
            title(pair.row),
        )
        for k, pair in enumerate(_thinned(pairs, most))
    )
    far = sum(not 2.0**-BEYOND <= pair.ratio <= 2.0**BEYOND for pair in pairs)
    middle = _ratio_at(median(pair.ratio for pair in pairs))
    return Strip(cut(label, LABEL), len(pairs), top, middle, dots, far)


def _pairs(rows: Sequence[Compared]) -> list[_Pair]:
    return [_Pair(row, row.expected, row.got) for row in rows if row.got is not None]


def _thinned(pairs: Sequence[_Pair], most: int) -> list[_Pair]:
    """Keep as many as may be drawn, of small errors and large ones alike, the ends among them."""
    if len(pairs) <= most:
        return list(pairs)
    ordered = sorted(pairs, key=lambda pair: pair.ratio)
    return [ordered[k * (len(ordered) - 1) // max(1, most - 1)] for k in range(most)]


def _ratio_at(ratio: float) -> float:
    """Place predicted over measured; what is farther than the ends stands there."""
    power = log2(ratio) if ratio > 0.0 else -BEYOND
    within = min(max(power, -BEYOND), BEYOND)
    return _between(within, -BEYOND, BEYOND, INSET, WIDTH - INSET)


def _between(value: float, low: float, high: float, start: float, end: float) -> float:
    return round(start + (value - low) / (high - low) * (end - start), 1)


def _range(least: float, most: float) -> tuple[float, float]:
    """Bound logarithms by half powers of ten, at least one power apart."""
    low, high = floor(least * 2 - 0.1) / 2, ceil(most * 2 + 0.1) / 2
    return low, max(high, low + 1.0)


def _numbers(low: float, high: float) -> list[tuple[float, str]]:
    """Where an axis has numbers: at 1 and 3 of each power of ten, or at powers alone."""
    if high - low <= LABELS_MOST / 2:
        halves = range(floor(low * 2), floor(high * 2) + 1)
        at = [(k // 2 + (log10(3.0) if k % 2 else 0.0), _power(k)) for k in halves]
        return [(k, text) for k, text in at if low <= k <= high]
    stride = ceil((high - low) / LABELS_MOST)
    return [(float(k), _power(2 * k)) for k in range(ceil(low), floor(high) + 1, stride)]


def _power(half: int) -> str:
    """Write ten to the power of half a number; of an odd one, the 3 that is near.

    Examples
    --------
    >>> [_power(half) for half in (0, 1, 7, -2, 30)]
    ['1', '3', '3,000', '0.1', '1e15']
    """
    digit, power = (3 if half % 2 else 1), half // 2
    if not -3 <= power <= 5:
        return f"{digit}e{power}"
    return f"{digit * 10**power:,}" if power >= 0 else f"{digit * 10.0**power:.{-power}f}"


def _corners(low: float, high: float) -> tuple[Point, ...]:
    """Corners of the band about the diagonal, cut where the plot ends."""
    above, below = log10(1.0 + BAND), -log10(1.0 - BAND)
    points = (
        (low, low), (low, low + above), (high - above, high), (high, high),
        (high, high - below), (low + below, low),
    )  # fmt: skip
    return tuple(
        (_between(x, low, high, LEFT, RIGHT), _between(y, low, high, BOTTOM, TOP))
        for x, y in points
    )
