"""Deployments over two pools: attention apart from FFN, or drafts apart from verifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault
from factorysim.graph.blocks import drafter_of, gpu_blocks
from factorysim.graph.draft_split import draft_blocks, of_draft
from factorysim.graph.images import vision_of
from factorysim.graph.laws import Work, apart_law, cut_law, drafted_law, stage_law
from factorysim.graph.links import exchange_links, straddles
from factorysim.graph.needs import chips_of_draft
from factorysim.graph.plan import PartnerPlan
from factorysim.graph.setup import Setup
from factorysim.physics.afd import Exchange, ffn_bytes
from factorysim.physics.memory import kv_blocks, weight_bytes
from factorysim.physics.power import device_power

if TYPE_CHECKING:
    from factorysim.catalog import Llm
    from factorysim.graph.ground import Ground
    from factorysim.graph.setup import Other, Placed
    from factorysim.physics.step import PartnerSide
    from factorysim.spec.split import AfdSplit, DraftSplit, Split


def attention_apart(ground: Ground, placed: Placed, split: AfdSplit, other: Other) -> Setup:
    """Set up attention on the deployment's pool, FFN and experts on that of its split.

    Raises
    ------
    CapacityError
        If prompts have images, attention would cross the network, or nothing fits.
    """
    llm, precision = placed.llm, placed.precision
    _check_attention(ground, placed)
    law = apart_law(
        placed.work(ground),
        placed.hardware(ground),
        ground.hardware(other.device, other.replicas),
        split,
        other.need.stages,
        _exchange(ground, placed, split, other),
    )
    serving = ground.scenario.serving
    blocks = kv_blocks(
        llm,
        placed.device,
        precision,
        placed.spec.parallel,
        serving.kv,
        serving.max_sequences,
        held=weight_bytes(llm, precision).total - ffn_bytes(llm, precision),
    )
    partner = _partner(ground, split, other, law.partner, precision.compute)
    return Setup(law, blocks, partner=partner)


def _check_attention(ground: Ground, placed: Placed) -> None:
    spec, llm = placed.spec, placed.llm
    assert spec.llm is not None  # the spec of a deployment that serves
    if vision_of(ground, spec.llm, llm) is not None:
        expected = "none: attention apart from FFN has no encoder"
        raise CapacityError(Fault(llm.id, "split", "images", expected, "remove the split"))
    if any(straddles(ground.factory, nodes) for nodes in placed.replicas):
        found = f"{spec.parallel.tp} devices over several domains"
        expected = "one scale-up domain for the attention of a split"
        raise CapacityError(Fault(llm.id, "parallel.tp", found, expected, "a smaller tp"))


def drafts_apart(ground: Ground, placed: Placed, split: DraftSplit, other: Other) -> Setup:
    """Set up verifies on the deployment's pool, drafts on the LPUs of its split.

    A token of a sequence is held on both sides, so the smaller one decides.

    Raises
    ------
    CapacityError
        If a side does not fit.
    """
    spec, need, drafter = placed.spec, other.need, drafter_of(ground, placed.spec)
    assert drafter is not None  # a split of drafts has somebody who drafts
    assert drafter.llm is not None  # by an LLM of its own
    assert spec.speculation is not None
    blocks = gpu_blocks(ground, spec, placed.device)
    work = Work(drafter.llm, drafter.precision, split.parallel, ground.scenario.serving.overlap)
    chips = chips_of_draft(split, need, ground.factory)
    there = ground.hardware(other.device, other.replicas)
    try:
        draft = stage_law(work, there, split.sram, chips)
    except CapacityError as error:
        raise of_draft(error) from error
    exchange = _exchange(ground, placed, split, other)
    own = cut_law(placed.work(ground), placed.hardware(ground))
    law = drafted_law(own, draft, spec.speculation, split, drafter.llm.vocab, exchange)
    drafted = draft_blocks(
        drafter.llm, other.device, drafter.precision, split, need.stages, ground.scenario
    )
    if drafted < blocks:
        ground.notes.append(_fewer_blocks(ground, placed, other, drafter.llm, (blocks, drafted)))
    partner = _partner(ground, split, other, law.partner(), drafter.precision.compute)
    return Setup(law, min(blocks, drafted), partner=partner)


def _fewer_blocks(
    ground: Ground,
    placed: Placed,
    other: Other,
    draft: Llm,
    blocks: tuple[int, int],
) -> str:
    """Say that the LPUs hold less KV than the GPUs."""
    size = ground.scenario.serving.kv.block_tokens
    here, there = (count * size for count in blocks)
    return (
        f"{placed.name}: KV of {draft.id} on {other.need.partners:,} {other.device.id} is of "
        f"{there:,} tokens, so no more are in use of the {here:,} on "
        f"{placed.spec.parallel.devices} {placed.device.id} (`split.sram.kv_tokens`)"
    )


def _partner(
    ground: Ground, split: Split, other: Other, side: PartnerSide, compute: str
) -> PartnerPlan:
    power = device_power(other.device, ground.efficiency(other.device))
    return PartnerPlan(split.pool, other.device, side, power, other.need.partners, compute)


def _exchange(ground: Ground, placed: Placed, split: Split, other: Other) -> Exchange:
    """Find the link between the two sides, as given or as the topology has it."""
    bandwidth, latency_s = split.link_bandwidth, split.link_latency
    if bandwidth is None or latency_s is None:
        found = exchange_links(
            ground.graph, ground.factory, placed.replicas, other.replicas, split.parallel.tp
        )
        bandwidth = found[0] if bandwidth is None else bandwidth
        latency_s = found[1] if latency_s is None else latency_s
        if other.device.sram is not None:
            ground.notes.append(
                f"{placed.name}: nobody has published the link between {placed.device.id} and "
                f"{other.device.id}; assumed are {bandwidth / 1e9:,.4g} GB/s a direction and "
                f"{latency_s * 1e6:.3g} us (`split.link_bandwidth`, `split.link_latency`)"
            )
    reached = ground.efficiency(placed.device).link_bandwidth
    return Exchange(bandwidth * reached, latency_s)
