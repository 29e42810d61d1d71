"""Bars: parts of a whole, values with intervals, and small ones inside tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.markup import tag
from factorysim.report.svg.frame import Frame, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from factorysim.report.svg.scale import Scale

LETTER = 6.2
"""Pixels of a letter, about."""


class Part(NamedTuple):
    """A part of a bar."""

    share: float
    look: str
    """Class of its fill."""
    text: str
    """Written on it where there is room."""
    title: str
    """Lines that a reader gets of it."""


def stack(label: str, rows: Sequence[tuple[str, Sequence[Part]]], width: float = 760.0) -> Markup:
    """Draw a bar for each row, of parts that add up to 1."""
    high, gap, top = 24.0, 24.0, 2.0
    pitch = high + gap
    frame = Frame(width, top + pitch * len(rows), 0.0, width, top, top + pitch * len(rows))
    drawn: list[Markup] = []
    for place, (name, parts) in enumerate(rows):
        y = top + place * pitch + 16.0
        drawn.append(tag("text", name, class_="label", x=0, y=y - 5))
        at = 0.0
        for part in parts:
            size = part.share * width
            drawn.append(_part(part, at, y, size, high))
            at += size
    return svg(frame, label, drawn, class_="plot bars")


def _part(part: Part, at: float, y: float, size: float, high: float) -> Markup:
    room = size > LETTER * len(part.text) + 8
    return tag(
        "g",
        tag("title", part.title),
        tag("rect", class_=part.look, x=at, y=y, width=max(size - 1, 0.4), height=high),
        tag("text", part.text, class_=f"on-{part.look}", x=at + 6, y=y + 16) if room else None,
        class_="stop",
    )


class Bar(NamedTuple):
    """A value with its interval."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    text: str
    """The value in words, or why there is none."""
    title: str


def values(label: str, bars: Sequence[Bar], x: Scale, width: float) -> Markup:
    """Draw values from 0 as bars under their names, with a whisker for the interval."""
    high, pitch = 14.0, 44.0
    frame = Frame(width, pitch * len(bars), x.start, x.end, 0.0, pitch * len(bars))
    return svg(
        frame,
        label,
        [_bar(bar, x, place * pitch, high) for place, bar in enumerate(bars)],
        class_="plot bars",
    )


def _bar(bar: Bar, x: Scale, y: float, high: float) -> Markup:
    middle = y + 20 + high / 2
    return tag(
        "g",
        tag("title", bar.title),
        tag("text", bar.name, class_="label", x=x.start, y=y + 13),
        tag("text", bar.text, class_="end label" if bar.value is not None else "end",
            x=x.end, y=y + 13),
        tag("rect", class_="track", x=x.start, y=y + 20, width=x.end - x.start, height=high),
        None if bar.value is None else
        tag("rect", class_="bar", x=x.start, y=y + 20,
            width=max(x.at(bar.value) - x.start, 0.6), height=high),
        whisker(x, bar.low, bar.high, middle),
        class_="stop",
    )  # fmt: skip


def whisker(x: Scale, low: float | None, high: float | None, y: float) -> Markup | None:
    """Draw an interval; None where there is none, or where it is too small to see."""
    if low is None or high is None or abs(x.at(high) - x.at(low)) < 1:
        return None
    left, right = x.at(low), x.at(high)
    return tag("path", class_="whisker",
               d=f"M{left:.1f} {y - 4:.1f}v8M{right:.1f} {y - 4:.1f}v8M{left:.1f} {y:.1f}H{right:.1f}")  # fmt: skip # noqa: E501


def small(share: float, look: str = "bar") -> Markup:
    """Draw a share of 1 inside a table, beside the number that says the same."""
    return tag(
        "svg",
        tag("rect", class_="track", width=60, height=5),
        tag("rect", class_=look, width=60 * min(max(share, 0.0), 1.0), height=5),
        viewBox="0 0 60 5",
        class_="small",
        aria_hidden="true",
    )
