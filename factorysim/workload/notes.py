"""What a reader of a run must know of its demand: what was fitted, left out, or not waited for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.spec.arrivals import FittedArrivals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.stream import ClientsSpec, StreamSpec


def demand_notes(scenario: ScenarioSpec) -> list[str]:
    """Tell it of all streams, a line each.

    Raises
    ------
    TraceError
        With the faults of a folder of clients.
    """
    return [
        f"streams.{name}: {note}"
        for name, stream in scenario.streams.items()
        for note in _notes(stream)
    ]


def _notes(stream: StreamSpec) -> Iterator[str]:
    arrivals = stream.arrivals
    if isinstance(arrivals, FittedArrivals) and arrivals.rate is not None:
        assert arrivals.cv is not None, "fitted together"
        yield (
            f"arrivals fitted to its trace: {arrivals.family} gaps, {arrivals.rate:.4g}/s, "
            f"cv {arrivals.cv:.3g}"
        )
    if stream.clients is not None:
        yield from _left_out(stream.clients)
    if stream.mode == "open":
        yield "calls start when they did (mode: open), whatever the factory does"
    if stream.mode == "think_only":
        yield "tools take the time they took, on no host (mode: think_only)"


def _left_out(clients: ClientsSpec) -> Iterator[str]:
    from factorysim.workload.servegen import read_pool

    pool = read_pool(Path(clients.folder), clients.most)
    if pool.without_lengths:
        yield (
            f"{len(pool.without_lengths)} clients of {Path(clients.folder).name} have no lengths "
            f"and are left out: {pool.left_share:.0%} of the folder's calls"
        )
