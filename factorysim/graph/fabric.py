"""The network between racks: leaves, spines, and the door to the clients.

- `leaf_spine`: ports go to leaves in the order of the racks, so that a rack's ports
  share leaves. One leaf is enough for a small factory; then there are no spines.
- `rail_optimised`: port i of every GPU tray goes to the leaves of rail i; all other
  ports share leaves of their own.
- `single_switch`: all ports on one switch.
- `none`: no network is modelled. The door reaches every chip at once, and racks do
  not reach each other.

The door hangs on all spines (or on the one switch). Switches stand in the slots of
network racks if there are any, else in a rack `fabric/0` that holds nothing more.
A link takes eighths of a port, as ports break out (`check.BREAKOUT`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault
from factorysim.graph.check import BREAKOUT, gbps, lanes_of
from factorysim.graph.rack import Slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx

    from factorysim.catalog import Catalog, Switch
    from factorysim.graph.rack import Opened, Port
    from factorysim.spec.topology import FabricSpec

WHERE = "topology"


class _Layout(NamedTuple):
    """Leaves with their ports, and how spines join them."""

    leaves: list[list[Port]]
    spines: int
    links: int
    """Ports between each leaf and each spine."""


def add_fabric(
    graph: nx.Graph[str],
    spec: FabricSpec,
    catalog: Catalog,
    racks: Sequence[Opened],
) -> set[str]:
    """Join the ports of all racks, and the door; the ids of the facts that were used.

    Raises
    ------
    CapacityError
        If two tiers of these switches cannot join so many ports, or the network
        racks have too few slots.
    """
    graph.add_edge(
        "clients",
        "door",
        kind="client",
        bandwidth=spec.client_bandwidth,
        latency_s=spec.client_latency,
        links=1,
    )
    if spec.kind == "none":
        for chip in (chip for rack in racks for chip in rack.chips):
            graph.add_edge(
                "door", chip, kind="client", bandwidth=spec.client_bandwidth, latency_s=0.0, links=1
            )
        return set()
    ports = [port for rack in racks for port in rack.ports]
    slots = [slot for rack in racks for slot in rack.slots]
    leaf = catalog.switch(spec.leaf)
    spine = catalog.switch(spec.spine)
    layout = _lay_out(spec, leaf, spine, ports)
    places = _places(graph, slots, len(layout.leaves) + layout.spines)
    leaves = [_add_switch(graph, "leaf", k, leaf, places[k]) for k in range(len(layout.leaves))]
    spines = [
        _add_switch(graph, "spine", k, spine, places[len(leaves) + k]) for k in range(layout.spines)
    ]
    for name, members in zip(leaves, layout.leaves, strict=True):
        for port in members:
            latency_s = port.latency_s + leaf.hop_latency_s / 2
            _link(graph, port.node, name, port.bandwidth, latency_s, leaf)
        for upper in spines:
            latency_s = (leaf.hop_latency_s + spine.hop_latency_s) / 2
            bandwidth = layout.links * min(leaf.port_bw, spine.port_bw)
            _link(graph, name, upper, bandwidth, latency_s, leaf, layout.links)
    top, switch = (spines, spine) if spines else (leaves, leaf)
    for name in top:
        share = spec.client_bandwidth / len(top)
        _link(graph, "door", name, share, switch.hop_latency_s / 2, switch)
    return {*leaf.facts, *(spine.facts if spines else ())}


def _link(
    graph: nx.Graph[str],
    a: str,
    b: str,
    bandwidth: float,
    latency_s: float,
    switch: Switch,
    links: int | None = None,
) -> None:
    """Add an Ethernet link, bundled of as many ports as its bandwidth needs."""
    if links is None:
        links = max(1, math.ceil(bandwidth / switch.port_bw - 1e-9))
    graph.add_edge(a, b, kind="scale_out", bandwidth=bandwidth, latency_s=latency_s, links=links)


def _lay_out(spec: FabricSpec, leaf: Switch, spine: Switch, ports: Sequence[Port]) -> _Layout:
    lanes = leaf.ports * BREAKOUT
    door = _ports_of(spec.client_bandwidth, leaf)
    wanted = sum(lanes_of(port.bandwidth, leaf.port_bw) for port in ports)
    if spec.kind == "single_switch":
        return _Layout([list(ports)], 0, 0)  # `check_ports` counts what it needs
    if spec.kind == "leaf_spine" and wanted + door * BREAKOUT <= lanes:
        return _Layout([list(ports)], 0, 0)
    up = math.ceil(leaf.ports / (1 + spec.oversubscription))
    groups = _rails(ports) if spec.kind == "rail_optimised" else [list(ports)]
    leaves = [
        part for group in groups for part in _split(group, leaf, (leaf.ports - up) * BREAKOUT)
    ]
    return _join(spec, leaf, spine, leaves, up)


def _rails(ports: Sequence[Port]) -> list[list[Port]]:
    """Sort the ports by rail; those of no rail come last."""
    rails: dict[int, list[Port]] = {}
    others = [port for port in ports if port.rail is None]
    for port in ports:
        if port.rail is not None:
            rails.setdefault(port.rail, []).append(port)
    groups = [rails[rail] for rail in sorted(rails)]
    return [*groups, others] if others else groups


def _split(group: Sequence[Port], leaf: Switch, lanes: int) -> list[list[Port]]:
    """Cut a group into as few leaves as carry it, evenly, in order."""
    sizes = [lanes_of(port.bandwidth, leaf.port_bw) for port in group]
    if max(sizes) > lanes:
        raise CapacityError(
            Fault(
                WHERE,
                "fabric.leaf",
                f"a port of {gbps(max(port.bandwidth for port in group))}",
                f"at most {gbps(lanes * leaf.port_bw / BREAKOUT)} below one {leaf.id}",
                "take a larger leaf",
            )
        )
    leaves = math.ceil(sum(sizes) / lanes)
    while True:
        target = math.ceil(sum(sizes) / leaves)
        parts: list[list[Port]] = [[]]
        filled = 0
        for port, size in zip(group, sizes, strict=True):
            full = filled + size > lanes or (filled >= target and len(parts) < leaves)
            if full:
                parts.append([])
                filled = 0
            parts[-1].append(port)
            filled += size
        if len(parts) <= leaves:
            return parts
        leaves += 1


def _join(
    spec: FabricSpec, leaf: Switch, spine: Switch, leaves: list[list[Port]], up: int
) -> _Layout:
    """Choose the fewest spines that every leaf reaches with the uplinks that it needs."""
    down = max(
        sum(lanes_of(port.bandwidth, leaf.port_bw) for port in members) for members in leaves
    )
    need = min(up, math.ceil(down / BREAKOUT / spec.oversubscription))
    for spines in range(1, up + 1):
        links = math.ceil(need / spines)
        door = _ports_of(spec.client_bandwidth / spines, spine)
        if spines * links <= up and len(leaves) * links + door <= spine.ports:
            return _Layout(leaves, spines, links)
    most = (spine.ports - _ports_of(spec.client_bandwidth / up, spine)) // math.ceil(need / up)
    total = sum(len(members) for members in leaves)
    raise CapacityError(
        Fault(
            WHERE,
            "fabric",
            f"{total:,} ports on {len(leaves):,} leaves of {need} uplinks each",
            f"at most {most:,} leaves: {up} uplinks a leaf to {up} spines of {spine.ports} ports, "
            "one of them for the door",
            "take fewer racks, larger switches, or more oversubscription",
        )
    )


def _ports_of(bandwidth: float, switch: Switch) -> int:
    return max(1, math.ceil(bandwidth / switch.port_bw - 1e-9))


def _places(graph: nx.Graph[str], slots: Sequence[Slot], count: int) -> list[Slot]:
    """Find room for the switches: in network racks, else in a rack of their own."""
    if not slots:
        graph.add_node(
            "fabric/0",
            kind="rack",
            pool="fabric",
            power_parent="site",
            failure_domain="site",
        )
        return [Slot("fabric/0", "")] * count
    if count > len(slots):
        racks = len({slot.rack for slot in slots})
        raise CapacityError(
            Fault(
                WHERE,
                "racks",
                f"{len(slots):,} switches in {racks:,} network racks",
                f"the {count:,} leaves and spines that the fabric needs",
                "add network racks, or take them all out: then the fabric brings its own",
            )
        )
    return list(slots[:count])


def _add_switch(graph: nx.Graph[str], role: str, k: int, switch: Switch, slot: Slot) -> str:
    name = f"fabric/{role}{k:02d}"
    parent = slot.tray or slot.rack
    power = {} if switch.power_w is None else {"idle_w": switch.power_w, "peak_w": switch.power_w}
    graph.add_node(
        name,
        kind=f"{role}_switch",
        device=switch.id,
        rack=slot.rack,
        **({"tray": slot.tray} if slot.tray else {}),
        power_parent=parent,
        failure_domain=parent,
        ports=switch.ports,
        port_bandwidth=switch.port_bw,
        **power,
    )
    return name
