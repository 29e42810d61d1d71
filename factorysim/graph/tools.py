"""Deployments of tools: their hosts, and what these draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault
from factorysim.graph.plan import HostPlan, ToolPlan
from factorysim.graph.rest import draw_of

if TYPE_CHECKING:
    from factorysim.graph.ground import Ground
    from factorysim.graph.placement import Replicas
    from factorysim.spec.deployment import DeploymentSpec


def plan_tools(ground: Ground, name: str, spec: DeploymentSpec, hosts: Replicas) -> ToolPlan:
    """Plan a deployment that runs tools.

    Raises
    ------
    CapacityError
        If nobody has published the cores of its CPU.
    """
    device = ground.device(hosts[0][0])
    return ToolPlan(
        name=name,
        pool=spec.pool,
        discipline=spec.discipline,
        smt_yield=1.0 if device.smt_yield is None else device.smt_yield,
        hosts=tuple(_host(ground, node) for (node,) in hosts),
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
