"""Over time: sessions, queues, batches, KV, cores and power, warm-up and drain included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.charts.over_time import time_charts
from factorysim.report.markup import join, tag
from factorysim.report.numbers import digits, of_unit, percent, seconds
from factorysim.report.page import cut
from factorysim.report.sections.section import Section, folded, note, table
from factorysim.report.svg import lines
from factorysim.report.svg.frame import Frame, axes, svg
from factorysim.report.svg.scale import linear

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from markupsafe import Markup

    from factorysim.report.charts.over_time import Series, TimeChart
    from factorysim.report.sections.section import Shown, View
    from factorysim.report.svg.scale import Scale

BINS = 120
FRAME = Frame()
WHOLE = "factory"
"""Series of all racks together."""
NEAR = 1.6
"""Times the largest value up to which a limit is drawn; one farther away would flatten the rest."""
ROUNDING = 1e-9
"""Values below it are what adding and taking away leaves of nothing."""
AXES = {
    "sessions": "sessions",
    "queue": "waiting",
    "batch": "sequences",
    "kv": "of all blocks",
    "tools": "cores",
    "power": "power",
}
"""Chart -> what its vertical axis counts."""


def over_time(view: View) -> Section:
    """Draw what changed over the run, by the mean over replications and their range."""
    found = {one.letter: time_charts(one.source, BINS) for one in view.runs}
    count = len(found[view.runs[0].letter])
    body = [
        _side_by_side(view, {letter: charts[place] for letter, charts in found.items()})
        for place in range(count)
    ]
    least = min(len(one.source.replications) for one in view.runs)
    spread = "; their range is shaded" if least > 1 else ""
    return Section("time", "Over time", join(
        note(f"Means over {BINS} equal parts of the run, and over replications{spread}. What is "
             "grey lies outside the window that is measured."),
        tag("div", body, class_="charts" if not view.several else "stacked"),
    ))  # fmt: skip


def _side_by_side(view: View, charts: Mapping[str, TimeChart]) -> Markup:
    drawn_of = {letter: _drawn(chart) for letter, chart in charts.items()}
    top = max([_most(chart) for chart, _ in drawn_of.values()])
    end = max(float(chart.edges_s[-1]) for chart in charts.values())
    x = linear(0.0, end, FRAME.across, "s", tight=True)
    unit = next(iter(charts.values())).unit
    y = linear(0.0, top or 1.0, FRAME.upward, unit, most=4)
    drawn = [
        _figure(view, one, charts[one.letter], *drawn_of[one.letter], x, y) for one in view.runs
    ]
    return drawn[0] if not view.several else tag("div", drawn, class_="versus")


def _most(chart: TimeChart) -> float:
    """Give the largest value, or the limit where it is near."""
    tops = [float(one.values.max()) for one in chart.series]
    limits = [
        one.most
        for one, top in zip(chart.series, tops, strict=True)
        if one.most is not None and one.most <= NEAR * top
    ]
    return max([0.0, *tops, *limits])


def _figure(
    view: View, one: Shown, whole: TimeChart, chart: TimeChart, left_out: str, x: Scale, y: Scale
) -> Markup:
    name = tag("span", f" {one.title}", class_="of") if view.several else None
    caption = tag("figcaption", tag("b", chart.title), name)
    if not chart.series:
        return tag("figure", caption, tag("p", f"Not drawn: {chart.reason}.", class_="empty"))
    looks = _looks(view, chart)
    return tag(
        "figure",
        caption,
        _chart(one, chart, x, y, looks),
        lines.key(_legend(chart, looks, y)),
        note(left_out) if left_out else None,
        folded("Values", _values(one, chart if chart.name == "power" else whole)),
    )


def _drawn(chart: TimeChart) -> tuple[TimeChart, str]:
    """Leave out racks where there are many, or one alone: all together are drawn in any case.

    Of others there are as many as there are looks, so that no two lines have the same.
    """
    if chart.name != "power":
        more = len(chart.series) - lines.LOOKS
        told = f"{more:,} more are not drawn; the values below are of all." if more > 0 else ""
        return chart._replace(series=chart.series[: lines.LOOKS]), told
    whole = tuple(one for one in chart.series if one.name == WHOLE)
    racks = len(chart.series) - len(whole)
    if not whole or 1 < racks <= lines.GREYS:
        return chart, ""
    told = f"{racks} racks together; none is drawn by itself." if racks > 1 else ""
    return chart._replace(series=whole), told


def _looks(view: View, chart: TimeChart) -> dict[str, int]:
    """Give streams and deployments their looks; the factory is black, its racks are grey."""
    racks = [one.name for one in chart.series if one.name not in view.looks and one.name != WHOLE]
    greys = {name: lines.LOOKS + place for place, name in enumerate(racks)}
    own = {one.name: lines.INK for one in chart.series if one.name == WHOLE}
    return {**view.looks, **greys, **own}


def _chart(one: Shown, chart: TimeChart, x: Scale, y: Scale, looks: Mapping[str, int]) -> Markup:
    middle = (chart.edges_s[:-1] + chart.edges_s[1:]) / 2
    window, end = one.source.window, float(chart.edges_s[-1])
    ranges = [
        lines.area(x, y, middle, s.values.min(axis=0), s.values.max(axis=0), looks[s.name])
        for s in chart.series
        if len(s.values) > 1
    ]
    means = [lines.line(x, y, middle, s.mean, looks[s.name]) for s in chart.series]
    label = f"{chart.title} over time: {', '.join(cut(s.name, 40) for s in chart.series)}"
    reads = [
        lines.Read(cut(s.name, 40), looks[s.name], [_value(v, chart.unit) for v in s.mean])
        for s in chart.series
    ]
    return svg(
        FRAME,
        label,
        lines.shaded(FRAME, x, 0.0, window.start_s, "warm-up"),
        lines.shaded(FRAME, x, window.end_s, end, "drain"),
        axes(FRAME, x, y, "time", AXES.get(chart.name, "")),
        list(_limits(chart, y, looks)),
        ranges,
        means,
        stops=lines.stops(
            [float(x.at(v)) for v in middle], [f"at {seconds(float(v))}" for v in middle], reads
        ),
    )


def _limits(chart: TimeChart, y: Scale, looks: Mapping[str, int]) -> Iterator[Markup]:
    for series in chart.series:
        if series.most is not None and series.most <= y.high:
            at = y.at(series.most)
            yield tag("line", class_=f"most k{looks[series.name]}", x1=FRAME.left, x2=FRAME.right,
                      y1=at, y2=at)  # fmt: skip


def _legend(chart: TimeChart, looks: Mapping[str, int], y: Scale) -> Iterator[tuple[str, int, str]]:
    for one in chart.series:
        most = ""
        if one.most is not None:
            drawn = "dotted: " if one.most <= y.high else ""
            most = f"{drawn}at most {_value(one.most, chart.unit)}"
        yield cut(one.name, 40), looks[one.name], most


def _value(value: float, unit: str) -> str:
    """Write a value of a series.

    Examples
    --------
    >>> _value(0.123, "ratio"), _value(12.0, ""), _value(-7.4e-17, "")
    ('12.3 %', '12', '0')
    """
    if abs(value) < ROUNDING:
        value = 0.0
    if unit == "ratio":
        return percent(float(value))
    if unit:
        return of_unit(float(value), unit)
    whole = value >= 100 or value == int(value)
    return f"{value:,.0f}" if whole else digits(float(value))


def _values(one: Shown, chart: TimeChart) -> Markup:
    """Say in numbers what the window shows, for those who do not see the lines."""
    import numpy as np

    middle = (chart.edges_s[:-1] + chart.edges_s[1:]) / 2
    window = one.source.window
    inside = (middle >= window.start_s) & (middle < window.end_s)
    inside = inside if inside.any() else np.ones(len(middle), dtype=bool)
    rows = [(cut(s.name, 60), *_spread(s, inside, chart.unit)) for s in chart.series]
    caption = "Of the drawn means, inside the window"
    return table(("", "mean", "lowest", "highest"), rows, caption=caption)


def _spread(series: Series, inside: object, unit: str) -> tuple[str, str, str]:
    import numpy as np

    values = series.mean[np.asarray(inside)]
    told = [_value(float(v), unit) for v in (values.mean(), values.min(), values.max())]
    return told[0], told[1], told[2]
