"""Whether a graph is a factory: attributes, references, power tree, connection, ports."""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault, SpecError, UserError
from factorysim.graph.schema import (
    COMPUTE,
    CONTAINERS,
    EDGE_ATTRIBUTES,
    EDGE_KINDS,
    NODE_ATTRIBUTES,
    NODE_KINDS,
    OUTSIDE,
    REFERENCES,
    SWITCHES,
    Attribute,
    kinds_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import networkx as nx

    from factorysim.catalog import Catalog

BREAKOUT = 8
"""A port breaks out into eight at most: Spectrum-6 has 64 ports of 1.6 Tb/s or 512 of
200 Gb/s (facts: network.spectrum6.ports)."""


class _Faults:
    """Collects faults; equal ones of many nodes or edges are told once."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)

    def add(self, name: str, attribute: str, found: str, expected: str, cure: str = "") -> None:
        self._groups[attribute, found, expected, cure].append(name)

    def list(self) -> list[Fault]:
        return [
            Fault(self._where, f"{_first(names)}.{attribute}", found, expected, cure)
            for (attribute, found, expected, cure), names in self._groups.items()
        ]


def _first(names: list[str]) -> str:
    """Name the first few of many."""
    shown = ", ".join(names[:3])
    rest = len(names) - 3
    return f"{shown} and {rest:,} more" if rest > 0 else shown


def check_graph(graph: nx.Graph[str], catalog: Catalog, where: str) -> None:
    """Refuse a graph that is no factory, with everything that is wrong with it.

    Parameters
    ----------
    where
        The file that the graph came from, for the messages.

    Raises
    ------
    SpecError
        If attributes are missing or wrong, references lead nowhere, or the graph
        is not connected.
    CapacityError
        If a switch has fewer ports than its links need.
    """
    faults = _Faults(where)
    for name, node in graph.nodes(data=True):
        _check_node(faults, name, node, graph, catalog)
    for a, b, edge in graph.edges(data=True):
        _check_edge(faults, f"{a} -- {b}", (a, b), edge, graph)
    found = faults.list() or [*_power_faults(graph, where), *_connection_faults(graph, where)]
    if found:
        raise SpecError(*found)
    check_ports(graph, where)


def _check_node(
    faults: _Faults,
    name: str,
    node: Mapping[str, object],
    graph: nx.Graph[str],
    catalog: Catalog,
) -> None:
    kind = node.get("kind")
    _check_attributes(faults, name, node, NODE_ATTRIBUTES)
    if not _check_kind(faults, name, kind, NODE_KINDS):
        return
    required = ["device", "pool"] if kind in COMPUTE else ["pool"] if kind == "storage" else []
    if kind not in OUTSIDE:
        required.append("power_parent")
    if kind not in CONTAINERS and kind not in {"clients", "door"}:
        required.append("rack")
    for attribute in required:
        if attribute not in node:
            faults.add(name, attribute, "nothing", f"a value, since its kind is {kind}")
    for attribute in REFERENCES:
        target = node.get(attribute)
        if isinstance(target, str) and target not in graph:
            faults.add(name, attribute, repr(target), "the id of a node", _near(target, graph))
    rack = node.get("rack")
    if isinstance(rack, str) and rack in graph and graph.nodes[rack].get("kind") != "rack":
        faults.add(name, "rack", repr(rack), "a node of kind 'rack'")
    if kind in COMPUTE and isinstance(node.get("device"), str):
        _check_device(faults, name, str(node["device"]), catalog)


def _check_device(faults: _Faults, name: str, device: str, catalog: Catalog) -> None:
    try:
        catalog.device(device)
    except CapacityError:
        pass  # known, but not all of it published: told when something is deployed on it
    except UserError as error:
        cure = error.faults[0].cure if error.faults else ""
        faults.add(name, "device", repr(device), "a device of the catalog", cure)


def _check_edge(
    faults: _Faults,
    name: str,
    ends: tuple[str, str],
    edge: Mapping[str, object],
    graph: nx.Graph[str],
) -> None:
    _check_attributes(faults, name, edge, EDGE_ATTRIBUTES)
    _check_kind(faults, name, edge.get("kind"), EDGE_KINDS)
    for attribute in ("bandwidth", "latency_s"):
        if attribute not in edge:
            faults.add(name, attribute, "nothing", "a number")
    if ends[0] == ends[1]:
        faults.add(name, "ends", "a link to itself", "two nodes")
    for end in ends:
        kind = graph.nodes[end].get("kind")
        if kind in CONTAINERS:
            faults.add(
                name, "ends", f"a {kind}", "nodes that carry bytes: containers have no links"
            )


def _check_attributes(
    faults: _Faults,
    name: str,
    values: Mapping[str, object],
    attributes: Mapping[str, Attribute],
) -> None:
    for key, value in values.items():
        attribute = attributes.get(key)
        if attribute is None:
            expected = "one of " + ", ".join(attributes)
            faults.add(name, key, "an unknown attribute", expected, _near(key, attributes))
        elif attribute.type is str:
            if not isinstance(value, str) or not value or not value.isprintable():
                faults.add(name, key, repr(value)[:80], "a name in printable characters")
        elif isinstance(value, bool) or not isinstance(
            value, int if attribute.type is int else (int, float)
        ):
            kind = "a whole number" if attribute.type is int else "a number"
            faults.add(name, key, repr(value), kind)
        elif not 0 <= value <= attribute.most or (attribute.above_zero and value == 0):
            least = "above zero" if attribute.above_zero else "not negative"
            expected = f"a finite number, {least}, at most {attribute.most:g}"
            faults.add(name, key, repr(value)[:40], expected)


def _check_kind(faults: _Faults, name: str, kind: object, kinds: tuple[str, ...]) -> bool:
    if kind in kinds:
        return True
    found = "nothing" if kind is None else repr(kind)
    cure = _near(kind, kinds) if isinstance(kind, str) else ""
    faults.add(name, "kind", found, "one of " + ", ".join(kinds), cure)
    return False


def _near(word: str, words: Iterable[str]) -> str:
    """Ask whether the closest of many words was meant."""
    close = difflib.get_close_matches(word, list(words)[:10_000], n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def _power_faults(graph: nx.Graph[str], where: str) -> list[Fault]:
    """Find power parents that lead in a circle."""
    safe: set[str] = set()
    for name in graph:
        way: list[str] = []
        at: str | None = name
        while at is not None and at not in safe:
            if at in way:
                circle = " -> ".join([*way[way.index(at) :], at])
                return [Fault(where, f"{at}.power_parent", circle, "a tree that ends at the site")]
            way.append(at)
            at = graph.nodes[at].get("power_parent")
        safe.update(way)
    return []


def _connection_faults(graph: nx.Graph[str], where: str) -> list[Fault]:
    """Find parts that no link joins to the rest, and what every factory needs."""
    import networkx as nx

    kind_of = kinds_of(graph)
    kinds = set(kind_of.values())
    faults = [
        Fault(where, "nodes", f"no node of kind {kind}", "one", cure)
        for kind, cure in (
            ("clients", "sessions arrive there"),
            ("site", "every power parent ends there"),
        )
        if kind not in kinds
    ]
    if not kinds & COMPUTE:
        faults.append(Fault(where, "nodes", "no gpu, lpu or cpu", "at least one", ""))
    linked = graph.subgraph([n for n, kind in kind_of.items() if kind not in CONTAINERS])
    parts = sorted(nx.connected_components(linked), key=len, reverse=True)
    faults += [
        Fault(
            where,
            _first(sorted(part)),
            f"{len(part):,} nodes that no link joins to the other {len(linked) - len(part):,}",
            "a connected graph",
            "add an edge to the fabric, or take the nodes out",
        )
        for part in parts[1:]
    ]
    return faults


def check_ports(graph: nx.Graph[str], where: str) -> None:
    """Refuse switches whose links need more ports or bandwidth than they have.

    A port breaks out into at most `BREAKOUT` links; an edge names its physical
    `links`.

    Raises
    ------
    CapacityError
        With the sum for each switch that is too small.
    """
    faults = [
        fault
        for name, node in graph.nodes(data=True)
        if node["kind"] in SWITCHES
        for fault in _port_faults(graph, name, node, where)
    ]
    if faults:
        raise CapacityError(*faults)


def _port_faults(
    graph: nx.Graph[str], name: str, node: Mapping[str, float], where: str
) -> list[Fault]:
    edges = list(graph.adj[name].values())
    faults: list[Fault] = []
    ports, speed = node.get("ports"), node.get("port_bandwidth")
    if ports is not None and speed is not None:
        lanes = sum(
            e.get("links", 1) * lanes_of(e["bandwidth"] / e.get("links", 1), speed) for e in edges
        )
        if lanes > ports * BREAKOUT:
            faults.append(
                Fault(
                    where,
                    name,
                    f"{len(edges):,} neighbours on {lanes / BREAKOUT:,.4g} ports of {gbps(speed)}",
                    f"at most its {ports:,.0f} ports",
                    "take a larger switch, fewer links, or more switches",
                )
            )
    capacity = node.get("bandwidth")
    total = math.fsum(e["bandwidth"] for e in edges)
    if capacity is not None and total > capacity * (1 + 1e-9):
        faults.append(
            Fault(
                where,
                name,
                f"{len(edges):,} links that sum to {gbps(total)} a direction",
                f"at most the {gbps(capacity)} that it switches",
                "take a larger switch, fewer links, or more switches",
            )
        )
    return faults


def lanes_of(bandwidth: float, port_bandwidth: float) -> int:
    """Eighths of ports that one physical link takes.

    Examples
    --------
    >>> lanes_of(1e11, 2e11)  # 800 Gb/s of a port of 1.6 Tb/s
    4
    """
    return max(1, math.ceil(bandwidth / port_bandwidth * BREAKOUT - 1e-9))


def gbps(bandwidth: float) -> str:
    """Write B/s as a network's bits.

    Examples
    --------
    >>> gbps(1e11), gbps(3.2e12)
    ('800 Gb/s', '25.6 Tb/s')
    """
    bits = bandwidth * 8
    return f"{bits / 1e12:,.4g} Tb/s" if bits >= 1e12 else f"{bits / 1e9:,.4g} Gb/s"
