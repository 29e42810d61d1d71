"""What a factory graph is made of: kinds and attributes of nodes and edges.

A factory is an undirected `networkx.Graph`. Nodes are chips, boxes and the
containers they stand in; edges are links that carry bytes. Containers (`site`,
`rack`, `tray`) have no links: what stands in them names them. The same attributes
hold for graphs that are built from a topology and for a user's own (GraphML or
node-link JSON). An attribute that does not apply, or that nobody knows, is absent.

Nodes, by their id (any string):

================== ======= ====================================================
attribute          type    meaning
================== ======= ====================================================
`kind`             str     one of `NODE_KINDS`; required
`device`           str     id of the catalog; required for `gpu`, `lpu`, `cpu`
`pool`             str     pool that deployments name; required for the same
`rack`             str     node id of its rack; required below a rack
`tray`             str     node id of its tray
`power_parent`     str     node that feeds it: device, tray, rack, site; required
                           for all but the site and what stands outside of it
`failure_domain`   str     node whose failure takes this one down
`scale_up_domain`  str     devices with the same one share NVLink-class links
`memory_bytes`     float   what it can hold (of storage: flash), B
`idle_w`, `peak_w` float   draw at rest and at most, W; of a rack `power_w`
`power_w`          float   published power of a rack, all that is in it, W
`ports`            int     of a switch
`port_bandwidth`   float   of each port, per direction, B/s
`bandwidth`        float   switching capacity per direction, B/s
`model`            str     of a rack: its id in the catalog
`per_row`          int     of a rack: racks of its pool in a row of the drawing
================== ======= ====================================================

Edges:

================== ======= ====================================================
`kind`             str     one of `EDGE_KINDS`; required
`bandwidth`        float   B/s per direction, all its links together; required
`latency_s`        float   one way, s; required
`links`            int     physical links bundled in the edge (1 if absent)
================== ======= ====================================================

The graph itself has `schema` (`factorysim.graph/1`), `name` and `facts` (ids of the
facts that it was built from, separated by spaces).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    import networkx as nx

SCHEMA = "factorysim.graph/1"

NodeKind = Literal[
    "clients",
    "door",
    "site",
    "rack",
    "tray",
    "gpu",
    "lpu",
    "cpu",
    "nic",
    "dpu",
    "storage",
    "scale_up_switch",
    "leaf_switch",
    "spine_switch",
]

NODE_KINDS: tuple[NodeKind, ...] = get_args(NodeKind)

CONTAINERS = frozenset({"site", "rack", "tray"})
"""Have no links."""
OUTSIDE = frozenset({"clients", "site"})
"""Have no power parent."""
COMPUTE = frozenset({"gpu", "lpu", "cpu"})
"""Can be deployed on."""
SWITCHES = frozenset({"scale_up_switch", "leaf_switch", "spine_switch"})
ENDS = frozenset({"clients", "door", "storage"})
"""Traffic starts or ends here. Only that of the clients passes through, at the door."""

EdgeKind = Literal["scale_up", "c2c", "pcie", "scale_out", "client"]

EDGE_KINDS: tuple[EdgeKind, ...] = get_args(EdgeKind)


LATENCY_MOST_S = 600.0
"""Of a link: sums over a way stay far inside 64 bits of femtoseconds."""


class Attribute(NamedTuple):
    """One documented attribute: its type, and the bounds of a number."""

    type: type[str] | type[int] | type[float]
    above_zero: bool = False
    most: float = 1e30


NODE_ATTRIBUTES: dict[str, Attribute] = {
    "kind": Attribute(str),
    "device": Attribute(str),
    "pool": Attribute(str),
    "rack": Attribute(str),
    "tray": Attribute(str),
    "power_parent": Attribute(str),
    "failure_domain": Attribute(str),
    "scale_up_domain": Attribute(str),
    "model": Attribute(str),
    "per_row": Attribute(int, above_zero=True),
    "memory_bytes": Attribute(float),
    "idle_w": Attribute(float),
    "peak_w": Attribute(float),
    "power_w": Attribute(float),
    "ports": Attribute(int, above_zero=True),
    "port_bandwidth": Attribute(float, above_zero=True),
    "bandwidth": Attribute(float, above_zero=True),
}

EDGE_ATTRIBUTES: dict[str, Attribute] = {
    "kind": Attribute(str),
    "bandwidth": Attribute(float, above_zero=True),
    "latency_s": Attribute(float, most=LATENCY_MOST_S),
    "links": Attribute(int, above_zero=True),
}

REFERENCES = ("rack", "tray", "power_parent", "failure_domain")
"""Node attributes that name other nodes."""


def kinds_of(graph: nx.Graph[str]) -> dict[str, str]:
    """Kind of every node, in the order of the graph; ``""`` where it has none.

    Examples
    --------
    >>> import networkx as nx
    >>> kinds_of(nx.Graph([("a", "b")]))
    {'a': '', 'b': ''}
    """
    return {name: node.get("kind", "") for name, node in graph.nodes(data=True)}
