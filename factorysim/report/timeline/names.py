"""What the nodes of a run's factory are called, where its tables have numbers.

Nothing keeps the names: the factory is planned again from the scenario in the run
directory, by the same version and from the same facts, or numbers stay numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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

    Where that is not to be had the numbers may be of other nodes: then there are no names, and
    it is said why.
    """
    from factorysim.graph.store_routes import StoreRoutes
    from factorysim.report.planned_again import NotPlanned, plan_again

    found = plan_again(folder, manifest)
    if isinstance(found, NotPlanned):
        return Names(reason=found.reason)
    nodes = tuple(found.graph)
    if isinstance(found.plan.routes, StoreRoutes):
        nodes += found.plan.routes.names
    hosts = {
        tools.name: tuple(nodes[host.node] for host in tools.hosts)
        for tools in found.plan.tools
        if not tools.elastic
    }
    return Names(nodes, hosts)
