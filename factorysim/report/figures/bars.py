"""Rows of horizontal bars: names on the left, values with their intervals on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from factorysim.report.figures.sheet import AXIS
from factorysim.report.figures.style import INK, SMALL
from factorysim.report.numbers import digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.report.figures.sheet import Sheet

ROW = 0.19
"""Inches of a row."""


def height_of(rows: int) -> float:
    """Inches of so many rows."""
    return rows * ROW + AXIS


def name_rows(sheet: Sheet, names: Sequence[str], right: Sequence[str] = ()) -> None:
    """Write names of rows, the first on top, and what belongs to each on the right."""
    axes = sheet.axes
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    if any(right):
        other: Any = axes.secondary_yaxis("right")
        other.set_yticks(range(len(right)), right)
        other.tick_params(length=0, labelsize=SMALL)
        other.spines["right"].set_visible(False)


def interval(axes: Any, row: float, low: float | None, high: float | None) -> None:  # noqa: ANN401
    """Draw an interval over a bar, where there is one."""
    if low is None or high is None:
        return
    axes.plot(
        [low, high], [row, row], color=INK, linewidth=0.8, marker="|", markersize=4, zorder=3,
        clip_on=False,
    )  # fmt: skip


def with_half(value: float, low: float | None, high: float | None) -> str:
    """Write a value and the half width of its interval, as exactly as the value.

    Examples
    --------
    >>> with_half(2.24, 2.14, 2.34), with_half(30.0, None, None), with_half(30.0, 29.998, 30.002)
    ('2.24 ±0.10', '30.0', '30.0 ±0.00200')
    """
    text = digits(value)
    if low is None or high is None:
        return text
    half = (high - low) / 2
    told = f"{half:.{len(text.partition('.')[2])}f}" if "e" not in text else digits(half)
    return f"{text} ±{told if float(told) or not half else digits(half)}"
