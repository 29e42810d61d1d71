"""Sub-agents that an fstrace keeps as sessions of their own, brought into their parent's.

A session whose record names a `parent`, and that stands behind it in the file, is a
sub-agent: its records get contexts of their own in the parent's session. They begin
when what the tool that spawned them waited for has ended, in an open replay when the
sub-agent's record says that it began; whoever waits for that tool
waits for them instead, since what the tool took is the time that they took. A tool
that did not block (`blocking: false`) keeps its time, and nobody waits for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from factorysim.workload.lines import Problem
from factorysim.workload.readers.fsrecords import Record
from factorysim.workload.rows import Row, as_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json

SUB_SESSIONS = "sub_sessions"
"""Key of `src` under which a session keeps the records of those it took in."""


def families(
    groups: Iterable[list[Record]], log: FaultLog, records_most: int
) -> Iterator[list[Record]]:
    """Join the records of sessions with those of their sub-agents behind them.

    Parameters
    ----------
    groups
        Records of a session each, in the file's order.
    log
        Told of sub-agents of a tool that is not there; they are dropped.
    records_most
        Of a family: they are in memory together.
    """
    held: _Family | None = None
    for group in groups:
        parent = _parent(group)
        if held is not None and parent is not None and parent.get("sid") in held.named:
            if held.size + len(group) > records_most:
                found = f"a session of over {records_most:,} records with its sub-agents"
                log.refuse(group[0].line, Problem("", found, "smaller sessions"))
                return
            held.add(group, parent, log)
            continue
        if held is not None:
            yield held.records()
        held = _Family(group)
    if held is not None:
        yield held.records()


def _parent(group: list[Record]) -> dict[str, Json] | None:
    return as_map(group[0].row.data.get("parent")) if group[0].kind == "session" else None


def _sid(group: list[Record]) -> Json:
    return group[0].row.data.get("sid")


class _Family:
    """A session and its sub-agents, as records of one session."""

    def __init__(self, group: list[Record]) -> None:
        self.root = group
        self.size = len(group)
        self.named: dict[Json, dict[str, Record]] = {_sid(group): _by_id(_body(group))}
        """Records of each session by their ids there."""
        self.taken: list[Record] = []
        """Those of sub-agents."""
        self.told: list[Json] = []
        self.contexts = 1 + max(map(_context, group))
        self.spawned: dict[str, list[str]] = {}
        """Last records of the sub-agents that a tool waits for, by its id here."""

    def add(self, group: list[Record], parent: dict[str, Json], log: FaultLog) -> None:
        """Take in a sub-agent."""
        known = self.named[parent.get("sid")]
        tool = known.get(cast("str", parent["tool"])) if "tool" in parent else None
        if "tool" in parent and (tool is None or tool.kind != "tool"):
            found = f"{str(parent['tool'])[:60]!r}"
            problem = Problem("parent.tool", found, "the id of a tool of the parent's session")
            log.add(group[0].line, problem, "session dropped")
            return
        sid, body = cast("str", _sid(group)), _body(group)
        _begin(body, group[0].row.data.get("t"), self.root[0].row.data.get("t", 0))
        self.named[sid] = _by_id(body)
        base = self.contexts
        self.contexts += 1 + max(map(_context, body), default=0)
        ends = _move(body, sid, base, [] if tool is None else waits_of(tool))
        self.size += len(group)
        self.taken += body
        head = group[0].row.data
        self.told.append({key: head[key] for key in head if key != "k"})
        if tool is not None and tool.row.data.get("blocking", True):
            self.spawned.setdefault(tool.id, []).extend(ends)

    def records(self) -> list[Record]:
        """Give all records, the session's own first."""
        if not self.told:
            return self.root
        head = self.root[0] if self.root[0].kind == "session" else _new_head(self.root[0])
        src = as_map(head.row.data.get("src")) or {}
        head.row.data["src"] = src | {SUB_SESSIONS: self.told}
        body = _body(self.root) + self.taken
        waits = [[end for name in waits_of(one) for end in self._ends(name)] for one in body]
        for record, after in zip(body, waits, strict=True):
            record.after = list(dict.fromkeys(after))
            if record.id in self.spawned:
                _leave_time_to_subagents(record)
        return [head, *body]

    def _ends(self, name: str) -> list[str]:
        """Tell what has ended when a record has: its sub-agents too."""
        ends = [name]
        for last in self.spawned.get(name, ()):
            ends += self._ends(last)
        return ends


def waits_of(record: Record) -> list[str]:
    """Ids of what a record waits for."""
    if record.after is not None:
        return record.after
    call = record.row.data.get("call")
    return [] if call is None else [cast("str", call)]


def _body(group: list[Record]) -> list[Record]:
    return group[1:] if group[0].kind == "session" else group


def _by_id(body: list[Record]) -> dict[str, Record]:
    """Name records as the session's reader does."""
    for place, record in enumerate(body):
        record.id = record.id or f"n{place}"
    return {record.id: record for record in body}


def _context(record: Record) -> int:
    return cast("int", record.row.data.get("context", 0))


def _begin(body: list[Record], began: Json, earliest: Json) -> None:
    """Give what a sub-agent begins with the start that its session's record tells.

    One before its parent's is of another clock, and tells nothing.
    """
    if not isinstance(began, int) or began < cast("int", earliest):
        return
    for record in body:
        if record.kind in ("llm", "tool") and not waits_of(record) and "t" not in record.row.data:
            record.row.data["t"] = began + cast("int", record.row.data.get("delay", 0))


def _move(body: list[Record], sid: str, base: int, began: list[str]) -> list[str]:
    """Give records ids and contexts that their parent's have not; returns the last ones' ids."""
    awaited = {name for record in body for name in waits_of(record)}
    ends = [f"{sid}/{record.id}" for record in body if record.id not in awaited]
    for record in body:
        waits = waits_of(record)
        record.after = [f"{sid}/{name}" for name in waits] if waits else list(began)
        record.id = f"{sid}/{record.id}"
        if record.kind in ("llm", "tool"):
            record.row.data["context"] = base + _context(record)
        if "call" in record.row.data:
            record.row.data["call"] = f"{sid}/{record.row.data['call']}"
    return ends


def _new_head(first: Record) -> Record:
    """Make the record of a session that has none."""
    data: dict[str, Json] = {"k": "session", "sid": first.row.data["sid"]}
    if "t" in first.row.data:
        data["t"] = first.row.data["t"]
    return Record(first.line, "session", Row(data))


def _leave_time_to_subagents(tool: Record) -> None:
    """Take from a tool the time that its sub-agents take; what was recorded is kept as such."""
    data = tool.row.data
    seen = as_map(data.get("obs")) or {}
    data["obs"] = {"dur": data.get("dur", 0)} | seen
    data["dur"] = 0
    data.pop("cpu_s", None)
