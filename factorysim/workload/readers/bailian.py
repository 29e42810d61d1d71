"""Qwen-Bailian traces: JSONL, a row a request of a chat, whole prompts in blocks of 16 tokens.

``chat_id`` is a request and ``parent_chat_id`` the one before it, -1 for none; what hangs
together is a session. ``timestamp`` is in seconds and says when a request came. When it
was answered is not recorded: the user's pause before the next one holds the service too.
A parent outside of the file makes a row the first of its session. The id of a prompt's
last block, where that is not full, may be another in the next turn, and what the LLM
thought is left out of it: so what is repeated is told by the ids alone.

Experimental: made from the documented form; no file of it has been read yet.

References
----------
.. [1] alibaba-edu/qwen-bailian-usagetraces-anon @ 03a51e31; arXiv:2506.02634.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.gather import Place
from factorysim.workload.lines import Problem
from factorysim.workload.readers.assemble import assemble
from factorysim.workload.readers.blocks import take_blocks
from factorysim.workload.readers.fields import S, answered, ident, rest, sources
from factorysim.workload.session import GapNode, LlmNode, Session
from factorysim.workload.weave import BadSession, Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.gather import Numbered
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json, Row

BLOCK_TOKENS = 16
ROOT = "-1"
USED = ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "hash_ids")


def parse_bailian(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the sessions of a Bailian trace in order of their first requests."""
    return assemble(lines, log, _place, _session)


def _place(row: Row) -> Place:
    """Check a row; it is of its parent's session."""
    chat = ident(row, "chat_id")
    parent = ident(row, "parent_chat_id", ROOT)
    _call(row)
    return Place(chat, row.nanoseconds("timestamp", S), () if parent == ROOT else (parent,))


def _call(row: Row) -> tuple[LlmNode, dict[str, Json], bool]:
    """Take a request; what its node cannot hold; whether it was answered at all."""
    prompt = row.tokens("input_length")
    output, spoken = answered(row, "output_length")
    hashes = take_blocks(row, "hash_ids", prompt, BLOCK_TOKENS)
    extra = rest(row, USED)
    size = BLOCK_TOKENS if hashes else None
    return LlmNode(prompt, output, hashes=hashes, block_tokens=size), extra, spoken


def _session(rows: list[Numbered]) -> Session:
    """Chain requests after their parents; one parent's further children go beside the first."""
    times = {ident(row, "chat_id"): row.nanoseconds("timestamp", S) for _, row in rows}
    parents = {ident(row, "chat_id"): ident(row, "parent_chat_id", ROOT) for _, row in rows}
    contexts = _contexts(parents)
    begin_ns = min(times.values())
    drafts: list[Draft] = []
    counts = {"outputs_of_0": 0, "waits_with_service": 0, "parents_outside": 0}
    for line, row in rows:
        chat = ident(row, "chat_id")
        parent = parents[chat]
        node, extra, spoken = _call(row)
        node.at_ns, node.context = times[chat] - begin_ns or None, contexts.get(chat, 0)
        counts["outputs_of_0"] += not spoken
        after: list[str] = []
        if parent in times:
            wait_ns = times[chat] - times[parent]
            if wait_ns < 0:
                found = f"{-wait_ns / S:g} s before its parent, {parent}"
                raise BadSession(line, Problem("timestamp", found, "no earlier than its parent"))
            after = [f"gap-{chat}"]
            drafts.append(Draft(after[0], line, GapNode(wait_ns), [parent]))
            counts["waits_with_service"] += 1
        elif parent != ROOT:
            counts["parents_outside"] += 1
            extra["parent_chat_id"] = row.plain("parent_chat_id")
        drafts.append(Draft(chat, line, node, after, {"src": extra} if extra else {}))
    nodes, carried = weave(drafts, named=True, key="parent_chat_id")
    sid = ident(rows[0][1], "chat_id")
    src = sources("bailian", carried, {"began_s": begin_ns / S}, counts)
    return Session(sid, begin_ns, nodes, src=src)


def _contexts(parents: dict[str, str]) -> dict[str, int]:
    """Give chats their contexts: a first child goes on its parent's, any other begins its own.

    Examples
    --------
    >>> _contexts({"a": "-1", "b": "a", "c": "a", "d": "b"})
    {'a': 0, 'b': 0, 'd': 0, 'c': 1}
    """
    children: dict[str, list[str]] = {}
    for chat, parent in parents.items():
        children.setdefault(parent, []).append(chat)
    contexts: dict[str, int] = {}
    begun = 0
    waiting = [chat for chat, parent in parents.items() if parent not in parents][::-1]
    while waiting:
        line = [waiting.pop()]
        while line:
            chat = line.pop()
            contexts[chat] = begun
            heirs = children.get(chat, [])
            line += heirs[:1]
            waiting += heirs[:0:-1]
        begun += 1
    return contexts
