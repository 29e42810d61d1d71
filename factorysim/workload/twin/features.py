"""What a twin is fitted to: a pass over sessions, taken apart into columns.

Of every session the calls of its own context are a chain; what stands between two of
them is tools, sub-agents, a gap, or a delay. Calls of other contexts are sub-agents: of the
session itself, or of other sub-agents.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from factorysim.workload.session import GapNode, LlmNode, ToolNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.workload.session import Node, Session


def _whole() -> array[int]:
    return array("q")


def _real() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Chain:
    """Calls as columns, in order, a session's together."""

    session: array[int] = field(default_factory=_whole)
    index: array[int] = field(default_factory=_whole)
    """Of the call in its chain."""
    user: array[int] = field(default_factory=_whole)
    """1 where a user's message sets it off, or nothing before it does."""
    prompt: array[int] = field(default_factory=_whole)
    output: array[int] = field(default_factory=_whole)
    prefix: array[int] = field(default_factory=_whole)
    before: array[int] = field(default_factory=_whole)
    """Prompt of the call before; 0 of a first one."""
    answered: array[int] = field(default_factory=_whole)
    """Output of the call before; 0 of a first one."""


@dataclass(slots=True)
class Waits:
    """What is waited for between calls: seconds, and of which session."""

    session: array[int] = field(default_factory=_whole)
    seconds: array[float] = field(default_factory=_real)

    def add(self, session: int, seconds: float) -> None:
        """Add one."""
        self.session.append(session)
        self.seconds.append(seconds)


@dataclass(slots=True)
class Tools:
    """Calls of one class of tools."""

    waits: Waits = field(default_factory=Waits)
    cpu_s: float = 0.0
    """In all."""
    core_s: float = 0.0
    """Cores times seconds that they were held, in all."""
    cores: array[float] = field(default_factory=_real)
    memory_bytes: array[float] = field(default_factory=_real)


@dataclass(slots=True)
class Team:
    """The sub-agents of one level: those of sessions first, those of these then."""

    chain: Chain = field(default_factory=Chain)
    """Their calls; `session` counts sub-agents here."""
    at_once: array[int] = field(default_factory=_whole)
    """Sub-agents side by side, of each batch of them."""


@dataclass(slots=True)
class Features:
    """A trace in columns."""

    arrivals_ns: array[int] = field(default_factory=_whole)
    turns: array[int] = field(default_factory=_whole)
    """Of each session."""
    calls_per_turn: Waits = field(default_factory=Waits)
    """Of each turn: a count, kept like a wait."""
    own: Chain = field(default_factory=Chain)
    teams: list[Team] = field(default_factory=list[Team])
    """Level by level; none without sub-agents."""
    delegates: array[int] = field(default_factory=_whole)
    """Sub-agents of each session, on all levels."""
    gaps: Waits = field(default_factory=Waits)
    delays: Waits = field(default_factory=Waits)
    tools: dict[str, Tools] = field(default_factory=lambda: defaultdict(Tools))
    batches: array[int] = field(default_factory=_whole)
    """Tools of each batch."""
    batch_session: array[int] = field(default_factory=_whole)
    batch_s: array[float] = field(default_factory=_real)
    """How long each took: its longest tool."""
    transitions: int = 0
    """From a call to the next of its turn."""
    handed_over: int = 0
    """Of these, those that wait for sub-agents and for no tool."""
    block_tokens: set[int] = field(default_factory=set[int])
    first_hashes: list[tuple[tuple[int, int], ...]] = field(default_factory=list)
    """Of the first call of each session whose ids mean the same in all."""
    without_calls: int = 0
    """Sessions without an LLM call, which are left out."""
    shared: array[int] = field(default_factory=_whole)
    """What each session's first prompt is said to share with all others."""


def features_of(sessions: Iterable[Session]) -> Features:
    """Take sessions apart in one pass.

    Memory grows by some 100 bytes a call.

    Examples
    --------
    >>> from factorysim.workload.session import Session
    >>> calls = [LlmNode(10, 2), GapNode(5 * 10**9), LlmNode(20, 2)]
    >>> seen = features_of([Session("a", 0, calls)])
    >>> list(seen.turns), list(seen.own.prompt), list(seen.gaps.seconds)
    ([2], [10, 20], [5.0])
    """
    seen = Features()
    for session in sessions:
        nodes = list(session.nodes)
        first = next((node for node in nodes if isinstance(node, LlmNode)), None)
        if first is None:
            seen.without_calls += 1
            continue
        number = len(seen.turns)
        seen.arrivals_ns.append(session.at_ns)
        contexts = _contexts(nodes, first.context)
        _own(seen, number, nodes, contexts)
        _delegated(seen, nodes, contexts)
        seen.shared.append(first.shared_tokens)
        if session.hash_scope == "global" and first.hashes:
            seen.first_hashes.append(first.hashes)
        if first.hashes and first.block_tokens:
            seen.block_tokens.add(first.block_tokens)
    return seen


def _contexts(nodes: Sequence[Node], own: int) -> list[int | None]:
    """Context of each node, None for the session's own; a tool's is that of what it follows."""
    contexts: list[int | None] = []
    for node in nodes:
        if isinstance(node, LlmNode):
            contexts.append(None if node.context == own else node.context)
        else:
            contexts.append(contexts[node.after[0]] if node.after else None)
    return contexts


def _own(
    seen: Features, number: int, nodes: Sequence[Node], contexts: Sequence[int | None]
) -> None:
    """Take the session's own chain."""
    between: list[Node] = []
    turn = turns = 0
    last: LlmNode | None = None
    for node in (node for node, sub in zip(nodes, contexts, strict=True) if sub is None):
        if not isinstance(node, LlmNode):
            between.append(node)
            continue
        user = last is None or node.initiator == "user" or _gap_in(between)
        if user:
            turns += 1
            if last is not None:
                seen.calls_per_turn.add(number, turn)
            turn = 0
        turn += 1
        _add(seen.own, number, node, last, user=user)
        if last is not None:
            handed = any(contexts[before] is not None for before in node.after)
            _wait(seen, number, between, node.delay_ns, user=user, handed=handed)
        between, last = [], node
    if last is not None:
        seen.calls_per_turn.add(number, turn)
    seen.turns.append(turns)


def _gap_in(between: Sequence[Node]) -> bool:
    return any(isinstance(node, GapNode) and node.cls == "user" for node in between)


def _add(chain: Chain, number: int, node: LlmNode, last: LlmNode | None, *, user: bool) -> None:
    begun = bool(chain.session) and chain.session[-1] == number
    chain.index.append(chain.index[-1] + 1 if begun else 0)
    chain.session.append(number)
    chain.user.append(user)
    chain.prompt.append(node.prompt_tokens)
    chain.output.append(node.output_tokens)
    chain.prefix.append(node.prefix_tokens)
    chain.before.append(0 if last is None else last.prompt_tokens)
    chain.answered.append(0 if last is None else last.output_tokens)


def _wait(
    seen: Features,
    number: int,
    between: Sequence[Node],
    delay_ns: int,
    *,
    user: bool,
    handed: bool,
) -> None:
    """Take what stands between two calls.

    Parameters
    ----------
    handed
        Whether the second waits for sub-agents.
    """
    pauses = sum(node.delay_ns for node in between if isinstance(node, GapNode))
    tools = [node for node in between if isinstance(node, ToolNode)]
    if user:
        seen.gaps.add(number, (pauses + delay_ns) / 1e9)
    else:
        seen.transitions += 1
        if handed and not tools:
            seen.handed_over += 1
        elif not tools:
            seen.delays.add(number, (pauses + delay_ns) / 1e9)
    if tools:
        _batch(seen, number, tools)


def _batch(seen: Features, number: int, tools: Sequence[ToolNode]) -> None:
    longest = 0.0
    for tool in tools:
        busy = tool.cpu_s / tool.cores
        seconds = tool.remote_ns / 1e9 + busy
        longest = max(longest, seconds)
        kept = seen.tools[tool.cls]
        kept.waits.add(number, seconds)
        kept.cpu_s += tool.cpu_s
        kept.core_s += tool.cores * seconds
        kept.cores.append(tool.cores)
        kept.memory_bytes.append(tool.memory_bytes)
    seen.batches.append(len(tools))
    seen.batch_session.append(number)
    seen.batch_s.append(longest)


def _delegated(seen: Features, nodes: Sequence[Node], contexts: Sequence[int | None]) -> None:
    """Take the chains of sub-agents; those that begin after the same node are a batch."""
    chains: dict[int, list[LlmNode]] = defaultdict(list)
    for node, context in zip(nodes, contexts, strict=True):
        if context is not None and isinstance(node, LlmNode):
            chains[context].append(node)
    seen.delegates.append(len(chains))
    levels: dict[int | None, int] = {None: -1}
    begun: dict[tuple[int, tuple[int, ...]], int] = defaultdict(int)
    for context, calls in chains.items():
        after = calls[0].after
        levels[context] = level = 1 + levels.get(contexts[after[0]] if after else None, -1)
        begun[level, after] += 1
        if level == len(seen.teams):
            seen.teams.append(Team())
        chain = seen.teams[level].chain
        sub = chain.session[-1] + 1 if chain.session else 0
        last: LlmNode | None = None
        for node in calls:
            _add(chain, sub, node, last, user=False)
            last = node
    for (level, _), count in begun.items():
        seen.teams[level].at_once.append(count)
