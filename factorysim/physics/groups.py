"""Groups of attention layers that are alike: what they read, what they keep, what it costs."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Reads: TypeAlias = Literal["all", "index", "selected", "sliding", "recent"]
"""What a query reads of the tokens before it.

``all``: every one, as stored. ``index``: the indexer's small key of every one, to
score it. ``selected``: the `window` of them that were scored highest, of a cache
that keeps every one. ``sliding``: the last `window`, and no other is kept.
``recent``: likewise, but counted as full from the first token on.
"""


class Attention(NamedTuple):
    """Attention of some layers alike; FLOP and elements are sums over these layers."""

    layers: int
    window: int | None
    """Tokens that a query sees, at most; None: all before it."""
    heads: int
    kv_heads: int
    """Over which TP can cut the cache; 1 for latents, which every device holds."""
    elements: float
    """KV elements per token."""
    decode_flops: float
    """Per query and cached token, while decoding."""
    pair_flops: float
    """Per query and key of a prompt."""
    expand_flops: float
    """Per prior token that a chunk has to expand from its latent; 0 for GQA."""
    reads: Reads = "all"
    element_bytes: float | None = None
    """Where it is not the precision of the KV cache."""

    @property
    def keeps_all(self) -> bool:
        """Whether the cache keeps every token, however few of them a query reads."""
        return self.reads in ("all", "index", "selected")

    @property
    def bounded(self) -> bool:
        """Whether what a query reads grows with the context up to `window` only."""
        return self.reads in ("selected", "sliding")
