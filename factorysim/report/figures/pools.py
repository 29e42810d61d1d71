"""How busy each pool is, how full, and how near to its data sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.charts.pools import MEASURES
from factorysim.report.figures.axis import grid, linear
from factorysim.report.figures.bars import height_of, interval, name_rows
from factorysim.report.figures.sheet import Sheet, nothing_to_draw, on_paper
from factorysim.report.figures.style import COLOURS, HATCHES, Width
from factorysim.report.figures.words import name_of
from factorysim.report.numbers import percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

    from factorysim.report.charts.pools import PoolBar

TITLE = "Utilization of pools"
FILLS = dict(zip(MEASURES, zip(COLOURS, HATCHES, strict=False), strict=False))
"""Measure -> its colour and hatch."""
MOST = 12
"""Pools in one figure; of more, the first."""


def pools_figure(bars: Sequence[PoolBar], width: Width = "column") -> Figure:
    """Draw shares of 1 of every pool, with 95 % intervals between replications."""
    told = [bar for bar in bars if isinstance(bar.line.value, float)]
    if not told:
        reasons = dict.fromkeys(bar.line.reason or "no reason given" for bar in bars)
        return nothing_to_draw(TITLE, "; ".join(reasons) or "there is no pool", width)
    pools = list(dict.fromkeys(bar.pool for bar in bars))
    bars = [bar for bar in bars if bar.pool in pools[:MOST]]
    with on_paper(width, height_of(len(bars) + len(pools[:MOST]))) as sheet:
        names, values = list[str](), list[str]()
        for pool in pools[:MOST]:
            names.append(name_of(pool, 24))
            values.append("")
            for bar in bars:
                if bar.pool == pool:
                    values.append(_bar(sheet, bar, len(names)))
                    names.append(MEASURES[bar.measure])
        name_rows(sheet, names, values)
        for label in sheet.axes.get_yticklabels():
            if label.get_text() not in MEASURES.values():
                label.set_fontweight("bold")
        for text in _withheld(bars):
            sheet.note(text)
        if any(bar.line.ci_low is not None for bar in bars):
            sheet.note("Intervals: 95 % between replications")
        if len(pools) > MOST:
            sheet.note(f"{len(pools) - MOST} more pools are not drawn")
        linear(sheet.axes.xaxis)
        sheet.axes.set_xlim(0.0, 100.0)
        sheet.axes.set_xlabel("Share of the pool (%)")
        grid(sheet.axes, "x")
    return sheet.figure


def _withheld(bars: Sequence[PoolBar]) -> Iterator[str]:
    """Say why values are missing, once for all pools that lack one for the same reason."""
    whose: dict[tuple[str, str], list[str]] = {}
    for bar in bars:
        if not isinstance(bar.line.value, float):
            key = (bar.measure, bar.line.reason or "no reason given")
            whose.setdefault(key, []).append(name_of(bar.pool, 24))
    for (measure, why), pools in whose.items():
        more = f" and {len(pools) - 3} more" if len(pools) > 3 else ""
        yield f"{MEASURES[measure]} of {', '.join(pools[:3])}{more}: {name_of(why, 200)}"


def _bar(sheet: Sheet, bar: PoolBar, row: int) -> str:
    """Draw one row; return its value as text."""
    if not isinstance(bar.line.value, float):
        return "not told"
    colour, hatch = FILLS[bar.measure]
    sheet.axes.barh(
        row, 100 * bar.line.value, 0.72, facecolor=colour, hatch=hatch, edgecolor="white",
        linewidth=0,
    )  # fmt: skip
    low, high = (None if v is None else 100 * v for v in (bar.line.ci_low, bar.line.ci_high))
    if low is not None and high is not None:
        interval(sheet.axes, row, max(low, 0.0), min(high, 100.0))
    return percent(bar.line.value)
