"""LPUs that draft for GPUs: how many there are, and how much KV both sides can hold.

A token of a sequence is held twice, by the LLM on its GPUs and by the draft LLM in SRAM
(or the DRAM behind it), block for block, as where both are on the same devices. So the
LPUs are to hold as many blocks as the GPUs have; where the user gives them fewer, these
decide for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault
from factorysim.physics.sram import sram_blocks, sram_stages

if TYPE_CHECKING:
    from factorysim.catalog import Device, Llm
    from factorysim.spec.layout import SramSpec
    from factorysim.spec.llm import PrecisionSpec
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.split import DraftSplit

KEYS = {
    "precision": "speculation.draft.precision",
    "sram": "split.sram",
    "parallel": "split.parallel",
}
"""Where a deployment says of its draft LLM what others say of their LLM."""


def layout_of_draft(split: DraftSplit, kv_tokens: int) -> SramSpec:
    """Layout of the draft LLM; where it does not size itself, for `kv_tokens` of KV."""
    sram = split.sram
    if sram.kv == "dram" or sram.stages is not None or sram.kv_tokens is not None:
        return sram
    return sram.model_copy(update={"kv_tokens": kv_tokens})


def draft_stages(
    draft: Llm,
    device: Device,
    precision: PrecisionSpec,
    split: DraftSplit,
    kv_tokens: int,
    scenario: ScenarioSpec,
) -> int:
    """Count the stages of `split.parallel.tp` LPUs that hold the draft LLM and its KV.

    Parameters
    ----------
    kv_tokens
        That the KV cache of the LLM holds.

    Raises
    ------
    CapacityError
        If the precision is none that the LPU computes in.
    """
    serving = scenario.serving
    sram = layout_of_draft(split, kv_tokens)
    sequences = serving.max_sequences
    try:
        return sram_stages(draft, device, precision, split.parallel, sram, serving.kv, sequences)
    except CapacityError as error:
        raise of_draft(error) from error


def draft_blocks(
    draft: Llm,
    device: Device,
    precision: PrecisionSpec,
    split: DraftSplit,
    stages: int,
    scenario: ScenarioSpec,
) -> int:
    """Blocks of the draft LLM's KV cache on so many stages.

    Raises
    ------
    CapacityError
        If weights and state leave no room for a block, or for `serving.kv.blocks`.
    """
    serving = scenario.serving
    try:
        return sram_blocks(
            draft, device, precision, split.parallel, split.sram, stages, serving.kv,
            serving.max_sequences,
        )  # fmt: skip
    except CapacityError as error:
        raise of_draft(error) from error


def of_draft(error: CapacityError) -> CapacityError:
    """Say of the draft LLM what was said of an LLM alone."""
    faults: list[Fault] = []
    for fault in error.faults:
        part, dot, rest = fault.key.partition(".")
        cure = fault.cure
        if part == "precision":
            cure = f"give the draft LLM one of them: `{KEYS[part]}`"
        faults.append(fault._replace(key=KEYS.get(part, part) + dot + rest, cure=cure))
    return CapacityError(*faults)
