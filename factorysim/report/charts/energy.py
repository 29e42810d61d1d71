"""The energy of an output token, boundary by boundary: each adds to the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.energy import BOUNDARIES
from factorysim.report.terminal import LADDER

if TYPE_CHECKING:
    from factorysim.report.charts.source import Source


class Rung(NamedTuple):
    """All the energy inside one boundary, for one output token."""

    name: str
    text: str
    joules: float | None
    low: float | None
    """95 % interval between replications; None where there is none."""
    high: float | None
    reason: str
    """Why there is no value; blank where there is."""


def energy_ladder(source: Source) -> list[Rung]:
    """J per output token inside each boundary, from the accelerators to the facility."""
    rungs: list[Rung] = []
    for name in BOUNDARIES:
        line = source.run.summary.get(f"energy.j_per_output_token.{name}")
        if line is None:
            continue
        value = line.value if isinstance(line.value, float) else None
        text = LADDER.get(name, "electrical chain")
        reason = "" if value is not None else line.reason or "no reason given"
        rungs.append(Rung(name, text, value, line.ci_low, line.ci_high, reason))
    return rungs
