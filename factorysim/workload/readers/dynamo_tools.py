"""Tool events as both of Dynamo's agent formats write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.workload.readers.fields import MS, rest, unix_time
from factorysim.workload.rows import MAX_TOKENS
from factorysim.workload.session import ToolNode

if TYPE_CHECKING:
    from factorysim.workload.rows import Json, Row

USED = ("tool_class", "status", "duration_ms", "output_bytes", "output_tokens")
"""Fields that a node holds; when a tool ran is kept as the source has it."""


class ToolEvent(NamedTuple):
    """One use of a tool."""

    node: ToolNode
    kept: dict[str, Json]
    span: tuple[int, int] | None
    """When it ran, in nanoseconds since 1970; None if only how long is told."""


def tool_event(row: Row) -> ToolEvent:
    """Take a tool event; its problems stay with the row."""
    began = "started_at_unix_ms" in row.data
    ended = "ended_at_unix_ms" in row.data
    begin_ns = unix_time(row, "started_at_unix_ms", MS) if began else 0
    end_ns = unix_time(row, "ended_at_unix_ms", MS) if ended else 0
    if "duration_ms" in row.data:
        lasted_ns = row.nanoseconds("duration_ms", MS)
    else:
        lasted_ns = end_ns - begin_ns
        if not (began and ended):
            row.bad("duration_ms", "nothing", "how long it took, or when it began and ended")
        elif lasted_ns < 0:
            found = row.found("ended_at_unix_ms")
            row.bad("ended_at_unix_ms", found, "a time after started_at_unix_ms")
    if began:
        end_ns = begin_ns + max(0, lasted_ns)
    elif ended:
        begin_ns, began = end_ns - lasted_ns, True
    node = ToolNode(
        cls=row.text("tool_class", "tool"),
        remote_ns=max(0, lasted_ns),
        result_tokens=row.whole("output_tokens", 0, MAX_TOKENS, default=0),
        out_bytes=row.whole("output_bytes", 0, 10**15, default=0),
    )
    kept: dict[str, Json] = {"status": row.text("status")} if "status" in row.data else {}
    if extra := rest(row, USED):
        kept["src"] = extra
    return ToolEvent(node, kept, (begin_ns, end_ns) if began else None)


def clusters(events: list[ToolEvent]) -> list[list[ToolEvent]]:
    """Part events into those that overlap, one such cluster after the other.

    Events without times are one more cluster: they run side by side.
    """
    timed = sorted((event for event in events if event.span), key=lambda event: event.span or ())
    parts: list[list[ToolEvent]] = []
    end_ns = -1
    for event in timed:
        assert event.span is not None
        if not parts or event.span[0] >= end_ns:
            parts.append([])
        parts[-1].append(event)
        end_ns = max(end_ns, event.span[1])
    untimed = [event for event in events if not event.span]
    return [*parts, untimed] if untimed else parts
