"""What the collectives of a replica cross: scale-up links, or the network where it straddles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from factorysim.physics.collectives import Links
from factorysim.physics.step import FS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx

    from factorysim.graph.factory import Factory


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
    bandwidth = min(_network_share(graph, name) for name in names)
    if bandwidth == 0.0:  # neither NIC nor DPU of its own: through its neighbours
        bandwidth = min(way.bandwidth for way in ways)
    return Links(bandwidth, max(way.latency_fs for way in ways) / FS_PER_S, size)


def straddles(factory: Factory, nodes: Sequence[int]) -> bool:
    """Whether the collectives of these devices cross the network."""
    domains = factory.scale_up_domains[list(nodes)].tolist()
    return len(nodes) > 1 and (len(set(domains)) > 1 or domains[0] < 0)


def _scale_up(graph: nx.Graph[str], device: str) -> tuple[float, float]:
    """B/s of all scale-up links of a device, and seconds to another device."""
    edges = [
        (edge["bandwidth"], edge["latency_s"] * (2 if _is_switch(graph, other) else 1))
        for other, edge in graph.adj[device].items()
        if edge["kind"] == "scale_up"
    ]
    return math.fsum(b for b, _ in edges), max((s for _, s in edges), default=0.0)


def _is_switch(graph: nx.Graph[str], name: str) -> bool:
    return bool(graph.nodes[name]["kind"] == "scale_up_switch")


def _network_share(graph: nx.Graph[str], device: str) -> float:
    """B/s of a device's share of the NICs and DPUs that it hangs on."""
    kind = graph.nodes[device]["kind"]
    total = 0.0
    for part, edge in graph.adj[device].items():
        if graph.nodes[part]["kind"] in {"nic", "dpu"}:
            sharing = sum(graph.nodes[other]["kind"] == kind for other in graph.adj[part])
            total += min(edge["bandwidth"], _uplink(graph, part) / sharing)
        elif edge["kind"] == "scale_out":
            total += _through(graph, part, edge["bandwidth"])
    return total


def _uplink(graph: nx.Graph[str], part: str) -> float:
    edges = graph.adj[part].items()
    return math.fsum(
        _through(graph, other, edge["bandwidth"])
        for other, edge in edges
        if edge["kind"] == "scale_out"
    )


def _through(graph: nx.Graph[str], leaf: str, bandwidth: float) -> float:
    """Bandwidth that is left of a port when all ports of its leaf go up at once."""
    down = up = 0.0
    for other, edge in graph.adj[leaf].items():
        if graph.nodes[other]["kind"] == "spine_switch":
            up += edge["bandwidth"]
        else:
            down += edge["bandwidth"]
    return bandwidth * min(1.0, up / down) if up else bandwidth
