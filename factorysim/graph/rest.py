"""What each rack draws whatever happens: all in it that no deployment runs on.

Where the power of the whole rack is published, the rest is that power less the peaks
of all its GPUs, LPUs and CPUs, and never less than what its NICs, DPUs and switches
draw by themselves (a note says where published numbers leave less); where it is not,
the rest is the draw of those parts. On top come the idle draws of the devices that
nothing runs on. A chip that is its own host (a laptop's) draws as its device does:
its CPU adds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.graph.plan import RackPlan
from factorysim.graph.schema import COMPUTE

if TYPE_CHECKING:
    from collections.abc import Collection

    from factorysim.catalog import Device
    from factorysim.graph.ground import Ground

OWN_HOSTS = frozenset({"laptop_soc", "desktop_soc"})
"""Kinds of devices that are their own host: one chip, one draw."""


class Draw(NamedTuple):
    """Of one chip, in watts."""

    idle_w: float
    peak_w: float


def draw_of(device: Device, *, hosts: bool) -> Draw:
    """Draw of a device, or of the CPU in it: none where the two are one chip."""
    if hosts and device.kind in OWN_HOSTS:
        return Draw(0.0, 0.0)
    return Draw(device.idle_w, device.tdp_w)


def plan_racks(ground: Ground, deployed: Collection[int]) -> tuple[RackPlan, ...]:
    """Sum the rest of every rack, in the order of the graph.

    Parameters
    ----------
    deployed
        Nodes that a deployment runs on: what they draw is not part of the rest.
    """
    graph, factory = ground.graph, ground.factory
    count = len(ground.racks)
    peaks, parts, idle = ([0.0] * count for _ in range(3))
    draws: dict[tuple[str, str], Draw] = {}
    for k, name in enumerate(factory.names):
        rack, node = ground.rack_of[k], graph.nodes[name]
        if rack < 0:
            continue
        if node["kind"] not in COMPUTE:
            parts[rack] += node.get("idle_w", 0.0)
            continue
        key = node["device"], node["kind"]
        if key not in draws:
            device = ground.catalog.device(key[0], ground.variant)
            draws[key] = draw_of(device, hosts=key[1] == "cpu")
        peaks[rack] += draws[key].peak_w
        idle[rack] += 0.0 if k in deployed else draws[key].idle_w
    plans: list[RackPlan] = []
    for k, index in enumerate(ground.racks):
        name, rack_node = factory.names[index], graph.nodes[factory.names[index]]
        power_w = rack_node.get("power_w")
        left = parts[k] if power_w is None else power_w - peaks[k]
        if left < parts[k]:
            ground.notes.append(
                f"{name}: {power_w:,.0f} W published less {peaks[k]:,.0f} W of "
                f"device peaks leaves {left:,.0f} W; its NICs, DPUs and switches draw "
                f"{parts[k]:,.0f} W, which is taken instead"
            )
        rest_w = max(left, parts[k]) + idle[k]
        plans.append(RackPlan(name, rack_node.get("pool", ""), rest_w))
    return tuple(plans)
