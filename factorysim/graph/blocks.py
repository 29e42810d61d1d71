"""KV blocks of a replica on GPUs: what the LLM, who drafts for it and its encoder leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.graph.images import vision_of
from factorysim.physics.drafts import drafter
from factorysim.physics.layout import replica_blocks
from factorysim.physics.vision import encoder_bytes

if TYPE_CHECKING:
    from factorysim.catalog import Device
    from factorysim.graph.ground import Ground
    from factorysim.physics.drafts import Drafter
    from factorysim.spec.deployment import DeploymentSpec


def drafter_of(ground: Ground, spec: DeploymentSpec) -> Drafter | None:
    """Find who drafts for a deployment, if anybody does."""
    speculation = spec.speculation
    if speculation is None or not speculation.draft_tokens:
        return None
    assert spec.llm is not None  # the spec of a deployment that serves
    use = ground.scenario.llms[spec.llm]
    draft = None if speculation.draft is None else ground.llm(speculation.draft.llm)
    apart = None if spec.split is None else spec.split.parallel
    llm = ground.llm(use.llm)
    return drafter(llm, use.precision, draft, speculation, spec.parallel, apart)


def gpu_blocks(ground: Ground, spec: DeploymentSpec, device: Device) -> int:
    """Count the KV blocks of a replica.

    Raises
    ------
    CapacityError
        If nothing is left, or less than `serving.kv.blocks`.
    """
    assert spec.llm is not None  # the spec of a deployment that serves
    use, serving = ground.scenario.llms[spec.llm], ground.scenario.serving
    llm, kv, drafts = ground.llm(use.llm), serving.kv, drafter_of(ground, spec)
    vision = vision_of(ground, spec.llm, llm)
    if vision is not None:
        held = kv.workspace + encoder_bytes(vision) / spec.parallel.tp
        kv = kv.model_copy(update={"workspace": held})
    beside = None if drafts is None else drafts.beside
    return replica_blocks(
        llm, device, use.precision, spec.parallel, kv, serving.max_sequences, beside
    )
