"""The frame of a chart: its axes, its grid, and how readers get at its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.markup import tag

if TYPE_CHECKING:
    from markupsafe import Markup

    from factorysim.report.markup import Content
    from factorysim.report.svg.scale import Scale

LINE = 14.0
"""Between the base lines of small text."""
LETTER = 6.0
"""Pixels of a letter of small text, about."""


class Frame(NamedTuple):
    """Pixels of a chart, and what is left of them inside its axes."""

    width: float = 380.0
    height: float = 232.0
    left: float = 44.0
    right: float = 368.0
    top: float = 28.0
    bottom: float = 192.0

    @property
    def across(self) -> tuple[float, float]:
        """Pixels of the horizontal axis."""
        return self.left, self.right

    @property
    def upward(self) -> tuple[float, float]:
        """Pixels of the vertical axis, its low end first."""
        return self.bottom, self.top


def axes(frame: Frame, x: Scale, y: Scale, x_title: str, y_title: str) -> Markup:
    """Draw both axes, with a grid of horizontal lines, and their titles with units."""
    return tag(
        "g",
        [
            tag("line", class_="grid", x1=frame.left, x2=frame.right, y1=y.at(v), y2=y.at(v))
            for v, _ in y.ticks
        ],
        [
            tag("line", class_="tick", x1=x.at(v), x2=x.at(v), y1=frame.bottom, y2=frame.bottom + 4)
            for v, _ in x.ticks
        ],
        tag(
            "line", class_="axis",
            x1=frame.left, x2=frame.right, y1=frame.bottom, y2=frame.bottom,
        ),
        [
            tag("text", text, class_="end", x=frame.left - 6, y=y.at(v) + 3.5)
            for v, text in y.ticks
        ],
        [
            tag("text", text, class_="mid", x=_inside(x.at(v), text, frame), y=frame.bottom + 16)
            for v, text in x.ticks
        ],
        tag("text", _titled(y_title, y.unit), x=2, y=11),
        tag("text", _titled(x_title, x.unit), class_="end", x=frame.right, y=frame.bottom + 33),
        class_="axes",
    )  # fmt: skip


def _inside(pixel: float, text: str, frame: Frame) -> float:
    """Keep the last text of an axis inside the picture."""
    return min(pixel, frame.width - LETTER * len(text) / 2)


def _titled(title: str, unit: str) -> str:
    return f"{title} ({unit})" if unit and title else title or unit


def svg(
    frame: Frame, label: str, *content: Content, stops: str | None = None, class_: str = "plot"
) -> Markup:
    """Close a chart.

    Parameters
    ----------
    label
        What it shows, for whoever cannot see it.
    stops
        Of `lines.stops`: what our script reads out along the axis. Without them it reads the
        titles of the chart's elements.
    """
    return tag(
        "svg",
        *content,
        class_=class_,
        viewBox=f"0 0 {frame.width:g} {frame.height:g}",
        role="img",
        aria_label=label,
        data_stops=stops,
        data_top=frame.top,
        data_bottom=frame.bottom,
    )
