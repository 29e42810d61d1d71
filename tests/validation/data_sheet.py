"""What a step cannot do without, counted from an LLM's facts and a data sheet alone.

Written for the tests, and independent of `factorysim.physics`: nothing of it is called here.
Each count is a lower bound. Norms, biases, routers, activations, states of recurrent layers,
keys of indexers, and what a kind of attention needs beyond its plain part are left out, since a
bound need not have them.

- A weight of a linear layer takes 2 FLOP for each token, and is read once a step.
- Of the experts of a layer, ``E (1 - (1 - k/E)**T)`` are chosen by one of T tokens or more.
- A query takes ``4 d`` FLOP for each key of d elements (2 for the score, 2 for the value), and
  the whole cache of a decode is read.

Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009: time is at least FLOP over peak,
and bytes over bandwidth.
"""

from typing import NamedTuple

BITS = {
    "fp32": 32.0, "bf16": 16.0, "fp8": 8.0, "int8": 8.0, "fp4": 4.0,
    "mxfp4": 4 + 8 / 32,  # OCP MX 1.0: a scale of 8 bits for 32 elements
    "nvfp4": 4 + 8 / 16,  # NVFP4: an FP8 scale for 16
    "w4a16": 4 + (16 + 4) / 128,  # GPTQ, AWQ: scale and zero for 128
    "q8_0": 8 + 16 / 32,  # llama.cpp: a scale of 16 bits for 32
    "q4_k_m": 4.85,  # llama.cpp: mean of a file
}  # fmt: skip
"""Of an element, scales included."""
EVERYWHERE = ("fp32", "q4_k_m", "q8_0")
"""Formats that cover embeddings and LM head as well, which are in BF16 otherwise."""


class Step(NamedTuple):
    """A step: decodes of so much context each, and a chunk of a prompt after cached tokens."""

    decodes: int
    context: int
    chunk: int = 0
    prior: int = 0

    @property
    def tokens(self) -> int:
        return self.decodes + self.chunk

    @property
    def emitting(self) -> int:
        """Sequences whose logits are taken: a chunk is its prompt's last here."""
        return self.decodes + (self.chunk > 0)


class Need(NamedTuple):
    """What all devices together cannot do without."""

    linear_flops: float
    attention_flops: float
    weight_bytes: float
    expert_bytes: float
    kv_bytes: float
    expert_flops: float = 0.0


def need(llm, precision, step: Step, tokens_of_all: int | None = None) -> Need:
    """Count FLOP and bytes of a step.

    `tokens_of_all`: where experts see the tokens of several ranks, of which the step is one.
    """
    everyone = step.tokens if tokens_of_all is None else tokens_of_all
    attention, ffn = attention_weights(llm), dense_weights(llm)
    table = llm.vocab * llm.hidden
    covered = precision.weights if precision.weights != "mxfp4" else "bf16"  # the FFN alone
    head = precision.weights if precision.weights in EVERYWHERE else "bf16"
    one_expert = llm.ffn_matrices * (llm.latent_size or llm.hidden) * (llm.expert_intermediate or 0)
    experts, active = (llm.experts or 0, llm.experts_active or 0) if llm.moe_layers else (0, 0)
    chosen = experts * (1 - (1 - active / experts) ** everyone) if experts else 0.0
    pairs, read = attended(llm, step)
    return Need(
        linear_flops=2.0 * (attention + ffn) * step.tokens + 2.0 * table * step.emitting,
        attention_flops=pairs,
        weight_bytes=attention * BITS[covered] / 8
        + ffn * BITS[precision.weights] / 8
        + table * BITS[head] / 8,
        expert_bytes=llm.moe_layers * chosen * one_expert * BITS[precision.weights] / 8,
        kv_bytes=read * BITS[precision.kv] / 8,
        expert_flops=2.0 * llm.moe_layers * active * one_expert * everyone,
    )


def least_seconds(needed: Need, device, compute: str, devices: int, expert_devices: int) -> float:
    """Time below which the data sheet would have to be wrong.

    Attention is taken in BF16 where the device has it, the rest in the format asked for.
    """
    peak, attention_peak = device.flops[compute], device.flops.get("bf16", device.flops[compute])
    computing = needed.linear_flops / devices + needed.expert_flops / expert_devices
    computing = computing / peak + needed.attention_flops / devices / attention_peak
    moved = (needed.weight_bytes + needed.kv_bytes) / devices + needed.expert_bytes / expert_devices
    return max(computing, moved / device.memory_bandwidth)


def attention_weights(llm) -> float:
    """Of the projections that every token passes, all layers."""
    hidden, heads = llm.hidden, llm.heads
    recurrent = (llm.linear_attention_layers or 0) * 4 * hidden * heads * (llm.v_head_dim or 0)
    inner = (llm.mamba_heads or 0) * (llm.mamba_head_dim or 0)
    recurrent += (llm.mamba_layers or 0) * 3 * hidden * inner
    if llm.attention == "compressed_sparse_mqa":
        query = llm.q_lora_rank * (hidden + heads * llm.head_dim)
        return llm.layers * (query + hidden * llm.head_dim)
    if llm.kv_lora_rank is not None:
        wide = heads * (llm.qk_nope_head_dim + llm.qk_rope_head_dim)
        rank = llm.q_lora_rank
        query = hidden * wide if rank is None else rank * (hidden + wide)
        latent = hidden * (llm.kv_lora_rank + llm.qk_rope_head_dim)
        spread = llm.kv_lora_rank * heads * (llm.qk_nope_head_dim + llm.v_head_dim)
        output = heads * llm.v_head_dim * hidden
        return llm.kv_layers * (query + latent + spread + output) + recurrent
    local = hidden * llm.head_dim * 2 * (heads + llm.kv_heads)
    dim = llm.global_head_dim or llm.head_dim
    groups = llm.global_kv_heads or llm.kv_heads
    full = hidden * dim * (2 * heads + (1 if llm.k_eq_v_global else 2) * groups)
    return llm.kv_layers * full + llm.window_layers * local + recurrent


def dense_weights(llm) -> float:
    """Of the FFN that every token passes, all layers."""
    wide = llm.intermediate if llm.ffn_kind == "dense" else llm.dense_intermediate
    dense = llm.dense_layers * (wide or 0)
    shared = llm.moe_layers * (llm.shared_experts or 0) * (llm.shared_intermediate or 0)
    latent = llm.moe_layers * 2 * (llm.latent_size or 0) * llm.hidden
    return llm.ffn_matrices * llm.hidden * (dense + shared) + latent


def attended(llm, step: Step) -> tuple[float, float]:
    """FLOP of scores and values, and elements of the cache that decodes read."""
    if llm.attention == "compressed_sparse_mqa":
        return 0.0, 0.0
    if llm.kv_lora_rank is not None:
        rank, rope = llm.kv_lora_rank, llm.qk_rope_head_dim
        seen = seen_by(step, llm.topk)
        decoding = 2 * llm.heads * (2 * rank + rope) * seen.decoded
        prompt = 2 * llm.heads * (llm.qk_nope_head_dim + rope + llm.v_head_dim) * seen.pairs
        return llm.kv_layers * (decoding + prompt), llm.kv_layers * (rank + rope) * seen.decoded
    dim, groups = llm.global_head_dim or llm.head_dim, llm.global_kv_heads or llm.kv_heads
    every, near = seen_by(step, None), seen_by(step, llm.window)
    flops = (
        4
        * llm.heads
        * (
            llm.kv_layers * dim * (every.decoded + every.pairs)
            + llm.window_layers * llm.head_dim * (near.decoded + near.pairs)
        )
    )
    read = 2 * (
        llm.kv_layers * groups * dim * every.decoded
        + llm.window_layers * llm.kv_heads * llm.head_dim * near.decoded
    )
    return float(flops), float(read)


class Seen(NamedTuple):
    """Keys that decodes see, and pairs of queries and keys of the chunk."""

    decoded: int
    pairs: int


def seen_by(step: Step, most: int | None) -> Seen:
    """Count keys where a query sees `most` of them."""
    if most is None:
        own = step.chunk * (step.chunk + 1) // 2
        return Seen(step.decodes * step.context, own + step.chunk * step.prior)
    whole = max(0, min(step.chunk, most - step.prior))  # queries that see all before them
    pairs = whole * step.prior + whole * (whole + 1) // 2 + (step.chunk - whole) * most
    return Seen(step.decodes * min(step.context, most), pairs)
