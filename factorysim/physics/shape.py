"""What an LLM is made of: weights, FLOP and KV by class of operator, from its shapes.

Counts leave out norms and biases (under 0.1 % of any LLM of the catalog). A
weight of a linear layer costs 2 FLOP a token. Attention costs FLOP per pair of
a query and a key: grouped-query attention (Ainslie et al., arXiv:2305.13245)
``4 * heads * head_dim``; multi-head latent attention (DeepSeek-V2,
arXiv:2405.04434, section 2.1) ``2 * heads * (nope + rope + v)`` on expanded keys
in a prompt, and ``2 * heads * (2 * rank + rope)`` on the latents themselves in
decoding, where the expansion is absorbed into the projections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault
from factorysim.physics.groups import Attention as Attention
from factorysim.physics.sparse import (
    COMPRESSED,
    compressed_attention,
    compressed_params,
    indexer_params,
    pending_elements,
    select,
)

if TYPE_CHECKING:
    from factorysim.catalog.values import Llm
    from factorysim.physics.precision import Part


class Linear(NamedTuple):
    """Weights that every token passes and every step reads, over all layers."""

    name: str
    params: int
    part: Part


class Shape(NamedTuple):
    """Operators of an LLM."""

    layers: int
    blocks: int
    """Mixers (attention or recurrent) and FFNs: two a layer of most LLMs; TP joins after each."""
    hidden: int
    linears: tuple[Linear, ...]
    experts: int
    """Routed experts of a layer; 0 for dense LLMs."""
    active: int
    moe_layers: int
    expert_params: int
    """Of one expert of one layer."""
    expert_width: int
    """Elements of a token on its way to an expert: hidden size, or a latent one."""
    inner_width: int
    """Elements that a token has inside a layer's FFN and attention, a mean over layers."""
    table: int
    """Weights of the embedding table, and of the LM head."""
    tied: bool
    attention: tuple[Attention, ...]
    state_elements: int
    """Of recurrent layers, per sequence, whatever its length; FP32."""
    pending_elements: int = 0
    """Of tokens that wait to be compressed, per sequence, at most; FP32."""

    @property
    def total_params(self) -> int:
        """All weights held in memory."""
        routed = self.experts * self.moe_layers * self.expert_params
        tables = self.table if self.tied else 2 * self.table
        return sum(linear.params for linear in self.linears) + routed + tables

    @property
    def active_params(self) -> int:
        """Weights of one token's path, with the LM head, without the embedding table."""
        routed = self.active * self.moe_layers * self.expert_params
        return sum(linear.params for linear in self.linears) + routed + self.table


def llm_shape(llm: Llm) -> Shape:
    """Operators of an LLM of the catalog.

    Raises
    ------
    CapacityError
        If its kind of attention has no law here, or no layer keeps the whole context.
    """
    if llm.attention not in _KINDS:
        raise CapacityError(
            Fault(
                llm.id, "attention", llm.attention, f"one of {', '.join(sorted(_KINDS))}",
                "factorysim has no step law for this attention yet: take another LLM",
            )
        )  # fmt: skip
    attention = _attention(llm)
    if not any(group.keeps_all for group in attention):
        raise CapacityError(
            Fault(
                llm.id, "attention.kv_layers", "0: no layer keeps the whole context",
                "1 or more", "without them there are no KV blocks to count; give the layers no "
                "window to take them as full attention, which holds and reads more",
            )
        )  # fmt: skip
    moe_layers = llm.moe_layers if llm.ffn_kind == "moe" else 0
    width = llm.latent_size or llm.hidden
    linears = (*_mixers(llm), *_feed_forward(llm, moe_layers))
    expert = llm.ffn_matrices * width * (llm.expert_intermediate or 0)
    return Shape(
        layers=llm.layers,
        blocks=_mixer_layers(llm) + llm.dense_layers + moe_layers,
        hidden=llm.hidden,
        linears=tuple(linear for linear in linears if linear.params),
        experts=(llm.experts or 0) if moe_layers else 0,
        active=(llm.experts_active or 0) if moe_layers else 0,
        moe_layers=moe_layers,
        expert_params=expert if moe_layers else 0,
        expert_width=width,
        inner_width=_inner_width(llm, moe_layers),
        table=llm.vocab * llm.hidden,
        tied=llm.tied_embeddings,
        attention=attention,
        state_elements=_state_elements(llm),
        pending_elements=pending_elements(llm),
    )


_KINDS = {"gqa", "mla", "hybrid_mamba2_gqa", "hybrid_kda_mla", COMPRESSED}


def _dense_intermediate(llm: Llm) -> int:
    return (llm.intermediate if llm.ffn_kind == "dense" else llm.dense_intermediate) or 0


def _mixer_layers(llm: Llm) -> int:
    recurrent = (llm.mamba_layers or 0) + (llm.linear_attention_layers or 0)
    return llm.kv_layers + llm.window_layers + recurrent


def _shared_intermediate(llm: Llm) -> int:
    one = llm.shared_intermediate or llm.expert_intermediate or 0
    return (llm.shared_experts or 0) * one


def _mixers(llm: Llm) -> tuple[Linear, ...]:
    """Projections of attention and of recurrent layers."""
    if llm.attention == COMPRESSED:
        projections = compressed_params(llm)
    elif llm.kv_lora_rank is not None:
        projections = llm.kv_layers * _mla_params(llm)
    else:
        full = _gqa_params(llm, *_global_heads(llm), shared=bool(llm.k_eq_v_global))
        local = _gqa_params(llm, llm.kv_heads or 0, llm.head_dim or 0, shared=False)
        projections = llm.kv_layers * full + llm.window_layers * local
    return (
        Linear("attention", projections + indexer_params(llm), "attention"),
        Linear("recurrent", _mamba_params(llm) + _kda_params(llm), "attention"),
    )


def _feed_forward(llm: Llm, moe_layers: int) -> tuple[Linear, ...]:
    """Dense and shared FFN, the router, and the way into and out of a latent MoE."""
    matrices, hidden = llm.ffn_matrices, llm.hidden
    dense = _dense_intermediate(llm)
    shared = _shared_intermediate(llm)
    return (
        Linear("dense_ffn", llm.dense_layers * matrices * hidden * dense, "ffn"),
        Linear("shared_experts", moe_layers * matrices * hidden * shared, "ffn"),
        Linear("latent", moe_layers * 2 * hidden * (llm.latent_size or 0), "ffn"),
        Linear("router", moe_layers * hidden * (llm.experts or 0), "router"),
        Linear("entry", llm.mtp_entry_params or 0, "ffn"),
    )


def _global_heads(llm: Llm) -> tuple[int, int]:
    """KV heads and head size of the layers that see everything."""
    return llm.global_kv_heads or llm.kv_heads or 0, llm.global_head_dim or llm.head_dim or 0


def _gqa_params(llm: Llm, kv_heads: int, head_dim: int, *, shared: bool) -> int:
    """Of one layer; `shared`: values are the keys, without a projection of their own."""
    rows = 2 * llm.heads + (1 if shared else 2) * kv_heads
    return llm.hidden * rows * head_dim


def _mla_params(llm: Llm) -> int:
    """Of one layer: low-rank queries, the shared latent, its expansion, the output."""
    rank, nope, rope, v = _mla_dims(llm)
    queries = llm.heads * (nope + rope)
    q_rank = llm.q_lora_rank
    query = llm.hidden * queries if q_rank is None else q_rank * (llm.hidden + queries)
    latent = llm.hidden * (rank + rope) + rank * llm.heads * (nope + v)
    # Beside KDA the output has a gate: derived, the record's count closes with it only.
    outputs = 2 if llm.linear_attention_layers else 1
    return query + latent + outputs * llm.heads * v * llm.hidden


def _mla_dims(llm: Llm) -> tuple[int, int, int, int]:
    return (
        llm.kv_lora_rank or 0,
        llm.qk_nope_head_dim or 0,
        llm.qk_rope_head_dim or 0,
        llm.v_head_dim or 0,
    )


def _mamba_params(llm: Llm) -> int:
    """Mamba-2 layers (Dao and Gu, arXiv:2405.21060, section 7): in, convolution, out."""
    if not llm.mamba_layers:
        return 0
    heads = llm.mamba_heads or 0
    inner = heads * (llm.mamba_head_dim or 0)
    groups = 2 * (llm.mamba_groups or 0) * (llm.mamba_state_dim or 0)
    entry = llm.hidden * (2 * inner + groups + heads)
    convolution = (inner + groups) * (llm.mamba_conv_kernel or 0)
    return llm.mamba_layers * (entry + convolution + inner * llm.hidden)


def _kda_params(llm: Llm) -> int:
    """Kimi delta attention: the facts file's hypothesis.

    Five full-rank projections, and a rate for each head.
    """
    if not llm.linear_attention_layers:
        return 0
    width = llm.heads * (5 * (llm.v_head_dim or 0) + 1)
    return llm.linear_attention_layers * llm.hidden * width


def _state_elements(llm: Llm) -> int:
    return int(llm.state_bytes_per_sequence or 0) // 4


def _inner_width(llm: Llm, moe_layers: int) -> int:
    """Count the elements of a token that a layer moves inside its FFN and attention, on average.

    Each is read, gated or rotated, and written: three times.
    """
    routed = (llm.experts_active or 0) * (llm.expert_intermediate or 0)
    ffn = llm.dense_layers * _dense_intermediate(llm) + moe_layers * (
        _shared_intermediate(llm) + routed
    )
    head = llm.head_dim or (llm.qk_nope_head_dim or 0) + (llm.qk_rope_head_dim or 0)
    return (3 * ffn + 3 * llm.layers * llm.heads * head) // llm.layers


def _attention(llm: Llm) -> tuple[Attention, ...]:
    """List groups of attention layers: those that see all, then those with a window."""
    if llm.attention == COMPRESSED:
        return compressed_attention(llm)
    if llm.kv_lora_rank is not None:
        return select(_mla_attention(llm), llm)
    groups = [_gqa_attention(llm, llm.kv_layers, None, *_global_heads(llm))]
    if llm.window_layers:
        local = (llm.window, llm.kv_heads or 0, llm.head_dim or 0)
        groups.append(_gqa_attention(llm, llm.window_layers, *local))
    return tuple(group for group in groups if group.layers)


def _gqa_attention(
    llm: Llm, layers: int, window: int | None, kv_heads: int, head_dim: int
) -> Attention:
    flops = layers * 4 * llm.heads * head_dim
    return Attention(
        layers=layers,
        window=window,
        heads=llm.heads,
        kv_heads=kv_heads,
        elements=layers * 2 * kv_heads * head_dim,
        decode_flops=flops,
        pair_flops=flops,
        expand_flops=0,
        reads="all" if window is None else "sliding",
    )


def _mla_attention(llm: Llm) -> Attention:
    rank, nope, rope, v = _mla_dims(llm)
    return Attention(
        layers=llm.kv_layers,
        window=None,
        heads=llm.heads,
        kv_heads=1,
        elements=llm.kv_layers * (rank + rope),
        decode_flops=llm.kv_layers * 2 * llm.heads * (2 * rank + rope),
        pair_flops=llm.kv_layers * 2 * llm.heads * (nope + rope + v),
        expand_flops=llm.kv_layers * 2 * rank * llm.heads * (nope + v),
    )
