"""What a layout leaves for the KV cache: of a plain replica, of ranks, of stages.

Attention-DP copies all weights but the routed experts to every rank, and gives each
rank its own cache. A pipeline's stages hold their own layers' weights and cache, so the
fullest stage bounds the blocks that all of them have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault
from factorysim.physics.memory import in_gb, kv_blocks, lasting_bytes, token_bytes
from factorysim.physics.precision import weight_width
from factorysim.physics.shape import llm_shape
from factorysim.physics.stages import check_stages, stage_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.catalog.values import Device, Llm
    from factorysim.physics.memory import Beside
    from factorysim.physics.shape import Shape
    from factorysim.spec.kv import KvSpec
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec


class Held(NamedTuple):
    """What a device of one part of a replica holds, in bytes."""

    what: str
    weights: float
    token: float
    """KV cache of a token."""
    sequence: float
    """Full windows and recurrent state of a sequence."""


def replica_blocks(
    llm: Llm,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    kv: KvSpec,
    sequences: int = 0,
    beside: Beside | None = None,
) -> int:
    """Blocks of KV cache of a replica, the caches of all its ranks together.

    `kv.blocks`, where given, are those of one rank. So are `sequences`, whose state is
    set aside on every rank.

    Raises
    ------
    CapacityError
        If the weights leave no room for a block, or for the blocks given; if there are
        more stages than layers.
    """
    if parallel.pp == parallel.dp == 1:
        return kv_blocks(llm, device, precision, parallel, kv, sequences, beside)
    assert beside is None, "ranks and stages do not speculate"
    check_stages(llm, parallel)
    fits = (
        _blocks(held, llm, device, parallel, kv, sequences)
        for held in _parts(llm_shape(llm), precision, parallel)
    )
    return parallel.dp * min(fits)


def _parts(shape: Shape, precision: PrecisionSpec, parallel: ParallelSpec) -> Iterator[Held]:
    """Devices that differ in what they hold: one of any rank, or one of each stage."""
    tp = parallel.tp
    table = shape.table * weight_width(precision.weights, "embeddings")
    if parallel.dp > 1:
        tables = table if shape.tied else 2 * table
        yield _held("a rank", shape, precision, tp, parallel.dp, tables)
        return
    last = parallel.pp - 1
    for stage, part in enumerate(stage_shapes(shape, parallel.pp)):
        # The first embeds and the last has the head: a copy of the same table if tied.
        tables = table * (stage in (0, last))
        yield _held(f"stage {stage + 1} of {last + 1}", part, precision, tp, 1, tables)


def _held(
    what: str, shape: Shape, precision: PrecisionSpec, tp: int, dp: int, tables: float
) -> Held:
    routed = shape.experts * shape.moe_layers * shape.expert_params
    own = tables + sum(
        linear.params * weight_width(precision.weights, linear.part) for linear in shape.linears
    )
    return Held(
        what,
        own / tp + routed * weight_width(precision.weights, "ffn") / (tp * dp),
        token_bytes(shape, precision, tp),
        lasting_bytes(shape, precision, tp),
    )


def _blocks(
    held: Held, llm: Llm, device: Device, parallel: ParallelSpec, kv: KvSpec, sequences: int
) -> int:
    state = sequences * held.sequence
    block = kv.block_tokens * held.token
    wanted = kv.blocks or 1
    most = kv.memory_fraction * device.capacity_bytes
    room = most - held.weights - kv.workspace - state
    if kv.blocks is not None:
        most = device.capacity_bytes
        room = most - held.weights
    if room < wanted * block or room < 0:
        key = "dp" if parallel.dp > 1 else "pp"
        cure = "more tp, fewer bits, or another device"
        if parallel.pp > 1:
            cure = "more stages, " + cure
        beside = f" (workspace {in_gb(kv.workspace)}, state {in_gb(state)})"
        if kv.blocks is not None:
            cure, beside = f"fewer serving.kv.blocks, {cure}", ""
        elif state:
            cure += f"; {sequences} sequences set state aside: lower serving.max_sequences"
        raise CapacityError(
            Fault(
                f"{llm.id} on {parallel.devices} x {device.id}",
                f"parallel.{key}",
                f"on each device of {held.what} {in_gb(held.weights)} of weights and {wanted} KV "
                f"blocks of {in_gb(block)}{beside}",
                f"no more than {in_gb(most)}",
                cure,
            )
        )
    # A stage without layers of full attention keeps no token: the others bound it.
    return kv.blocks or (int(room // block) if block else 1 << 62)
