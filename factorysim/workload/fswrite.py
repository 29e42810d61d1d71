"""Sessions as lines of `fstrace/1`: what `fstrace` reads back as the same sessions."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, cast

from factorysim.workload.readers.fsrecords import SCHEMA, Meta
from factorysim.workload.readers.fstrace import default_ids
from factorysim.workload.session import GapNode, LlmNode, ToolNode
from factorysim.workload.write import write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from factorysim.workload.session import Node, Session

    Row = dict[str, object]


def write_fstrace(path: Path, sessions: Iterable[Session], meta: Meta) -> int:
    """Write sessions as an fstrace; gzip if the name ends in ``.gz``.

    Prompts are written whole, whatever the mode of `meta`.

    Returns
    -------
    Lines written. The file appears under its name only when it is whole.
    """
    lines = chain.from_iterable(session_lines(session) for session in sessions)
    return write_lines(path, chain([meta_line(meta)], lines))


def meta_line(meta: Meta) -> str:
    """Write the first line."""
    row = {
        "k": "meta",
        "schema": SCHEMA,
        "name": meta.name,
        "source": meta.source,
        "origin_format": meta.origin_format,
        "epoch": meta.epoch,
        "block_size": meta.block_size,
        "hash_scope": meta.hash_scope,
        "prompt_mode": "full",
        "tokenizer": meta.tokenizer,
        "vocab": meta.vocab,
    }
    return _line({key: value for key, value in row.items() if value not in ("", {})})


def session_lines(session: Session) -> Iterator[str]:
    """Write a session: one line if it is a plain call, else a record of it before its nodes.

    Examples
    --------
    >>> from factorysim.workload.session import Session
    >>> list(session_lines(Session("s1", 7, [LlmNode(600, 5)])))
    ['{"k":"llm","sid":"s1","t":7,"in":600,"out":5}']
    """
    kept = cast("Row", session.src.get("fstrace", {}))
    ids = cast("list[str]", kept.get("ids", default_ids(len(session.nodes))))
    extra = cast("dict[str, Row]", kept.get("nodes", {}))
    head = _head(session, cast("Row", kept.get("session", {})))
    if head is not None:
        yield _line(head)
    for name, node in zip(ids, session.nodes, strict=True):
        row = _node_row(node, ids)
        common: Row = {"k": row.pop("k"), "sid": session.sid}
        if head is not None or name != "n0":
            common["id"] = name
        start = None if isinstance(node, GapNode) else node.at_ns
        if start is not None or head is None:
            common["t"] = session.at_ns + (start or 0)
        yield _line(
            common | ({"t": row.pop("t")} if "t" in row else {}) | row | extra.get(name, {})
        )


def _head(session: Session, kept: Row) -> Row | None:
    """Make the session record; none where a single call says it all."""
    src = {key: value for key, value in session.src.items() if key != "fstrace"}
    first = session.nodes[0]
    lone = len(session.nodes) == 1 and isinstance(first, LlmNode) and first.at_ns is None
    named = session.agent or session.client or session.priority or src or kept
    if lone and not named:
        return None
    row: Row = {"k": "session", "sid": session.sid, "t": session.at_ns}
    given: Row = {
        "agent": session.agent,
        "client": session.client,
        "priority": session.priority,
        "src": src,
    }
    return row | {key: value for key, value in given.items() if value} | kept


def _node_row(node: Node, ids: list[str]) -> Row:
    row: Row = {}
    if node.after:
        row["after"] = [ids[place] for place in node.after]
    if node.delay_ns or isinstance(node, GapNode):
        row["delay"] = node.delay_ns
    if isinstance(node, LlmNode):
        return {"k": "llm"} | row | _llm_fields(node)
    if isinstance(node, ToolNode):
        return {"k": "tool"} | row | _tool_fields(node)
    return {"k": "gap"} | row | {"cls": node.cls}


def _llm_fields(node: LlmNode) -> Row:
    row: Row = {} if node.initiator == "user" else {"initiator": node.initiator}
    row |= {"in": node.prompt_tokens, "out": node.output_tokens}
    if node.prefix_tokens:
        row["cached"] = node.prefix_tokens
    if node.hashes:
        row["hashes"] = [list(run) if run[1] > 1 else run[0] for run in node.hashes]
        row["bs"] = node.block_tokens
    if node.shared_tokens:
        row["shared"] = node.shared_tokens
    if node.context:
        row["context"] = node.context
    if node.step:
        row["step"] = node.step
    if node.role:
        row["role"] = node.role
    if node.image_tokens:
        row["mm"] = {"image_tokens": node.image_tokens}
    return row


def _tool_fields(node: ToolNode) -> Row:
    row: Row = {
        "cls": node.cls,
        "dur": _lasted_ns(node.remote_ns, node.cpu_s, node.cores),
        "cpu_s": node.cpu_s,
        "cores": node.cores,
    }
    given = {
        "mem": node.memory_bytes,
        "in_bytes": node.in_bytes,
        "out_bytes": node.out_bytes,
        "out_tokens": node.result_tokens,
        "context": node.context,
        "failed": [
            {
                "dur": _lasted_ns(one.remote_ns, one.cpu_s, node.cores),
                "cpu_s": one.cpu_s,
                "backoff": one.backoff_ns,
            }
            for one in node.failed
        ],
        "status": "" if node.status == "ok" else node.status,
    }
    return row | {key: value for key, value in given.items() if value}


def _lasted_ns(remote_ns: int, cpu_s: float, cores: float) -> int:
    return remote_ns + round(cpu_s / cores * 1e9)


def _line(row: Row) -> str:
    return json.dumps(row, separators=(",", ":"))
