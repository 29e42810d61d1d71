"""All figures of a run, by name: drawn one at a time, from charts that are computed once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from factorysim.report.charts.latency import TITLES
from factorysim.report.charts.over_time import CHARTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from factorysim.report.charts.latency import LatencyChart
    from factorysim.report.charts.over_time import TimeChart
    from factorysim.report.figures.style import Width
    from factorysim.run import Run

PAIRED = "paired"
"""The figure of two runs."""
FAMILIES = {
    "latency": tuple(f"latency-{name.removesuffix('_s')}" for name in TITLES),
    "tail": tuple(f"tail-{name.removesuffix('_s')}" for name in TITLES),
    "series": tuple(f"series-{name}" for name in CHARTS),
}
"""What several names have in common, and the names."""
NAMES = (*(name for names in FAMILIES.values() for name in names), "time-shares", "energy", "pools")
"""Of all figures of one run."""


class Figures:
    """Figures of a run.

    Parameters
    ----------
    run
        From `simulate` or `open_run`.
    """

    def __init__(self, run: Run, width: Width = "column") -> None:
        from factorysim.report.charts.source import Source

        self.source = Source(run)
        self.width: Width = width

    def draw(self, name: str) -> Figure:
        """Draw one of `NAMES`."""
        family, _, part = name.partition("-")
        if family in ("latency", "tail"):
            return self.latency(f"{part}_s", tail=family == "tail")
        if family == "series":
            return self.series(part)
        return {"time-shares": self.time_shares, "energy": self.energy, "pools": self.pools}[name]()

    def latency(self, name: str, *, tail: bool = False) -> Figure:
        """Draw a distribution function, or what is above it."""
        from factorysim.report.figures.latency import latency_figure, tail_figure

        return (tail_figure if tail else latency_figure)(self._latencies[name], self.width)

    def series(self, name: str) -> Figure:
        """Draw what changed over time."""
        from factorysim.report.charts.over_time import racks_together
        from factorysim.report.figures.over_time import over_time_figure

        chart = self._series[name]
        chart = racks_together(chart) if name == "power" else chart
        return over_time_figure(chart, self.source.window, self.width)

    def time_shares(self) -> Figure:
        """Draw where a session's time goes."""
        from factorysim.report.charts.time_shares import time_shares
        from factorysim.report.figures.time_shares import time_shares_figure

        return time_shares_figure(time_shares(self.source), self.width)

    def energy(self) -> Figure:
        """Draw the energy of an output token."""
        from factorysim.report.charts.energy import energy_ladder
        from factorysim.report.figures.energy import energy_figure

        return energy_figure(energy_ladder(self.source), self.width)

    def pools(self) -> Figure:
        """Draw how busy pools are."""
        from factorysim.report.charts.pools import pool_bars
        from factorysim.report.figures.pools import pools_figure

        return pools_figure(pool_bars(self.source), self.width)

    @cached_property
    def _latencies(self) -> dict[str, LatencyChart]:
        from factorysim.report.charts.latency import latency_charts

        return {chart.name: chart for chart in latency_charts(self.source, fine=True)}

    @cached_property
    def _series(self) -> dict[str, TimeChart]:
        from factorysim.report.charts.over_time import time_charts

        return {chart.name: chart for chart in time_charts(self.source)}
