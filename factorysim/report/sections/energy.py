"""Energy: the ladder of an output token, boundary by boundary, and the power behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.charts.energy import energy_ladder
from factorysim.report.markup import join, tag
from factorysim.report.numbers import of_unit
from factorysim.report.sections.section import Section, between, each, listing, note, reasons
from factorysim.report.svg.bars import Bar, values
from factorysim.report.svg.scale import linear
from factorysim.report.terminal import POWER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from factorysim.report.charts.energy import Rung
    from factorysim.report.sections.section import Shown, View

WIDTH = 420.0
UNIT = "J/tok"


def energy(view: View) -> Section:
    """Draw the energy of an output token inside each boundary, on one axis for all runs."""
    ladders = {one.letter: energy_ladder(one.source) for one in view.runs}
    tops = [rung.high or rung.joules or 0.0 for rungs in ladders.values() for rung in rungs]
    top = max([0.0, *tops])
    return Section("energy", "Energy", join(
        note("Joules for an output token inside each boundary; each adds to the one above."),
        each(view, lambda one: _of_run(one, ladders[one.letter], top)),
    ))  # fmt: skip


def _of_run(one: Shown, rungs: Sequence[Rung], top: float) -> Markup:
    notes: dict[str, int] = {}
    power = listing(one, "Power, energy, carbon and electricity", POWER, notes)
    ladder = _ladder(rungs, top, notes) if rungs else tag("p", "No energy is told.", class_="empty")
    return tag("div", tag("div", ladder), tag("div", power, reasons(notes)), class_="beside")


def _ladder(rungs: Sequence[Rung], top: float, notes: dict[str, int]) -> Markup:
    x = linear(0.0, top or 1.0, (0.0, WIDTH), tight=True)
    bars = [
        Bar(rung.text, rung.joules, rung.low, rung.high, *_words(rung, notes)) for rung in rungs
    ]
    return values("Energy of an output token inside each boundary", bars, x, WIDTH)


def _words(rung: Rung, notes: dict[str, int]) -> tuple[str, str]:
    """Write a value as it stands at its bar, and with its interval or why there is none."""
    if rung.joules is None:
        place = notes.setdefault(rung.reason, len(notes) + 1)
        return f"withheld ({place})", f"{rung.text}\nwithheld: {rung.reason}"
    text = of_unit(rung.joules, UNIT)
    if rung.low is None or rung.high is None:
        return text, f"{rung.text}\nmean: {text}"
    return text, f"{rung.text}\nmean: {text}\n95 %: {between(rung.low, rung.high, UNIT)}"
