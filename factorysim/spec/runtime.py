"""Agent runtimes: the sandboxes that tools run in, and what the cloud charges in time."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.base import Bytes, PositiveSeconds, Seconds, Spec, refuse

SANDBOX_STARTS = {"microvm": "sandbox_start_microvm", "container": "sandbox_start_container"}
"""Short names of tool classes."""


class SandboxSpec(Spec):
    """Sandboxes that the tools of a deployment run in.

    A sandbox is started on a host, holds memory there from that start to its end, and
    all tools that it serves run there. Whoever finds no room waits, first come first served.
    """

    per: Literal["session", "agent", "call"] | None = None
    """Whose it is: the whole session's; an agent's, so that each sub-agent has its own; one
    attempt at one tool's. As the runtime says, else the session's, if not given."""
    start: str | None = None
    """How long a start takes and what it works: `microvm`, `container`, or a tool class. As
    the runtime says, else `microvm`, if not given."""
    memory: Bytes | None = None
    """Held from start to end; as the runtime says, else the memory of the class `start`, if not
    given."""
    burst: Bytes | None = None
    """Memory of each host that is kept for tools at work, on top of their sandboxes; that of the
    largest tool of the scenario's agents, if not given."""
    warm_pool: int | None = Field(default=None, ge=0, le=100_000)
    """Sandboxes of each host that are kept ready; one that is taken is replaced at once. As the
    runtime says, else 0, if not given."""
    idle_timeout: PositiveSeconds | None = None
    """Given back when no tool has used it for so long; as the runtime says, else never before its
    session ends, if not given."""
    hold_through_gaps: bool | None = None
    """Whether it is kept while its user thinks; yes, if not given."""

    @model_validator(mode="after")
    def _keys_fit_per(self) -> Self:
        if self.per == "call":
            for key in ("idle_timeout", "hold_through_gaps"):
                value = getattr(self, key)
                if value is not None:
                    expected = "nothing, since each call has a sandbox of its own"
                    raise refuse(key, f"{value}", expected, "remove it")
        return self


class CloudSpec(Spec):
    """Tools that run elsewhere, on as many cores as they ask for."""

    latency: Seconds = 0.0
    """There and back, of each attempt."""
    concurrency: int | None = Field(default=None, ge=1, le=10_000_000)
    """Tools at once; more wait, first come first served. No limit, if not given."""
