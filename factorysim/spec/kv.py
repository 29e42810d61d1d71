"""The KV cache of a replica: its blocks, what stays in it, and where the rest may wait."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.base import Bytes, PositiveSeconds, Spec, refuse
from factorysim.spec.tiers import StoreSpec, Tier, check_order

_NEEDS_TIERS: dict[str, object] = {
    "offload": "evict",
    "fetch": "cheaper",
    "eviction": "lru",
    "ttl": None,
    "stores": {},
}
"""Keys that say something of tiers below HBM, by what they are where there are none."""


class KvSpec(Spec):
    """The KV cache of a replica."""

    block_tokens: int = Field(default=16, ge=1, le=4096)
    blocks: int | None = Field(default=None, ge=1)
    """Given outright, or what memory leaves."""
    memory_fraction: float = Field(default=0.9, gt=0.0, le=1.0)
    """Of device memory that weights, workspace and KV may take."""
    workspace: Bytes = 3e9
    """Per device, for activations and the collectives' buffers."""
    retain: Literal["shared", "session", "none"] = "shared"
    """Cached until evicted (LRU): what any call has computed, for all that begin alike;
    for later calls of the same session only; nothing."""
    cache_outputs: bool = True
    """Whether what a call answers is cached as well, as engines do; if not, its blocks are
    cached once they come in a later prompt."""
    tiers: Annotated[tuple[Tier, ...], Field(strict=False)] = ("hbm",)
    """Where blocks may wait, from the fastest to the slowest: what a tier has no room for
    goes to the next one."""
    offload: Literal["evict", "tool_call"] = "evict"
    """Blocks are copied out of HBM as they are evicted, or as a tool begins on which their
    session waits (others are lost)."""
    fetch: Literal["cheaper", "always", "never"] = "cheaper"
    """Whether a call loads what the tiers have of its prompt, or computes it."""
    eviction: Literal["lru", "ttl", "tool_ttl"] = "lru"
    """Of the tiers below HBM: the least recently used first; that, and whatever was not used
    for `ttl`; first what no tool is expected back for."""
    ttl: PositiveSeconds | None = None
    stores: dict[Tier, StoreSpec] = Field(default_factory=dict)
    """What the catalog does not know of a tier, or is not meant."""

    @model_validator(mode="after")
    def _tiers_make_sense(self) -> Self:
        check_order(self.tiers)
        if len(self.tiers) == 1:
            return self._nothing_of_tiers()
        if self.retain == "none":
            cure = "remove the tiers, or `retain: none`"
            raise refuse("tiers", "tiers below hbm", "none, since nothing is retained", cure)
        if self.ttl is None and self.eviction == "ttl":
            cure = "for example `ttl: 10 min`"
            raise refuse("ttl", "nothing", "a time, since eviction is ttl", cure)
        if self.ttl is not None and self.eviction != "ttl":
            expected = f"nothing, since eviction is {self.eviction}"
            cure = "remove it, or take `eviction: ttl`"
            raise refuse("ttl", f"{self.ttl:g} s", expected, cure)
        for tier in self.stores:
            if tier not in self.tiers or tier == "hbm":
                expected = f"one of the tiers below HBM: {', '.join(self.tiers[1:])}"
                cure = "remove it, or add the tier; HBM is set by memory_fraction or blocks"
                raise refuse(f"stores.{tier}", tier, expected, cure)
        return self

    def _nothing_of_tiers(self) -> Self:
        """Refuse rules of tiers where there are none."""
        for key, default in _NEEDS_TIERS.items():
            if getattr(self, key) != default:
                cure = "remove it, or add tiers: for example `tiers: [hbm, host]`"
                raise refuse(key, "rules for tiers", "none, since HBM is the only one", cure)
        return self
