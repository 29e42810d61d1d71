"""Deployments that serve an LLM: their law, memory and power, replica by replica."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault
from factorysim.graph.blocks import drafter_of, gpu_blocks
from factorysim.graph.images import encoder_beside, vision_of
from factorysim.graph.laws import Work, cut_law, given_law, stage_law, verifying_law
from factorysim.graph.links import exchange_ways, straddles, tray_receivers
from factorysim.graph.needs import chips_of, sram_of
from factorysim.graph.plan import ReplicaPlan, ServePlan
from factorysim.graph.setup import Other, Placed, Setup
from factorysim.graph.splits import attention_apart, drafts_apart
from factorysim.physics.handoff import kv_state
from factorysim.physics.power import device_power
from factorysim.physics.sram import sram_blocks
from factorysim.physics.step import FS_PER_S

if TYPE_CHECKING:
    from factorysim.graph.ground import Ground
    from factorysim.graph.placement import Need, Replicas
    from factorysim.physics.handoff import KvState
    from factorysim.physics.step import StepLaw
    from factorysim.spec.deployment import DeploymentSpec


def plan_serve(
    ground: Ground,
    name: str,
    spec: DeploymentSpec,
    replicas: Replicas,
    need: Need | None = None,
    partners: Replicas | None = None,
) -> ServePlan:
    """Plan a deployment that serves.

    Parameters
    ----------
    need
        Where what a replica must hold decides how many devices it takes.
    partners
        Devices of the other pool, where the deployment is split.

    Raises
    ------
    CapacityError
        If something does not fit, with the arithmetic.
    SpecError
        If a file does not say what it should.
    """
    assert spec.llm is not None  # the spec of a deployment that serves
    assert spec.role != "tools"
    use = ground.scenario.llms[spec.llm]
    llm, device = ground.llm(use.llm), ground.smallest([*chain(*replicas)])
    other = None
    if partners is not None and need is not None:
        other = Other(ground.device(partners[0][0]), partners, need)
    placed = Placed(name, spec, llm, use.precision, device, replicas, need, other)
    setup = _setup(ground, placed)
    return ServePlan(
        name=name,
        llm=spec.llm,
        pool=spec.pool,
        device=device,
        law=setup.law,
        power=device_power(device, ground.efficiency(device)),
        kv_blocks=setup.kv_blocks,
        replicas=_replicas(ground, placed),
        devices_per_replica=len(replicas[0]),
        role=spec.role,
        kv_state=_kv_state(placed, setup.stages),
        door_fs=_door_fs(ground, placed),
        context_tokens=llm.context_length,
        encoder=encoder_beside(ground, spec, llm, device),
        prompts_above=spec.prompts_above or 0,
        ranks=spec.parallel.dp,
        stages=spec.parallel.pp,
        partner=setup.partner,
    )


def _setup(ground: Ground, placed: Placed) -> Setup:
    split, other = placed.spec.split, placed.other
    if split is None:
        return _on_gpus(ground, placed) if placed.device.sram is None else _on_lpus(ground, placed)
    assert other is not None  # whoever is split has asked for it
    if split.kind == "afd":
        return attention_apart(ground, placed, split, other)
    return drafts_apart(ground, placed, split, other)


def _on_gpus(ground: Ground, placed: Placed) -> Setup:
    """Set up an LLM, and whoever drafts for it, on one pool of GPUs."""
    spec, work = placed.spec, placed.work(ground)
    blocks = gpu_blocks(ground, spec, placed.device)
    given = given_law(spec.law, ground.table)
    law = cut_law(work, placed.hardware(ground)) if given is None else given
    drafter = drafter_of(ground, spec)
    if drafter is None:
        return Setup(law, blocks)
    assert spec.speculation is not None  # who drafts was found by it
    own: StepLaw | None = None
    if drafter.llm is not None and given is None:  # a given law has their time in its own
        drafts = Work(drafter.llm, drafter.precision, drafter.parallel, work.overlap)
        own = cut_law(drafts, placed.hardware(ground))
    return Setup(verifying_law(law, own, spec.speculation), blocks)


def _on_lpus(ground: Ground, placed: Placed) -> Setup:
    """Set up an LLM alone on stages of LPUs."""
    spec, device, need = placed.spec, placed.device, placed.need
    assert spec.llm is not None
    assert need is not None  # of every pool of such devices
    drafter, vision = drafter_of(ground, spec), vision_of(ground, spec.llm, placed.llm)
    if drafter is not None or vision is not None:
        found, key = ("drafts", "speculation") if vision is None else ("images", "pool")
        expected = f"none on {device.id}, whose memory is SRAM"
        raise CapacityError(Fault(placed.llm.id, key, found, expected, "take a pool of GPUs"))
    serving, sram = ground.scenario.serving, sram_of(spec)
    blocks = sram_blocks(
        placed.llm, device, placed.precision, spec.parallel, sram, need.stages,
        serving.kv, serving.max_sequences,
    )  # fmt: skip
    law = given_law(spec.law, ground.table)
    if law is None:
        chips = chips_of(spec, need, ground.factory)
        law = stage_law(placed.work(ground), placed.hardware(ground), sram, chips)
    return Setup(law, blocks, need.stages)


def _replicas(ground: Ground, placed: Placed) -> tuple[ReplicaPlan, ...]:
    split, factory = placed.spec.split, ground.factory
    receives = split is None and placed.device.sram is not None
    exchanges = split is not None and split.kind == "afd" and split.link_bandwidth is None
    others = len(placed.replicas) * ((),) if placed.other is None else placed.other.replicas
    plans: list[ReplicaPlan] = []
    for nodes, partners in zip(placed.replicas, others, strict=True):
        way = factory.routes(ground.clients, nodes[0])
        plans.append(
            ReplicaPlan(
                devices=nodes,
                rack=ground.rack_of[nodes[0]],
                latency_fs=way.latency_fs,
                bandwidth=way.bandwidth,
                straddles=straddles(factory, nodes),
                partners=partners,
                ways=exchange_ways(factory, nodes, partners) if exchanges else (),
                receivers=tray_receivers(factory, nodes) if receives else (),
            )
        )
    return tuple(plans)


def _kv_state(placed: Placed, stages: int) -> KvState | None:
    """Bytes of a sequence on each device that decodes; of a stage where there are several."""
    if placed.spec.role != "decode":
        return None
    return kv_state(placed.llm, placed.precision, placed.spec.parallel).part(stages)


def _door_fs(ground: Ground, placed: Placed) -> int:
    """Time in the engine's front end; none where the scenario gives the times itself."""
    if placed.spec.law.kind != "roofline":
        return 0
    return round(ground.efficiency(placed.device).request_s * FS_PER_S)
