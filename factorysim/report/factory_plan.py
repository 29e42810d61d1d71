"""The picture of a factory on which something runs: of a plan, of a scenario, of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.report.factory_layout import WIDTH, layout_factory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from factorysim.catalog import Catalog
    from factorysim.graph.plan import FactoryPlan
    from factorysim.report.factory_layout import Layout
    from factorysim.spec.topology import TopologySpec


def layout_of_plan(
    plan: FactoryPlan, topology: TopologySpec, catalog: Catalog, *, width: float = WIDTH
) -> Layout:
    """Lay out the factory of a plan; every chip knows the deployment that runs on it.

    Parameters
    ----------
    topology, catalog
        That the plan was made from.

    Raises
    ------
    UserError
        If the graph that the topology names has gone, or is another by now.
    """
    from factorysim.graph.build import build_graph

    graph = build_graph(topology, catalog)
    layout = layout_factory(graph, uses_of(plan, list(graph)), width=width)
    return layout._replace(notes=(*layout.notes, *_elsewhere(plan)))


def layout_of_run(run: Path, *, width: float = WIDTH) -> Layout:
    """Lay out the factory of a run directory, planned again from its resolved scenario.

    Raises
    ------
    UserError
        If that is not possible: the scenario, a catalog, a graph or a profile that it names is
        not there, or says something else by now. The message is for the reader of the report.
    """
    from factorysim.load import load
    from factorysim.run.prepare import prepare
    from factorysim.spec.topology import TopologySpec

    prepared = prepare(load(str(run / "scenario.resolved.yaml")))
    topology = prepared.scenario.topology
    assert isinstance(topology, TopologySpec), "a loaded scenario has its topology in place"
    return layout_of_plan(prepared.plan, topology, prepared.catalog, width=width)


def uses_of(plan: FactoryPlan, names: Sequence[str]) -> Mapping[str, str]:
    """Node -> deployment that runs on it.

    Parameters
    ----------
    names
        Nodes of the plan's graph, in its order.
    """
    uses: dict[str, str] = {}
    for serve in plan.serve:
        for replica in serve.replicas:
            for node in (*replica.devices, *replica.partners):
                uses[names[node]] = serve.name
    for tools in plan.tools:
        if not tools.elastic:
            uses.update({names[host.node]: tools.name for host in tools.hosts})
    return uses


def _elsewhere(plan: FactoryPlan) -> list[str]:
    """Say what runs on nothing that is drawn."""
    clouds = [tools.name for tools in plan.tools if tools.elastic]
    return [f"Not drawn: the cloud that {name} runs in." for name in clouds]
