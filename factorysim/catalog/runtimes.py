"""Agent runtimes of the catalog: sandboxes, checks and gateways, ready for a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, cast

if TYPE_CHECKING:
    from factorysim.catalog.reading import Reading

SandboxPer = Literal["session", "agent", "call"]


class Check(NamedTuple):
    """What a call passes before it goes on."""

    cpu_s: float
    """Core-seconds on the reference core."""
    latency_s: float


class Runtime(NamedTuple):
    """An agent runtime; None where it leaves a matter open."""

    id: str
    name: str
    per: SandboxPer | None
    """Whose a sandbox is."""
    start: str | None
    """As `spec.runtime.SandboxSpec.start`."""
    memory_bytes: float | None
    """Of a sandbox."""
    warm_pool: int | None
    idle_timeout_s: float | None
    tool_check: Check
    llm_check: Check
    gateway_s: float
    """Of an LLM call, there and back."""
    facts: tuple[str, ...]


def build_runtime(reading: Reading, identity: str) -> Runtime:
    """Build a runtime: what it does not state, it does not do.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> load_catalog().runtime("nemoclaw").per
    'agent'
    >>> load_catalog().runtime("kubernetes_plain").tool_check
    Check(cpu_s=0.0, latency_s=0.0)
    """
    return Runtime(
        id=identity,
        name=reading.text("name", identity),
        per=cast("SandboxPer | None", reading.text("per") or None),
        start=reading.text("start") or None,
        memory_bytes=reading.number("sandbox_memory"),
        warm_pool=reading.count("warm_pool"),
        idle_timeout_s=reading.number("idle_timeout_s"),
        tool_check=_check(reading, "tool"),
        llm_check=_check(reading, "llm"),
        gateway_s=reading.number("gateway_s") or 0.0,
        facts=reading.used(),
    )


def _check(reading: Reading, what: str) -> Check:
    cpu_s, latency_s = reading.number(f"{what}_check_cpu_s"), reading.number(f"{what}_check_s")
    return Check(cpu_s or 0.0, latency_s or 0.0)
