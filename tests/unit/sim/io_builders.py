"""Small worlds in which bytes cost cores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from factorysim.graph.plan import DPUS, SPARE, HostPlan, IoPlan, Server, ToolPlan
from factorysim.physics.io_work import IoCost
from tests.unit.sim.builders import plan

if TYPE_CHECKING:
    from factorysim.graph.plan import FactoryPlan
    from factorysim.spec.io_work import IoKind

COSTS: dict[IoKind, IoCost] = {
    "tls": IoCost(0.0, 0.010, 1e9),
    "packets": IoCost(1e-3, 0.0, 1e9),
    "storage": IoCost(1e-9, 0.0, 1e9),
}
"""Ten milliseconds a message, a millisecond a byte of packets, one a megabyte stored."""


def cores(count: int, rack: int = 0, above_idle_w: float = 0.0) -> HostPlan:
    """Cores of a DPU, or of a host without tools."""
    return HostPlan(9, rack, count, count, 1.0, 0.0, 0, 1e18, 0.0, above_idle_w)


def factory(
    *,
    hosts: int = 1,
    host_cores: int = 4,
    dpu_cores: int | None = 4,
    line: float = 1e18,
    dpu_costs: dict[IoKind, IoCost] | None = None,
    **fields: Any,
) -> FactoryPlan:
    """One replica at node 1 and one tool host at node 0, perhaps a DPU for both.

    Without a tool host the replica's host is a spare one of as many cores.
    """
    made = plan(hosts=hosts, cores=host_cores, **fields)
    host = (0, 0)
    dpu = None if dpu_cores is None else 0
    at_host = Server(host, dpu)
    spare = None if hosts else ToolPlan(SPARE, "", "ps", 1.0, (cores(host_cores, 0, 100.0),))
    dpus = None if dpu_cores is None else ToolPlan(DPUS, "", "ps", 1.0, (cores(dpu_cores),))
    io = IoPlan(
        dict.fromkeys(range(9), at_host),
        dpus,
        (line,),
        (COSTS if dpu_costs is None else dpu_costs,),
        spare,
        COSTS,
        8.0,
    )
    return made._replace(io=io)
