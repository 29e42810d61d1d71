"""How busy each pool is, and how full."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from factorysim.metrics.summary import Line
    from factorysim.report.charts.source import Source

MEASURES = {
    "utilization": "in a step",
    "saturation": "full",
    "mfu": "MFU",
    "mbu": "MBU",
}
"""Family of metrics -> what it is called."""


class PoolBar(NamedTuple):
    """One measure of one pool: a share of 1."""

    pool: str
    measure: str
    """A key of `MEASURES`."""
    line: Line


def pool_bars(source: Source) -> list[PoolBar]:
    """Shares of every pool that has any, in the order of the scenario."""
    summary = source.run.summary
    pools = list(dict.fromkeys(place.pool for place in source.places))
    names = {name.partition(".")[2] for name in summary if name.startswith("utilization.")}
    pools += sorted(names - set(pools))
    return [
        PoolBar(pool, measure, summary[f"{measure}.{pool}"])
        for pool in pools
        for measure in MEASURES
        if f"{measure}.{pool}" in summary
    ]


def utilizations(source: Source) -> dict[str, float | None]:
    """Pool -> share of device-seconds inside a step, or of busy cores; None: not known."""
    found = {bar.pool: bar.line for bar in pool_bars(source) if bar.measure == "utilization"}
    return {
        pool: line.value if isinstance(line.value, float) else None for pool, line in found.items()
    }
