"""Links that carried something in the measured window, the busiest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from factorysim.report.charts.source import Source


class LinkUse(NamedTuple):
    """One direction of a link."""

    name: str
    bandwidth_bytes_per_s: float
    carried_bytes: float
    """Mean over replications."""
    utilization: float


def link_uses(source: Source) -> list[LinkUse]:
    """Add up what links carried; of those that are equally busy the first by name comes first."""
    names = ("link", "bandwidth_bytes_per_s", "carried_bytes")
    carried: dict[tuple[str, float], float] = {}
    for replication in source.replications:
        columns = source.columns("links", names, replication)
        links = columns["link"]
        rows = zip(
            (links.words[code] for code in links.codes.tolist()),
            *(columns[name].tolist() for name in names[1:]),
            strict=True,
        )
        for name, bandwidth, amount in rows:
            carried[name, bandwidth] = carried.get((name, bandwidth), 0.0) + amount
    count = len(source.replications)
    found = [
        LinkUse(
            name, bandwidth, total / count, total / count / (bandwidth * source.window.length_s)
        )
        for (name, bandwidth), total in carried.items()
        if bandwidth > 0.0
    ]
    return sorted(found, key=lambda use: (-use.utilization, use.name))
