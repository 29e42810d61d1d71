"""The types of `fstrace/1`: a session is a DAG of LLM calls, tool calls and gaps.

The same types hold what a trace recorded, all at once, and what a synthetic agent
draws, whose nodes are built stage by stage. Times are integer nanoseconds, as in
the file format; `sim` turns them into femtoseconds. Nodes name what they wait for
by index into the session's nodes. They are made by the million, hence in C: `msgspec`
makes one in a fifth of the time that a dataclass takes, and nodes, which hold no
references back, are nothing to the garbage collector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, overload

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from factorysim.workload.runs import Runs

Initiator = Literal["user", "tool", "agent", "system"]


class LlmNode(msgspec.Struct, gc=False):
    """One LLM call."""

    prompt_tokens: int
    """The whole prompt, at least 1."""
    output_tokens: int
    """At least 1; reasoning included."""
    prefix_tokens: int = 0
    """Leading prompt tokens that repeat the last of its context (prompt and output of
    the previous call in it): what a warm KV cache can save."""
    after: tuple[int, ...] = ()
    delay_ns: int = 0
    """Between the end of the last of `after` and the call."""
    at_ns: int | None = None
    """Recorded start, after the session's; for open-loop replay."""
    initiator: Initiator = "user"
    hashes: Runs = ()
    """Ids of the prompt's blocks as the trace gives them, in runs."""
    block_tokens: int | None = None
    """Tokens of a block of `hashes`."""
    shared_tokens: int = 0
    """Leading prompt tokens that all sessions of the agent begin with; of a context
    other than 0, all sub-agents of the agent."""
    context: int = 0
    """Which of the session's contexts it goes on: a sub-agent has one of its own."""
    step: str = ""
    """What it does in the session, for routing: `planner`, `worker`; empty: not told."""
    role: int = 0
    """Which kind of sub-agent: those of a role begin alike, so far as `shared_tokens` go."""
    image_tokens: int = 0
    """Of the prompt: those of images that are new in it, which an encoder makes."""


class Attempt(NamedTuple):
    """One attempt at a tool that failed, and that the harness follows with another."""

    cpu_s: float
    """Core-seconds on the reference core."""
    remote_ns: int
    """Spent outside the factory, before the cores are asked for."""
    backoff_ns: int
    """Between its end and the next attempt."""


class ToolNode(msgspec.Struct, gc=False):
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
    context: int = 0
    """Which of the session's contexts calls it: a sub-agent has one of its own."""
    failed: tuple[Attempt, ...] = ()
    """Attempts before the one that the fields above tell of."""
    status: Literal["ok", "failed", "timeout"] = "ok"
    """Of the last attempt, as the LLM reads it."""


class GapNode(msgspec.Struct, gc=False):
    """Think time of a user, an approval: nothing of the factory is used."""

    delay_ns: int
    cls: Literal["user", "approval", "client"] = "user"
    after: tuple[int, ...] = ()


Node: TypeAlias = LlmNode | ToolNode | GapNode

_SHARED = 4096
_SINGLE = tuple((node,) for node in range(_SHARED))
"""`after` of one node, shared by all sessions: a tuple each would cost 100 bytes a node."""


class StagedNodes(Sequence[Node]):
    """The nodes of a session that goes stage by stage, built as it gets there.

    All nodes of a stage begin when the last of the stage before has ended. Whoever
    walks the stages holds one of them at a time; read as a sequence, it is the
    whole session, built anew at each reading, with what waits for what.

    Parameters
    ----------
    calls
        LLM calls in all stages.
    stages
        Gives the stages from the first on. `after` of their nodes counts within the
        stage, and is empty in most.

    Examples
    --------
    >>> nodes = StagedNodes(2, lambda: iter([[LlmNode(9, 5)], [GapNode(7)], [LlmNode(20, 5)]]))
    >>> [len(stage) for stage in nodes.stages()], nodes[2].after
    ([1, 1, 1], (1,))
    """

    __slots__ = ("calls", "stages")

    def __init__(self, calls: int, stages: Callable[[], Iterator[list[Node]]]) -> None:
        self.calls = calls
        self.stages = stages

    def whole(self) -> list[Node]:
        """Build all nodes, each waiting for those of the stage before."""
        nodes: list[Node] = []
        after: tuple[int, ...] = ()
        for stage in self.stages():
            after = _append(nodes, stage, after)
        return nodes

    def __len__(self) -> int:
        return sum(map(len, self.stages()))

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> list[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | list[Node]:
        return self.whole()[index]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.whole())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (StagedNodes, list)):
            return NotImplemented
        return self.whole() == list(other)

    __hash__ = None  # type: ignore[assignment]


def _append(nodes: list[Node], stage: list[Node], after: tuple[int, ...]) -> tuple[int, ...]:
    """Append a stage that waits for some nodes; returns what the next has to wait for."""
    first = len(nodes)
    awaited = {place for node in stage for place in node.after}
    for node in stage:
        node.after = tuple(first + place for place in node.after) if node.after else after
    nodes += stage
    if len(stage) == 1 and first < _SHARED:
        return _SINGLE[first]
    return tuple(first + place for place in range(len(stage)) if place not in awaited)


def side_by_side(chains: Iterable[Iterable[list[Node]]]) -> list[Node]:
    """Make one stage of several chains of stages that run beside each other.

    Examples
    --------
    >>> chains = [[[LlmNode(9, 5)], [LlmNode(20, 5)]], [[LlmNode(7, 1)]]]
    >>> [node.after for node in side_by_side(chains)]
    [(), (0,), ()]
    """
    nodes: list[Node] = []
    for chain in chains:
        after: tuple[int, ...] = ()
        for stage in chain:
            after = _append(nodes, stage, after)
    return nodes


class Session(msgspec.Struct):
    """One whole agentic task."""

    sid: str
    at_ns: int
    """Arrival, after the start of the stream."""
    nodes: Sequence[Node]
    """In an order in which every node comes after what it waits for."""
    agent: str = ""
    client: str = ""
    priority: int = 0
    src: dict[str, object] = {}
    """Fields of the source that the mapping does not reproduce."""
    hash_scope: Literal["global", "session"] = "global"
    """Where an id of `LlmNode.hashes` means the same tokens."""
    think_ns: int | None = None
    """Pause after it before the next one, where concurrency is fixed; None: the demand's."""
