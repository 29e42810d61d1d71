"""The energy of an output token: what each boundary adds to the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.figures.axis import grid, linear, scale_of
from factorysim.report.figures.bars import height_of, interval, name_rows, with_half
from factorysim.report.figures.sheet import nothing_to_draw, on_paper
from factorysim.report.figures.style import COLOURS, GRID, Width
from factorysim.report.figures.words import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from factorysim.report.charts.energy import Rung
    from factorysim.report.figures.axis import Scale

TITLE = "Energy per output token"
UNIT = "J/token"


def energy_figure(rungs: Sequence[Rung], width: Width = "column") -> Figure:
    """Draw all the energy inside each boundary, and in colour what the boundary adds.

    Intervals are of the whole, 95 % between replications.
    """
    known = [rung for rung in rungs if rung.joules is not None]
    if not known:
        reasons = dict.fromkeys(rung.reason for rung in rungs if rung.reason)
        return nothing_to_draw(TITLE, "; ".join(reasons) or "no energy was recorded", width)
    with on_paper(width, height_of(len(rungs))) as sheet:
        highest = max(max(rung.joules or 0.0, rung.high or 0.0) for rung in known)
        scale, before, told = scale_of(highest, UNIT), 0.0, list[str]()
        for row, rung in enumerate(rungs):
            told.append(_told(rung, scale))
            if rung.joules is None:
                sheet.note(f"{rung.text}: {name_of(rung.reason, 200)}")
                continue
            total = rung.joules / scale.factor
            sheet.axes.barh(row, before, 0.72, color=GRID, linewidth=0)
            sheet.axes.barh(row, total - before, 0.72, left=before, color=COLOURS[0], linewidth=0)
            low, high = (None if v is None else v / scale.factor for v in (rung.low, rung.high))
            interval(sheet.axes, row, low, high)
            before = total
        if any(rung.low is not None for rung in known):
            sheet.note("Intervals: of the whole, 95 % between replications")
        name_rows(sheet, [rung.text for rung in rungs], told)
        linear(sheet.axes.xaxis, 4)
        sheet.axes.set_xlim(0.0, 1.04 * highest / scale.factor or 1.0)
        sheet.axes.set_xlabel(scale.label(TITLE))
        grid(sheet.axes, "x")
    return sheet.figure


def _told(rung: Rung, scale: Scale) -> str:
    if rung.joules is None:
        return "not told"
    low, high = (None if v is None else v / scale.factor for v in (rung.low, rung.high))
    return with_half(rung.joules / scale.factor, low, high)
