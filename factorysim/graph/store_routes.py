"""Ways to stores of KV that are nodes of their own, beside those of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.graph.factory import Path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Place(NamedTuple):
    """A store's own node: what it is called, what it hangs on, its two links, its latency."""

    name: str
    node: int
    read: int
    write: int
    read_bandwidth: float
    write_bandwidth: float
    latency_fs: int


class StoreRoutes:
    """Ways between nodes of the graph and of stores.

    Examples
    --------
    >>> graph = lambda a, b: Path((0,), 5, 100.0)
    >>> StoreRoutes(graph, 2, [Place("nvme of b", 1, 2, 3, 80.0, 20.0, 7)])(0, 2)
    Path(links=(0, 3), latency_fs=12, bandwidth=20.0)
    """

    def __init__(
        self, routes: Callable[[int, int], Path], nodes: int, places: Sequence[Place]
    ) -> None:
        self._routes = routes
        self._nodes = nodes
        self._places = places

    @property
    def names(self) -> tuple[str, ...]:
        """Of the stores' own nodes, in the order of their numbers: they follow the graph's."""
        return tuple(place.name for place in self._places)

    def __call__(self, source: int, target: int) -> Path:
        """Way from node to node, as `Routes` has it."""
        first = self._nodes
        if source < first and target < first:
            return self._routes(source, target)
        start = self._places[source - first] if source >= first else None
        end = self._places[target - first] if target >= first else None
        way = self._routes(
            source if start is None else start.node, target if end is None else end.node
        )
        links, latency_fs, bandwidth = way
        if start is not None:
            links = (start.read, *links)
            latency_fs += start.latency_fs
            bandwidth = min(bandwidth, start.read_bandwidth)
        if end is not None:
            links = (*links, end.write)
            latency_fs += end.latency_fs
            bandwidth = min(bandwidth, end.write_bandwidth)
        return Path(links, latency_fs, bandwidth)
