"""A scenario made ready to run: its plan, its files, and what metrics need of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault, UserError
from factorysim.metrics.inputs import Layout, Partner, Station
from factorysim.run.spikes import spikes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from factorysim.catalog import Catalog
    from factorysim.graph.plan import FactoryPlan, ServePlan, ToolPlan
    from factorysim.physics.table import TableRow
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.stream import StreamSpec
    from factorysim.workload.demand import Demand


SESSIONS_MOST = 1e9
"""Of a replication: hours at the least, and a slip of units or zeros at that."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A resolved scenario and what was built from it."""

    scenario: ScenarioSpec
    catalog: Catalog
    plan: FactoryPlan
    layout: Layout


def prepare(scenario: ScenarioSpec) -> Prepared:
    """Build the plan of a resolved scenario.

    Raises
    ------
    CapacityError
        If it does not fit, with the arithmetic.
    SpecError
        If it names what the catalog does not hold.
    """
    from factorysim.catalog import load_catalog
    from factorysim.workload.notes import demand_notes

    catalog = load_catalog(Path(scenario.catalog) if scenario.catalog else None)
    plan = build_plan(scenario, catalog)
    plan = plan._replace(notes=(*plan.notes, *demand_notes(scenario)))
    return Prepared(scenario, catalog, plan, layout_of(scenario, catalog, plan))


def check_size(scenario: ScenarioSpec) -> None:
    """Refuse a demand that no run would see the end of.

    Raises
    ------
    CapacityError
        With the arithmetic, for every stream that is too much.
    """
    run = scenario.run
    length_s = run.window + run.drain + (0.0 if isinstance(run.warmup, str) else run.warmup)
    faults: list[Fault] = []
    for name, stream in scenario.streams.items():
        sessions = _sessions(stream, length_s)
        if min(sessions, stream.limit or float("inf")) <= SESSIONS_MOST:
            continue
        found = (
            f"{sessions / length_s:g}/s for {length_s:g} s: {sessions:.3g} sessions a replication"
        )
        cure = "a lower rate, a shorter run.window, or a limit of the stream"
        key = f"streams.{name}.arrivals.rate"
        faults.append(Fault("scenario", key, found, f"at most {SESSIONS_MOST:g}", cure))
    if faults:
        raise CapacityError(*faults)


def _sessions(stream: StreamSpec, length_s: float) -> float:
    """How many sessions of a stream are drawn, on average; 0 where none are."""
    from factorysim.spec.arrivals import FittedArrivals, FixedConcurrency, TraceArrivals
    from factorysim.workload.intensity import expected
    from factorysim.workload.servegen import read_pool

    match stream.arrivals:
        case FixedConcurrency():
            return 0.0
        case TraceArrivals():
            if stream.clients is None:
                return 0.0
            pool = read_pool(Path(stream.clients.folder), stream.clients.most)
            return pool.rate * stream.clients.times * length_s
        case FittedArrivals():
            return (stream.arrivals.rate or 0.0) * length_s
        case _:
            return expected(stream.arrivals, length_s)


def rehearse(scenario: ScenarioSpec) -> tuple[str, ...]:
    """Do all that a run does before it begins, and read every trace to its end, once.

    Returns
    -------
    What a run would do, though hardly as it was meant.

    Raises
    ------
    UserError
        With every fault for which a run would stop.
    """
    from functools import partial

    from factorysim.run.context import long_calls

    prepared: list[Prepared] = []
    told: list[str] = []

    def count(name: str, stream: StreamSpec) -> None:
        uses = scenario.llms.items() if prepared else ()
        llms = {key: prepared[0].catalog.llm(use.llm) for key, use in uses}
        told.extend(long_calls(name, stream, llms, scenario.run.seed))

    parts: list[Callable[[], object]] = [lambda: prepared.append(prepare(scenario))]
    parts.append(partial(check_size, scenario))
    parts += [partial(count, name, stream) for name, stream in scenario.streams.items()]
    faults: list[Fault] = []
    for part in parts:
        try:
            part()
        except UserError as error:
            faults += error.faults
    if faults:
        raise UserError(*dict.fromkeys(faults))
    return tuple(told)


def build_plan(scenario: ScenarioSpec, catalog: Catalog) -> FactoryPlan:
    """Build the plan of a scenario whose topology is resolved.

    Raises
    ------
    CapacityError
        If it does not fit.
    """
    from factorysim.graph.planning import plan_factory

    topology = scenario.topology
    if isinstance(topology, str):
        raise TypeError("a scenario names its topology; load it with factorysim.load first")
    return plan_factory(scenario, topology, catalog, table_files=_profiles(scenario))


def _profiles(scenario: ScenarioSpec) -> dict[str, tuple[TableRow, ...]]:
    """Parse the profile of every deployment whose law is a table."""
    from factorysim.physics.table import parse_table

    laws = [deployment.law for deployment in scenario.deployments.values()]
    names = sorted({law.file for law in laws if law.kind == "table"})
    return {name: parse_table(_text(Path(name)), name) for name in names}


def _text(path: Path) -> str:
    """Read a profile as UTF-8.

    Raises
    ------
    SpecError
        If it cannot be read, or is something else.
    """
    from factorysim.errors import Fault, SpecError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(Fault(str(path), "", str(error), "a CSV file in UTF-8")) from None


def build_demands(scenario: ScenarioSpec, replication: int) -> list[Demand]:
    """Make the demand of every stream, for one replication."""
    from factorysim.workload.demand import build_demand

    return [
        build_demand(
            name,
            stream,
            seed=scenario.run.seed,
            replication=replication,
            trace_path=Path(stream.trace) if stream.trace else None,
        )
        for name, stream in scenario.streams.items()
    ]


def layout_of(scenario: ScenarioSpec, catalog: Catalog, plan: FactoryPlan) -> Layout:
    """Reduce a plan to what metrics ask of it."""
    stations: list[Station] = []
    first = 0
    for serve in plan.serve:
        stations.append(_serving_station(scenario, serve, first))
        first += len(serve.replicas)
    stations += [_tools_station(tools) for tools in plan.tools]
    devices = sum(len(serve.replicas) * serve.devices_per_replica for serve in plan.serve)
    devices += sum(
        len(serve.replicas) * serve.partner.devices_per_replica
        for serve in plan.serve
        if serve.partner is not None
    )
    carbon, price = _site(scenario, catalog)
    tenants = tuple((k, s.tenant) for k, s in scenario.streams.items() if s.tenant is not None)
    tiers = scenario.serving.kv.tiers
    return Layout(
        tuple(stations),
        devices,
        plan.pue,
        carbon,
        price,
        tenants,
        tiers,
        tools_fail=_tools_fail(scenario),
        spikes=spikes_of(scenario),
        idle_devices=plan.idle_devices,
    )


def _tools_fail(scenario: ScenarioSpec) -> bool:
    """Tell whether an agent says what it does when a tool fails."""
    from factorysim.workload.models import tool_use

    agents = {stream.agent for stream in scenario.streams.values() if stream.agent}
    return any(tool_use(name).may_fail for name in agents)


def _serving_station(scenario: ScenarioSpec, serve: ServePlan, first: int) -> Station:
    from factorysim.physics.speculation import pace_of

    device, precision = serve.device, scenario.llms[serve.llm].precision
    return Station(
        name=serve.name,
        pool=serve.pool,
        kind="serve",
        llm=serve.llm,
        first_replica=first,
        replicas=len(serve.replicas),
        devices_per_replica=serve.devices_per_replica,
        capacity=float(len(serve.replicas) * serve.devices_per_replica),
        peak_flops=device.flops.get(precision.compute),
        peak_bytes=device.memory_bandwidth,
        idle_w=serve.power.idle_w,
        kv_blocks=serve.kv_blocks,
        block_tokens=scenario.serving.kv.block_tokens,
        # Ranks have as many each; a step of a pipeline is of one of its micro-batches.
        max_sequences=-(-serve.ranks * scenario.serving.max_sequences // serve.stages),
        token_budget=serve.ranks * scenario.serving.step_tokens,
        router=f"{serve.llm} {serve.role} {serve.prompts_above}",
        pace=pace_of(serve.law),
        partner=_partner(serve),
    )


def _partner(serve: ServePlan) -> Partner | None:
    """Reduce the other side of a split deployment."""
    from factorysim.physics.afd import AfdLaw

    other = serve.partner
    if other is None:
        return None
    return Partner(
        pool=other.pool,
        devices_per_replica=other.devices_per_replica,
        capacity=float(len(serve.replicas) * other.devices_per_replica),
        peak_flops=other.device.flops.get(other.compute),
        peak_bytes=other.device.memory_bandwidth,
        idle_w=other.power.idle_w,
        experts=isinstance(serve.law, AfdLaw),
    )


def _tools_station(tools: ToolPlan) -> Station:
    return Station(
        name=tools.name,
        pool=tools.pool,
        kind="tools",
        llm="",
        first_replica=0,
        replicas=len(tools.hosts),
        devices_per_replica=0,
        capacity=float(sum(host.cores for host in tools.hosts)),
        peak_flops=None,
        peak_bytes=None,
        idle_w=0.0,
        kv_blocks=0,
        block_tokens=0,
        max_sequences=0,
        token_budget=0,
        elastic=tools.elastic,
        most=tools.most,
    )


def _site(scenario: ScenarioSpec, catalog: Catalog) -> tuple[float | None, float | None]:
    """Carbon intensity, and energy price where it is in USD."""
    site = catalog.site(scenario.site) if isinstance(scenario.site, str) else scenario.site
    return site.carbon_intensity, site.energy_price if site.currency == "USD" else None
