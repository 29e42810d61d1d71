"""Sparse attention: an indexer that selects tokens, and caches of compressed entries.

DeepSeek sparse attention (DSA: DeepSeek-V3.2 and GLM-5) scores every cached token
by small keys of their own, `heads` ReLU products of `head_dim` each ("lightning
indexer"), and lets multi-head latent attention read the `topk` tokens that score
highest, absorbed: each query has a selection of its own.

DeepSeek-V4 compresses first. In some layers 4 tokens become one entry of the cache,
an indexer scores the entries and `topk` of them are read; in the others 128 become
one, and all are read. All layers read the last `window` tokens as well, as they
are. Keys are values: one head of `head_dim` elements, seen by every query head.

Shapes are those of the catalog's records, whose own counts of parameters close on
the formulas here. The papers behind them were not read: that every device of a
replica scores for all of them, and what waits to be compressed, is assumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.physics.groups import Attention

if TYPE_CHECKING:
    from factorysim.catalog.values import Llm

COMPRESSED = "compressed_sparse_mqa"

FEW, MANY = 4, 128
"""Tokens of a compressed entry, in layers of either kind."""
OVERLAP = 2
"""Entries of `FEW` tokens are made of twice as many: derived, the counts close with it only."""


def select(mla: Attention, llm: Llm) -> tuple[Attention, ...]:
    """Let latent attention read what an indexer selects; as it is where there is none."""
    if llm.topk is None:
        return (mla,)
    return (_indexer(llm, 1), mla._replace(window=llm.topk, reads="selected"))


def indexer_params(llm: Llm) -> int:
    """Weights of an indexer's queries, of its keys, and of the mix of its heads."""
    heads, size = llm.indexer_heads or 0, llm.indexer_head_dim or 0
    scored = (llm.q_lora_rank or llm.hidden) * heads * size + llm.hidden * heads
    if llm.attention != COMPRESSED:  # else keys come from a compressor
        scored += llm.hidden * size
    return (llm.indexer_layers or 0) * scored


def compressed_params(llm: Llm) -> int:
    """Weights of compressed attention: low-rank queries, one key, a grouped output, compressors.

    A compressor has two matrices: what to keep, and how much of it.
    """
    head, size, rank = llm.head_dim or 0, llm.indexer_head_dim or 0, llm.o_lora_rank or 0
    query = (llm.q_lora_rank or 0) * (llm.hidden + llm.heads * head)
    output = llm.heads * head * rank + (llm.o_groups or 0) * rank * llm.hidden
    few = (llm.layers_ratio_4 or 0) * 2 * OVERLAP * llm.hidden * (head + size)
    many = (llm.layers_ratio_128 or 0) * 2 * llm.hidden * head
    return llm.layers * (query + llm.hidden * head + output) + few + many


def compressed_attention(llm: Llm) -> tuple[Attention, ...]:
    """List the groups of compressed attention, counted per token of the context."""
    few, many = llm.layers_ratio_4 or 0, llm.layers_ratio_128 or 0
    selected = _entries(llm, few, FEW)._replace(window=(llm.topk or 0) * FEW, reads="selected")
    recent = _entries(llm, llm.layers, 1)._replace(window=llm.window, reads="recent")
    return (_indexer(llm, FEW), _entries(llm, many, MANY), selected, recent)


def pending_elements(llm: Llm) -> int:
    """Count what a sequence holds that waits to be compressed, at most; FP32, assumed.

    What a compressor makes of each token, until the tokens of an entry are together.
    """
    if llm.attention != COMPRESSED:
        return 0
    head, size = llm.head_dim or 0, llm.indexer_head_dim or 0
    few = (llm.layers_ratio_4 or 0) * OVERLAP * FEW * 2 * OVERLAP * (head + size)
    return few + (llm.layers_ratio_128 or 0) * MANY * 2 * head


def _entries(llm: Llm, layers: int, ratio: int) -> Attention:
    """Make a group that reads one entry for `ratio` tokens."""
    head = llm.head_dim or 0
    flops = layers * 4 * llm.heads * head / ratio
    return Attention(
        layers=layers,
        window=None,
        heads=llm.heads,
        kv_heads=1,
        elements=layers * head / ratio,
        decode_flops=flops,
        pair_flops=flops,
        expand_flops=0,
    )


def _indexer(llm: Llm, ratio: int) -> Attention:
    """Make the group of an indexer, whose heads are not cut: each device scores for itself."""
    layers, size = llm.indexer_layers or 0, llm.indexer_head_dim or 0
    flops = layers * 2 * (llm.indexer_heads or 0) * size / ratio
    key_bytes = llm.index_key_bytes
    return Attention(
        layers=layers,
        window=None,
        heads=1,
        kv_heads=1,
        elements=layers * size / ratio,
        decode_flops=flops,
        pair_flops=flops,
        expand_flops=0,
        reads="index",
        element_bytes=None if key_bytes is None else key_bytes / size,
    )
