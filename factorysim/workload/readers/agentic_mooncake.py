"""Traces in Dynamo's agentic Mooncake form: JSONL, rows that wait for each other.

A row is a request of a trajectory (``session_id``). One with ``wait_for`` is sent
``delay`` milliseconds after the last of these has been answered and its tools have
run; its ``timestamp`` says nothing then. One that another names in ``branches``, and
that has neither, follows that one. Trajectories that wait for one another, or
that one names as ``branches``, are one session here, each a context of its own.

``tool_events`` ran before the request: those that overlap side by side, one such
cluster after the other without the pauses between, so that all of them take their
union, which is what ``tool_wait_ms`` counts. A wait without events is a tool of that
length. The size of a block is not in the file: it is the one power of two that all
lists of ids fit.

Experimental: made from the documented form; no file of it has been read yet.

References
----------
.. [1] ai-dynamo/dynamo, docs/agents/agent-tracing.md @ 01a60e69.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.gather import Place
from factorysim.workload.lines import BadRow
from factorysim.workload.readers.assemble import assemble
from factorysim.workload.readers.blocks import BlockSize, listed_ids
from factorysim.workload.readers.dynamo_tools import ToolEvent, clusters, tool_event
from factorysim.workload.readers.fields import MS, adopt, ident, inner, rest, sources
from factorysim.workload.rows import Row, as_list
from factorysim.workload.session import LlmNode, Session, ToolNode
from factorysim.workload.weave import BadSession, Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.gather import Numbered
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json

USED = (
    *("request_id", "session_id", "wait_for", "delay", "input_length", "output_length"),
    *("hash_ids", "tool_events"),
)
"""Fields that nodes hold; the others (`branches`, `tool_wait_ms`, `prefix_reset`) are kept too."""


def parse_agentic_mooncake(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the sessions of an agentic Mooncake trace in order of their first times."""
    reader = _Reader()
    return assemble(lines, log, reader.place, reader.session)


class _Reader:
    def __init__(self) -> None:
        self.size = BlockSize()

    def place(self, row: Row) -> Place:
        """Check a row and tell which others it belongs to."""
        name = ident(row, "request_id")
        self.size.see(row.tokens("input_length"), len(listed_ids(row, "hash_ids")))
        row.tokens("output_length")
        row.flag("prefix_reset", default=False)
        for key in ("delay", "tool_wait_ms"):
            if key in row.data:
                row.nanoseconds(key, MS)
        waits = _ids(row, "wait_for")
        ties = [f"r {name}", *(f"r {other}" for other in waits + _ids(row, "branches"))]
        _tool_events(row)
        rest(row, USED)
        at_ns = None
        if "timestamp" in row.data:
            told_ns = row.nanoseconds("timestamp", MS)
            at_ns = None if waits else told_ns
        return Place(f"s {ident(row, 'session_id', name)}", at_ns, tuple(ties))

    def session(self, rows: list[Numbered]) -> Session:
        """Weave the rows of all trajectories of a session."""
        begins = [at_ns for _, row in rows if (at_ns := _begin(row)) is not None]
        begin_ns = min(begins, default=0)
        spawners = {
            child: ident(row, "request_id") for _, row in rows for child in _ids(row, "branches")
        }
        contexts: dict[str, int] = {}
        drafts: list[Draft] = []
        for line, row in rows:
            name = ident(row, "request_id")
            trajectory = ident(row, "session_id", name)
            context = contexts.setdefault(trajectory, len(contexts))
            try:
                node = self._node(row, context)
            except BadRow as bad:
                raise BadSession(line, *bad.problems) from None
            after = _ids(row, "wait_for")
            if (at_ns := _begin(row)) is not None:
                node.at_ns = at_ns - begin_ns or None
            elif not after and name in spawners:
                after = [spawners[name]]
            waited = _tools_before(line, row, name, after, drafts)
            if waited != after:
                node.initiator = "tool"
            elif after or context:
                node.initiator = "agent"
            after = waited
            drafts.append(Draft(name, line, node, after, {"src": rest(row, USED)}))
        nodes, carried = weave(drafts, named=True, key="wait_for")
        sid = next(iter(contexts))
        told: dict[str, Json] = (
            {"trajectories": list[object](contexts)} if len(contexts) > 1 else {}
        )
        return Session(sid, begin_ns, nodes, src=sources("agentic_mooncake", carried, told))

    def _node(self, row: Row, context: int) -> LlmNode:
        prompt, output = row.tokens("input_length"), row.tokens("output_length")
        hashes, size = self.size.take(row, "hash_ids", prompt)
        delay_ns = row.nanoseconds("delay", MS) if "delay" in row.data else 0
        row.close()
        return LlmNode(
            prompt, output, delay_ns=delay_ns, hashes=hashes,
            block_tokens=size if hashes else None, context=context,
        )  # fmt: skip


def _begin(row: Row) -> int | None:
    if "timestamp" not in row.data or _ids(row, "wait_for"):
        return None
    return row.nanoseconds("timestamp", MS)


def _ids(row: Row, key: str) -> list[str]:
    listed = as_list(row.data.get(key, []))
    ids = [str(item) for item in listed or () if type(item) in (int, str)]
    if listed is None or len(ids) < len(listed):
        row.bad(key, row.found(key), "a list of ids of requests")
        return []
    return ids


def _tool_events(row: Row) -> list[ToolEvent]:
    events: list[ToolEvent] = []
    listed = as_list(row.data.get("tool_events", []))
    if listed is None:
        row.bad("tool_events", row.found("tool_events"), "a list of events")
    for number, item in enumerate(listed or ()):
        event = inner(row, f"tool_events.{number}", item)
        if event is not None:
            events.append(tool_event(event))
            adopt(row, f"tool_events.{number}", event)
    return events


def _tools_before(
    line: int, row: Row, name: str, after: list[str], drafts: list[Draft]
) -> list[str]:
    """Add the tools that ran before a request; returns what it waits for."""
    parts = clusters(_tool_events(row))
    wait_ns = row.nanoseconds("tool_wait_ms", MS) if "tool_wait_ms" in row.data else 0
    if not parts and wait_ns:
        parts = [[ToolEvent(ToolNode("tool", remote_ns=wait_ns), {}, None)]]
    count = 0
    for part in parts:
        names: list[str] = []
        begin_ns = part[0].span[0] if part[0].span else 0
        for event in part:
            event.node.delay_ns = event.span[0] - begin_ns if event.span else 0
            names.append(f"{name}/{count}")
            drafts.append(Draft(names[-1], line, event.node, after, event.kept))
            count += 1
        after = names
    return after
