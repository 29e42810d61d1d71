"""Latency: quantiles with their intervals, and the whole distribution of every stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from factorysim.report.broken_down import broken_down, mean
from factorysim.report.charts.latency import LEAST, latency_charts
from factorysim.report.markup import join, tag
from factorysim.report.numbers import percent, seconds, unit_beside
from factorysim.report.page import cut
from factorysim.report.sections.section import Section, each, folded, note, reasons, table
from factorysim.report.svg import lines
from factorysim.report.svg.frame import Frame, axes, svg
from factorysim.report.svg.scale import linear, positive
from factorysim.report.terminal import LATENCIES, STATS, cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markupsafe import Markup

    from factorysim.metrics.curves import Curve
    from factorysim.report.charts.latency import LatencyChart, StreamCurve
    from factorysim.report.sections.section import Shown, View
    from factorysim.report.svg.scale import Scale

STOPS = 61
FRAME = Frame(bottom=196.0, height=236.0)
COUNTED = {"ttft_s": "calls", "tpot_s": "calls", "turn_s": "sessions", "session_s": "sessions"}
"""What each chart counts."""


def latency(view: View) -> Section:
    """Tell quantiles as in the terminal, then distribution functions with the SLO's thresholds."""
    found = {one.letter: latency_charts(one.source) for one in view.runs}
    names = [chart.name for chart in found[view.runs[0].letter]]
    charts = [
        drawn
        for place, _ in enumerate(names)
        if (drawn := _side_by_side(view, {k: charts[place] for k, charts in found.items()}))
    ]
    tables = each(view, lambda one: join(_quantiles(one), _by_stream(one)))
    body = charts or [tag("p", "No call and no session that was measured has ended.")]
    about = note(
        "Curves: the share of a stream's calls or sessions that took at most so long; all "
        "replications together. Dotted lines are the thresholds of SLOs."
    )
    if view.several:
        return Section(
            "latency", "Latency", join(tables, about, tag("div", body, class_="stacked"))
        )
    first = tag("div", tables, about, class_="first")
    return Section("latency", "Latency", tag("div", first, body, class_="charts"))


def _quantiles(one: Shown) -> Markup:
    notes: dict[str, int] = {}
    summary = one.run.summary
    rows = [
        (text, *(cell(n, summary.get(n), notes) for n in (f"{base}.{stat}" for stat in STATS)))
        for base, text in LATENCIES.items()
    ]
    caption = "To the first token (TTFT), per token (TPOT), gap (ITL); ± half the 95 % interval"
    return join(table(("", *STATS), rows, caption=caption), reasons(notes))


def _by_stream(one: Shown) -> Markup | None:
    """Give the same of each stream, where there are several: means of the replications."""
    if len(one.source.streams) < 2:
        return None
    found = broken_down(one.run, "stream")
    asked = len(one.source.replications)
    made = [
        (f"{cut(stream, 60)}: {text}", *(_mean(values, asked) for values in of_stats))
        for stream in one.source.streams
        for base, text in LATENCIES.items()
        if any(of_stats := [found.get(stream, {}).get(f"{base}.{stat}", []) for stat in STATS])
    ]
    caption = "Means over replications; a dash where one of them withholds it"
    return folded("The same by stream", table(("", *STATS), made, caption=caption))


def _mean(values: list[float], asked: int) -> str:
    return seconds(mean(values)) if len(values) >= asked else "-"


def _side_by_side(view: View, whole: Mapping[str, LatencyChart]) -> Markup | None:
    """Draw one kind of latency of every run, on the same axes; None: nobody has any.

    As many streams as there are looks, so that no two curves have the same.
    """
    charts = {k: c._replace(curves=c.curves[: lines.LOOKS]) for k, c in whole.items()}
    curves = [curve.curve for chart in charts.values() for curve in chart.curves]
    known = [curve for curve in curves if len(curve.value)]
    if not known:
        return None
    limits = [c.limit_s for chart in charts.values() for c in chart.curves if c.limit_s is not None]
    x = _axis(known, limits)
    drawn = [
        tag(
            "figure",
            tag("figcaption", tag("b", chart.title), _of(view, letter)),
            _chart(view, chart, x),
            lines.key(_legend(view, chart)),
            _ends(chart),
            _left_out(len(whole[letter].curves) - len(chart.curves)),
        )
        for letter, chart in charts.items()
    ]
    return join(drawn) if not view.several else tag("div", drawn, class_="versus")


def _left_out(more: int) -> Markup | None:
    told = f"{more:,} more streams are not drawn; their quantiles are above."
    return note(told) if more else None


def _of(view: View, letter: str) -> Markup | None:
    """Name the run that a chart is of, where there are several."""
    name = next(one.title for one in view.runs if one.letter == letter)
    return tag("span", f" {name}", class_="of") if view.several else None


def _axis(curves: Sequence[Curve], limits: Sequence[float]) -> Scale:
    low = min(curve.reached(LEAST) for curve in curves)
    high = max(float(curve.value[-1]) for curve in curves)
    if high <= 0:
        high = 1.0
    near = [limit for limit in limits if limit < 30 * high]
    most = max([high, *(1.15 * limit for limit in near)])
    return positive(min([low, *near]), most, FRAME.across, "s")


def _chart(view: View, chart: LatencyChart, x: Scale) -> Markup:
    y = linear(0.0, 1.0, FRAME.upward, "ratio", tight=True)
    drawn = [
        lines.steps(x, y, one.curve.value, one.curve.share, view.looks[one.stream])
        for one in chart.curves
        if len(one.curve.value)
    ]
    at = x.even(STOPS)
    reads = [
        lines.Read(cut(one.stream, 40), view.looks[one.stream], [
            percent(share) for share in _shares(one.curve, at)
        ])
        for one in chart.curves
    ]  # fmt: skip
    heads = [f"at most {seconds(value)}" for value in at]
    names = ", ".join(cut(one.stream, 40) for one in chart.curves)
    label = f"{chart.title}: distribution functions of {names or 'no stream'}"
    pixels = [float(x.at(value)) for value in at]
    return svg(
        FRAME,
        label,
        axes(FRAME, x, y, "at most", "of all"),
        list(_thresholds(chart, x)),
        drawn,
        stops=lines.stops(pixels, heads, reads) if reads else None,
    )


def _shares(curve: Curve, at: Sequence[float]) -> list[float]:
    """Read a step function off between its corners."""
    place = np.searchsorted(curve.value, np.array(at), side="right")
    return [float(curve.share[p - 1]) if p else 0.0 for p in place]


def _thresholds(chart: LatencyChart, x: Scale) -> Iterator[Markup]:
    """Draw what SLOs ask for."""
    limits = sorted({one.limit_s for one in chart.curves if one.limit_s is not None})
    return lines.limits(FRAME, x, [(limit, f"SLO {plain_seconds(limit)}") for limit in limits])


def _legend(view: View, chart: LatencyChart) -> Iterator[tuple[str, int, str]]:
    """Name streams, with how many were counted, and their SLO where any has one."""
    some = any(one.limit_s is not None for one in chart.curves)
    for one in chart.curves:
        count = f"{one.curve.n:,} {COUNTED[chart.name][: -1 if one.curve.n == 1 else None]}"
        asked = ", no SLO" if some else ""
        asked = asked if one.limit_s is None else f", SLO {plain_seconds(one.limit_s)}"
        yield cut(one.stream, 40), view.looks[one.stream], f"{count}{asked}"


def plain_seconds(value: float) -> str:
    """Write a threshold, which is a round number most times.

    Examples
    --------
    >>> plain_seconds(1.0), plain_seconds(0.05), plain_seconds(300.0)
    ('1 s', '50 ms', '5 min')
    """
    factor, unit = unit_beside(value, "s")
    return f"{value / factor:.4g} {unit}"


def _ends(chart: LatencyChart) -> Markup | None:
    """Say where curves end below 1."""
    short = [one for one in chart.curves if one.curve.censored]
    return note("; ".join(_short(one) for one in short), ".") if short else None


def _short(one: StreamCurve) -> str:
    curve = one.curve
    ends = f"{int(1e4 * curve.share[-1]) / 100:g} %" if len(curve.share) else "0 %"
    return (
        f"{curve.censored:,} of {cut(one.stream, 40)} had not ended: its curve ends at {ends}"
        if curve.censored > 1
        else f"1 of {cut(one.stream, 40)} had not ended: its curve ends at {ends}"
    )
