"""Traces of the GitHub Copilot coding agent (2026): JSONL, a row a session of turns.

A turn has calls of the LLM, which may overlap, and batches of tools, whose functions
run side by side after the call that asked for them (`request_id`). Else what began
after another had ended waited for it. Between turns the user pauses. `tokens.cached` is
what the provider found in its cache, the least that a prompt repeats. Sub-agents are
not told apart from overlapping calls: all are of one context.

Experimental: made from the documented form; no file of it has been read yet. A
timestamp is ISO 8601 text or a number of milliseconds since 1970.

References
----------
.. [1] Azure/AzurePublicDataset, release ghcp-coding-agent-2026, docs @ 060ec409;
   arXiv:2608.00101.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factorysim.workload.intervals import waits_by_time
from factorysim.workload.lines import BadRow, Problem
from factorysim.workload.marks import Marks
from factorysim.workload.readers.fields import (
    MS,
    adopt,
    answered,
    ident,
    inner,
    instant,
    note,
    once,
    present,
    rest,
    sources,
    unix_time,
)
from factorysim.workload.rows import MAX_TOKENS, Row, as_list
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from factorysim.workload.weave import BadSession, Draft, weave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json
    from factorysim.workload.session import Initiator

SUCCESS = 2
"""Of the two values of a function's status; 1 is a failure."""
USED = ("session_id", "turns")
CALL_USED = ("message_id", "timestamp", "duration_ms", "initiator_type", "model", "tokens")
BATCH_USED = ("timestamp", "duration_ms", "request_id", "function_calls")


@dataclass(slots=True)
class _Item:
    """A call, or a batch of tools, of a turn."""

    name: str
    begin_ns: int
    end_ns: int
    nodes: list[tuple[LlmNode | ToolNode, dict[str, Json]]]
    asked_by: str | None = None
    silent: bool = False

    def names(self) -> list[str]:
        """Name the nodes."""
        return [f"{self.name}.{number}" for number in range(len(self.nodes))]


def parse_copilot(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the sessions of a Copilot trace, lazily: one session is in memory at a time."""
    zero_ns: int | None = None
    last_ns = 0
    seen = Marks()
    for number, text in lines:
        try:
            session = _session(number, Row(present(text)))
            once("session_id", session.sid, seen)
        except (BadRow, BadSession) as bad:
            note(log, number, bad)
            continue
        zero_ns = session.at_ns if zero_ns is None else zero_ns
        session.at_ns -= zero_ns
        if session.at_ns < last_ns:
            found = f"{(last_ns - session.at_ns) / 1e9:g} s before a session above it"
            cure = "sort the rows by the time of their first call"
            log.add(number, Problem("turns", found, "sessions in order of time", cure))
        last_ns = max(last_ns, session.at_ns)
        yield session


def _session(line: int, row: Row) -> Session:
    sid = ident(row, "session_id")
    turns = [
        _turn(row, f"turns.{number}", item)
        for number, item in enumerate(as_list(row.data.get("turns")) or ())
    ]
    turns = [items for items in turns if items]
    extra = rest(row, USED)
    if not turns and not row.problems:
        row.bad("turns", "no calls and no tools", "at least one")
    row.close()
    drafts: list[Draft] = []
    counts = {"waits_below_0": 0}
    after: list[str] = []
    begin_ns = free_ns = min(item.begin_ns for items in turns for item in items)
    for number, items in enumerate(turns):
        turn_ns = items[0].begin_ns
        if after:
            counts["waits_below_0"] += turn_ns < free_ns
            drafts.append(Draft(f"g{number}", line, GapNode(max(0, turn_ns - free_ns)), after))
            after = [drafts[-1].name]
        after = _lay(line, items, after, turn_ns, begin_ns, drafts)
        free_ns = max(item.end_ns for item in items)
    nodes, carried = weave(drafts)
    silent = sum(item.silent for items in turns for item in items)
    told = extra | {"began_unix_ns": begin_ns}
    src = sources("copilot", carried, told, counts | {"outputs_of_0": silent})
    return Session(sid, begin_ns, nodes, src=src)


def _lay(
    line: int,
    items: list[_Item],
    after: list[str],
    turn_ns: int,
    begin_ns: int,
    drafts: list[Draft],
) -> list[str]:
    """Add the items of a turn; returns the nodes that nothing of it waits for."""
    calls = {item.name: item for item in items if isinstance(item.nodes[0][0], LlmNode)}
    waits = waits_by_time([(item.begin_ns, item.end_ns) for item in items])
    ends: dict[str, None] = {}
    for item, places in zip(items, waits, strict=True):
        before = [items[place] for place in places]
        asker = calls.get(item.asked_by or "")
        if asker is not None and asker.begin_ns <= item.begin_ns:
            before = [asker]
        free_ns = max((other.end_ns for other in before), default=turn_ns)
        names = [name for other in before for name in other.names()] or after
        for name, (node, kept) in zip(item.names(), item.nodes, strict=True):
            node.delay_ns = max(0, item.begin_ns - free_ns) if names else 0
            if isinstance(node, LlmNode):
                node.at_ns = item.begin_ns - begin_ns or None
                if node.initiator == "agent" and any(
                    isinstance(other.nodes[0][0], ToolNode) for other in before
                ):
                    node.initiator = "tool"
            elif not names:
                node.at_ns = item.begin_ns - begin_ns or None
            drafts.append(Draft(name, line, node, names, kept))
            ends[name] = None
        for name in names:
            ends.pop(name, None)
    return list(ends)


def _turn(row: Row, where: str, value: Json) -> list[_Item]:
    """Read a turn: its calls and batches in order of time."""
    turn = inner(row, where, value)
    if turn is None:
        return []
    items = _each(turn, "llm_calls", f"{where}.c", _call)
    items += _each(turn, "tool_batches", f"{where}.b", _batch)
    adopt(row, where, turn)
    return sorted(items, key=lambda item: (item.begin_ns, item.end_ns))


def _each(
    turn: Row, key: str, prefix: str, read: Callable[[Row, str], _Item | None]
) -> list[_Item]:
    """Read the objects of a list in a turn."""
    listed = as_list(turn.data.get(key, []))
    if listed is None:
        turn.bad(key, turn.found(key), "a list")
    items: list[_Item] = []
    for number, value in enumerate(listed or ()):
        child = inner(turn, f"{key}.{number}", value)
        if child is None:
            continue
        item = read(child, f"{prefix}{number}")
        adopt(turn, f"{key}.{number}", child)
        if item is not None and item.nodes:
            items.append(item)
    return items


def _moment(row: Row) -> int:
    if isinstance(row.data.get("timestamp"), str):
        return instant(row, "timestamp")
    return unix_time(row, "timestamp", MS)


def _call(row: Row, name: str) -> _Item:
    begin_ns = _moment(row)
    lasted_ns = row.nanoseconds("duration_ms", MS) if "duration_ms" in row.data else 0
    tokens = inner(row, "tokens", row.data.get("tokens"))
    prompt, output, cached, spoken = 1, 1, 0, True
    others: dict[str, Json] = {}
    if tokens is not None:
        prompt = tokens.tokens("prompt")
        output, spoken = answered(tokens, "completion")
        cached = tokens.whole("cached", 0, MAX_TOKENS, default=0)
        others = rest(tokens, ("prompt", "completion", "cached"))
        adopt(row, "tokens", tokens)
    user = row.data.get("initiator_type") == "user"
    initiator: Initiator = "user" if user else "agent"
    kept: dict[str, Json] = {"model": row.text("model")} if "model" in row.data else {}
    status = "ok" if spoken else "failed"
    kept["obs"] = {"dur": lasted_ns, "status": status, "cached": cached}
    kept["src"] = rest(row, CALL_USED) | ({"tokens": others} if others else {})
    node = LlmNode(prompt, output, min(cached, prompt), initiator=initiator)
    called = ident(row, "message_id", name)
    return _Item(called, begin_ns, begin_ns + lasted_ns, [(node, kept)], silent=not spoken)


def _batch(row: Row, name: str) -> _Item:
    begin_ns = _moment(row)
    nodes: list[tuple[LlmNode | ToolNode, dict[str, Json]]] = []
    longest_ns = 0
    for number, value in enumerate(as_list(row.data.get("function_calls")) or ()):
        call = inner(row, f"function_calls.{number}", value)
        if call is None:
            continue
        lasted_ns = call.nanoseconds("duration_ms", MS)
        longest_ns = max(longest_ns, lasted_ns)
        status = "ok" if call.whole("status", 1, 2, default=SUCCESS) == SUCCESS else "error"
        kept: dict[str, Json] = {"status": status}
        if extra := rest(call, ("name", "status", "duration_ms")):
            kept["src"] = extra
        nodes.append((ToolNode(call.text("name"), remote_ns=lasted_ns), kept))
        adopt(row, f"function_calls.{number}", call)
    if nodes and (extra := rest(row, BATCH_USED)):
        nodes[0][1]["src"] = {"batch": extra}
    lasted_ns = row.nanoseconds("duration_ms", MS) if "duration_ms" in row.data else longest_ns
    asked_by = ident(row, "request_id") if "request_id" in row.data else None
    return _Item(name, begin_ns, begin_ns + max(lasted_ns, longest_ns), nodes, asked_by)
