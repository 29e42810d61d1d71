"""LLMs of the catalog: shapes, ready to count weights and KV with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from factorysim.catalog.values import Llm, Vision

if TYPE_CHECKING:
    from factorysim.catalog.reading import Reading

_VISION = ".vision."
"""In the ids of facts that only calls with images rest on."""
COMPRESSED = "compressed_sparse_mqa"
"""Attention on compressed entries of the cache: DeepSeek V4's."""
_COMPRESSED_SHAPES = (
    *("indexer_heads", "indexer_head_dim", "layers_ratio_4", "layers_ratio_128"),
    *("o_lora_rank", "o_groups"),
)
_GQA = frozenset({"gqa", "mha", "mha_alibi", "gqa_alternating_window", "gqa_chunked_local"})
"""Attention that keeps keys and values of `kv_heads` heads; windows are fields of their own."""


def build_llm(reading: Reading, identity: str) -> Llm:
    """Build an LLM from the facts of its record.

    Raises
    ------
    CapacityError
        If a shape is unknown: names every missing fact.
    """
    layers = int(reading.need("layers"))
    attention = _attention_kind(reading)
    moe = reading.text("ffn.type") == "moe"
    dense_layers, moe_layers = _split(reading, layers, moe)
    width = int(reading.need("ffn.intermediate")) if not moe else None
    experts = [
        _need_if(reading, moe, f"ffn.{key}")
        for key in ("experts", "experts_active", "expert_intermediate")
    ]
    shared = reading.count("ffn.shared_experts")
    window_layers = reading.count("attention.window_layers") or 0
    hidden, vocab = int(reading.need("hidden_size")), int(reading.need("vocab_size"))
    tied = reading.flag("tied_embeddings")
    if tied is None:
        reading.miss("tied_embeddings")
    kv_bytes = reading.number("attention.kv_bytes_per_token_bf16")
    llm_kind: Literal["dense", "moe"] = "moe" if moe else "dense"
    gqa, mla = attention == "gqa", attention == "mla"
    compressed = attention == COMPRESSED
    heads = int(reading.need("attention.heads"))
    head = {key: _need_if(reading, gqa, f"attention.{key}") for key in ("kv_heads", "head_dim")} | {
        key: _need_if(reading, mla, f"attention.{key}")
        for key in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    }
    sparse = _sparse(reading, compressed)
    total, active = reading.need("total_params"), reading.number("active_params")
    context = int(reading.need("context_length"))
    reading.check()
    mamba = {
        key: reading.count(f"attention.mamba_{key}")
        for key in ("layers", "heads", "head_dim", "groups", "state_dim", "conv_kernel")
    }
    return Llm(
        id=identity,
        name=reading.text("name", identity),
        vendor=reading.text("vendor"),
        layers=layers,
        hidden=hidden,
        vocab=vocab,
        tied_embeddings=bool(tied),
        context_length=context,
        total_params=total,
        active_params=total if active is None else active,
        native_precision=_first_word(reading.text("native_precision", "bf16")),
        attention=attention,
        heads=heads,
        **head,
        q_lora_rank=reading.count("attention.q_lora_rank"),
        kv_layers=_kv_layers(reading, layers, window_layers),
        window=reading.count("attention.sliding_window"),
        window_layers=window_layers,
        ffn_kind=llm_kind,
        ffn_matrices=reading.count("ffn.matrices") or 3,
        intermediate=width,
        dense_layers=dense_layers,
        dense_intermediate=reading.count("ffn.dense_intermediate", "ffn.intermediate"),
        moe_layers=moe_layers,
        experts=experts[0],
        experts_active=experts[1],
        shared_experts=shared,
        expert_intermediate=experts[2],
        shared_intermediate=reading.count("ffn.shared_intermediate")
        or (experts[2] if shared else None),
        latent_size=reading.count("ffn.latent_size"),
        global_kv_heads=reading.count("attention.global_kv_heads"),
        global_head_dim=reading.count("attention.global_head_dim"),
        k_eq_v_global=reading.flag("attention.k_eq_v_global"),
        kv_elements_per_token=None if kv_bytes is None else kv_bytes / 2,
        **{f"mamba_{key}": value for key, value in mamba.items()},
        linear_attention_layers=reading.count("attention.linear_attention_layers"),
        state_bytes_per_sequence=reading.number(
            "attention.mamba_state_bytes_per_sequence", "attention.linear_state_bytes_per_sequence"
        ),
        index_key_bytes=reading.number("attention.sparse_indexer.key_bytes"),
        vision=_vision(reading),
        mtp_layers=reading.count("mtp_layers"),
        **sparse,
        facts=tuple(fact for fact in reading.used() if _VISION not in fact),
    )


def _attention_kind(reading: Reading) -> str:
    kind = reading.text("attention.type", "gqa")
    return "gqa" if kind in _GQA else kind


def _sparse(reading: Reading, compressed: bool) -> dict[str, int | None]:
    """Read what selects tokens: an indexer beside MLA, or that of compressed attention."""
    if not compressed:
        topk = reading.count("attention.sparse_indexer.topk")
        found = {
            f"indexer_{key}": _need_if(reading, topk is not None, f"attention.sparse_indexer.{key}")
            for key in ("heads", "head_dim")
        }
        layers = reading.count("attention.sparse_indexer.layers", "attention.kv_layers", "layers")
        return found | {"topk": topk, "indexer_layers": None if topk is None else layers}
    found = {key: int(reading.need(f"attention.{key}")) for key in _COMPRESSED_SHAPES}
    for key in ("head_dim", "q_lora_rank", "sliding_window"):
        reading.need(f"attention.{key}")
    topk = int(reading.need("attention.indexer_topk"))
    return found | {"topk": topk, "indexer_layers": found["layers_ratio_4"]}


def _vision(reading: Reading) -> Vision | None:
    params = reading.number("vision.encoder_params")
    patches = reading.number("vision.patches_per_token")
    if params is None or patches is None:
        return None
    return Vision(params, patches, tuple(fact for fact in reading.used() if _VISION in fact))


def _need_if(reading: Reading, needed: bool, key: str) -> int | None:
    """Read a count that must be known where it is needed, and may be absent elsewhere."""
    return int(reading.need(key)) if needed else reading.count(key)


def _split(reading: Reading, layers: int, moe: bool) -> tuple[int, int]:
    """Layers with a dense FFN and with experts; hybrids also have layers with neither."""
    if not moe:
        return reading.count("ffn.dense_layers") or layers, 0
    dense = reading.count("ffn.dense_layers") or 0
    stated = reading.count("ffn.moe_layers")
    return dense, layers - dense if stated is None else stated


def _kv_layers(reading: Reading, layers: int, window_layers: int) -> int:
    stated = reading.count("attention.kv_layers")
    return layers - window_layers if stated is None else stated


def _first_word(text: str) -> str:
    """Format of the main checkpoint: records list it first."""
    match = re.match(r"[a-z0-9_]+", text.lower())
    return match[0] if match else "bf16"
