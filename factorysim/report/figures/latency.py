"""How long it took: the share of calls or sessions that were as quick, and the tail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from factorysim.report.charts.latency import LEAST
from factorysim.report.figures.axis import LOG_FROM, Scale, grid, linear, logarithmic, scale_of
from factorysim.report.figures.sheet import Sheet, nothing_to_draw, on_paper
from factorysim.report.figures.style import INK, Width, line_style
from factorysim.report.figures.words import name_of
from factorysim.report.numbers import seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from factorysim.report.charts.latency import LatencyChart, StreamCurve

HEIGHT = {"column": 2.1, "page": 3.0}
MOST = 12
"""Streams in one figure; of more, the first."""
OF = {"ttft_s": "calls", "tpot_s": "calls", "turn_s": "sessions", "session_s": "sessions"}
"""What is counted."""


def latency_figure(chart: LatencyChart, width: Width = "column") -> Figure:
    """Draw distribution functions, one a stream, with the thresholds of their SLOs.

    Where some had not ended a curve stops short of 100 %, and goes on to the edge as a
    thin line: they took longer, by how much nobody knows.
    """
    return _Curves(chart, width, tail=False).draw()


def tail_figure(chart: LatencyChart, width: Width = "column") -> Figure:
    """Draw the share that took longer, on a logarithmic axis: what a distribution hides."""
    return _Curves(chart, width, tail=True).draw()


class _Curves:
    def __init__(self, chart: LatencyChart, width: Width, *, tail: bool) -> None:
        self.chart = chart
        self.width = width
        self.tail = tail
        self.drawn = [one for one in chart.curves if len(one.curve.value)][:MOST]

    def draw(self) -> Figure:
        """Draw all, or say why there is nothing."""
        if not self.drawn:
            flying = sum(one.curve.n for one in self.chart.curves)
            counted = OF[self.chart.name]
            why = f"none of {flying:,} measured {counted} had ended" if flying else (
                f"no stream has measured {counted} that have one"
            )  # fmt: skip
            return nothing_to_draw(self.chart.title, why, self.width)
        with on_paper(self.width, HEIGHT[self.width]) as sheet:
            scale = self._time_axis(sheet)
            for number, one in enumerate(self.drawn):
                self._curve(sheet, one, scale, line_style(number))
            self._limits(sheet, scale)
            self._share_axis(sheet)
            self._notes(sheet)
        return sheet.figure

    def _time_axis(self, sheet: Sheet) -> Scale:
        """Span all curves, and thresholds that are near enough to be of use."""
        low = min(one.curve.reached(LEAST) for one in self.drawn)
        high = max(float(one.curve.value[-1]) for one in self.drawn)
        limits = [one.limit_s for one in self.drawn if one.limit_s is not None]
        high = max([high, *limits])
        spans = low > 0 and high / low >= LOG_FROM
        scale = scale_of(high, self.chart.unit, low if spans else None)
        axes = sheet.axes
        if spans:
            room = (high / low) ** 0.05
            logarithmic(axes.xaxis, low / scale.factor, high / scale.factor)
            axes.set_xlim(low / room / scale.factor, high * room / scale.factor)
        else:
            linear(axes.xaxis)
            axes.set_xlim(0.0, 1.05 * (high or 1.0) / scale.factor)
        axes.set_xlabel(scale.label(self.chart.title))
        return scale

    def _curve(self, sheet: Sheet, one: StreamCurve, scale: Scale, style: dict[str, Any]) -> None:
        import numpy as np

        curve = one.curve
        value = curve.value / scale.factor
        share = 100.0 * ((1.0 - curve.share) if self.tail else curve.share)
        start = 100.0 if self.tail else 0.0
        xs, ys = np.concatenate([value[:1], value]), np.concatenate([[start], share])
        if self.tail:  # the last of all has none behind it, and nought no place on the axis
            xs, ys = xs[ys > 1e-9], ys[ys > 1e-9]
        (line,) = sheet.axes.plot(xs, ys, drawstyle="steps-post", **style)
        name = name_of(one.stream)
        if curve.censored:
            name += f" ({curve.censored:,} of {curve.n:,} had not ended)"
            edge = sheet.axes.get_xlim()[1]
            sheet.axes.plot(
                [xs[-1], edge], [ys[-1], ys[-1]], color=style["color"], linewidth=0.6,
                linestyle=(0, (1, 2)), marker=">", markevery=[1], markersize=3.5, clip_on=False,
            )  # fmt: skip
        sheet.entry(line, name)

    def _limits(self, sheet: Sheet, scale: Scale) -> None:
        """Draw each threshold once, for all streams that share it."""
        asked: dict[float, list[int]] = {}
        for number, one in enumerate(self.drawn):
            if one.limit_s is not None:
                asked.setdefault(one.limit_s, []).append(number)
        for limit_s, whose in asked.items():
            colour = line_style(whose[0])["color"] if len(whose) == 1 else INK
            line = sheet.axes.axvline(
                limit_s / scale.factor, color=colour, linewidth=0.7, marker="v", markevery=[1],
                markersize=4, clip_on=False, zorder=1.5,
            )  # fmt: skip
            names = ", ".join(name_of(self.drawn[number].stream, 16) for number in whose[:3])
            more = f" and {len(whose) - 3} more" if len(whose) > 3 else ""
            of = "" if len(self.drawn) == 1 else f" of {names}{more}"
            sheet.entry(line, f"SLO{of}: {seconds(limit_s)}")

    def _share_axis(self, sheet: Sheet) -> None:
        axes, counted = sheet.axes, OF[self.chart.name].capitalize()
        if self.tail:
            least = min(1.0 / one.curve.n for one in self.drawn) * 100.0
            logarithmic(axes.yaxis, min(least, 10.0), 100.0 * 1e3)  # decades alone
            axes.set_ylim(min(least, 10.0) * 0.8, 100.0)
            sheet.name_height(f"{counted} that took longer (%)")
        else:
            linear(axes.yaxis)
            axes.set_ylim(0.0, 100.0)
            sheet.name_height(f"{counted} (%)")
        grid(axes)

    def _notes(self, sheet: Sheet) -> None:
        left_out = [one for one in self.chart.curves if not len(one.curve.value)]
        for one in left_out:
            told = f"{name_of(one.stream)}: none of {one.curve.n:,} had ended"
            sheet.note(told)
        more = len(self.chart.curves) - len(left_out) - len(self.drawn)
        if more > 0:
            sheet.note(f"{more} more streams are not drawn")
