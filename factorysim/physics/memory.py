"""What must be held in device memory: weights, KV cache, recurrent state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault
from factorysim.physics.precision import element_width, weight_width
from factorysim.physics.shape import llm_shape

if TYPE_CHECKING:
    from factorysim.catalog.values import Device, Llm
    from factorysim.physics.shape import Attention, Shape
    from factorysim.spec.kv import KvSpec
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec


class WeightBytes(NamedTuple):
    """Bytes of an LLM's weights by class, all devices together."""

    attention: float
    """Projections of attention and of recurrent layers."""
    dense_ffn: float
    """With the way into an MTP head."""
    shared_experts: float
    """With the way into and out of a latent MoE."""
    routed_experts: float
    router: float
    embeddings: float
    head: float
    """0 where the LM head is the embedding table."""

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self)


class Beside(NamedTuple):
    """What a device of a replica holds beside its LLM: what drafts for it."""

    weights: float = 0.0
    """Bytes."""
    token: float = 0.0
    """Bytes of KV cache for each token."""
    sequence: float = 0.0
    """Bytes for each running sequence."""


def weight_bytes(llm: Llm, precision: PrecisionSpec) -> WeightBytes:
    """Bytes of the weights of an LLM by class, as `precision.weights` stores them."""
    shape = llm_shape(llm)
    size = {
        linear.name: linear.params * weight_width(precision.weights, linear.part)
        for linear in shape.linears
    }
    table = shape.table * weight_width(precision.weights, "embeddings")
    routed = shape.experts * shape.moe_layers * shape.expert_params
    return WeightBytes(
        attention=size.get("attention", 0.0) + size.get("recurrent", 0.0),
        dense_ffn=size.get("dense_ffn", 0.0) + size.get("entry", 0.0),
        shared_experts=size.get("shared_experts", 0.0) + size.get("latent", 0.0),
        routed_experts=routed * weight_width(precision.weights, "ffn"),
        router=size.get("router", 0.0),
        embeddings=table,
        head=0.0 if shape.tied else table,
    )


def kv_share(attention: Attention, tp: int) -> float:
    """Share of a group's KV cache that each of `tp` devices holds.

    TP cuts the cache by heads: with fewer KV heads than devices they are copied,
    and the one latent of MLA is held by all.
    """
    return math.ceil(attention.kv_heads / tp) / attention.kv_heads


def kv_bytes_per_token(llm: Llm, precision: PrecisionSpec, parallel: ParallelSpec) -> float:
    """Bytes of KV cache that a token takes on each device of a replica.

    Of the layers that keep every token, the keys of an indexer with them: what
    sliding-window and recurrent layers hold is bounded per sequence, see
    `sequence_bytes`.
    """
    return token_bytes(llm_shape(llm), precision, parallel.tp)


def token_bytes(shape: Shape, precision: PrecisionSpec, tp: int) -> float:
    """Likewise, of the layers that a shape has."""
    return sum(
        attention.elements * kv_share(attention, tp) * _width(attention, precision)
        for attention in shape.attention
        if attention.keeps_all
    )


def _width(attention: Attention, precision: PrecisionSpec) -> float:
    own = attention.element_bytes
    return element_width(precision.kv) if own is None else own


def sequence_bytes(llm: Llm, precision: PrecisionSpec, parallel: ParallelSpec) -> float:
    """Bytes on each device that a running sequence takes whatever its length, at most.

    Full sliding windows, what waits to be compressed, and the FP32 state of recurrent
    layers cut over TP.
    """
    return lasting_bytes(llm_shape(llm), precision, parallel.tp)


def lasting_bytes(shape: Shape, precision: PrecisionSpec, tp: int) -> float:
    """Likewise, of the layers that a shape has."""
    windows = sum(
        group.window * group.elements * kv_share(group, tp) * _width(group, precision)
        for group in shape.attention
        if group.window is not None and not group.keeps_all
    )
    return windows + 4.0 * (shape.pending_elements + shape.state_elements / tp)


def kv_blocks(
    llm: Llm,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    kv: KvSpec,
    sequences: int = 0,
    beside: Beside | None = None,
    held: float | None = None,
) -> int:
    """Blocks of KV cache that a replica holds: what memory leaves, or `kv.blocks` as given.

    ``(memory_fraction * memory - weights / tp - workspace - sequences * state) / block``,
    all per device. Weights are cut evenly over TP, experts over EP inside it. Blocks as given
    must lie beside the weights in all of the memory, workspace and state at the user's risk:
    a law that gives times says nothing of memory, so this holds under any law.

    Parameters
    ----------
    sequences
        Running sequences whose windows and recurrent state are set aside.
    beside
        What else a device holds; a block has its KV in it too.
    held
        Bytes of weights on the replica; None: all of the LLM's.

    Raises
    ------
    CapacityError
        If the weights leave no room for a block, or for the blocks given.
    """
    more = beside or Beside()
    whole = weight_bytes(llm, precision).total if held is None else held
    weights = whole / parallel.tp + more.weights
    state = sequences * (sequence_bytes(llm, precision, parallel) + more.sequence)
    block = kv.block_tokens * (kv_bytes_per_token(llm, precision, parallel) + more.token)
    room = kv.memory_fraction * device.capacity_bytes - weights - kv.workspace - state
    wanted = kv.blocks or 1
    if kv.blocks is not None:
        room = device.capacity_bytes - weights
    if room < wanted * block:
        cure = "more tp, fewer bits, or another device"
        beside_it = f" (workspace {in_gb(kv.workspace)}, state {in_gb(state)})"
        drafts = f" ({in_gb(more.weights)} of them what drafts)" if more.weights else ""
        if kv.blocks is not None:
            cure, beside_it = f"fewer serving.kv.blocks, {cure}", ""
        elif state:
            cure += f"; {sequences} sequences set state aside: lower serving.max_sequences"
        raise CapacityError(
            Fault(
                f"{llm.id} on {parallel.tp} x {device.id}",
                "parallel.tp",
                f"{in_gb(weights)} of weights{drafts} and {wanted} KV blocks of {in_gb(block)}"
                f" a device{beside_it}",
                f"no more than {kv.memory_fraction:.0%} of {in_gb(device.capacity_bytes)}"
                if kv.blocks is None
                else f"no more than {in_gb(device.capacity_bytes)}",
                cure,
            )
        )
    return kv.blocks or int(room // block)


def in_gb(size_bytes: float) -> str:
    """Say a number of bytes as messages do.

    Examples
    --------
    >>> in_gb(2.5e9)
    '2.5 GB'
    """
    return f"{size_bytes / 1e9:.4g} GB"
