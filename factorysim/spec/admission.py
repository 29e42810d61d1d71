"""Admission control at the gateway: who is let in, who is turned away, and when they come again."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.base import (
    Name,
    PositiveSeconds,
    Share,
    Spec,
    TokensPerSecond,
    refuse,
)


class TokenLimit(Spec):
    """Tokens a second, and how many may come at once."""

    rate: TokensPerSecond
    burst: int = Field(ge=1, le=10**15)
    """Tokens that a full bucket holds."""


class TokenBucketSpec(TokenLimit):
    """A bucket that fills at `rate` up to `burst`; calls take their tokens out of it.

    A call is let in if its tokens are there, or if the bucket is full; what a call
    takes beyond that is a debt, which the rate pays first.
    """

    per: Literal["tenant", "stream"] = "tenant"
    """Whose bucket it is; a stream without a tenant has one of its own."""
    counts: Literal["total", "prompt"] = "total"
    """A call's prompt and the output that it asks for; or the prompt alone."""
    limits: dict[Name, TokenLimit] = Field(default_factory=dict)
    """Of a tenant (or a stream) another rate and burst."""


class QueueLimitSpec(Spec):
    """Calls let in and not yet answered, at most: then others are turned away."""

    calls: int = Field(ge=1, le=10**9)
    per: Literal["replica", "router"] = "replica"
    """Of the replica that the router has chosen; or of all that the router serves."""


class RetrySpec(Spec):
    """How a session comes again with a call that was turned away."""

    attempts: int = Field(ge=2, le=1000)
    """Times that a call is sent, at most; then its session fails."""
    backoff: PositiveSeconds = 1.0
    """Wait after the first rejection."""
    factor: float = Field(default=2.0, ge=1.0, le=100.0)
    """Each wait is so many times the one before."""
    longest: PositiveSeconds = 60.0
    """Of a wait, before `jitter`."""
    jitter: Share = 0.5
    """Of each wait, at most, that a draw takes off."""


class AdmissionSpec(Spec):
    """What the gateway in front of the routers turns away."""

    token_bucket: TokenBucketSpec | None = None
    queue_limit: QueueLimitSpec | None = None
    retry: RetrySpec | None = None
    """A session whose call is turned away fails at once, if not given."""

    @model_validator(mode="after")
    def _turns_something_away(self) -> Self:
        if self.token_bucket is None and self.queue_limit is None:
            expected = "a token_bucket or a queue_limit"
            raise refuse("", "nothing that turns calls away", expected, "give one, or remove it")
        return self
