"""How many devices a replica takes where its layout follows from what it must hold.

LPUs hold half a gigabyte each: the bytes decide how many there are. What does not fit
is refused with the arithmetic, in bytes, chips and racks, before anything is placed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault
from factorysim.graph.blocks import gpu_blocks
from factorysim.graph.draft_split import draft_stages, layout_of_draft
from factorysim.graph.placement import Need
from factorysim.physics.afd import ffn_bytes, ffn_groups
from factorysim.physics.sram import Chips, sram_bytes, sram_stages
from factorysim.spec.layout import SramSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.catalog import Device
    from factorysim.graph.factory import Factory
    from factorysim.graph.ground import Ground
    from factorysim.spec.deployment import DeploymentSpec
    from factorysim.spec.split import AfdSplit, DraftSplit


def need_of(ground: Ground, spec: DeploymentSpec) -> Need | None:
    """Devices of a replica of a deployment; None where `parallel` says all.

    Raises
    ------
    CapacityError
        If the pool is too small, with the arithmetic, or its memory is not of the kind.
    """
    factory = ground.factory
    members = factory.pools.get(spec.pool)
    if spec.llm is None or not members or factory.kind(members[0]) == "storage":
        return None
    if spec.split is not None:
        others = factory.pools.get(spec.split.pool)
        if not others or factory.kind(others[0]) in ("storage", "cpu"):
            return None
        other = ground.device(others[0])
        if spec.split.kind == "afd":
            return _need_of_split(ground, spec, spec.split, other)
        if spec.split.pool == spec.pool:
            return None
        here = ground.smallest(members)
        _check_draft_pools(spec, spec.split, here, other)
        blocks = gpu_blocks(ground, spec, here)
        return _need_of_draft(ground, spec, spec.split, other, blocks)
    device = ground.device(members[0])
    if device.sram is None:
        if spec.sram is None:
            return None
        found = f"a layout on {device.id}, whose memory is DRAM"
        raise CapacityError(Fault(spec.pool, "sram", found, "none", "remove it, or take LPUs"))
    return _need_of_sram(ground, spec, device)


def sram_of(spec: DeploymentSpec) -> SramSpec:
    """Layout of a deployment on SRAM, as given or by default."""
    return SramSpec() if spec.sram is None else spec.sram


def chips_of(spec: DeploymentSpec, need: Need, factory: Factory) -> Chips:
    """Where the chips of a replica stand."""
    a_rack = _a_rack(factory.pools[spec.pool], factory)
    return Chips(need.stages, spec.parallel.tp, max(spec.parallel.tp, a_rack))


def chips_of_draft(split: DraftSplit, need: Need, factory: Factory) -> Chips:
    """Where the chips stand that draft for a replica."""
    tp = split.parallel.tp
    return Chips(need.stages, tp, max(tp, _a_rack(factory.pools[split.pool], factory)))


def _need_of_sram(ground: Ground, spec: DeploymentSpec, device: Device) -> Need:
    assert spec.llm is not None
    factory, scenario = ground.factory, ground.scenario
    use, serving = scenario.llms[spec.llm], scenario.serving
    llm, sram, tp = ground.llm(use.llm), sram_of(spec), spec.parallel.tp
    sequences = serving.max_sequences
    stages = sram_stages(llm, device, use.precision, spec.parallel, sram, serving.kv, sequences)
    held = sram_bytes(llm, use.precision, spec.parallel, sequences, kv_in_dram=sram.kv == "dram")
    tokens = 0 if sram.kv == "dram" else sram.kv_tokens or llm.context_length
    what = f"{_amount(tp * held.weights)} of weights"
    if held.state:
        what += f" and {_amount(tp * held.state)} of state of {sequences:,} sequences"
    if tokens and sram.stages is None:
        what += f" and {_amount(tp * tokens * held.kv_token)} of KV of {tokens:,} tokens"
    cure = "more racks, fewer `sram.kv_tokens` or `serving.max_sequences`, or a split"
    _check_racks(
        "sram.stages", what, stages * tp, serving.kv.memory_fraction, device,
        spec.pool, factory, cure,
    )  # fmt: skip
    _check_groups("parallel.tp", tp, stages, factory, spec.pool)
    return Need(stages * tp, 0, stages)


def _need_of_split(ground: Ground, spec: DeploymentSpec, split: AfdSplit, device: Device) -> Need:
    assert spec.llm is not None
    factory, scenario = ground.factory, ground.scenario
    use, fraction = scenario.llms[spec.llm], scenario.serving.kv.memory_fraction
    llm = ground.llm(use.llm)
    groups = ffn_groups(llm, device, use.precision, split, fraction)
    partners = groups * split.parallel.tp
    what = f"{_amount(ffn_bytes(llm, use.precision))} of FFN and experts"
    cure = "more racks, or an LLM with fewer of them"
    _check_racks("split.pool", what, partners, fraction, device, split.pool, factory, cure)
    _check_groups("split.parallel.tp", split.parallel.tp, groups, factory, split.pool)
    return Need(spec.parallel.tp, partners, groups)


def _check_draft_pools(
    spec: DeploymentSpec, split: DraftSplit, here: Device, other: Device
) -> None:
    """Refuse drafts on what is no LPU, and verifies on what is one."""
    faults: list[Fault] = []
    if other.sram is None:
        found = f'"{split.pool}", of {other.id}, whose memory is DRAM'
        cure = "take a pool of LPUs; on the same GPUs drafts need no split"
        faults.append(Fault(split.pool, "split.pool", found, "a pool of LPUs", cure))
    if here.sram is not None:
        found = f'"{spec.pool}", of {here.id}, whose memory is SRAM'
        faults.append(Fault(spec.pool, "pool", found, "a pool of GPUs, which verify drafts"))
    if faults:
        raise CapacityError(*faults)


def _need_of_draft(
    ground: Ground, spec: DeploymentSpec, split: DraftSplit, device: Device, blocks: int
) -> Need:
    """Count the LPUs of a draft LLM beside an LLM of so many KV blocks."""
    factory, scenario = ground.factory, ground.scenario
    assert spec.speculation is not None
    assert spec.speculation.draft is not None  # as the spec says of such a split
    use, serving = spec.speculation.draft, scenario.serving
    llm, tp = ground.llm(use.llm), split.parallel.tp
    wanted = blocks * serving.kv.block_tokens
    stages = draft_stages(llm, device, use.precision, split, wanted, scenario)
    sequences = serving.max_sequences
    sram = layout_of_draft(split, wanted)
    held = sram_bytes(llm, use.precision, split.parallel, sequences, kv_in_dram=sram.kv == "dram")
    what = f"{_amount(tp * held.weights)} of weights of {llm.id}"
    if held.state:
        what += f" and {_amount(tp * held.state)} of state of {sequences:,} sequences"
    if sram.kv_tokens is not None:
        kv_bytes = tp * sram.kv_tokens * held.kv_token
        what += f" and {_amount(kv_bytes)} of KV of {sram.kv_tokens:,} tokens"
    cure = "more racks, or fewer `split.sram.kv_tokens`"
    _check_racks(
        "split.sram", what, stages * tp, serving.kv.memory_fraction, device,
        split.pool, factory, cure,
    )  # fmt: skip
    _check_groups("split.parallel.tp", tp, stages, factory, split.pool)
    return Need(spec.parallel.devices, stages * tp, stages)


def _check_racks(
    key: str,
    what: str,
    chips: int,
    fraction: float,
    device: Device,
    pool: str,
    factory: Factory,
    cure: str,
) -> None:
    """Refuse what the whole pool could not hold."""
    members = factory.pools[pool]
    if chips <= len(members):
        return
    a_rack = _a_rack(members, factory)
    usable = fraction * device.capacity_bytes
    racks = len(members) / a_rack
    found = (
        f"{what}: {chips:,} {device.id} of {_amount(usable)} ({fraction:.0%} of "
        f"{_amount(device.capacity_bytes)}), {chips / a_rack:.1f} racks"
    )
    expected = (
        f"at most {racks:.3g} rack{'s' * (racks != 1)}: pool {pool} has {len(members):,} of them, "
        f"{_amount(a_rack * device.capacity_bytes)} a rack"
    )
    raise CapacityError(Fault(pool, key, found, expected, cure))


def _check_groups(key: str, size: int, groups: int, factory: Factory, pool: str) -> None:
    """Refuse groups that would not lie in one rack each."""
    a_rack = _a_rack(factory.pools[pool], factory)
    if groups > 1 and size * groups > a_rack and a_rack % size:
        found = f"{size} devices that share a layer"
        raise CapacityError(Fault(pool, key, found, f"a divisor of {a_rack}, those of a rack"))


def _a_rack(members: Sequence[int], factory: Factory) -> int:
    """Devices of a pool in one of its racks."""
    racks = {int(factory.racks[node]) for node in members}
    return max(1, len(members) // len(racks))


def _amount(size_bytes: float) -> str:
    if size_bytes >= 1e12:
        return f"{size_bytes / 1e12:.4g} TB"
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.4g} GB"
    return f"{size_bytes / 1e6:.4g} MB"
