"""On which unpublished facts an operating point rests: those that its numbers can feel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.catalog import Device, Fact
    from factorysim.graph.plan import ServePlan
    from factorysim.run.prepare import Prepared

OF_EXPERTS = ("expert_compute_", "expert_padding_tokens", "moe_s")
OF_LINKS = ("link_bandwidth", "collective_s", "collective_hop_s")
OF_DRAM = (".dram.per_", ".dram.bandwidth_per_")
"""Behind SRAM: felt where the KV cache is in it."""
OF_TOOLS = (".core_speed", ".smt_yield")
UNFELT = ("power", "cpus", "price")
"""Of racks and network parts: the point's devices neither run on nor pay for them."""


def assumed_facts(prepared: Prepared, *, crosses: bool) -> list[Fact]:
    """Facts of the plan that nobody has published and that the point's numbers can feel.

    A plan also notes what stands there and the point never uses: hosts, power of
    NICs and switches, the site, efficiencies of formats, of experts and of
    collectives that this LLM and layout do not have.

    Parameters
    ----------
    crosses
        Whether collectives or KV cross the network, whose parts then count.
    """
    facts = prepared.catalog.facts
    return [
        facts[name]
        for name in prepared.plan.facts
        if name in facts
        and facts[name].kind in ("assumed", "unknown")
        and any(
            _is_felt(name, prepared, serve, device, devices, crosses=crosses)
            for serve, device, devices in _sides(prepared)
        )
    ]


def _sides(prepared: Prepared) -> Iterator[tuple[ServePlan, Device, int]]:
    """Go through the deployments and the other sides of splits: devices, and how many."""
    for serve in prepared.plan.serve:
        yield serve, serve.device, serve.devices_per_replica
        if serve.partner is not None:
            yield serve, serve.partner.device, serve.partner.devices_per_replica


def _is_felt(
    name: str, prepared: Prepared, serve: ServePlan, device: Device, devices: int, *, crosses: bool
) -> bool:
    use = prepared.scenario.llms[serve.llm]
    several = devices > 1
    section, key = name.partition(".")[0], name.rpartition(".")[2]
    match section:
        case "efficiency":
            if "_compute_" in key and not key.endswith(f"_{use.precision.compute}"):
                return False
            if key.startswith(OF_EXPERTS):
                return prepared.catalog.llm(use.llm).ffn_kind == "moe"
            return several or key not in OF_LINKS
        case "racks" | "network":
            return crosses and key not in UNFELT
        case "llms":
            return True
        case _ if any(part in name for part in OF_TOOLS):
            return False
        case _ if key == "cores" and device.kind != "cpu":
            return False
        case _ if any(part in name for part in OF_DRAM):
            sram = prepared.scenario.deployments[serve.name].sram
            return sram is not None and sram.kv == "dram"
        case _ if key in ("scale_up_latency", "pcie_latency", "one_hop_chips"):
            return several and name in device.facts
        case _:
            return name in device.facts
