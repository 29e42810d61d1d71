"""What the nodes of a run's factory are called, where its tables have numbers.

Nothing keeps the names: the factory is planned again from the scenario in the run
directory, by the same version and from the same facts, or numbers stay numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import factorysim
from factorysim.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.catalog import Catalog
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.topology import TopologySpec
    from factorysim.store import Labels

    Ints = npt.NDArray[np.int64]


class Names(NamedTuple):
    """Names by number; empty where the factory cannot be planned as it was."""

    nodes: tuple[str, ...] = ()
    """Of the graph, then of the stores of KV that are nodes of their own."""
    hosts: Mapping[str, tuple[str, ...]] = {}
    """Deployment of tools -> the nodes of its hosts."""
    reason: str = ""
    """Why there are none."""

    def of(self, numbers: Ints) -> Labels:
        """Name nodes; one that has no name by its number."""
        import numpy as np

        from factorysim.store import Labels

        known, codes = np.unique(numbers, return_inverse=True)
        words = tuple(
            self.nodes[one] if 0 <= one < len(self.nodes) else f"node {one}"
            for one in known.tolist()
        )
        return Labels(codes.astype(np.int32).ravel(), words)

    def host(self, deployment: str, number: int) -> str:
        """Name a host of tools."""
        hosts = self.hosts.get(deployment, ())
        told = f": {hosts[number]}" if 0 <= number < len(hosts) else ""
        return f"host {number}{told}" if number >= 0 else "no host"


def names_of(folder: Path, manifest: Mapping[str, Any]) -> Names:
    """Plan the factory of a run again, and name its nodes as `show` does.

    Of another version of the program, another catalog or another graph file the numbers may
    be of other nodes: then there are no names, and it is said why.
    """
    from factorysim.catalog import load_catalog
    from factorysim.load import load
    from factorysim.run.publish import catalog_hash
    from factorysim.spec.topology import TopologySpec

    if manifest["factorysim"] != factorysim.__version__:
        return Names(reason="the run is of another version of factorysim")
    try:
        scenario = load(str(folder / "scenario.resolved.yaml"))
        catalog = load_catalog(Path(scenario.catalog) if scenario.catalog else None)
        if catalog_hash(catalog) != manifest["catalog_sha256"]:
            return Names(reason="the catalog is another by now")
        topology = scenario.topology
        assert isinstance(topology, TopologySpec), "a loaded scenario has its topology in place"
        if topology.graph is not None and not _as_it_was(Path(topology.graph), manifest):
            return Names(reason="the graph file is another by now")
        return _named(scenario, topology, catalog)
    except UserError:
        return Names(reason="what the scenario names is not there any more")


def _as_it_was(graph: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a graph file is the one that the run read."""
    from factorysim.store import file_hash

    known = {one["sha256"] for one in manifest["inputs"] if Path(one["path"]).name == graph.name}
    return graph.is_file() and file_hash(graph) in known


def _named(scenario: ScenarioSpec, topology: TopologySpec, catalog: Catalog) -> Names:
    from factorysim.graph.build import build_graph
    from factorysim.graph.store_routes import StoreRoutes
    from factorysim.run.prepare import build_plan

    plan = build_plan(scenario, catalog)
    nodes = tuple(build_graph(topology, catalog))
    if isinstance(plan.routes, StoreRoutes):
        nodes += plan.routes.names
    hosts = {
        tools.name: tuple(nodes[host.node] for host in tools.hosts)
        for tools in plan.tools
        if not tools.elastic
    }
    return Names(nodes, hosts)
