"""Two factories on the same demand: differences of metrics, each with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from factorysim.report.figures.axis import LOG_FROM, grid, linear, logarithmic, tick
from factorysim.report.figures.bars import height_of, name_rows, with_half
from factorysim.report.figures.sheet import nothing_to_draw, on_paper
from factorysim.report.figures.style import COLOURS, INK, Width
from factorysim.report.figures.words import name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from factorysim.report.charts.paired import Difference, PairedChart

CLEAR, UNCLEAR = COLOURS[0], "white"
"""Fill of a difference whose interval leaves out 0, and of one whose does not."""


def paired_figure(chart: PairedChart, width: Width = "column") -> Figure:
    """Draw B less A as shares of A, with 95 % intervals between paired replications.

    Where differences span much, the axis is that of B / A, and logarithmic.
    """
    title = f"{name_of(chart.b)} less {name_of(chart.a)}"
    if not chart.differences:
        reasons = dict.fromkeys(why for _, why in chart.withheld)
        return nothing_to_draw(title, "; ".join(reasons) or "they share no metric", width)
    with on_paper(width, height_of(len(chart.differences))) as sheet:
        axes = sheet.axes
        ratio = _spans_much(chart.differences)
        axes.axvline(1.0 if ratio else 0.0, color=INK, linewidth=0.8, zorder=1)
        _axis(axes, chart, ratio=ratio)
        for row, one in enumerate(chart.differences):
            _point(axes, row, one, ratio=ratio)
        name_rows(sheet, _names(chart), [_told(one) for one in chart.differences])
        if any(one.low is not None for one in chart.differences):
            sheet.note("Bars: 95 % between paired replications; hollow: they hold no difference")
        else:
            sheet.note("One replication: nothing tells how another would differ")
        for note in chart.notes:
            sheet.note(f"Not of the factories alone: {name_of(note, 200)}")
        for why in dict.fromkeys(why for _, why in chart.withheld):
            whose = "; ".join(what for what, other in chart.withheld if other == why)
            sheet.note(f"{whose}: {name_of(why, 200)}")
    return sheet.figure


def _spans_much(differences: tuple[Difference, ...]) -> bool:
    """Whether ratios differ so much that a linear axis would hide the small ones."""
    ratios = [1.0 + one.share for one in differences]
    return min(ratios) > 0 and max(ratios) / min(ratios) >= LOG_FROM


def _point(axes: Any, row: int, one: Difference, *, ratio: bool) -> None:  # noqa: ANN401
    def at(share: float) -> float:
        return max(axes.get_xlim()[0], 1.0 + share) if ratio else 100.0 * share

    clear = one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)
    if one.low is not None and one.high is not None:
        axes.plot([at(one.low), at(one.high)], [row, row], color=COLOURS[0], linewidth=1.2)
        if ratio and 1.0 + one.low < axes.get_xlim()[0]:  # it goes on, to nought or below
            axes.plot(at(one.low), row, "<", color=COLOURS[0], markersize=4, clip_on=False)
    axes.plot(
        at(one.share), row, "o", markersize=4, markeredgecolor=COLOURS[0], markeredgewidth=0.9,
        markerfacecolor=CLEAR if clear else UNCLEAR, zorder=3,
    )  # fmt: skip


def _axis(axes: Any, chart: PairedChart, *, ratio: bool) -> None:  # noqa: ANN401
    b, a = name_of(chart.b, 18), name_of(chart.a, 18)
    shares = [0.0, *(one.share for one in chart.differences)]
    bounds = [v for one in chart.differences for v in (one.low, one.high) if v is not None]
    low, high = min(shares + bounds), max(shares + bounds)
    if ratio:
        low = min(shares) if low <= -1.0 else low
        room = ((1.0 + high) / (1.0 + low)) ** 0.06
        low, high = (1.0 + low) / room, (1.0 + high) * room
        logarithmic(axes.xaxis, low, high)
        axes.set_xlabel(f"{b} / {a}")
    else:
        low, high = 100.0 * low, 100.0 * high
        room = 0.05 * (high - low or 1.0)
        low, high = low - room, high + room
        linear(axes.xaxis, 4, lambda value: f"{'+' if value > 0 else ''}{tick(value)}")
        axes.set_xlabel(f"{b} less {a} (% of {a})")
    axes.set_xlim(low, high)
    grid(axes, "x")


def _names(chart: PairedChart) -> list[str]:
    """Name the rows; what the row above begins with is not said again."""
    names: list[str] = []
    base = ""
    for one in chart.differences:
        again = bool(base) and one.text.startswith(f"{base}, ")
        base = base if again else one.text
        names.append(f"… {one.text.removeprefix(base).lstrip(', ')}" if again else one.text)
    return names


def _told(one: Difference) -> str:
    """Write a difference and its half width, in percent."""
    text = with_half(100 * one.share, one.low and 100 * one.low, one.high and 100 * one.high)
    return f"{'+' if one.share > 0 else ''}{text} %"
