"""The types of `fstrace/1`: a session is a DAG of LLM calls, tool calls and gaps.

The same types hold what a trace recorded and what a synthetic agent draws.
Times are integer nanoseconds, as in the file format; `sim` turns them into
femtoseconds. Nodes name what they wait for by index into the session's nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Initiator = Literal["user", "tool", "agent", "system"]


@dataclass(slots=True)
class LlmNode:
    """One LLM call."""

    prompt_tokens: int
    """The whole prompt, at least 1."""
    output_tokens: int
    """At least 1; reasoning included."""
    prefix_tokens: int = 0
    """Leading prompt tokens that repeat this session's last context (prompt and
    output of its previous call): what a warm KV cache can save."""
    after: tuple[int, ...] = ()
    delay_ns: int = 0
    """Between the end of the last of `after` and the call."""
    at_ns: int | None = None
    """Recorded start, after the session's; for open-loop replay."""
    initiator: Initiator = "user"
    hashes: tuple[int, ...] = ()
    """Ids of the prompt's blocks, as the trace gives them."""
    block_tokens: int | None = None


@dataclass(slots=True)
class ToolNode:
    """One tool call: work for cores, a wait elsewhere, or both."""

    cls: str
    cpu_s: float = 0.0
    """Core-seconds on the reference core."""
    cores: float = 1.0
    """That it can keep busy at once."""
    memory_bytes: float = 0.0
    remote_ns: int = 0
    """Spent outside the factory, before the cores are asked for."""
    result_tokens: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    after: tuple[int, ...] = ()
    delay_ns: int = 0
    at_ns: int | None = None


@dataclass(slots=True)
class GapNode:
    """Think time of a user, an approval: nothing of the factory is used."""

    delay_ns: int
    cls: Literal["user", "approval", "client"] = "user"
    after: tuple[int, ...] = ()


Node: TypeAlias = LlmNode | ToolNode | GapNode


@dataclass(slots=True)
class Session:
    """One whole agentic task."""

    sid: str
    at_ns: int
    """Arrival, after the start of the stream."""
    nodes: list[Node]
    """In an order in which every node comes after what it waits for."""
    agent: str = ""
    client: str = ""
    priority: int = 0
    src: dict[str, object] = field(default_factory=dict[str, object])
    """Fields of the source that the mapping does not reproduce."""
