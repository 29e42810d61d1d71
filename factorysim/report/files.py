"""What a scenario or a topology says, in words, before any run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.errors import CapacityError
from factorysim.marked import printable
from factorysim.report.numbers import amount, digits, seconds
from factorysim.report.terminal import mark, titled_table
from factorysim.spec.scenario import ScenarioSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.table import Table

    from factorysim.catalog import Catalog
    from factorysim.graph.plan import FactoryPlan, ServePlan
    from factorysim.spec.stream import StreamSpec
    from factorysim.spec.topology import TopologySpec


def spec_report(
    spec: ScenarioSpec | TopologySpec, topology: TopologySpec, catalog: Catalog
) -> list[RenderableType]:
    """Tell a loaded file: its question, racks, and of a scenario what runs and arrives.

    Parameters
    ----------
    topology
        The scenario's own, or the one to tell.

    Returns
    -------
    Parts to print. What does not fit is told with its arithmetic, not raised: the
    rest of the file is still worth seeing.
    """
    parts: list[RenderableType] = []
    if spec.question:
        parts.append(mark(printable(spec.question.strip()), "", ""))
    if topology.description:
        parts.append(mark("", printable(" ".join(topology.description.split())), ""))
    if topology.graph is None:
        parts.append(_racks(topology, catalog))
    else:
        parts.append(mark("graph ", printable(topology.graph), ""))
    if isinstance(spec, ScenarioSpec):
        parts += _scenario(spec, topology, catalog)
    return parts


def _words(table: Table, *headers: str) -> None:
    """Set columns of words flush left, as they are read."""
    for column in table.columns:
        if str(column.header) in headers:
            column.justify = "left"


def _racks(topology: TopologySpec, catalog: Catalog) -> Table:
    table = titled_table("Racks", ["pool", "rack", "racks", "devices", "hosts", "full load"])
    _words(table, "rack", "devices", "hosts")
    for pool, spec in topology.racks.items():
        try:
            rack = catalog.rack(spec.rack, topology.variant)
        except CapacityError:
            table.add_row(pool, spec.rack, f"{spec.count:,}", "?", "?", "?")
            continue
        main = rack.main
        host = rack.cpu if rack.accelerator is not None else None
        table.add_row(
            pool,
            rack.id,
            f"{spec.count:,}",
            f"{main.count * spec.count:,} {main.id}" if main else "none",
            f"{host.count * spec.count:,} {host.id}" if host else "none",
            "unpublished" if rack.power_w is None else amount(rack.power_w * spec.count, "W"),
        )
    return table


def _scenario(
    spec: ScenarioSpec, topology: TopologySpec, catalog: Catalog
) -> Iterator[RenderableType]:
    from factorysim.graph.planning import plan_factory

    try:
        plan = plan_factory(spec, topology, catalog)
        yield _deployments(spec, plan)
        yield from _tools(plan)
    except CapacityError as error:
        yield mark("It does not fit. ", str(error), "bold red")
    yield _streams(spec)
    yield _run(spec)


def _deployments(spec: ScenarioSpec, plan: FactoryPlan) -> Table:
    headers = ["deployment", "pool", "serves", "replicas", "devices", "KV blocks", "KV tokens"]
    table = titled_table("Deployments", headers)
    _words(table, "pool", "serves", "devices")
    for serve in plan.serve:
        count, block = len(serve.replicas), spec.serving.kv.block_tokens
        table.add_row(
            serve.name,
            serve.pool,
            _served(spec, serve),
            f"{count:,}",
            _devices(serve),
            f"{amount(float(serve.kv_blocks))} each",
            amount(float(serve.kv_blocks * block * count)),
        )
    for tools in plan.tools:
        cores = sum(host.cores for host in tools.hosts)
        what = "tools, elsewhere" if tools.elastic else f"tools, {cores:,} cores"
        hosts = "" if tools.elastic else f"{len(tools.hosts):,}"
        table.add_row(tools.name, tools.pool, what, hosts, "", "", "")
    return table


def _tools(plan: FactoryPlan) -> Iterator[RenderableType]:
    """Say which tools run where, and in what, as far as that is not all of them on bare hosts."""
    for tools in plan.tools:
        said = [", ".join(tools.classes)] if tools.classes else []
        box = tools.sandbox
        if box is not None:
            warm = f", {box.warm:,} kept ready on each host" if box.warm else ""
            said.append(f"a sandbox per {box.per}, {amount(float(box.memory))}B{warm}")
        if tools.most is not None:
            said.append(f"{tools.most:,} at once")
        if said:
            yield mark(f"{tools.name} ", printable("; ".join(said)), "")


def _devices(serve: ServePlan) -> str:
    count, other = len(serve.replicas), serve.partner
    told = f"{count * serve.devices_per_replica:,} {serve.device.id}"
    if other is not None:
        told += f" + {count * other.devices_per_replica:,} {other.device.id} ({other.pool})"
    return told


def _streams(spec: ScenarioSpec) -> Table:
    table = titled_table("Streams", ["stream", "from", "llm", "arrivals", "SLO"])
    _words(table, "from", "llm", "arrivals", "SLO")
    for name, stream in spec.streams.items():
        table.add_row(name, _source(stream), _llms(stream), _arrivals(stream), _slo(stream))
    return table


def _served(spec: ScenarioSpec, serve: ServePlan) -> str:
    use = spec.llms[serve.llm]
    long = f", prompts above {serve.prompts_above:,}" if serve.prompts_above else ""
    return f"{use.llm} ({use.precision.weights}){long}"


def _llms(stream: StreamSpec) -> str:
    return ", ".join([stream.llm, *(f"{llm} ({step})" for step, llm in stream.llm_by_step.items())])


def _source(stream: StreamSpec) -> str:
    if stream.agent is not None:
        return f"agent {printable(Path(stream.agent).name)}"
    if stream.trace is not None:
        speed = "" if stream.speed == 1.0 else f" at {digits(stream.speed)} times its speed"
        mode = "" if stream.mode is None else f", {stream.mode}"
        return f"trace {printable(Path(stream.trace).name)}{speed}{mode}{_loop(stream)}"
    if stream.clients is not None:
        return f"clients {printable(Path(stream.clients.folder).name)}"
    assert stream.calls is not None, "the spec wants one of the four"
    calls = stream.calls
    return f"calls, {calls.prompt_tokens.mean:g} tokens in, {calls.output_tokens.mean:g} out"


def _loop(stream: StreamSpec) -> str:
    if stream.loop is None:
        return ""
    return ", for ever" if stream.loop.times is None else f", {stream.loop.times:,} times"


def _arrivals(stream: StreamSpec) -> str:
    told = _process(stream)
    if getattr(stream.arrivals, "profile", None) is not None:
        told += ", profile of the week"
    if spikes := getattr(stream.arrivals, "spikes", None):
        told += f", {len(spikes)} spike{'s' * (len(spikes) > 1)}"
    return told if stream.share == 1.0 else f"{told}; {stream.share:.3g} of them"


def _process(stream: StreamSpec) -> str:
    arrivals = stream.arrivals
    match arrivals.process:
        case "poisson":
            return f"Poisson, {digits(arrivals.rate)}/s"
        case "gamma":
            return f"gamma, {digits(arrivals.rate)}/s, cv {digits(arrivals.cv)}"
        case "weibull":
            given = ("shape", arrivals.shape) if arrivals.shape else ("cv", arrivals.cv or 2.0)
            return f"Weibull, {digits(arrivals.rate)}/s, {given[0]} {digits(given[1])}"
        case "mmpp":
            return f"Poisson in {len(arrivals.states)} states, {digits(arrivals.rate)}/s"
        case "population":
            return f"{arrivals.clients:,} clients, {digits(arrivals.rate)}/s"
        case "fitted":
            return "fitted to the trace"
        case "fixed_concurrency":
            return f"{arrivals.concurrency:,} at any time"
        case "trace":
            return "as recorded" if stream.clients is None else "by window"


def _slo(stream: StreamSpec) -> str:
    slo = stream.slo
    limits = {"TTFT": slo.ttft, "TPOT": slo.tpot, "turn": slo.turn, "session": slo.session}
    told = [f"{name} {seconds(limit)}" for name, limit in limits.items() if limit is not None]
    return f"{', '.join(told)} for {100 * slo.attain:.3g} %" if told else "none"


def _run(spec: ScenarioSpec) -> RenderableType:
    run = spec.run
    given = "chosen by pilot runs" if isinstance(run.warmup, str) else seconds(run.warmup)
    warmup = f"warm-up {given}"
    if run.kind == "terminating":
        warmup = "no warm-up"
    plural = "" if run.replications == 1 else "s"
    told = f"{run.kind.replace('_', ' ')}, {run.replications} replication{plural} of "
    told += f"{seconds(run.window)}, {warmup}, drain {seconds(run.drain)}, seed {run.seed}"
    return mark("run ", told, "bold")
