"""From a scenario to the plan that the simulator runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.ground import Ground
from factorysim.graph.io_work import plan_io
from factorysim.graph.layout import check_layouts
from factorysim.graph.needs import need_of
from factorysim.graph.placement import check_deployments, in_deployment, place_deployments
from factorysim.graph.plan import FactoryPlan
from factorysim.graph.rest import plan_racks
from factorysim.graph.serve import plan_serve
from factorysim.graph.tiers import plan_tiers
from factorysim.graph.tools import (
    check_memory,
    classes_used,
    plan_llm_check,
    plan_tools,
    tool_memory,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from factorysim.catalog import Catalog
    from factorysim.errors import UserError
    from factorysim.graph.placement import Need, Placement
    from factorysim.graph.plan import ServePlan, ToolPlan
    from factorysim.physics.table import TableRow
    from factorysim.spec.io_work import IoWorkSpec
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.topology import TopologySpec


def plan_factory(
    scenario: ScenarioSpec,
    topology: TopologySpec,
    catalog: Catalog,
    *,
    table_files: Mapping[str, Sequence[TableRow]] | None = None,
) -> FactoryPlan:
    """Build the graph, place the deployments, and give each its law, memory and power.

    Parameters
    ----------
    table_files
        Parsed profiles by the name that `law.file` gives them; others are read.

    Raises
    ------
    CapacityError
        If something does not fit (devices, memory, ports), with the arithmetic.
    SpecError
        If a pool, an LLM or a device is unknown. Both carry every fault.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> from factorysim.spec.scenario import ScenarioSpec
    >>> scenario = ScenarioSpec.model_validate({
    ...     "schema": "factorysim.scenario/1",
    ...     "question": "How many copies fit?",
    ...     "topology": {"schema": "factorysim.topology/1", "racks": {"hgx": {"rack": "hgx_h200"}}},
    ...     "llms": {"chat": {"llm": "llama_3_1_8b"}},
    ...     "deployments": {"chat": {"llm": "chat", "pool": "hgx", "parallel": {"tp": 2}}},
    ...     "streams": {"all": {"llm": "chat", "trace": "mine.jsonl"}},
    ... })
    >>> plan = plan_factory(scenario, scenario.topology, load_catalog())
    >>> len(plan.serve[0].replicas), plan.serve[0].devices_per_replica
    (4, 2)
    """
    _check_roles(scenario)
    ground = Ground(scenario, topology, catalog, table_files or {})
    check_layouts(scenario)
    needs, errors = _needs(ground)
    placement = _place(ground, needs)
    made = _deploy(ground, placement, needs)
    errors += placement.errors + made.errors + _unjoined(ground, made.serve)
    used = classes_used(scenario)
    errors += check_memory(made.tools, used)
    if errors:
        raise _together(errors)
    if not made.tools and any(stream.agent for stream in scenario.streams.values()):
        ground.notes.append(
            "no deployment has the role tools: the agents' tools take their time elsewhere, "
            "and wait for nobody"
        )
    elif homeless := [cls for cls in tool_memory(scenario) if cls not in used]:
        ground.notes.append(
            f"no deployment runs {', '.join(homeless)}: these tools take their time elsewhere, "
            "and wait for nobody"
        )
    plan = _whole(ground, topology, made, placement.nodes())
    if len(scenario.serving.kv.tiers) > 1:
        plan = _with_tiers(ground, plan)
    io_work = scenario.serving.io_work
    return plan if io_work is None or not io_work.busy else _with_io(ground, plan, io_work)


class Deployed(NamedTuple):
    """Plans of the deployments, and why others could not be made."""

    serve: list[ServePlan]
    tools: list[ToolPlan]
    errors: list[UserError]


def _check_roles(scenario: ScenarioSpec) -> None:
    streams = {f"{name}.llm": stream.llm for name, stream in scenario.streams.items()}
    for name, stream in scenario.streams.items():
        for step, llm in stream.llm_by_step.items():
            streams[f"{name}.llm_by_step.{step}"] = llm
    disaggregated = scenario.serving.disaggregation is not None
    check_deployments(scenario.deployments, scenario.llms, streams, disaggregated=disaggregated)


def _needs(ground: Ground) -> tuple[dict[str, Need | None], list[UserError]]:
    """Count the devices of replicas whose layout follows from memory; None: refused."""
    needs: dict[str, Need | None] = {}
    errors: list[UserError] = []
    for name, spec in ground.scenario.deployments.items():
        try:
            need = need_of(ground, spec)
        except (CapacityError, SpecError) as error:
            errors.append(_of(name, error))
            needs[name] = None
        else:
            if need is not None:
                needs[name] = need
    return needs, errors


def _place(ground: Ground, needs: Mapping[str, Need | None]) -> Placement:
    """Place whatever was not refused."""
    deployments = ground.scenario.deployments
    rest = {name: spec for name, spec in deployments.items() if needs.get(name, True)}
    known = {name: need for name, need in needs.items() if need is not None}
    return place_deployments(rest, ground.factory, known)


def _deploy(ground: Ground, placement: Placement, needs: Mapping[str, Need | None]) -> Deployed:
    made = Deployed([], [], [])
    used = classes_used(ground.scenario)
    for name, spec in ground.scenario.deployments.items():
        replicas = placement.replicas.get(name)
        if replicas is None:
            continue
        try:
            if spec.role == "tools":
                made.tools.append(plan_tools(ground, name, spec, replicas, used))
            else:
                need, partners = needs.get(name), placement.partners.get(name)
                made.serve.append(plan_serve(ground, name, spec, replicas, need, partners))
        except (CapacityError, SpecError) as error:
            made.errors.append(_of(name, error))
    return made


def _unjoined(ground: Ground, serve: Sequence[ServePlan]) -> list[UserError]:
    """See that KV can move from every prefill deployment to every decode one of its LLM."""
    for source in serve:
        for target in serve:
            roles = source.role, target.role
            if roles == ("prefill", "decode") and (
                (source.llm, source.prompts_above) == (target.llm, target.prompts_above)
            ):
                ends = (one.replicas[0].devices[0] for one in (source, target))
                try:
                    ground.factory.routes(*ends)
                except CapacityError as error:
                    return [error]
    return []


def _of(name: str, error: CapacityError | SpecError) -> UserError:
    return type(error)(*in_deployment(name, error))


def _together(errors: Sequence[UserError]) -> UserError:
    """Join errors: of capacity if all are."""
    faults = [fault for error in errors for fault in error.faults]
    sized = all(isinstance(error, CapacityError) for error in errors)
    return CapacityError(*faults) if sized else SpecError(*faults)


def _whole(
    ground: Ground, topology: TopologySpec, made: Deployed, deployed: set[int]
) -> FactoryPlan:
    racks, pue = plan_racks(ground, deployed), ground.pue()
    llm_check = plan_llm_check(ground)
    return FactoryPlan(
        serve=tuple(made.serve),
        tools=tuple(made.tools),
        racks=racks,
        links=ground.factory.links,
        routes=ground.factory.routes,
        pue=pue,
        facts=tuple(sorted(ground.facts)),
        notes=tuple(ground.notes),
        rack_of=ground.rack_of,
        clients=ground.clients,
        session_bandwidth=topology.fabric.session_bandwidth,
        llm_check=llm_check,
        idle_devices=_idle_devices(ground, made.serve, deployed),
    )


def _idle_devices(ground: Ground, serve: Sequence[ServePlan], deployed: set[int]) -> int:
    """Count devices of serving pools that nothing is deployed on."""
    pools = {one.pool for one in serve}
    pools |= {one.partner.pool for one in serve if one.partner is not None}
    return len({node for pool in pools for node in ground.factory.pools[pool]} - deployed)


def _with_tiers(ground: Ground, plan: FactoryPlan) -> FactoryPlan:
    """Add the stores of KV, the links to them, and what each replica reaches."""
    tiers = plan_tiers(ground, plan.serve)
    replicas = iter(tiers.replicas)
    return plan._replace(
        serve=tuple(
            one._replace(stores=tuple(next(replicas) for _ in one.replicas)) for one in plan.serve
        ),
        links=tiers.links,
        routes=tiers.routes,
        facts=tuple(sorted(ground.facts)),
        stores=tiers.stores,
    )


def _with_io(ground: Ground, plan: FactoryPlan, spec: IoWorkSpec) -> FactoryPlan:
    """Add the cores that do I/O work."""
    io = plan_io(ground, plan, spec)
    facts = tuple(sorted(ground.facts))
    return plan._replace(io=io, facts=facts, notes=tuple(ground.notes))
