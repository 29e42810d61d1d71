"""When the nodes of a session begin and end if nothing queues: from recorded service times.

What serving a call took is known where the trace recorded it (`obs.dur` of fstrace/1),
or where a caller tells. Else a call takes no time, and only tools, gaps and delays pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from factorysim.workload.rows import as_list, as_map
from factorysim.workload.session import GapNode, LlmNode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.workload.session import Node, Session, ToolNode

    Service = Callable[[LlmNode], float]


class Timeline(NamedTuple):
    """Instants of a session's nodes, in nanoseconds after its arrival."""

    starts: list[int]
    ends: list[int]
    served: list[int | None]
    """What serving each call took; None: not recorded, or no call."""


def timeline(session: Session, nodes: Sequence[Node], service: Service | None = None) -> Timeline:
    """Lay out a session as if it had the factory for itself.

    Parameters
    ----------
    service
        Seconds that a call takes, where nothing is recorded.

    Examples
    --------
    >>> from factorysim.workload.session import Session, ToolNode
    >>> nodes = [LlmNode(9, 5), ToolNode("x", remote_ns=7, after=(0,)), LlmNode(9, 5, after=(1,))]
    >>> timeline(Session("s", 0, nodes), nodes).starts
    [0, 0, 7]
    """
    recorded = _recorded(session, len(nodes)) if session.src else {}
    starts: list[int] = []
    ends: list[int] = []
    served: list[int | None] = []
    for place, node in enumerate(nodes):
        start, took = 0, None
        if node.after:
            start = max(ends[before] for before in node.after)
        elif not isinstance(node, GapNode) and node.at_ns is not None:
            start = node.at_ns
        if isinstance(node, GapNode):
            end = start + node.delay_ns
        elif isinstance(node, LlmNode):
            start += node.delay_ns
            took = recorded.get(place)
            if took is None and service is not None:
                took = round(service(node) * 1e9)
            end = start + (took or 0)
        else:
            start += node.delay_ns
            end = start + tool_ns(node)
        starts.append(start)
        ends.append(end)
        served.append(took)
    return Timeline(starts, ends, served)


def lone_call_at_once(session: Session, nodes: Sequence[Node]) -> LlmNode | None:
    """Tell the call of a session that is nothing else and takes no time; None of any other.

    Examples
    --------
    >>> from factorysim.workload.session import Session
    >>> lone_call_at_once(Session("s", 0, [LlmNode(9, 5)]), [LlmNode(9, 5)]).prompt_tokens
    9
    """
    if len(nodes) != 1 or session.src:
        return None
    [node] = nodes
    if isinstance(node, LlmNode) and node.at_ns is None and not node.delay_ns:
        return node
    return None


def tool_ns(tool: ToolNode) -> int:
    """How long a tool call lasts on a free host of reference cores.

    Examples
    --------
    >>> from factorysim.workload.session import ToolNode
    >>> tool_ns(ToolNode("x", cpu_s=3e-9, cores=2.0, remote_ns=5))
    7
    """
    return tool.remote_ns + work_ns(tool.cpu_s, tool.cores)


def work_ns(cpu_s: float, cores: float) -> int:
    """How long work for a reference core lasts on as many as it keeps busy."""
    return round(cpu_s / cores * 1e9) if cpu_s else 0


def _recorded(session: Session, count: int) -> dict[int, int]:
    """Nanoseconds that serving took, of the nodes of which it is recorded."""
    kept = as_map(session.src.get("fstrace")) or {}
    told = as_map(kept.get("nodes"))
    if not told:
        return {}
    names = as_list(kept.get("ids"))
    taken: dict[int, int] = {}
    for place in range(count):
        name = f"n{place}" if names is None else cast("str", names[place])
        seen = as_map((as_map(told.get(name)) or {}).get("obs")) or {}
        if type(took := seen.get("dur")) is int:
            taken[place] = took
    return taken
