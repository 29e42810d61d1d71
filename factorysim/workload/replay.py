"""What of a recorded session is replayed: its starts, its dependencies, or its waits alone.

Three modes, told in `docs/replay.md`. Each rewrites the nodes of a session, so that
whoever walks them needs to know one rule only: a node that waits for others begins
a delay after the last of them, another at its instant.
"""

from __future__ import annotations

from copy import copy
from itertools import chain, islice
from typing import TYPE_CHECKING, assert_never

from factorysim.errors import Fault, TraceError
from factorysim.workload.session import GapNode, LlmNode, ToolNode
from factorysim.workload.timeline import tool_ns, work_ns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from factorysim.spec.stream import ReplayMode
    from factorysim.workload.session import Node, Session

LOOKED_AT = 64
"""Sessions at the front of a trace that tell whether a mode makes sense for it."""


def replayed(sessions: Iterator[Session], mode: ReplayMode | None, path: Path) -> Iterator[Session]:
    """Rewrite recorded sessions for a mode of replay.

    Parameters
    ----------
    mode
        None: `closed`, of any trace, also one whose calls do not wait for others.
    path
        Of the trace, for messages.

    Raises
    ------
    TraceError
        If the trace has not recorded what the mode replays.

    Examples
    --------
    >>> from pathlib import Path
    >>> from factorysim.workload.session import Session
    >>> nodes = [LlmNode(9, 5), GapNode(7, after=(0,)), LlmNode(20, 5, after=(1,), at_ns=50)]
    >>> [one] = replayed(iter([Session("s", 0, nodes)]), "open", Path("t.jsonl"))
    >>> [(node.at_ns, node.after) for node in one.nodes]
    [(0, ()), (50, ())]
    """
    if mode is None:
        return sessions
    head = list(islice(sessions, LOOKED_AT))
    _check(head, mode, path)
    rest = chain(head, sessions)
    match mode:
        case "closed":
            return rest
        case "open":
            return (_opened(session, path) for session in rest)
        case "think_only":
            return (_recorded_waits(session) for session in rest)
        case _:
            assert_never(mode)


def _check(head: list[Session], mode: ReplayMode, path: Path) -> None:
    """Refuse a mode for a trace that says nothing of what it replays."""
    if not head or mode == "open" or any(node.after for one in head for node in one.nodes):
        return
    found = f"{mode}, though no call of the first {len(head)} sessions waits for another"
    expected = "sessions whose records say what they wait for"
    cure = "remove it, or take `mode: open`, which is the same where nothing waits"
    raise TraceError(Fault(str(path), "mode", found, expected, cure))


def _opened(session: Session, path: Path) -> Session:
    """Let every node with a recorded start begin then; others wait as they do in `closed`.

    Gaps go, since the starts that follow them hold their time, except where
    something without a start of its own waits for one.
    """
    nodes = list(session.nodes)
    starts = [_start_ns(node) for node in nodes]
    if not _any_recorded(nodes, starts):
        found = f"{session.sid}, whose calls wait for others and have no recorded starts"
        cure = "take `mode: closed`, and arrivals of its own if the trace has no clock"
        expected = "recorded starts, to replay it as an open one"
        raise TraceError(Fault(str(path), "mode", found, expected, cure))
    keep = _kept(nodes, starts)
    places: dict[int, int] = {}
    opened: list[Node] = []
    for index, (node, start) in enumerate(zip(nodes, starts, strict=True)):
        if not keep[index]:
            continue
        places[index] = len(opened)
        node = copy(node)
        if start is None:
            node.after = tuple(places[before] for before in node.after)
        elif not isinstance(node, GapNode):
            node.after, node.delay_ns, node.at_ns = (), 0, start
        opened.append(node)
    session.nodes = opened
    return session


def _start_ns(node: Node) -> int | None:
    """When a node began, after its session; None where that is not recorded."""
    if isinstance(node, GapNode):
        return None if node.after else 0
    if node.at_ns is not None:
        return node.at_ns
    return None if node.after else node.delay_ns


def _any_recorded(nodes: list[Node], starts: list[int | None]) -> bool:
    """Whether any call that waits for others has a start, or there is no such call."""
    waiting = [
        start is not None
        for node, start in zip(nodes, starts, strict=True)
        if isinstance(node, LlmNode) and node.after
    ]
    return any(waiting) or not waiting


def _kept(nodes: list[Node], starts: list[int | None]) -> list[bool]:
    """Which nodes stay: all but gaps that nothing without a start waits for."""
    keep = [not isinstance(node, GapNode) for node in nodes]
    for index in range(len(nodes) - 1, -1, -1):
        if keep[index] and (starts[index] is None or isinstance(nodes[index], GapNode)):
            for before in nodes[index].after:
                keep[before] = True
    return keep


def _recorded_waits(session: Session) -> Session:
    """Let all that is no call of an LLM take the time it took: tools too, on nobody's cores."""
    nodes: list[Node] = []
    for recorded in session.nodes:
        node = recorded
        if isinstance(recorded, ToolNode) and (recorded.cpu_s or recorded.failed):
            node = copy(recorded)
            node.remote_ns, node.cpu_s = tool_ns(recorded), 0.0
            node.failed = tuple(
                one._replace(remote_ns=one.remote_ns + work_ns(one.cpu_s, node.cores), cpu_s=0.0)
                for one in recorded.failed
            )
        nodes.append(node)
    session.nodes = nodes
    return session


def sped(session: Session, speed: float) -> Session:
    """Compress recorded instants; what waits for something else keeps its pace.

    Those are the arrival of the session and the starts of nodes that wait for nothing:
    in `open`, of all that have one.
    """
    session.at_ns = round(session.at_ns / speed)
    for node in session.nodes:
        if not isinstance(node, GapNode) and node.at_ns is not None:
            node.at_ns = round(node.at_ns / speed)
    return session
