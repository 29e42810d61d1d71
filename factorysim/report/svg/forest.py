"""A forest plot: how many times as much, with intervals, on both sides of the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.markup import tag
from factorysim.report.svg.frame import Frame, svg
from factorysim.report.svg.scale import Scale, Tick, linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

WIDTH, NAMES, VALUES = 430.0, 138.0, 70.0
"""Pixels: of all, of the names on the left, of the values on the right."""
PITCH, TOP = 25.0, 26.0
NEAR, FAR = 0.02, 50.0
"""Ratios that an axis holds at the most: beyond them a mark stands at its end, as an arrow."""
ROUND = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
FEW, MANY = 2.5, 200.0
"""Ratio of the ends of an axis from which its ticks are those of `ROUND`, and powers of ten."""
REACH = 1.6
"""How far beyond all ratios intervals widen the axis; what is wider runs off it."""


class Row(NamedTuple):
    """A ratio with its interval."""

    name: str
    ratio: float
    low: float | None
    high: float | None
    text: str
    title: str


def forest(label: str, rows: Sequence[Row], less: str, more: str) -> Markup:
    """Draw ratios under each other; `less` and `more` say what the sides mean."""
    bottom = TOP + PITCH * len(rows)
    x = _axis(rows)
    frame = Frame(WIDTH, bottom + 22, x.start, x.end, TOP, bottom)
    same = x.at(1.0)
    return svg(
        frame,
        label,
        [
            tag("line", class_="grid", x1=x.at(v), x2=x.at(v), y1=TOP, y2=bottom)
            for v, _ in x.ticks
        ],
        [
            tag("text", text, class_="mid", x=x.at(v), y=bottom + 16)
            for v, text in x.ticks
        ],
        tag("text", less, class_="end", x=max(same - 8, 60.0), y=14),
        tag("text", more, x=min(same + 8, WIDTH - 70), y=14),
        [_row(row, x, TOP + place * PITCH) for place, row in enumerate(rows)],
        tag("line", class_="zero", x1=same, x2=same, y1=TOP - 4, y2=bottom),
        [_mark(row, x, TOP + (place + 0.5) * PITCH) for place, row in enumerate(rows)],
        class_="plot bars",
    )  # fmt: skip


def _axis(rows: Sequence[Row]) -> Scale:
    """Make a logarithmic axis that holds 1, all ratios but very far ones, and most intervals."""
    ratios = [min(max(row.ratio, NEAR), FAR) for row in rows]
    least, most = min([*ratios, 0.95]), max([*ratios, 1.05])
    bounds = [v for row in rows for v in (row.low, row.high) if v is not None]
    kept = [min(max(value, least / REACH), most * REACH) for value in bounds]
    low, high = min([least, *kept]) / 1.04, max([most, *kept]) * 1.04
    pixels = (NAMES, WIDTH - VALUES)
    if high / low > FEW:
        marks = ROUND if high / low < MANY else ROUND[2::3]
        ticks = tuple(Tick(v, f"{v:g}") for v in marks if low <= v <= high)
    else:
        ticks = linear(low, high, pixels, most=4, tight=True).ticks
    return Scale(low, high, *pixels, True, ticks, "")


def _row(row: Row, x: Scale, y: float) -> Markup:
    return tag(
        "g",
        tag("title", row.title),
        tag("rect", class_="hit", x=0, y=y, width=WIDTH, height=PITCH),
        tag("text", row.name, class_="label", x=0, y=y + 17),
        tag("text", row.text, class_="end label", x=WIDTH, y=y + 17),
        class_="stop",
    )


def _mark(row: Row, x: Scale, y: float) -> Markup:
    """Draw one: filled where its interval leaves out 1, hollow where it does not."""
    known = row.low is not None and row.high is not None
    clear = known and not (row.low or 0.0) <= 1 <= (row.high or 0.0)
    look = "clear" if clear else "open"
    at = x.at(row.ratio)
    span = None
    if row.low is not None and row.high is not None:
        span = tag("line", class_="interval", x1=x.at(row.low), x2=x.at(row.high), y1=y, y2=y)
    if row.ratio > x.high or row.ratio < x.low:
        way = 7 if row.ratio > x.high else -7
        mark = tag("path", class_=look, d=f"M{at - way:.1f} {y - 5:.1f}l{way} 5l{-way} 5z")
    else:
        mark = tag("circle", class_=look, cx=at, cy=y, r=4)
    return tag("g", span, mark, class_="mark")
