"""Where a session's time goes: one bar a stream, cut by what the time was spent on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from factorysim.report.charts.time_shares import ALL
from factorysim.report.figures.axis import grid, linear
from factorysim.report.figures.bars import height_of, name_rows
from factorysim.report.figures.sheet import Sheet, nothing_to_draw, on_paper
from factorysim.report.figures.style import COLOURS, HATCHES, Width
from factorysim.report.figures.words import name_of
from factorysim.report.numbers import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from factorysim.report.charts.time_shares import TimeShares

TITLE = "Where a session's time goes"
GREY, YELLOW = "#bbbbbb", "#F0E442"
"""Yellow is the eighth of Okabe and Ito: too pale for a line, not for an area."""
FILLS = {
    "queue": (COLOURS[1], HATCHES[0]),
    "prefill": (COLOURS[5], HATCHES[1]),
    "decode": (COLOURS[0], HATCHES[0]),
    "stall": (YELLOW, HATCHES[4]),
    "kv": (COLOURS[4], HATCHES[2]),
    "network": (COLOURS[6], HATCHES[0]),
    "tool_queue": (COLOURS[3], HATCHES[0]),
    "tool": (COLOURS[2], HATCHES[3]),
    "gap": (GREY, HATCHES[0]),
}
"""Kind of time -> its colour and hatch, in every figure."""
SEEN = 5e-4
"""Share that the thinnest line of a bar has; less is in no legend."""


def time_shares_figure(chart: TimeShares, width: Width = "column") -> Figure:
    """Draw what is left of each stream's time without its users' gaps; gaps in numbers beside."""
    bars = [bar for bar in chart.bars if bar.without_gaps]
    if not bars:
        return nothing_to_draw(TITLE, chart.reason or "users' gaps are all of it", width)
    if len(bars) == 2 and bars[0].stream == ALL:
        bars = bars[1:]  # of one stream all streams say the same
    with on_paper(width, height_of(len(bars))) as sheet:
        for kind in FILLS:
            shares = [bar.without_gaps.get(kind, 0.0) for bar in bars]
            before = [_before(bar.without_gaps, kind) for bar in bars]
            _part(sheet, kind, shares, before, chart.words[kind])
        gaps = [bar.shares.get("gap", 0.0) for bar in bars]
        told = [percent(gap) for gap in gaps] if any(gaps) else []
        name_rows(sheet, [name_of(bar.stream, 20) for bar in bars], told)
        if told:
            sheet.note("Right: the user's gaps, of all the time; bars: all else")
        for what, why in chart.withheld:
            sheet.note(f"Not told: {what} ({name_of(why, 200)})")
        linear(sheet.axes.xaxis)
        sheet.axes.set_xlim(0.0, 100.0)
        sheet.axes.set_xlabel("Time on the critical path (%)")
        grid(sheet.axes, "x")
    return sheet.figure


def _before(shares: dict[str, float], kind: str) -> float:
    order = list(FILLS)
    return sum(shares.get(other, 0.0) for other in order[: order.index(kind)])


def _part(sheet: Sheet, kind: str, shares: list[float], before: list[float], word: str) -> None:
    colour, hatch = FILLS[kind]
    if max(shares) <= 0:
        return
    fill: dict[str, Any] = {"facecolor": colour, "hatch": hatch, "edgecolor": "white"}
    bars: Any = sheet.axes.barh(
        range(len(shares)), [100 * share for share in shares], 0.72,
        left=[100 * start for start in before], linewidth=0.0, **fill,
    )  # fmt: skip
    if max(shares) >= SEEN:
        sheet.entry(bars, word)
