"""The picture of a factory on which something runs: of a plan, of a scenario, of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.broken_down import broken_down, mean
from factorysim.report.charts.links import link_uses
from factorysim.report.charts.source import Source
from factorysim.report.factory_contents import Busy
from factorysim.report.factory_layout import NARROW, WIDTH, layout_factory
from factorysim.report.factory_loads import edge_loads, loads_of_run, step_of
from factorysim.report.planned_again import NotPlanned, plan_again

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import networkx as nx

    from factorysim.catalog import Catalog
    from factorysim.graph.plan import FactoryPlan
    from factorysim.report.factory_loads import Loads, Values
    from factorysim.report.factory_places import Layout
    from factorysim.run import Run
    from factorysim.spec.topology import TopologySpec


def layout_of_plan(plan: FactoryPlan, topology: TopologySpec, catalog: Catalog) -> Layout:
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

    return _laid_out(plan, build_graph(topology, catalog))


def _laid_out(
    plan: FactoryPlan, graph: nx.Graph[str], busy: Busy | None = None, *, width: float = WIDTH
) -> Layout:
    layout = layout_factory(graph, uses_of(plan, list(graph)), busy, width=width)
    return layout._replace(notes=(*layout.notes, *_elsewhere(plan)))


class Picture(NamedTuple):
    """A run's factory, and how busy its parts were."""

    layout: Layout
    narrow: Layout
    """The same on a sheet for a telephone."""
    loads: Loads


def picture_of_run(run: Run) -> Picture | NotPlanned:
    """Lay out the factory of a run, planned again from its resolved scenario, or say why not."""
    found = plan_again(run.path, run.manifest)
    if isinstance(found, NotPlanned):
        return found
    plan, graph = found.plan, found.graph
    by_link: Values = {use.name: use.utilization for use in link_uses(Source(run))}
    busy = Busy(
        _steps(plan, list(graph), _utilizations(run, "replica")), edge_loads(graph, by_link)
    )
    return Picture(
        _laid_out(plan, graph, busy),
        _laid_out(plan, graph, busy, width=NARROW),
        loads_of_run(run.summary, _utilizations(run, "deployment"), plan),
    )


def _utilizations(run: Run, by: str) -> dict[str, float | None]:
    """Mean utilization over replications of what has its own; None where one withholds it."""
    count = len(run.manifest["replications"])
    return {
        key: mean(values) if len(values) == count else None
        for key, told in broken_down(run, by).items()
        for name, values in told.items()
        if name.startswith("utilization.")
    }


def _steps(plan: FactoryPlan, names: Sequence[str], by_replica: Values) -> dict[str, int]:
    """Step of colour of every chip that a replica with a utilization of its own runs on."""
    steps: dict[str, int] = {}
    for serve in plan.serve:
        for number, replica in enumerate(serve.replicas):
            load = by_replica.get(f"{serve.name}/{number}")
            if load is not None:
                chips = (*replica.devices, *replica.partners)
                steps.update((names[node], step_of(load)) for node in chips)
    return steps


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
