"""What the collectives of a replica cross: scale-up links, or the network where it straddles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault
from factorysim.physics.collectives import Links
from factorysim.physics.step import FS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx

    from factorysim.graph.factory import Factory


class Wiring(NamedTuple):
    """Where the replicas of a deployment stand."""

    graph: nx.Graph[str]
    factory: Factory
    replicas: tuple[tuple[int, ...], ...]

    def all(self) -> Links:
        """Between all devices of a replica."""
        return replica_links(self.graph, self.factory, self.replicas)

    def first(self, size: int) -> Links:
        """Between the first so many devices, which stand for every such group."""
        return replica_links(self.graph, self.factory, [nodes[:size] for nodes in self.replicas])

    def inside(self, size: int) -> Links:
        """Between the devices of each part of so many, a stage or a rank."""
        parts = [nodes[k : k + size] for nodes in self.replicas for k in range(0, len(nodes), size)]
        return replica_links(self.graph, self.factory, parts)

    def hops(self, size: int) -> Links:
        """From each stage of so many devices to the next."""
        pairs = [pair for nodes in self.replicas for pair in hop_pairs(nodes, size)]
        return replica_links(self.graph, self.factory, pairs)


def hop_pairs(nodes: tuple[int, ...], size: int) -> list[tuple[int, int]]:
    """Last device of each stage of `size`, and first of the next.

    Examples
    --------
    >>> hop_pairs((3, 4, 5, 6, 7, 8), 2)
    [(4, 5), (6, 7)]
    """
    return [(nodes[k - 1], nodes[k]) for k in range(size, len(nodes), size)]


def replica_links(
    graph: nx.Graph[str], factory: Factory, replicas: Sequence[tuple[int, ...]]
) -> Links:
    """Worst links among the replicas of a deployment, since they share one law.

    Inside a scale-up domain a device sends over all its scale-up links at once.
    Where a replica straddles domains, a device's share of its NICs decides, less what
    the leaf's uplinks lack, and the latency is that of the longest way.

    Returns
    -------
    B/s per direction and device, seconds from device to device, and the size of the
    domain (of the replica, where it straddles). A single device crosses nothing:
    infinite bandwidth.
    """
    size = len(replicas[0])
    if size == 1:
        return Links(math.inf, 0.0, 1)
    names = [factory.names[node] for nodes in replicas for node in nodes]
    if not any(straddles(factory, nodes) for nodes in replicas):
        inside = [_scale_up(graph, name) for name in names]
        domains = factory.scale_up_domains
        devices = int((domains == domains[replicas[0][0]]).sum())
        return Links(min(b for b, _ in inside), max(s for _, s in inside), devices)
    ways = [factory.routes(nodes[0], other) for nodes in replicas for other in nodes[1:]]
    rises: dict[str, float] = {}
    bandwidth = min(_network_share(graph, name, rises) for name in names)
    if bandwidth == 0.0:  # neither NIC nor DPU of its own: through its neighbours
        bandwidth = min(way.bandwidth for way in ways)
    return Links(bandwidth, max(way.latency_fs for way in ways) / FS_PER_S, size)


def exchange_links(
    graph: nx.Graph[str],
    factory: Factory,
    here: Sequence[tuple[int, ...]],
    there: Sequence[tuple[int, ...]],
    group: int,
) -> tuple[float, float]:
    """Worst link between the two sides of any replica of a split deployment.

    Parameters
    ----------
    here, there
        Devices of the two sides, replica by replica.
    group
        Devices of the other side that hold a layer together: a layer's activations go
        to those alone.

    Returns
    -------
    B/s per direction (of all devices of a side together, the narrower side deciding), and
    seconds one way, by the longest way to the first device of a group.
    """
    bandwidth, latency_fs = math.inf, 0
    rises: dict[str, float] = {}
    every = {node for nodes in (*here, *there) for node in nodes}
    share = {node: _network_share(graph, factory.names[node], rises) for node in every}
    for nodes, others in zip(here, there, strict=True):
        bandwidth = min(bandwidth, math.fsum(share[node] for node in nodes))
        for k in range(0, len(others), group):
            bandwidth = min(bandwidth, math.fsum(share[node] for node in others[k : k + group]))
            latency_fs = max(latency_fs, factory.routes(nodes[0], others[k]).latency_fs)
    return bandwidth, latency_fs / FS_PER_S


def exchange_ways(
    factory: Factory, here: Sequence[int], there: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Pairs of nodes that stand for the traffic of a split replica: there and back.

    One device of each tray of the other side, which share the tray's links, with the
    devices of this side in turn.
    """
    firsts = [node for node, _ in tray_receivers(factory, there)]
    pairs = [(here[k % len(here)], node) for k, node in enumerate(firsts)]
    return tuple(pairs + [(b, a) for a, b in pairs])


def tray_receivers(factory: Factory, nodes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """First device of each tray, and how many of `nodes` are in it.

    LPUs of a tray share its way to the network, so that one flow for all of them is as
    quick as one for each.
    """
    trays: list[int] = factory.trays.tolist()
    found: dict[tuple[int, int], list[int]] = {}
    for node in nodes:
        found.setdefault((trays[node], -1 if trays[node] >= 0 else node), []).append(node)
    return tuple((members[0], len(members)) for members in found.values())


def straddles(factory: Factory, nodes: Sequence[int]) -> bool:
    """Whether the collectives of these devices cross the network."""
    domains = factory.scale_up_domains[list(nodes)].tolist()
    return len(nodes) > 1 and (len(set(domains)) > 1 or domains[0] < 0)


def _scale_up(graph: nx.Graph[str], device: str) -> tuple[float, float]:
    """B/s of all scale-up links of a device, and seconds to another device.

    Raises
    ------
    CapacityError
        If it has none: nobody has said how fast its domain is.
    """
    edges = [
        (edge["bandwidth"], edge["latency_s"] * (2 if _is_switch(graph, other) else 1))
        for other, edge in graph.adj[device].items()
        if edge["kind"] == "scale_up"
    ]
    if not edges:
        what = graph.nodes[device]["device"]
        found = f"{what}, whose bandwidth to its neighbours nobody has given"
        cure = f"give `accelerators.{what}.interconnect.scale_up_per_direction` in a catalog file"
        expected = "one that is known, since a replica takes several such devices"
        raise CapacityError(Fault("topology", "pool", found, expected, cure))
    return math.fsum(b for b, _ in edges), max((s for _, s in edges), default=0.0)


def _is_switch(graph: nx.Graph[str], name: str) -> bool:
    return bool(graph.nodes[name]["kind"] == "scale_up_switch")


def _network_share(
    graph: nx.Graph[str], device: str, rises: dict[str, float] | None = None
) -> float:
    """B/s of a device's share of the NICs and DPUs that it hangs on.

    `rises` remembers, for whoever asks for many devices, what leaves pass on.
    """
    rises = {} if rises is None else rises
    kind = graph.nodes[device]["kind"]
    total = 0.0
    for part, edge in graph.adj[device].items():
        if graph.nodes[part]["kind"] in {"nic", "dpu"}:
            sharing = sum(graph.nodes[other]["kind"] == kind for other in graph.adj[part])
            total += min(edge["bandwidth"], _uplink(graph, part, rises) / sharing)
        elif edge["kind"] == "scale_out":
            total += edge["bandwidth"] * _rise(graph, part, rises)
    return total


def _uplink(graph: nx.Graph[str], part: str, rises: dict[str, float]) -> float:
    edges = graph.adj[part].items()
    return math.fsum(
        edge["bandwidth"] * _rise(graph, other, rises)
        for other, edge in edges
        if edge["kind"] == "scale_out"
    )


def _rise(graph: nx.Graph[str], leaf: str, rises: dict[str, float]) -> float:
    """Share of a port's bandwidth that is left when all ports of its leaf go up at once."""
    if leaf not in rises:
        down = up = 0.0
        for other, edge in graph.adj[leaf].items():
            if graph.nodes[other]["kind"] == "spine_switch":
                up += edge["bandwidth"]
            else:
                down += edge["bandwidth"]
        rises[leaf] = min(1.0, up / down) if up else 1.0
    return rises[leaf]
