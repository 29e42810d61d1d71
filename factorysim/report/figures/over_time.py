"""What changed over a run: a line each, its range between replications, what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from factorysim.report.figures.axis import Scale, grid, linear, scale_of
from factorysim.report.figures.sheet import Sheet, nothing_to_draw, on_paper
from factorysim.report.figures.style import SHADE, Width, line_style
from factorysim.report.figures.words import name_of
from factorysim.report.numbers import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from factorysim.metrics.inputs import Window
    from factorysim.report.charts.over_time import Series, TimeChart

HEIGHT = {"column": 1.9, "page": 2.4}
MOST = 12
"""Lines in one figure; of more, the largest."""
NEAR = 3.0
"""How far above all values a limit may lie to be drawn."""


def over_time_figure(chart: TimeChart, window: Window, width: Width = "column") -> Figure:
    """Draw means over replications, and between which values replications lie.

    Grey is what the metrics leave out: warm-up and drain.
    """
    if not chart.series:
        return nothing_to_draw(chart.title, chart.reason, width)
    with on_paper(width, HEIGHT[width]) as sheet:
        drawn = sorted(chart.series, key=lambda one: -float(one.mean.max()))[:MOST]
        kept = [one for one in chart.series if any(one is other for other in drawn)]
        highest = max(float(one.values.max()) for one in kept)
        scale = scale_of(highest, chart.unit)
        time = scale_of(float(chart.edges_s[-1]), "s")
        for number, one in enumerate(kept):
            _line(sheet, one, chart, (time, scale), line_style(number))
        idle = [name_of(one.name, 16) for one in kept if not one.values.any()]
        if idle:
            sheet.note(f"0 all the time: {', '.join(idle)}")
        _limits(sheet, kept, highest, scale, chart.unit)
        _unmeasured(sheet, window, float(chart.edges_s[-1]), time)
        _axes(sheet, chart, scale, time)
        if len(kept) < len(chart.series):
            sheet.note(f"{len(chart.series) - len(kept)} more lines, all lower, are not drawn")
    return sheet.figure


def _line(
    sheet: Sheet, one: Series, chart: TimeChart, scales: tuple[Scale, Scale], style: dict[str, Any]
) -> None:
    import numpy as np

    time, scale = scales
    middle = (chart.edges_s[1:] + chart.edges_s[:-1]) / 2 / time.factor
    values = one.values / scale.factor
    (line,) = sheet.axes.plot(middle, one.mean / scale.factor, **style)
    if len(values) > 1:
        sheet.axes.fill_between(
            middle, np.min(values, axis=0), np.max(values, axis=0),
            color=style["color"], alpha=0.18, linewidth=0,
        )  # fmt: skip
        sheet.note(f"Line: mean of {len(values)} replications; band: lowest to highest of them")
    sheet.entry(line, name_of(one.name))


def _limits(sheet: Sheet, kept: list[Series], highest: float, scale: Scale, unit: str) -> None:
    """Draw what cannot be exceeded where that is near; say it where it is not."""
    for number, one in enumerate(kept):
        if one.most is None:
            continue
        most = percent(one.most) if unit == "ratio" else f"{one.most:,.0f} {unit}".strip()
        if one.most > NEAR * highest:
            sheet.note(f"{name_of(one.name)}: at most {most}, far above what is drawn")
            continue
        line = sheet.axes.axhline(
            one.most / scale.factor, color=line_style(number)["color"], linewidth=0.7
        )
        sheet.entry(line, f"{name_of(one.name)}, at the most: {most}")


def _unmeasured(sheet: Sheet, window: Window, end_s: float, time: Scale) -> None:
    """Shade what is before the window, and behind it."""
    from matplotlib.patches import Patch

    outside = [(0.0, window.start_s), (window.end_s, end_s)]
    outside = [(low, min(high, end_s)) for low, high in outside if min(high, end_s) > low]
    for low, high in outside:
        sheet.axes.axvspan(
            low / time.factor, high / time.factor, facecolor=SHADE, linewidth=0, zorder=0
        )
    if outside:
        sheet.entry(Patch(facecolor=SHADE, linewidth=0), "not measured")


def _axes(sheet: Sheet, chart: TimeChart, scale: Scale, time: Scale) -> None:
    axes = sheet.axes
    linear(axes.xaxis, 6)
    linear(axes.yaxis, 4)
    axes.set_xlim(0.0, float(chart.edges_s[-1]) / time.factor)
    axes.set_ylim(bottom=0.0)
    if axes.get_ylim()[1] <= 0.0 or not any(one.values.any() for one in chart.series):
        axes.set_ylim(0.0, 1.0)
    axes.set_xlabel(time.label("Time from the start"))
    sheet.name_height(scale.label(chart.title))
    grid(axes)
