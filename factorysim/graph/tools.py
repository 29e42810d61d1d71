"""Plans of the hosts that tools run on: cores, memory, what these draw, and their sandboxes."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Literal, NamedTuple

from factorysim.errors import CapacityError, Fault, SpecError
from factorysim.graph.plan import CheckPlan, HostPlan, SandboxPlan, ToolPlan
from factorysim.graph.rest import draw_of
from factorysim.spec.deployment import CLOUD
from factorysim.spec.runtime import SANDBOX_STARTS, CloudSpec, SandboxSpec
from factorysim.workload.models import tool_use
from factorysim.workload.tools import load_tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from factorysim.catalog.runtimes import Check, Runtime
    from factorysim.graph.ground import Ground
    from factorysim.graph.placement import Replicas
    from factorysim.spec.agent import ToolClassSpec
    from factorysim.spec.deployment import DeploymentSpec
    from factorysim.spec.scenario import ScenarioSpec

FS_PER_S = 10**15

_NO_END = 1 << 60
"""Cores and bytes of a cloud: more than are ever asked for."""
_NOWHERE = -1
"""Node of a cloud's cores: node 0 may be a host, in a graph of the user's own."""


def plan_tools(
    ground: Ground, name: str, spec: DeploymentSpec, hosts: Replicas, used: Mapping[str, str]
) -> ToolPlan:
    """Plan a deployment that runs tools.

    Parameters
    ----------
    hosts
        None in the cloud.
    used
        Tool classes of the scenario's agents -> the deployment that runs them.

    Raises
    ------
    CapacityError
        If nobody has published the cores of its CPU, or no host has the memory that a
        tool, or a sandbox with a tool, asks for.
    SpecError
        If the runtime or the start of a sandbox is unknown.
    """
    plan = _cloud_plan(name, spec) if spec.pool == CLOUD else _host_plan(ground, name, spec, hosts)
    runtime = runtime_of(ground, spec.runtime or ground.scenario.serving.runtime)
    if runtime is not None:
        plan = plan._replace(check=_check(runtime.tool_check, 0.0))
    memory = tool_memory(ground.scenario)
    mine = {cls: memory[cls] for cls, where in used.items() if where == name}
    return plan._replace(sandbox=_sandbox(spec.sandbox, runtime, plan, mine, load_tools().tools))


def plan_llm_check(ground: Ground) -> CheckPlan | None:
    """Plan what each LLM call passes on its way: None without a runtime that has something."""
    runtime = runtime_of(ground, ground.scenario.serving.runtime)
    if runtime is None:
        return None
    check = _check(runtime.llm_check, runtime.gateway_s)
    return check if check.cpu_s or check.latency_fs else None


def classes_used(scenario: ScenarioSpec) -> dict[str, str]:
    """Find the tool classes of a scenario's agents, and the deployment that runs each.

    Classes whose deployment does not exist are left out: their work is done elsewhere.
    """
    tools = {n: spec for n, spec in scenario.deployments.items() if spec.role == "tools"}
    named = {cls: name for name, spec in tools.items() for cls in spec.classes}
    rest = next((name for name, spec in tools.items() if not spec.classes), None)
    homes = {cls: named.get(cls, rest) for cls in tool_memory(scenario)}
    return {cls: where for cls, where in homes.items() if where is not None}


def tool_memory(scenario: ScenarioSpec) -> dict[str, float]:
    """Tool classes of a scenario's agents, each once, and the most memory that a call asks for."""
    memory: dict[str, float] = {}
    for stream in scenario.streams.values():
        if stream.agent is not None:
            for cls, asked in tool_use(stream.agent).memory_bytes.items():
                memory[cls] = max(asked, memory.get(cls, 0.0))
    return memory


def runtime_of(ground: Ground, name: str | None) -> Runtime | None:
    """Read a runtime of the catalog; its facts are the plan's from then on."""
    if name is None:
        return None
    runtime = ground.catalog.runtime(name)
    ground.facts.update(runtime.facts)
    return runtime


def _check(check: Check, gateway_s: float) -> CheckPlan:
    return CheckPlan(check.cpu_s, round((check.latency_s + gateway_s) * FS_PER_S))


def _cloud_plan(name: str, spec: DeploymentSpec) -> ToolPlan:
    cloud = spec.cloud or CloudSpec()
    host = HostPlan(
        node=_NOWHERE,
        rack=0,
        cores=_NO_END >> 20,
        threads=_NO_END >> 20,
        speed=1.0,
        memory_bytes=_NO_END,
        latency_fs=0,
        bandwidth=float(_NO_END),
        idle_w=0.0,
        peak_w=0.0,
    )
    return ToolPlan(
        name=name,
        pool=spec.pool,
        discipline="ps",
        smt_yield=1.0,
        hosts=(host,),
        classes=spec.classes,
        elastic=True,
        most=cloud.concurrency,
        latency_fs=round(cloud.latency * FS_PER_S),
    )


def _host_plan(ground: Ground, name: str, spec: DeploymentSpec, hosts: Replicas) -> ToolPlan:
    device = ground.device(hosts[0][0])
    return ToolPlan(
        name=name,
        pool=spec.pool,
        discipline=spec.discipline,
        smt_yield=1.0 if device.smt_yield is None else device.smt_yield,
        hosts=tuple(_host(ground, node) for (node,) in hosts),
        classes=spec.classes,
    )


def _host(ground: Ground, node: int) -> HostPlan:
    device = ground.device(node)
    if device.cores is None or device.core_speed is None:
        key, expected = f"{device.id}.cores", "cores and their speed, to run tools"
        cure = "give the facts in a catalog file of your own"
        raise CapacityError(Fault("catalog", key, "no number of cores", expected, cure))
    way = ground.factory.routes(ground.clients, node)
    draw = draw_of(device, hosts=True)
    return HostPlan(
        node=node,
        rack=ground.rack_of[node],
        cores=device.cores,
        threads=device.cores if device.threads is None else device.threads,
        speed=device.core_speed,
        memory_bytes=device.memory_bytes,
        latency_fs=way.latency_fs,
        bandwidth=way.bandwidth,
        idle_w=draw.idle_w,
        peak_w=draw.peak_w,
    )


def _sandbox(
    spec: SandboxSpec | None,
    runtime: Runtime | None,
    plan: ToolPlan,
    tools: Mapping[str, float],
    classes: Mapping[str, ToolClassSpec],
) -> SandboxPlan | None:
    """Plan the sandboxes: what the deployment says, over what its runtime does.

    Parameters
    ----------
    tools
        Classes that run here, and the memory of each.
    """
    if spec is None and (runtime is None or runtime.per is None):
        return None
    spec = spec or SandboxSpec()
    ours = _Open(spec.per, spec.start, spec.memory, spec.warm_pool, spec.idle_timeout)
    theirs = _Open() if runtime is None else _Open(*runtime[2:7])
    start = _start_class(ours.start or theirs.start or "microvm", classes, plan.pool)
    memory = _first(ours.memory, theirs.memory, start.work.memory)
    per = ours.per or theirs.per or "session"
    idle_s = _first(ours.idle_s, theirs.idle_s)
    sandbox = SandboxPlan(
        per=per,
        start=start,
        memory=max(1, ceil(memory or 0.0)),
        burst=ceil(max(tools.values(), default=0.0) if spec.burst is None else spec.burst),
        warm=int(_first(ours.warm, theirs.warm) or 0),
        idle_fs=None if idle_s is None or per == "call" else round(idle_s * FS_PER_S),
        through_gaps=spec.hold_through_gaps is not False,
    )
    _check_room(sandbox, plan, tools)
    return sandbox


class _Open(NamedTuple):
    """What a deployment or a runtime says of sandboxes; None: nothing."""

    per: Literal["session", "agent", "call"] | None = None
    start: str | None = None
    memory: float | None = None
    warm: int | None = None
    idle_s: float | None = None


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _start_class(word: str, classes: Mapping[str, ToolClassSpec], where: str) -> ToolClassSpec:
    name = SANDBOX_STARTS.get(word, word)
    if name not in classes:
        from difflib import get_close_matches

        near = get_close_matches(word, [*SANDBOX_STARTS, *classes], n=1)
        cure = f'did you mean "{near[0]}"?' if near else ""
        expected = f"{' or '.join(SANDBOX_STARTS)}, or a tool class"
        raise SpecError(Fault(where, "sandbox.start", f'"{word}"', expected, cure))
    return classes[name]


def _check_room(sandbox: SandboxPlan, plan: ToolPlan, tools: Mapping[str, float]) -> None:
    """Refuse what would wait for ever: memory that no host has.

    Sandboxes leave `burst` of each host to the tools in them, so that whoever holds a
    sandbox can use it, and none waits for memory that only others who wait could give.
    """
    faults: list[Fault] = []
    where = plan.pool
    most = max(host.memory_bytes for host in plan.hosts)
    asked = sandbox.memory * max(1, sandbox.warm) + sandbox.burst
    if asked > most:
        warm = f"{sandbox.warm:,} x " if sandbox.warm > 1 else ""
        found = f"{warm}{_gb(sandbox.memory)} of sandboxes and {_gb(sandbox.burst)} for their tools"
        cure = "less `memory`, `burst` or `warm_pool`, or larger hosts"
        expected = f"at most {_gb(most)}, the memory of a host of {plan.pool}"
        faults.append(Fault(where, "sandbox.memory", found, expected, cure))
    for name, memory in tools.items():
        if memory > sandbox.burst:
            found = f"{_gb(sandbox.burst)}, less than the {_gb(memory)} of {name}"
            expected = "room for every tool that runs here"
            cure = "a larger `burst`, or run the class on a deployment without sandboxes"
            faults.append(Fault(where, "sandbox.burst", found, expected, cure))
    if faults:
        raise CapacityError(*faults)


def check_memory(plans: Sequence[ToolPlan], used: Mapping[str, str]) -> list[CapacityError]:
    """Find the tools of the scenario's agents that no host of their deployment can hold."""
    classes, of_name = load_tools().tools, {plan.name: plan for plan in plans}
    faults: list[Fault] = []
    for cls, name in used.items():
        plan = of_name.get(name)
        if plan is None or cls not in classes:
            continue
        most, memory = max(host.memory_bytes for host in plan.hosts), classes[cls].work.memory
        if memory > most:
            found = f"{cls}, which asks for {_gb(memory)}"
            expected = f"at most {_gb(most)}, the memory of a host of {plan.pool}"
            cure = "larger hosts, or a deployment of its own: `classes: [" + cls + "]`"
            faults.append(Fault("scenario", f"deployments.{name}.pool", found, expected, cure))
    return [CapacityError(*faults)] if faults else []


def _gb(amount: float) -> str:
    return f"{amount / 1e9:,.7g} GB"
