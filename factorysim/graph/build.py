"""A topology file and the catalog, expanded to a factory graph.

The graph's attributes are told in `factorysim.graph.schema`. Ids read like places:
``nvl72/3`` is a rack, ``nvl72/3/t07`` a tray of it, ``nvl72/3/t07/gpu2`` a chip.
`factorysim.graph.rack` wires what is inside a rack, `factorysim.graph.fabric` the
network between racks; both state the rules that they follow where nothing is
published.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault
from factorysim.graph.blueprint import read_blueprint
from factorysim.graph.check import check_graph, check_ports
from factorysim.graph.exchange import MAX_NODES, import_graph
from factorysim.graph.fabric import add_fabric
from factorysim.graph.rack import add_rack
from factorysim.graph.schema import COMPUTE, LATENCY_MOST_S, SCHEMA, kinds_of

if TYPE_CHECKING:
    import networkx as nx

    from factorysim.catalog import Catalog
    from factorysim.graph.rack import Opened
    from factorysim.spec.topology import TopologySpec

WHERE = "topology"
"""What messages call the topology: its file is known to the loader alone."""


def build_graph(topology: TopologySpec, catalog: Catalog) -> nx.Graph[str]:
    """Expand a topology, or import the graph that it names.

    Returns
    -------
    A connected graph with the attributes of `factorysim.graph.schema`; the same
    topology gives the same nodes and edges in the same order.

    Raises
    ------
    CapacityError
        If it does not fit: switches lack ports, network racks lack switches.
    SpecError
        If an imported graph is no factory, or a rack or device is unknown.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> from factorysim.spec.topology import TopologySpec
    >>> one = {"schema": "factorysim.topology/1", "racks": {"gpu": {"rack": "h100_sxm"}}}
    >>> graph = build_graph(TopologySpec.model_validate(one), load_catalog())
    >>> [name for name, kind in graph.nodes(data="kind") if kind == "gpu"]
    ['gpu/0/t00/gpu0']
    """
    if topology.graph is not None:
        graph = import_graph(Path(topology.graph))
        check_graph(graph, catalog, topology.graph)
        _note_facts(graph, _device_facts(graph, catalog, topology.variant))
        return graph
    return _expand(topology, catalog)


def _expand(topology: TopologySpec, catalog: Catalog) -> nx.Graph[str]:
    import networkx as nx

    if not topology.racks:
        raise CapacityError(
            Fault(WHERE, "racks", "no rack", "at least one", "name racks, or a `graph` file")
        )
    blueprints = {
        pool: read_blueprint(catalog, spec.rack, topology.variant, f"racks.{pool}")
        for pool, spec in topology.racks.items()
    }
    _check_size(
        {pool: plan.nodes * topology.racks[pool].count for pool, plan in blueprints.items()}
    )
    _check_latency(topology.fabric.client_latency)
    graph: nx.Graph[str] = nx.Graph(schema=SCHEMA, name="factory")
    graph.add_node("clients", kind="clients")
    graph.add_node("door", kind="door", power_parent="site")
    graph.add_node("site", kind="site")
    racks: list[Opened] = []
    facts: set[str] = set()
    for pool, spec in topology.racks.items():
        facts.update(blueprints[pool].facts)
        for k in range(spec.count):
            racks.append(add_rack(graph, blueprints[pool], pool, k))
            if spec.per_row is not None:
                graph.nodes[racks[-1].rack]["per_row"] = spec.per_row
    facts |= add_fabric(graph, topology.fabric, catalog, racks)
    _note_facts(graph, facts)
    _check_compute(graph)
    check_ports(graph, WHERE)
    return graph


def _check_size(nodes: dict[str, int]) -> None:
    total = sum(nodes.values())
    if total > MAX_NODES:
        parts = ", ".join(f"{pool} {count:,}" for pool, count in nodes.items())
        raise CapacityError(
            Fault(
                WHERE,
                "racks",
                f"{total:,} nodes ({parts})",
                f"at most {MAX_NODES:,}",
                "model a part of the fleet: pods do not share racks",
            )
        )


def _check_latency(latency_s: float) -> None:
    if latency_s > LATENCY_MOST_S:
        raise CapacityError(
            Fault(
                WHERE,
                "fabric.client_latency",
                f"{latency_s:g} s",
                f"at most {LATENCY_MOST_S:g} s",
                "think times of users belong to the streams",
            )
        )


def _check_compute(graph: nx.Graph[str]) -> None:
    if not COMPUTE.intersection(kinds_of(graph).values()):
        raise CapacityError(
            Fault(WHERE, "racks", "no GPU, LPU or CPU", "at least one rack that holds some")
        )


def _device_facts(graph: nx.Graph[str], catalog: Catalog, variant: str | None) -> set[str]:
    """Ids of the facts of an imported graph's devices; what cannot be built has none yet."""
    facts: set[str] = set()
    for device in {node["device"] for _, node in graph.nodes(data=True) if node["kind"] in COMPUTE}:
        try:
            facts.update(catalog.device(device, variant).facts)
        except CapacityError:
            continue  # told with its cure when something is deployed on it
    return facts


def _note_facts(graph: nx.Graph[str], facts: set[str]) -> None:
    """Keep the facts' ids in the graph, sorted, as one text that GraphML can hold."""
    graph.graph["facts"] = " ".join(sorted(facts))
