"""A factory graph compiled to integer arrays, and the routes through it.

Nodes become indices in the order of the graph. Switches that are interchangeable
(same kind, same neighbours over equal links: the NVLink chips of a rack, the spines
of a fabric) are merged into one vertex, since traffic is spread over all of them:
the link to it has the bandwidth of all their links together.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault
from factorysim.graph.schema import COMPUTE, ENDS, NODE_KINDS, SWITCHES
from factorysim.physics.step import FS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import networkx as nx
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

TREES_KEPT = 256
PATHS_KEPT = 100_000


class LinkTable(NamedTuple):
    """Directed links: link ``2 e`` and ``2 e + 1`` are the two directions of one."""

    names: tuple[str, ...]
    """``from -> to``, each another; ``name x36`` stands for 36 interchangeable switches."""
    bandwidth: Floats
    """B/s of the one direction."""
    latency_s: Floats


class Path(NamedTuple):
    """The way from one node to another."""

    links: tuple[int, ...]
    """Indices into the `LinkTable`, in order."""
    latency_fs: int
    bandwidth: float
    """B/s of the narrowest link; infinite from a node to itself."""


@dataclass(frozen=True, slots=True)
class Adjacency:
    """Compressed sparse rows over vertices (the node index of a vertex's first member)."""

    starts: Ints
    """Shape ``(nodes + 1,)``."""
    ends: Ints
    """Vertex at the other end, shape ``(directed links,)``."""
    links: Ints
    """Index into the `LinkTable`, same shape."""
    latency_fs: Ints
    passes: npt.NDArray[np.bool_]
    """Whether traffic passes through a vertex, shape ``(nodes,)``."""
    clients: npt.NDArray[np.bool_]
    """Whether it is where sessions come from: their traffic passes through doors."""
    doors: npt.NDArray[np.bool_]


class Routes:
    """Shortest ways between nodes: fewest links, then least latency, then lowest index.

    One search a source, made when first asked for. The way back is the way there,
    reversed.
    """

    def __init__(
        self, names: tuple[str, ...], vertex: Ints, adjacency: Adjacency, links: LinkTable
    ) -> None:
        self._names = names
        self._vertex: list[int] = vertex.tolist()
        self._adjacency = adjacency
        self._bandwidth: list[float] = links.bandwidth.tolist()
        self._trees: dict[int, tuple[Ints, Ints, Ints]] = {}
        self._paths: dict[tuple[int, int], Path] = {}

    def __call__(self, source: int, target: int) -> Path:
        """Way from node to node.

        Raises
        ------
        CapacityError
            If nothing joins the two.
        """
        path = self._paths.get((source, target))
        if path is None:
            path = self._find(source, target)
            if len(self._paths) >= PATHS_KEPT:
                self._paths.clear()
            self._paths[source, target] = path
        return path

    def _find(self, source: int, target: int) -> Path:
        start, end = self._vertex[source], self._vertex[target]
        if start == end:
            return Path((), 0, float("inf"))
        if self._searched_from(end) < self._searched_from(start):
            back = self(target, source)
            return back._replace(links=tuple(link ^ 1 for link in reversed(back.links)))
        via, before, latency = self._tree(start)
        if via[end] < 0:
            raise CapacityError(
                Fault(
                    "topology",
                    f"{self._names[source]} -> {self._names[target]}",
                    "no link that joins them",
                    "a way through the fabric",
                    "give the topology a fabric other than `none`, or keep both in one rack",
                )
            )
        links: list[int] = []
        at = end
        while at != start:
            links.append(int(via[at]))
            at = int(before[at])
        links.reverse()
        return Path(tuple(links), int(latency[end]), min(self._bandwidth[k] for k in links))

    def _searched_from(self, vertex: int) -> tuple[bool, int]:
        """Order in which the two ends of a way are searched from: clients first."""
        return not self._adjacency.clients[vertex], vertex

    def _tree(self, source: int) -> tuple[Ints, Ints, Ints]:
        tree = self._trees.get(source)
        if tree is None:
            tree = _search(self._adjacency, source)
            if len(self._trees) >= TREES_KEPT:
                del self._trees[next(iter(self._trees))]
            self._trees[source] = tree
        return tree


def _search(adjacency: Adjacency, source: int) -> tuple[Ints, Ints, Ints]:
    """Breadth first: per vertex the link it is reached by, the vertex before, the latency."""
    import numpy as np

    count = len(adjacency.passes)
    passes = adjacency.passes
    if adjacency.clients[source]:
        passes = passes | adjacency.doors
    via = np.full(count, -1, np.int64)
    before = np.full(count, -1, np.int64)
    latency = np.zeros(count, np.int64)
    seen = np.zeros(count, np.bool_)
    seen[source] = True
    frontier = np.array([source], np.int64)
    while frontier.size:
        first = adjacency.starts[frontier]
        degree = adjacency.starts[frontier + 1] - first
        origin = np.repeat(frontier, degree)
        offset = np.arange(origin.size) - np.repeat(np.cumsum(degree) - degree, degree)
        slot = np.repeat(first, degree) + offset
        fresh = ~seen[adjacency.ends[slot]]
        slot, origin = slot[fresh], origin[fresh]
        end = adjacency.ends[slot]
        total = latency[origin] + adjacency.latency_fs[slot]
        order = np.lexsort((origin, total, end))
        reached, best = np.unique(end[order], return_index=True)
        chosen = order[best]
        via[reached] = adjacency.links[slot[chosen]]
        before[reached] = origin[chosen]
        latency[reached] = total[chosen]
        seen[reached] = True
        frontier = reached[passes[reached]]
    return via, before, latency


@dataclass(frozen=True, slots=True)
class Factory:
    """A graph as arrays; every array has one value a node, -1 where there is none."""

    names: tuple[str, ...]
    kinds: Ints
    """Index into `NODE_KINDS`."""
    devices: tuple[str, ...]
    """Catalog ids, ``""`` where there is none."""
    parents: Ints
    """Power parent."""
    racks: Ints
    trays: Ints
    failure_domains: Ints
    scale_up_domains: Ints
    """Number of the scale-up domain, in order of first appearance."""
    pools: Mapping[str, tuple[int, ...]]
    """Nodes that can be deployed on, and storage, by pool."""
    vertex: Ints
    """First of the interchangeable switches that a node is one of, else itself."""
    adjacency: Adjacency
    links: LinkTable
    routes: Routes

    def kind(self, node: int) -> str:
        """Kind of a node."""
        return NODE_KINDS[int(self.kinds[node])]

    def of_kind(self, kind: str) -> tuple[int, ...]:
        """Find the nodes of one kind."""
        return tuple((self.kinds == NODE_KINDS.index(kind)).nonzero()[0].tolist())


def compile_graph(graph: nx.Graph[str]) -> Factory:
    """Compile a graph whose attributes are those of `factorysim.graph.schema`.

    Examples
    --------
    >>> import networkx as nx
    >>> g = nx.Graph()
    >>> g.add_node("door", kind="door")
    >>> g.add_node("g0", kind="gpu", device="h100_sxm", pool="gpu")
    >>> g.add_edge("door", "g0", kind="client", bandwidth=1e9, latency_s=1e-6)
    >>> compile_graph(g).routes(0, 1)
    Path(links=(0,), latency_fs=1000000000, bandwidth=1000000000.0)
    """
    import numpy as np

    names = tuple(graph)
    index = {name: k for k, name in enumerate(names)}
    nodes = [graph.nodes[name] for name in names]

    def refer(attribute: str) -> Ints:
        return np.array([index.get(node.get(attribute, ""), -1) for node in nodes], np.int64)

    domains: dict[str, int] = {}
    pools: dict[str, list[int]] = {}
    for k, node in enumerate(nodes):
        if "scale_up_domain" in node:
            domains.setdefault(node["scale_up_domain"], len(domains))
        if node["kind"] in COMPUTE or node["kind"] == "storage":
            pools.setdefault(node["pool"], []).append(k)
    kinds = np.array([NODE_KINDS.index(node["kind"]) for node in nodes], np.int64)
    vertex = _merge_twins(graph, names, index)
    adjacency, links = _adjacency(graph, names, index, vertex, kinds)
    return Factory(
        names=names,
        kinds=kinds,
        devices=tuple(node.get("device", "") for node in nodes),
        parents=refer("power_parent"),
        racks=refer("rack"),
        trays=refer("tray"),
        failure_domains=refer("failure_domain"),
        scale_up_domains=np.array(
            [domains.get(node.get("scale_up_domain", ""), -1) for node in nodes], np.int64
        ),
        pools={pool: tuple(members) for pool, members in pools.items()},
        vertex=vertex,
        adjacency=adjacency,
        links=links,
        routes=Routes(names, vertex, adjacency, links),
    )


def _merge_twins(graph: nx.Graph[str], names: Iterable[str], index: Mapping[str, int]) -> Ints:
    """Give each switch the index of the first one that has its neighbours and links."""
    import numpy as np

    vertex = np.arange(len(index), dtype=np.int64)
    first: dict[tuple[object, ...], int] = {}
    for k, name in enumerate(names):
        kind = graph.nodes[name]["kind"]
        if kind in SWITCHES:
            links = frozenset(
                (other, edge["bandwidth"], edge["latency_s"])
                for other, edge in graph.adj[name].items()
            )
            vertex[k] = first.setdefault((kind, links), k)
    return vertex


def vertex_labels(names: Sequence[str], vertex: Ints) -> list[str]:
    """Call the ends of links: by their nodes; of interchangeable switches by the first of them.

    Examples
    --------
    >>> import numpy as np
    >>> vertex_labels(("gpu", "spine0", "spine1"), np.array([0, 1, 1]))
    ['gpu', 'spine0 x2', 'spine1']
    """
    import numpy as np

    members = np.bincount(vertex, minlength=len(names)).tolist()
    return [
        f"{end_name(name)} x{n}" if n > 1 else end_name(name)
        for name, n in zip(names, members, strict=True)
    ]


def end_name(node: str) -> str:
    """Call a node as the end of a link: in quotes where its name reads like more than one.

    So no two links have the same name, whatever the nodes are called.

    Examples
    --------
    >>> print(end_name("gpu/0"), end_name("P -> Q"), end_name("spine x2"))
    gpu/0 "P -> Q" "spine x2"
    """
    return json.dumps(node, ensure_ascii=False) if _LIKE_MORE.search(node) else node


_LIKE_MORE = re.compile(r'->|"| x\d+\Z')


def link_name(start: str, end: str) -> str:
    """Name one direction of a link by its ends, as `vertex_labels` calls them."""
    return f"{start} -> {end}"


def _adjacency(
    graph: nx.Graph[str],
    names: tuple[str, ...],
    index: Mapping[str, int],
    vertex: Ints,
    kinds: Ints,
) -> tuple[Adjacency, LinkTable]:
    """Merge the edges of interchangeable switches; rows sorted by vertex at the other end."""
    import numpy as np

    merged: dict[tuple[int, int], tuple[float, float]] = {}
    where: list[int] = vertex.tolist()
    for a, b, edge in graph.edges(data=True):
        i, j = where[index[a]], where[index[b]]
        pair = (i, j) if i < j else (j, i)
        bandwidth, latency_s = merged.get(pair, (0.0, edge["latency_s"]))
        merged[pair] = (bandwidth + edge["bandwidth"], latency_s)
    pairs = np.array(list(merged), np.int64).reshape(-1, 2)
    values = np.array(list(merged.values()), np.float64).reshape(-1, 2)
    origin = pairs.reshape(-1)
    end = pairs[:, ::-1].reshape(-1)
    label = vertex_labels(names, vertex)
    table = LinkTable(
        tuple(
            link_name(label[i], label[j])
            for i, j in zip(origin.tolist(), end.tolist(), strict=True)
        ),
        np.repeat(values[:, 0], 2),
        np.repeat(values[:, 1], 2),
    )
    order = np.lexsort((end, origin))
    starts = np.zeros(len(names) + 1, np.int64)
    starts[1:] = np.cumsum(np.bincount(origin, minlength=len(names)))
    latency_fs = np.rint(table.latency_s * FS_PER_S).astype(np.int64)
    adjacency = Adjacency(
        starts=starts,
        ends=end[order],
        links=order,
        latency_fs=latency_fs[order],
        passes=~np.isin(kinds, [NODE_KINDS.index(kind) for kind in sorted(ENDS)]),
        clients=kinds == NODE_KINDS.index("clients"),
        doors=kinds == NODE_KINDS.index("door"),
    )
    return adjacency, table
