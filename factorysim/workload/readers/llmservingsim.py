"""Workloads of LLMServingSim 2.0: JSONL, flat requests or agentic sessions.

Flat rows have `input_toks`, `output_toks`, `arrival_time_ns` and perhaps the ids of the
tokens; agentic ones `session_id`, `arrival_time_ns` and `sub_requests`, each with
`input_toks`, `output_toks` and `tool_duration_ns`. Taken so, since the fields are all
that is documented: `input_toks` is the whole prompt, a sub-request is sent when the one
before it has been answered and its tool has run, and a tool comes after its sub-request.
A prompt repeats as many leading tokens of the one before it and its answer as the ids
show; without ids nothing is known of it: 0. Token ids are not kept.

Experimental: made from the names of the fields; no file of it has been read yet.

References
----------
.. [1] casys-kaist/LLMServingSim @ 5daddb2, as described in the peer survey, section 2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.lines import BadRow
from factorysim.workload.marks import Marks
from factorysim.workload.readers.fields import (
    adopt,
    ident,
    inner,
    note,
    once,
    present,
    rest,
    sources,
)
from factorysim.workload.readers.mooncake import unsorted
from factorysim.workload.rows import Row, as_list
from factorysim.workload.session import LlmNode, Session, ToolNode
from factorysim.workload.weave import Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json
    from factorysim.workload.session import Initiator

USED = (
    *("session_id", "arrival_time_ns", "sub_requests", "input_toks", "output_toks"),
    *("tool_duration_ns", "input_tok_ids", "output_tok_ids"),
)


def parse_llmservingsim(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the requests or sessions of an LLMServingSim workload, lazily."""
    ordinal = last_ns = 0
    seen = Marks()
    for number, text in lines:
        try:
            session = _session(number, Row(present(text)), ordinal)
            once("session_id", session.sid, seen)
        except BadRow as bad:
            note(log, number, bad)
            continue
        if session.at_ns < last_ns:
            log.add(number, unsorted("arrival_time_ns", session.at_ns, last_ns, "ns", 1))
        last_ns = max(last_ns, session.at_ns)
        ordinal += 1
        yield session


def _session(line: int, row: Row, ordinal: int) -> Session:
    at_ns = row.nanoseconds("arrival_time_ns", 1)
    sid = ident(row, "session_id", f"r{ordinal}")
    chain = _Chain(line)
    if "sub_requests" not in row.data:
        chain.add(row)
    else:
        listed = as_list(row.data["sub_requests"])
        if not listed:
            row.bad("sub_requests", row.found("sub_requests"), "a list of at least one")
        for number, item in enumerate(listed or ()):
            request = inner(row, f"sub_requests.{number}", item)
            if request is not None:
                chain.add(request, rest(request, USED))
                adopt(row, f"sub_requests.{number}", request)
    extra = rest(row, USED)
    row.close()
    nodes, carried = weave(chain.drafts)
    return Session(sid, at_ns, nodes, src=sources("llmservingsim", carried, extra))


class _Chain:
    """Requests that follow each other, with the tools between them."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.drafts: list[Draft] = []
        self.context: list[Json] = []
        """Ids of the tokens so far: of the last prompt and its answer."""
        self.initiator: Initiator = "user"

    def add(self, row: Row, extra: dict[str, Json] | None = None) -> None:
        """Add a request and its tool."""
        prompt, output = row.tokens("input_toks"), row.tokens("output_toks")
        asked = _token_ids(row, "input_tok_ids", prompt)
        answer = _token_ids(row, "output_tok_ids", output)
        repeated = _common(self.context, asked)
        self.context = asked + answer
        node = LlmNode(prompt, output, repeated, initiator=self.initiator)
        self._append(node, {"src": extra} if extra else {})
        self.initiator = "agent"
        if row.data.get("tool_duration_ns"):
            tool = ToolNode("tool", remote_ns=row.nanoseconds("tool_duration_ns", 1))
            self._append(tool, {})
            self.initiator = "tool"

    def _append(self, node: LlmNode | ToolNode, kept: dict[str, Json]) -> None:
        after = [self.drafts[-1].name] if self.drafts else []
        self.drafts.append(Draft(f"n{len(self.drafts)}", self.line, node, after, kept))


def _token_ids(row: Row, key: str, tokens: int) -> list[Json]:
    """Take the ids of tokens: as many as there are, or none."""
    ids = as_list(row.data.get(key, []))
    if ids is None or (ids and len(ids) != tokens and not row.problems):
        found = row.found(key) if ids is None else f"{len(ids):,} ids"
        row.bad(key, found, f"an id for each of {tokens:,} tokens, or none")
        return []
    return ids


def _common(before: list[Json], after: list[Json]) -> int:
    """Count the leading items that two lists have in common."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(before), len(after)))
