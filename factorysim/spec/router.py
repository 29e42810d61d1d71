"""Routers: which replica a call goes to."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.base import Name, Seconds, Spec, refuse

RoutingPolicy = Literal[
    "round_robin",
    "least_outstanding",
    "power_of_two",
    "least_kv",
    "sticky",
    "affinity",
    "prefix_aware",
    "score",
    "shared_queue",
]

_ROUTER_KEYS: dict[str, tuple[RoutingPolicy, ...]] = {
    "spill": ("affinity", "prefix_aware"),
    "threshold": ("prefix_aware",),
    "index": ("prefix_aware", "score"),
    "index_blocks": ("prefix_aware", "score"),
    "weights": ("score",),
    "share": ("shared_queue",),
}
"""Which policies read a key of the router that not all of them do."""


class WeightsSpec(Spec):
    """What counts for `score`: each term is 1 at best and 0 at worst.

    The defaults are assumed, after llm-d's: prefix 3, queue 2, KV cache 2.
    """

    prefix: float = Field(default=3.0, ge=0.0, le=1e6)
    """Share of the prompt that the replica is thought to hold."""
    calls: float = Field(default=2.0, ge=0.0, le=1e6)
    """Fewest in flight 1, most 0."""
    kv: float = Field(default=2.0, ge=0.0, le=1e6)
    """Share of the KV cache that prompts in flight leave."""

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not self.prefix and not self.calls and not self.kv:
            cure = "give one, or choose `policy: round_robin`"
            raise refuse("", "weights that are all 0", "at least one above 0", cure)
        return self


class ShareSpec(Spec):
    """Turns in the router's own queue: tokens let go of each, by its weight."""

    per: Literal["tenant", "stream"] = "tenant"
    """Who takes turns; a stream without a tenant is one of its own."""
    weights: dict[Name, Annotated[int, Field(ge=1, le=1000)]] = Field(default_factory=dict)
    """Of a tenant (or a stream); 1 where not given."""


class RouterSpec(Spec):
    """Which replica a call goes to."""

    policy: RoutingPolicy = "least_outstanding"
    """`shared_queue`: replicas pull from one queue when they have room."""
    snapshot: Seconds = 0.0
    """Age of the load that it sees: refreshed at multiples of this; 0 is live."""
    spill: int | None = Field(default=None, ge=0, le=1_000_000)
    """Calls that a preferred replica may have more than the least loaded; 64 where not given."""

    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    """Share of a prompt that must be held for it to count; 0.3 where not given."""
    index: Literal["exact", "approximate"] | None = None
    """How prefixes are known: what replicas hold, copied with the snapshot; or what was sent
    where (the default)."""
    index_blocks: int | None = Field(default=None, ge=1)
    """Of what was sent to each replica, so many are remembered; as its KV cache, if not given."""
    weights: WeightsSpec | None = None
    share: ShareSpec | None = None
    """Turns between tenants in the router's own queue, instead of priorities."""

    @model_validator(mode="after")
    def _keys_fit_policy(self) -> Self:
        for key, policies in _ROUTER_KEYS.items():
            value = getattr(self, key)
            if value is not None and self.policy not in policies:
                expected = f"nothing, since the policy is {self.policy}"
                cure = f"remove it: only {' and '.join(policies)} read it"
                raise refuse(key, f"{value}", expected, cure)
        if self.index == "exact" and self.index_blocks is not None:
            cure = "remove it, or take `index: approximate`"
            expected = "nothing, since the index is exact"
            raise refuse("index_blocks", f"{self.index_blocks}", expected, cure)
        return self
