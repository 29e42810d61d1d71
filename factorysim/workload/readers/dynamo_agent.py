"""Agent traces of Dynamo (``dynamo.agent.trace.v1``): JSONL, an event a line.

``request_end`` is a call, ``tool_end`` and ``tool_error`` a tool; ``tool_start`` counts
only where no end follows. A session's trajectories are contexts of it. Requests tell
when they ended, not when they were sent, so pauses before them cannot be told from
their service: a request follows the tools that ran since the request before it in its
trajectory, or else that request, at once. A trajectory with a parent begins after the
parent's last request before its first event, and the parent's first request that ends
after its last event waits for it.

Hashes are whole numbers of 64 bits, and stay so. Experimental: made from the documented
form; no file of it has been read yet.

References
----------
.. [1] ai-dynamo/dynamo, docs/agents/agent-tracing.md @ 01a60e69.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from factorysim.workload.gather import Place
from factorysim.workload.intervals import waits_by_time
from factorysim.workload.readers.assemble import assemble
from factorysim.workload.readers.blocks import take_blocks
from factorysim.workload.readers.dynamo_tools import ToolEvent, tool_event
from factorysim.workload.readers.fields import (
    MS,
    adopt,
    answered,
    ident,
    inner,
    rest,
    sources,
    unix_time,
)
from factorysim.workload.rows import Row
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.weave import Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.gather import Numbered
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json

TOOL_ENDS = ("tool_end", "tool_error")
EVENTS = ("request_end", "tool_start", *TOOL_ENDS)


class _Event(NamedTuple):
    line: int
    kind: str
    at_ns: int
    sid: str
    trajectory: str
    parent: str | None
    agent: str
    name: str
    node: LlmNode | None
    tool: ToolEvent | None
    kept: dict[str, Json]
    silent: bool


@dataclass(slots=True)
class _Trajectory:
    """The requests and tools of one agent."""

    parent: str | None
    requests: list[_Event] = field(default_factory=list[_Event])
    tools: list[_Event] = field(default_factory=list[_Event])

    def first_ns(self) -> int:
        """When its first event began, as far as is told."""
        begun = [event.tool.span[0] for event in self.tools if event.tool and event.tool.span]
        return min([*begun, *(event.at_ns for event in self.requests)])

    def last_ns(self) -> int:
        """When its last event ended."""
        return max(event.at_ns for event in [*self.requests, *self.tools])


def parse_dynamo_agent(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the sessions of a Dynamo agent trace in order of their first events."""
    return assemble(lines, log, _place, _session)


def _place(row: Row) -> Place:
    event = _event(0, row)
    began_ns = event.tool.span[0] if event.tool and event.tool.span else event.at_ns
    return Place(event.sid, began_ns)


def _event(line: int, row: Row) -> _Event:
    """Read a line."""
    event = inner(row, "event", row.data.get("event"))
    row.close()
    assert event is not None
    kind = event.text("event_type")
    if kind not in EVENTS and not event.problems:
        event.bad("event_type", event.found("event_type"), f"one of {', '.join(EVENTS)}")
    at_ns = unix_time(event, "event_time_unix_ms", MS)
    context = inner(event, "agent_context", event.data.get("agent_context"))
    sid = trajectory = agent = ""
    parent = None
    if context is not None:
        trajectory = ident(context, "trajectory_id")
        sid = ident(context, "session_id", trajectory)
        agent = ident(context, "session_type_id", "")
        if "parent_trajectory_id" in context.data:
            parent = ident(context, "parent_trajectory_id")
        adopt(event, "agent_context", context)
    node, tool, name, silent = None, None, "", False
    kept: dict[str, Json] = {}
    extra: dict[str, Json] = {}
    part = "request" if kind == "request_end" else "tool"
    body = inner(event, part, event.data.get(part))
    if body is not None and part == "request":
        name, node, kept, silent = _request(body)
        extra = rest(body, ("request_id", "model", "output_tokens", "replay"))
    elif body is not None:
        name = ident(body, "tool_call_id")
        if kind in TOOL_ENDS:
            tool = tool_event(body)
            kept = tool.kept
    if body is not None:
        adopt(event, part, body)
    if node is not None and not event.problems:
        kept["src"] = {"event_time_unix_ms": event.plain("event_time_unix_ms"), **extra}
    adopt(row, "event", event)
    row.close()
    return _Event(line, kind, at_ns, sid, trajectory, parent, agent, name, node, tool, kept, silent)


def _request(row: Row) -> tuple[str, LlmNode, dict[str, Json], bool]:
    name = ident(row, "request_id")
    output, spoken = answered(row, "output_tokens")
    kept: dict[str, Json] = {"model": row.text("model")} if "model" in row.data else {}
    replay = inner(row, "replay", row.data.get("replay"))
    node = LlmNode(1, output)
    if replay is not None:
        node.prompt_tokens = replay.tokens("input_length")
        if replay.data.get("input_sequence_hashes"):
            size = replay.whole("trace_block_size", 1, 1_000_000)
            node.block_tokens = size
            node.hashes = take_blocks(replay, "input_sequence_hashes", node.prompt_tokens, size)
        adopt(row, "replay", replay)
    return name, node, kept, not spoken


def _session(rows: list[Numbered]) -> Session | None:
    events = sorted((_event(line, row) for line, row in rows), key=lambda event: event.at_ns)
    ended = {event.name for event in events if event.kind in TOOL_ENDS}
    open_tools = sum(e.kind == "tool_start" and e.name not in ended for e in events)
    parts: dict[str, _Trajectory] = {}
    for event in events:
        part = parts.setdefault(event.trajectory, _Trajectory(event.parent))
        part.parent = part.parent or event.parent
        if event.node is not None:
            part.requests.append(event)
        elif event.tool is not None:
            part.tools.append(event)
    parts = {name: part for name, part in parts.items() if part.requests or part.tools}
    if not parts:
        return None
    order = sorted(parts, key=lambda name: parts[name].first_ns())
    began_ns = parts[order[0]].first_ns()
    drafts = [
        draft
        for context, name in enumerate(order)
        for draft in _drafts(name, context, parts, began_ns)
    ]
    nodes, carried = weave(drafts, named=True)
    told: dict[str, Json] = {
        "trajectories": list[object](order),
        "began_unix_ns": began_ns,
    }
    silent = sum(event.silent for event in events)
    counts = {"tools_without_end": open_tools, "outputs_of_0": silent}
    src = sources("dynamo_agent", carried, told, counts)
    return Session(events[0].sid, began_ns, nodes, agent=events[0].agent, src=src)


def _drafts(name: str, context: int, parts: dict[str, _Trajectory], began_ns: int) -> list[Draft]:
    """Chain the requests of a trajectory, with the tools between them."""
    part = parts[name]
    drafts: list[Draft] = []
    spawner = _spawner(part, parts)
    after = [] if spawner is None else [spawner.name]
    free_ns = began_ns if spawner is None else spawner.at_ns
    tools = sorted(part.tools, key=_span)
    taken = 0
    for event in [*part.requests, None]:
        mine: list[_Event] = []
        while taken < len(tools) and (event is None or _span(tools[taken])[1] <= event.at_ns):
            mine.append(tools[taken])
            taken += 1
        drafts += _tools(mine, after, free_ns)
        if mine:
            waited_for = {other for draft in drafts[-len(mine) :] for other in draft.after}
            after = [tool.name for tool in mine if tool.name not in waited_for]
        if event is None:
            break
        node = event.node
        assert node is not None
        node.context = context
        joined = _joined(name, event, parts)
        node.initiator = "tool" if mine or joined else "agent" if after else "user"
        drafts.append(Draft(event.name, event.line, node, after + joined, event.kept))
        after, free_ns = [event.name], event.at_ns
    return drafts


def _span(event: _Event) -> tuple[int, int]:
    assert event.tool is not None
    return event.tool.span or (event.at_ns, event.at_ns)


def _tools(tools: list[_Event], after: list[str], free_ns: int) -> list[Draft]:
    """Lay out the tools between two requests by when they ran."""
    spans = [_span(event) for event in tools]
    drafts: list[Draft] = []
    for event, waits in zip(tools, waits_by_time(spans), strict=True):
        assert event.tool is not None
        freed_ns = max((spans[place][1] for place in waits), default=free_ns)
        event.tool.node.delay_ns = max(0, _span(event)[0] - freed_ns)
        names = [tools[place].name for place in waits] or after
        drafts.append(Draft(event.name, event.line, event.tool.node, names, event.kept))
    return drafts


def _spawner(part: _Trajectory, parts: dict[str, _Trajectory]) -> _Event | None:
    """Find the parent's last request before a trajectory began."""
    parent = parts.get(part.parent or "")
    begun_ns = part.first_ns()
    before = [event for event in parent.requests if event.at_ns < begun_ns] if parent else []
    return before[-1] if before else None


def _joined(name: str, event: _Event, parts: dict[str, _Trajectory]) -> list[str]:
    """Name the last things of the trajectories that a request of their parent waits for."""
    ends: list[str] = []
    requests = parts[name].requests
    place = requests.index(event)
    before_ns = requests[place - 1].at_ns if place else -1
    for child in parts.values():
        if child.parent != name or child is parts[name] or _spawner(child, parts) is None:
            continue
        if before_ns < child.last_ns() <= event.at_ns:
            ends.append(max([*child.requests, *child.tools], key=lambda e: e.at_ns).name)
    return ends
