"""The native format `fstrace/1`: JSONL of sessions as DAGs of calls, tools and gaps.

The first line is `meta`. A session's lines stand together; a `session` record,
if there is one, comes first. Times are integer nanoseconds. A record without
`sid` is a session of its own. Rules where the format leaves a choice:

- A prompt repeats what its session's last call had: as many leading blocks as
  both have in common where both give `hashes`, else `cached` as recorded, else
  (`prompt_mode: delta`) all but the new tokens, else nothing is known: 0.
- A tool of `dur` with `cpu_s` waits ``dur - cpu_s / cores`` elsewhere; without
  `cpu_s` nothing is known of its CPU work and all of `dur` is a wait.
- In `delta` mode a prompt is the last one, its output unless `retain_out` is
  false, and the new tokens; `reset` starts afresh. Its blocks are the full ones of
  those before and those of the new tokens: a block that is not full becomes another
  one by what follows, so its id ends with the prompt that it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from factorysim.workload.lines import BadRow, FaultLog, LineReader, Problem, read_sessions
from factorysim.workload.marks import Marks
from factorysim.workload.readers.family import families, waits_of
from factorysim.workload.readers.fields import once
from factorysim.workload.readers.fsrecords import (
    CARRIED,
    MAX_CONTEXTS,
    STATUSES,
    Meta,
    Record,
    read_meta,
    read_record,
)
from factorysim.workload.readers.mooncake import unsorted
from factorysim.workload.rows import MAX_TOKENS, Row, as_list, as_map, parse_object
from factorysim.workload.runs import blocks_in, common_blocks, head_of, runs_of
from factorysim.workload.session import Attempt, GapNode, LlmNode, Session, ToolNode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from factorysim.workload.repair import Repairs, What
    from factorysim.workload.rows import Json
    from factorysim.workload.runs import Runs
    from factorysim.workload.session import Initiator, Node


IMPLIED = {"retain_out": True, "reset": False, "blocking": True}
"""What a record says that does not say it."""
SESSION_RECORDS = 200_000
"""Lines of one session, at most: they are in memory together."""
SESSION_BLOCKS = 20_000_000
"""Ids of blocks in one session, runs and repeated prefixes written out, at most."""


def read_fstrace(path: Path, repair: Repairs | None = None) -> Iterator[Session]:
    """Yield the sessions of an fstrace, lazily: one session is in memory at a time.

    Ids of sessions seen cost eight bytes each, to find those that come twice.

    Raises
    ------
    TraceError
        When the file ends (or cannot be read on), with every fault: of a record,
        unknown or repeated ids, cycles, sessions torn apart or out of order.
    """
    return read_sessions(path, _parse, repair=repair)


def read_fstrace_meta(path: Path) -> Meta:
    """Return what the first line of an fstrace says.

    Raises
    ------
    TraceError
        If it is not a `meta` record.
    """
    log = FaultLog(path)
    meta = Meta()
    with LineReader(path, log) as lines:
        number, text = next(iter(lines), (1, ""))
        try:
            meta = read_meta(Row(parse_object(text)))
        except BadRow as bad:
            for problem in bad.problems:
                log.add(number, problem)
    log.close()
    return meta


def _parse(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    meta: Meta | None = None
    seen = Marks()
    last_ns = 0
    for records in families(_grouped(lines, log), log, SESSION_RECORDS):
        first = records[0]
        if meta is None:
            try:
                meta = read_meta(first.row)
            except BadRow as bad:
                _note(log, first.line, bad)
                return
            continue
        try:
            session = _assemble(records, meta)
            if "sid" in first.row.data:
                once("sid", session.sid, seen)
        except _BadSession as torn:
            log.add(torn.line, torn.problem, "session dropped")
            continue
        except BadRow as bad:
            _note(log, first.line, bad, "session dropped")
            continue
        if session.at_ns < last_ns:
            log.add(first.line, unsorted("t", session.at_ns, last_ns, "s", 1e9))
        last_ns = max(last_ns, session.at_ns)
        yield session


def _note(log: FaultLog, line: int, bad: BadRow, what: What = "row dropped") -> None:
    for problem in bad.problems:
        log.add(line, problem, what)


def _grouped(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[list[Record]]:
    """Yield the `meta` record alone, then the records of each session together."""
    group: list[Record] = []
    begun = False
    headless: Json = None  # sid of a session whose own record was bad: what is left is not it
    for number, text in lines:
        row: Row | None = None
        try:
            row = Row(parse_object(text))
            record = read_record(number, row) if begun else Record(number, "meta", row)
        except BadRow as bad:
            _note(log, number, bad)
            if not begun:
                return
            if row is not None and row.data.get("k") == "session":
                headless = row.data.get("sid")
            continue
        if not begun:
            begun = True
            yield [record]
            continue
        if headless is not None and row.data.get("sid") == headless:
            problem = Problem("", "a record of a session that was dropped", "a whole session")
            log.add(number, problem)
            continue
        if group and not _belongs(record, group[0]):
            yield group
            group = []
        group.append(record)
        if len(group) > SESSION_RECORDS:
            found = f"a session of over {SESSION_RECORDS:,} records"
            log.refuse(number, Problem("", found, "smaller sessions", "is sid the session's?"))
            return
    if group:
        yield group


def _belongs(record: Record, first: Record) -> bool:
    sid = record.row.data.get("sid")
    return sid is not None and sid == first.row.data.get("sid")


class _BadSession(Exception):  # noqa: N818 - never leaves this module
    """A session whose records do not fit together, at the line of one of them."""

    def __init__(self, line: int, problem: Problem) -> None:
        super().__init__(line, problem)
        self.line = line
        self.problem = problem


def _assemble(records: list[Record], meta: Meta) -> Session:
    """Make a session of its records."""
    head = records[0] if records[0].kind == "session" else None
    body = records[1:] if head is not None else records
    for record in body:
        if record.kind in ("session", "meta"):
            problem = Problem("k", f"{record.kind!r}", "one session record, before the others")
            raise _BadSession(record.line, problem)
    if not body:
        raise _BadSession(records[0].line, Problem("", "a session without records", "a call"))
    order, after = _ordered(body)
    data = (head or body[0]).row.data
    at_ns = cast("int", data.get("t", 0))
    builder = _NodeBuilder(meta, at_ns)
    nodes = [builder.node(record, after[record.id]) for record in order]
    src = _sources(head, order, meta)
    return Session(
        sid=cast("str", data.get("sid", f"r{records[0].line}")),
        at_ns=at_ns,
        nodes=nodes,
        agent=cast("str", data.get("agent", "")) if head else "",
        client=cast("str", data.get("client", "")) if head else "",
        priority=cast("int", data.get("priority", 0)) if head else 0,
        src=src,
        hash_scope=meta.hash_scope,
    )


def _sources(head: Record | None, order: list[Record], meta: Meta) -> dict[str, object]:
    """Gather what the session types do not hold."""
    own = (
        cast("dict[str, object]", head.row.plain("src")) if head and "src" in head.row.data else {}
    )
    carried: dict[str, object] = {}
    ids = [record.id for record in order]
    if ids != default_ids(len(ids)):
        carried["ids"] = ids
    kept = {record.id: fields for record in order if (fields := _carried(record))}
    if kept:
        carried["nodes"] = kept
    if head is not None and (fields := _carried(head)):
        carried["session"] = fields
    if meta.hash_scope == "session":
        carried["hash_scope"] = "session"
    return own | ({"fstrace": carried} if carried else {})


def _carried(record: Record) -> dict[str, object]:
    row = record.row
    fields = {key: row.plain(key) for key in CARRIED[record.kind] if key in row.data}
    for key, said in IMPLIED.items():
        if fields.get(key) == said:
            del fields[key]
    if record.kind == "tool" and fields.get("status") in STATUSES:
        del fields["status"]  # the node has it
    images = fields.get("mm")
    if isinstance(images, dict) and set(images) <= {"image_tokens"}:
        del fields["mm"]  # the node has it
    return fields


def default_ids(count: int) -> list[str]:
    """Ids of nodes that the file does not name.

    Examples
    --------
    >>> default_ids(2)
    ['n0', 'n1']
    """
    return [f"n{place}" for place in range(count)]


def _ordered(body: list[Record]) -> tuple[list[Record], dict[str, tuple[int, ...]]]:
    """Sort records so that each follows what it waits for; keep the file's order else."""
    known = _named(body)
    for record in body:
        record.after = waits_of(record)
        for name in record.after:
            if name not in known:
                problem = Problem("after", f"{name[:60]!r}", "the id of a record of this session")
                raise _BadSession(record.line, problem)
    order = _topological(body, known)
    place = {record.id: index for index, record in enumerate(order)}
    return order, {
        record.id: tuple(sorted({place[name] for name in record.after or ()})) for record in order
    }


def _named(body: list[Record]) -> dict[str, Record]:
    known: dict[str, Record] = {}
    for place, record in enumerate(body):
        record.id = record.id or f"n{place}"
        if record.id in known:
            first = known[record.id].line
            found = f"{record.id[:60]!r} again (first on line {first})"
            raise _BadSession(record.line, Problem("id", found, "each id once in a session"))
        known[record.id] = record
    return known


def _topological(body: list[Record], known: dict[str, Record]) -> list[Record]:
    """Kahn's algorithm, with the earliest line first among those that are free."""
    from heapq import heapify, heappop, heappush

    waits = {record.id: len(set(record.after or ())) for record in body}
    followers: dict[str, list[Record]] = {record.id: [] for record in body}
    for record in body:
        for name in set(record.after or ()):
            followers[name].append(record)
    free = [(record.line, record.id) for record in body if not waits[record.id]]
    heapify(free)
    order: list[Record] = []
    while free:
        _, name = heappop(free)
        order.append(known[name])
        for follower in followers[name]:
            waits[follower.id] -= 1
            if not waits[follower.id]:
                heappush(free, (follower.line, follower.id))
    if len(order) < len(body):
        stuck = next(record for record in body if waits[record.id])
        cure = "no record may wait for itself, even through others"
        raise _BadSession(stuck.line, Problem("after", "a cycle", "records that can start", cure))
    return order


class _NodeBuilder:
    """Turns checked records into nodes, keeping track of the context."""

    def __init__(self, meta: Meta, at_ns: int) -> None:
        self.meta = meta
        self.at_ns = at_ns
        self.last: dict[int, tuple[LlmNode, bool]] = {}
        """Of each context the last call, and whether its output is in the context."""
        self.full: dict[int, Runs] = {}
        """Of each context those blocks of the last call that later ones go on with (delta)."""
        self.blocks = 0

    def node(self, record: Record, after: tuple[int, ...]) -> Node:
        """Make a node of a record."""
        row = record.row
        delay_ns = row.whole("delay", 0, 10**18, default=0)
        at_ns = self._start(record, after)
        match record.kind:
            case "llm":
                return self._llm(record, after, delay_ns, at_ns)
            case "tool":
                return _tool(row, after, delay_ns, at_ns)
            case _:
                cls = cast("str", row.data.get("cls", "user"))
                return GapNode(delay_ns, cls, after)  # type: ignore[arg-type]  # checked before

    def _start(self, record: Record, after: tuple[int, ...]) -> int | None:
        """Return the recorded start after the session's; None where it says nothing new."""
        at_ns = cast("int | None", record.row.data.get("t"))
        if at_ns is None:
            return None
        if at_ns < self.at_ns:
            problem = Problem("t", f"{at_ns}", f"at least the session's, {self.at_ns}")
            raise _BadSession(record.line, problem)
        return at_ns - self.at_ns if after or at_ns > self.at_ns else None

    def _llm(
        self, record: Record, after: tuple[int, ...], delay_ns: int, at_ns: int | None
    ) -> LlmNode:
        row = record.row
        prompt, output = row.whole("in", 1, 10**9), row.whole("out", 1, 10**9)
        context = row.whole("context", 0, MAX_CONTEXTS, default=0)
        last, retained = self.last.get(context, (None, True))
        hashes, size = self._hashes(record, prompt, last)
        if row.flag("reset", default=False):
            last = None
        cached = row.whole("cached", 0, prompt, default=0)
        delta = self.meta.prompt_mode == "delta"
        if delta:
            hashes, size = self._joined(record, prompt, last, hashes, size)
        if delta and last is not None:
            before = last.prompt_tokens + (last.output_tokens if retained else 0)
            prompt, cached = prompt + before, cached or before
            if prompt > MAX_TOKENS:
                problem = Problem("in", f"a prompt of {prompt:,}", f"at most {MAX_TOKENS:,}")
                raise _BadSession(record.line, problem)
        elif last is not None and last.hashes and hashes and last.block_tokens == size:
            cached = min(common_blocks(last.hashes, hashes) * (size or 0), prompt)
        initiator = cast("Initiator", row.data.get("initiator", "user"))
        shared = row.whole("shared", 0, prompt, default=0)
        step = cast("str", row.data.get("step", ""))
        role = cast("int", row.data.get("role", 0))
        images = cast("int", (as_map(row.data.get("mm")) or {}).get("image_tokens", 0))
        node = LlmNode(
            *(prompt, output, cached, after, delay_ns, at_ns, initiator),
            *(hashes, size, shared, context, step, role, images),
        )
        self.last[context] = node, row.flag("retain_out", default=True)
        return node

    def _joined(
        self, record: Record, new_tokens: int, last: LlmNode | None, new: Runs, size: int | None
    ) -> tuple[Runs, int | None]:
        """Put the blocks of new tokens behind those of the context that are full."""
        context = record.row.whole("context", 0, MAX_CONTEXTS, default=0)
        before = () if last is None else self.full[context]
        if before and last is not None and size != last.block_tokens:
            if new:
                expected = f"{last.block_tokens}, as in the prompt that it goes on with"
                raise _BadSession(record.line, Problem("bs", f"{size}", expected))
            size = last.block_tokens
        if not before + new:
            self.full[context] = ()
            return (), None
        assert size is not None
        self.full[context] = runs_of(before + head_of(new, new_tokens // size))
        return runs_of(before + new), size

    def _hashes(self, record: Record, prompt: int, last: LlmNode | None) -> tuple[Runs, int | None]:
        """Read ids and runs ``[first, count]``, of no more blocks than the prompt has."""
        listed = as_list(record.row.data.get("hashes", []))
        size = cast("int | None", record.row.data.get("bs", self.meta.block_size))
        if listed == []:
            return (), None
        if size is None:
            cure = "give bs, or block_size in meta"
            raise _BadSession(record.line, Problem("hashes", "no block size", "bs", cure))
        runs = [None] if listed is None else [_run(item) for item in listed]
        if any(run is None for run in runs):
            expected = "whole numbers, none below 0, or runs [first, count]"
            raise _BadSession(record.line, Problem("hashes", "something else", expected))
        whole = [run for run in runs if run is not None]
        blocks = sum(count for _, count in whole)
        if blocks > -(-prompt // size):
            expected = f"at most one for each {size} tokens of in, {prompt}"
            raise _BadSession(record.line, Problem("hashes", f"{blocks} blocks", expected))
        self.blocks += blocks + (0 if last is None else blocks_in(last.hashes))
        if self.blocks > SESSION_BLOCKS:
            problem = Problem("hashes", f"over {SESSION_BLOCKS:,} blocks", "fewer in a session")
            raise _BadSession(record.line, problem)
        return runs_of(whole), size


def _run(item: object) -> tuple[int, int] | None:
    """Read an id or a run of them; None if it is neither."""
    match as_list(item) or [item, 1]:
        case [int(first), int(count)] if first >= 0 and count >= 1:
            return None if isinstance(first, bool) or isinstance(count, bool) else (first, count)
        case _:
            return None


def _tool(row: Row, after: tuple[int, ...], delay_ns: int, at_ns: int | None) -> ToolNode:
    cores = row.number("cores", 1e-6, 1e6, 1.0)
    cpu_s = row.number("cpu_s", 0.0, 1e12, 0.0)
    return ToolNode(
        cls=row.text("cls"),
        cpu_s=cpu_s,
        cores=cores,
        memory_bytes=row.number("mem", 0.0, 1e18, 0.0),
        remote_ns=row.whole("dur", 0, 10**18) - round(cpu_s / cores * 1e9),
        result_tokens=row.whole("out_tokens", 0, 10**9, default=0),
        in_bytes=row.whole("in_bytes", 0, 10**15, default=0),
        out_bytes=row.whole("out_bytes", 0, 10**15, default=0),
        after=after,
        delay_ns=delay_ns,
        at_ns=at_ns,
        context=row.whole("context", 0, MAX_CONTEXTS, default=0),
        failed=tuple(_attempt(item, cores) for item in as_list(row.data.get("failed", [])) or ()),
        status=next((word for word in STATUSES if word == row.data.get("status")), "ok"),
    )


def _attempt(item: object, cores: float) -> Attempt:
    row = Row(as_map(item) or {})
    cpu_s = row.number("cpu_s", 0.0, 1e12, 0.0)
    remote_ns = row.whole("dur", 0, 10**18) - round(cpu_s / cores * 1e9)
    return Attempt(cpu_s, remote_ns, row.whole("backoff", 0, 10**18, default=0))
