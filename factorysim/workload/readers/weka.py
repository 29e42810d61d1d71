"""Traces in Weka form: a JSON object a session of a coding agent, hashes in blocks of 64 tokens.

Requests follow each other: `think_time` seconds of tools (where a request brings a
`tool_result`) or of the user, then the request. A sub-agent's requests are a line
of their own, between the request that called for it and the one that brings its
result. Its marker is stamped when it ends, so it began `duration_ms` before, and its
requests came as long after that as they say. Ids of blocks hold in one session, its
sub-agents included.

A folder of such files is one trace. There is no clock that they share: all
sessions come at once, unless the stream has arrivals of its own.

References
----------
.. [1] callanjfox/kv-cache-tester, `traces/`.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, cast

from factorysim.errors import Fault, TraceError
from factorysim.workload.lines import (
    BadRow,
    FaultLog,
    LineReader,
    NothingKeptError,
    read_into,
    read_sessions,
)
from factorysim.workload.marks import Marks
from factorysim.workload.readers.fields import once
from factorysim.workload.rows import MAX_TOKENS, Row, as_list, as_map, parse_object
from factorysim.workload.runs import common_blocks, ids_of, runs_of_ids, runs_of_lists
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from factorysim.workload.write import write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from factorysim.workload.repair import Repairs
    from factorysim.workload.rows import Json
    from factorysim.workload.runs import Runs
    from factorysim.workload.session import Initiator, Node

ROW_BYTES = 64 * 2**20
"""Of one session, at most: half a million ids take four million bytes."""
REQUESTS_MOST = 200_000
"""Of one session, those of its sub-agents included: they are in memory together."""
BLOCKS_MOST = 20_000_000
"""Ids of blocks in one session, at most."""
NS = 10**9
SUBAGENT = "subagent"
SUFFIXES = tuple(f".{kind}{packed}" for packed in ("", ".gz", ".zst") for kind in ("json", "jsonl"))
HELD = ("in", "out", "hash_ids")
"""Fields that nodes hold, where there is something in them."""
NAMED = {"model": "model", "stop": "finish"}
"""Fields that fstrace/1 has a name for."""
SEEN = {"api_time": "dur", "ttft": "ttft"}
"""Seconds that fstrace/1 holds as nanoseconds; what that would round is kept as it is."""
TOOL = "tool"
"""Class of tools, of which the format tells no more than how long they took."""


def read_weka(path: Path, repair: Repairs | None = None) -> Iterator[Session]:
    """Yield the sessions of a Weka trace, lazily: one session is in memory at a time.

    Parameters
    ----------
    path
        A file of a session a line, or a folder of such files.

    Raises
    ------
    TraceError
        When the last file ends, with the faults of all files, or when there are too many.
    """
    files = weka_files(path)
    if repair is not None and len(files) > 1:
        yield from _repaired(path, files, repair)
        return
    seen = Marks()
    log = FaultLog(path, repair)
    for file in files:
        try:
            yield from read_into(
                log, file, lambda lines, told: _parse(seen, iter(lines), told), ROW_BYTES
            )
        except TraceError as error:
            if log.full:
                raise
            for fault in error.faults:
                log.keep(fault)
    log.path = path
    log.close()


def _repaired(path: Path, files: Iterable[Path], repair: Repairs) -> Iterator[Session]:
    """Yield what can be kept of a folder's sessions: a file of which nothing can is dropped."""
    kept = False
    parse = partial(_parse, Marks())
    for file in files:
        came, before = False, repair.count
        try:
            for session in read_sessions(file, parse, ROW_BYTES, repair):
                came = kept = True
                yield session
        except TraceError as error:
            if came:
                repair.note("rest unread", error.faults[0])
            elif repair.count == before or not isinstance(error, NothingKeptError):
                repair.note("file dropped", error.faults[0])  # else told session by session
    if not kept:
        found, expected = "no file that could be kept", "sessions that hold together"
        raise TraceError(Fault(str(path), "", found, expected))


def weka_files(path: Path) -> list[Path]:
    """List the files of a trace: the path itself, or those of a folder in order of their names.

    Raises
    ------
    TraceError
        If a folder holds none, or one that leads out of it.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))
    if not files:
        expected = f"files that end in {', '.join(SUFFIXES)}"
        raise TraceError(Fault(str(path), "", "a folder without traces", expected))
    folder = path.resolve()
    for file in files:
        if not file.resolve().is_relative_to(folder):
            raise TraceError(Fault(str(file), "", "a link out of its folder", "a trace file"))
    return files


def weka_block_tokens(path: Path) -> int | None:
    """Return the block size that the first session gives; None if it gives none."""
    file = weka_files(path)[0]
    with LineReader(file, FaultLog(file), ROW_BYTES) as lines:
        _, text = next(iter(lines), (1, "{}"))
    try:
        size = parse_object(text).get("block_size")
    except BadRow:
        return None
    return size if isinstance(size, int) else None


def _parse(seen: Marks, lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Read sessions; their ids are unique in all files of a trace."""
    for number, text in lines:
        try:
            session = _session(Row(parse_object(text)))
            once("id", session.sid, seen)
        except BadRow as bad:
            for problem in bad.problems:
                log.add(number, problem, "session dropped")
            continue
        yield session


def _session(row: Row) -> Session:
    sid = row.text("id")
    size = row.whole("block_size", 1, 1_000_000)
    if row.data.get("hash_id_scope") not in ("local", "global"):
        row.bad("hash_id_scope", row.found("hash_id_scope"), "local or global")
    listed = as_list(row.data.get("requests"))
    if not listed:
        row.bad("requests", row.found("requests"), "a list of at least one request")
    row.close()
    builder = _Builder(row, size)
    builder.follow("requests", listed or [])
    row.close()
    return Session(
        sid,
        0,
        builder.nodes,
        src=builder.sources(),
        hash_scope="session" if row.data["hash_id_scope"] == "local" else "global",
    )


class _Line:
    """How far one agent has got: the main one, or a sub-agent."""

    def __init__(
        self, after: tuple[int, ...] = (), last: LlmNode | None = None, context: int = 0
    ) -> None:
        self.context = context
        self.after = after
        """What its next request waits for."""
        self.last = last
        """Its last call, whose context its next one repeats."""
        self.end_ns = 0
        """When that was answered, as recorded; where unknown, when it was sent."""
        self.begun = False
        self.joined: list[int] = []
        """Last nodes of the sub-agents whose results its next request brings."""
        self.joined_ns = 0
        """When the last of them ended."""


class _Builder:
    """Turns the requests of a session into nodes."""

    def __init__(self, row: Row, size: int) -> None:
        self.row = row
        """Of the session: where problems are noted."""
        self.size = size
        self.nodes: list[Node] = []
        self.blocks = 0
        self.zero_ns: int | None = None
        self.told: dict[str, Json] = {}
        """What nodes cannot say, by their names."""
        self.silent = 0
        """Requests without output, counted as of one token."""
        self.guessed = 0
        """Waits that hold the server's time too, since it is not recorded."""
        self.contexts = 0
        """Of sub-agents, which have one each."""
        self.subagents: list[dict[str, Json]] = []

    def follow(self, place: str, listed: list[Json]) -> None:
        """Read the main agent's requests, and those of its sub-agents where they stand."""
        main = _Line()
        for number, item in enumerate(listed):
            where = f"{place}.{number}"
            data = as_map(item)
            if data is None:
                self.row.bad(where, "something else", "an object")
            elif data.get("type") == SUBAGENT:
                self._subagent(where, Row(data), main)
            else:
                self._request(where, Row(data), main)
            if len(self.nodes) > 2 * REQUESTS_MOST or self.blocks > BLOCKS_MOST:
                expected = f"at most {REQUESTS_MOST:,} requests and {BLOCKS_MOST:,} ids of blocks"
                self.row.bad(where, "a session beyond bounds", expected)
                return

    def sources(self) -> dict[str, Json]:
        """Give what the session types do not hold."""
        fields = {
            key: self.row.plain(key) for key in self.row.data if key not in ("id", "requests")
        }
        told: dict[str, Json] = {"file": fields}
        counts = {"outputs_of_0": self.silent, "waits_with_service": self.guessed}
        told |= {key: count for key, count in counts.items() if count}
        if self.subagents:
            told["subagents"] = self.subagents
        kept: dict[str, Json] = {"nodes": self.told}
        if self.row.data["hash_id_scope"] == "local":
            kept["hash_scope"] = "session"
        return {"weka": told, "fstrace": kept}

    def _request(self, where: str, row: Row, line: _Line, *, sub: bool = False) -> None:
        """Add a request, and before it the wait for tools or user."""
        sent_ns = row.nanoseconds("t", NS)
        if self.zero_ns is None:
            self.zero_ns = 0 if sub else sent_ns
        prompt = row.tokens("in")
        output = row.whole("out", 0, MAX_TOKENS)
        hashes = () if row.problems else self._hashes(row, prompt)
        for_tools = "tool_result" in (as_list(row.data.get("input_types", [])) or ())
        wait_ns = self._wait(row, line, sent_ns)
        served_ns = row.nanoseconds("api_time", NS) if "api_time" in row.data else 0
        kept = _unsaid(row)
        if row.problems:
            for problem in row.problems:
                self.row.problems.append(problem._replace(key=f"{where}.{problem.key}"))
            return
        self.silent += not output
        delay_ns = self._pause(line, wait_ns, for_tools)
        initiator: Initiator = (
            "tool" if for_tools else "agent" if sub and not line.begun else "user"
        )
        repeated = 0
        if line.last is not None:
            repeated = min(common_blocks(line.last.hashes, hashes) * self.size, prompt)
        at_ns = sent_ns if sub else sent_ns - self.zero_ns or None
        node = LlmNode(
            prompt, max(output, 1), repeated, line.after, delay_ns, at_ns, initiator,
            hashes, self.size if hashes else None, 0, line.context,
        )  # fmt: skip
        self.told[f"n{len(self.nodes)}"] = kept
        self.nodes.append(node)
        line.after, line.last, line.begun = (len(self.nodes) - 1,), node, True
        line.end_ns = sent_ns + served_ns
        line.joined = []

    def _wait(self, row: Row, line: _Line, sent_ns: int) -> int:
        """Between the line's last answer and a request."""
        if "think_time" in row.data:
            return row.nanoseconds("think_time", NS)
        if not line.begun:
            return 0
        self.guessed += 1
        return max(0, sent_ns - line.end_ns)

    def _pause(self, line: _Line, wait_ns: int, for_tools: bool) -> int:
        """Let a line wait for its sub-agents, or else for tools or the user; returns a delay."""
        if line.joined:
            line.after = tuple(sorted(line.joined))
            return max(0, line.end_ns + wait_ns - line.joined_ns)
        if not line.begun or not wait_ns:
            return 0
        wait: Node = (
            ToolNode(TOOL, remote_ns=wait_ns, after=line.after)
            if for_tools
            else GapNode(wait_ns, after=line.after)
        )
        self.nodes.append(wait)
        line.after = (len(self.nodes) - 1,)
        return 0

    def _subagent(self, where: str, row: Row, main: _Line) -> None:
        """Add the requests of a sub-agent that runs beside its siblings."""
        ended_ns = row.nanoseconds("t", NS)
        listed = as_list(row.data.get("requests", []))
        if listed is None or any(as_map(item) is None for item in listed):
            row.bad("requests", row.found("requests"), "a list of requests")
        requests = [data for item in listed or () if (data := as_map(item)) is not None]
        if any(data.get("type") == SUBAGENT for data in requests):
            row.bad("requests", "a sub-agent of a sub-agent", "requests")
        lasted_ns = self._lasted(row, requests)
        marker = {key: row.plain(key) for key in row.data if key != "requests"}
        if row.problems:
            for problem in row.problems:
                self.row.problems.append(problem._replace(key=f"{where}.{problem.key}"))
            return
        first = len(self.nodes)
        if not requests:
            self._mark(marker, row, first)
            return
        self.contexts += 1
        line = _Line(main.after, main.last, self.contexts)
        for number, data in enumerate(requests):
            self._request(f"{where}.requests.{number}", Row(data), line, sub=True)
        if len(self.nodes) == first:
            return
        self._place(first, ended_ns - lasted_ns)
        begin = self.nodes[first]
        assert isinstance(begin, LlmNode)
        begin.delay_ns = max(0, ended_ns - lasted_ns - main.end_ns)
        main.joined.append(len(self.nodes) - 1)
        main.joined_ns = max(main.joined_ns if len(main.joined) > 1 else 0, ended_ns)
        self._mark(marker, row, first)

    def _place(self, first: int, began_ns: int) -> None:
        """Start a sub-agent's calls when they did, on the main agent's clock.

        Their own is told from its first request; where that is a republication's, of the
        whole session, the times between them are the same.
        """
        calls = [node for node in self.nodes[first:] if isinstance(node, LlmNode)]
        behind_ns = began_ns - (self.zero_ns or 0) - (calls[0].at_ns or 0)
        for node in calls:
            at_ns = max(0, (node.at_ns or 0) + behind_ns)
            node.at_ns = at_ns if node.after else at_ns or None

    def _mark(self, marker: dict[str, Json], row: Row, first: int) -> None:
        """Keep a sub-agent's marker, and which nodes are its own."""
        mark: dict[str, Json] = {"marker": marker, "nodes": [first, len(self.nodes)]}
        if "requests" not in row.data:
            mark["bare"] = True
        self.subagents.append(mark)

    def _lasted(self, row: Row, requests: list[dict[str, Json]]) -> int:
        """How long a sub-agent took: as recorded, or from its first request to its last answer."""
        if row.data.get("duration_ms") is not None:
            return row.nanoseconds("duration_ms", 1_000_000)
        if not requests:
            return 0
        first, last = Row(requests[0]), Row(requests[-1])
        served_ns = last.nanoseconds("api_time", NS) if "api_time" in last.data else 0
        return max(0, last.nanoseconds("t", NS) - first.nanoseconds("t", NS) + served_ns)

    def _hashes(self, row: Row, prompt: int) -> Runs:
        """Take the ids of the prompt's full blocks: as many as it has, or none at all."""
        given = as_list(row.data.get("hash_ids", []))
        ids = cast("list[int]", given or [])
        if given is None or not set(map(type, ids)) <= {int} or min(ids, default=0) < 0:
            row.bad("hash_ids", "something else", "a list of whole numbers, none below 0")
            return ()
        full = prompt // self.size
        if ids and len(ids) != full:
            expected = f"{full}, one for each full block of {self.size} tokens of in, {prompt}"
            row.bad("hash_ids", f"{len(ids)} ids", expected, "or none at all")
            return ()
        self.blocks += len(ids)
        try:
            return runs_of_lists([ids])[0]
        except OverflowError:
            return runs_of_ids(ids)


def _unsaid(row: Row) -> dict[str, Json]:
    """Keep what a node does not say: it changes nothing in a simulation, and is written back."""
    kept: dict[str, Json] = {
        name: row.plain(key) for key, name in NAMED.items() if row.data.get(key)
    }
    seen = {
        name: row.nanoseconds(key, NS)
        for key, name in SEEN.items()
        if key in row.data and _whole_ns(row.data[key])
    }
    if seen:
        kept["obs"] = seen
    said = {*(key for key in (*HELD, *NAMED) if row.data.get(key))}
    said |= {key for key, name in SEEN.items() if name in seen}
    kept["src"] = {key: row.plain(key) for key in row.data if key not in said}
    return kept


def _whole_ns(value: Json) -> bool:
    """Tell whether a number of seconds comes back from its nanoseconds."""
    if isinstance(value, Decimal):
        return value.is_finite() and 0 <= value < 10**6 and value * NS % 1 == 0
    return type(value) is int and 0 <= value < 10**6


def weka_line(session: Session) -> str:
    """Write a session that was read from a Weka file as the JSON that it was.

    Raises
    ------
    TraceError
        If it comes from elsewhere: the format has no words for what other sources tell.
    """
    told = as_map(session.src.get("weka")) or {}
    kept = as_map((as_map(session.src.get("fstrace")) or {}).get("nodes")) or {}
    file = as_map(told.get("file"))
    if file is None:
        expected = "sessions that were read from Weka files"
        cure = "write it as fstrace, which can say all that sessions hold"
        raise TraceError(Fault(session.sid, "src.weka", "nothing", expected, cure))
    requests: list[Json] = []
    marks = [as_map(mark) or {} for mark in as_list(told.get("subagents")) or []]
    inside: tuple[int, list[Json]] = (0, requests)  # where the current sub-agent ends, its requests
    for place, node in enumerate([*session.nodes, None]):
        while marks and (node is None or cast("list[int]", marks[0]["nodes"])[0] <= place):
            mark = marks.pop(0)
            rows: list[Json] = []
            listed = {} if mark.get("bare") else {"requests": rows}
            requests.append({**(as_map(mark["marker"]) or {}), **listed})
            inside = cast("list[int]", mark["nodes"])[1], rows
        if isinstance(node, LlmNode):
            row = _request_row(node, as_map(kept.get(f"n{place}")) or {})
            (inside[1] if place < inside[0] else requests).append(row)
    return json.dumps({"id": session.sid, **file, "requests": requests})


def _request_row(node: LlmNode, kept: dict[str, Json]) -> dict[str, Json]:
    row: dict[str, Json] = {"in": node.prompt_tokens, "out": node.output_tokens}
    if node.hashes:
        row["hash_ids"] = list(ids_of(node.hashes))
    row |= {key: kept[name] for key, name in NAMED.items() if name in kept}
    seen = as_map(kept.get("obs")) or {}
    row |= {key: cast("int", seen[name]) / NS for key, name in SEEN.items() if name in seen}
    return row | (as_map(kept.get("src")) or {})


def write_weka(path: Path, sessions: Iterable[Session]) -> int:
    """Write Weka sessions, a line each; packed if the name ends in ``.gz`` or ``.zst``.

    Returns
    -------
    Sessions written. The file appears under its name only when it is whole.
    """
    return write_lines(path, map(weka_line, sessions))
