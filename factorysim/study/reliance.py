"""On which unpublished facts an operating point rests: those that its numbers can feel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.catalog import Device, Fact
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
    facts, sides = prepared.catalog.facts, list(_sides(prepared))
    return [
        facts[name]
        for name in prepared.plan.facts
        if name in facts
        and facts[name].kind in ("assumed", "unknown")
        and any(_is_felt(name, side, crosses=crosses) for side in sides)
    ]


class _Side(NamedTuple):
    """Devices of a deployment, or of the other side of its split."""

    device: Device
    devices: int
    """Of a replica."""
    compute: str
    moe: bool
    in_dram: bool
    """Whether KV is in the DRAM behind SRAM."""


def _sides(prepared: Prepared) -> Iterator[_Side]:
    llm = prepared.catalog.llm
    for serve in prepared.plan.serve:
        spec, use = prepared.scenario.deployments[serve.name], prepared.scenario.llms[serve.llm]
        moe = llm(use.llm).ffn_kind == "moe"
        in_dram = spec.sram is not None and spec.sram.kv == "dram"
        number = serve.devices_per_replica
        yield _Side(serve.device, number, use.precision.compute, moe, in_dram)
        partner, split = serve.partner, spec.split
        if partner is None or split is None:
            continue
        in_dram = False
        if split.kind == "draft" and spec.speculation is not None and spec.speculation.draft:
            moe = llm(spec.speculation.draft.llm).ffn_kind == "moe"
            in_dram = split.sram.kv == "dram"
        number = partner.devices_per_replica
        yield _Side(partner.device, number, partner.compute, moe, in_dram)


def _is_felt(name: str, side: _Side, *, crosses: bool) -> bool:
    device, several = side.device, side.devices > 1
    section, key = name.partition(".")[0], name.rpartition(".")[2]
    match section:
        case "efficiency":
            if "_compute_" in key and not key.endswith(f"_{side.compute}"):
                return False
            if key.startswith(OF_EXPERTS):
                return side.moe
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
            return side.in_dram
        case _ if key in ("scale_up_latency", "pcie_latency", "one_hop_chips"):
            return several and name in device.facts
        case _:
            return name in device.facts
