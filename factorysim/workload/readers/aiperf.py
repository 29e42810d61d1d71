"""Traces in aiperf's extended Mooncake form ("mooncake+"): JSONL, rows of sessions in turns.

On top of Mooncake's fields a row may have ``session_id``: it follows the row of that
session above it, ``delay`` milliseconds after its answer. Prompts are either whole, or
(`aiperf_delta`) after a session's first row the new tokens only, ``hash_ids`` too: the
prompt is then what was there, its answer and the new tokens. A file does not say which;
`prompt_mode` tells it by evidence. Blocks have 512 tokens unless the lists fit another
size. Of the blocks of new tokens the full ones are named, since what follows a block
that is not full makes it another one.

Experimental: made from the documented form; no file of it has been read yet.

References
----------
.. [1] aiperf docs, trace-replay @ 0109a64e and agentic-code @ 1fac1569.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from factorysim.workload.formats import AGENTIC
from factorysim.workload.gather import Place
from factorysim.workload.lines import BadRow, Problem
from factorysim.workload.readers.assemble import assemble
from factorysim.workload.readers.blocks import BlockSize, full_blocks, listed_ids
from factorysim.workload.readers.fields import MS, ident, rest, sources
from factorysim.workload.rows import MAX_TOKENS, Row, as_list
from factorysim.workload.runs import runs_of
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.weave import BadSession, Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from factorysim.workload.gather import Numbered
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json

Mode = Literal["full", "delta"]
USED = ("session_id", "timestamp", "delay", "input_length", "output_length", "hash_ids")
BLOCK_TOKENS = 512
TURNS = 8
"""Turns whose lengths are compared before they are evidence."""
GROWING = 0.9
"""Share of turns that are longer than all before them, from which prompts are whole: agents'
contexts grow on 96 % of steps and more (workloads.md, section 3.2)."""
COMPARED = 2_000
"""Turns that are compared, at most."""
LOOKED_AT = 200_000
"""Rows that are looked at for evidence, at most."""
SHRINKING = 0.7
"""Share of such turns up to which rows are new tokens: of lengths drawn alike, under half."""


def parse_aiperf(mode: Mode, lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the sessions of a mooncake+ trace in order of their first times."""
    reader = _Reader(mode)
    return assemble(lines, log, reader.place, reader.session)


class _Reader:
    """What is known of the file while its rows are gathered."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.size = BlockSize(BLOCK_TOKENS)
        self.rows = 0

    def place(self, row: Row) -> Place:
        """Check a row; one without a session is one."""
        self.rows += 1
        at_ns = row.nanoseconds("timestamp", MS) if "timestamp" in row.data else None
        if "input_length" not in row.data and {"messages", "text_input"} & set(row.data):
            cure = "count its tokens with the tokenizer of the LLM, and add input_length"
            row.bad("input_length", "text only", "a number of tokens", cure)
        else:
            self.size.see(row.tokens("input_length"), len(listed_ids(row, "hash_ids")))
        row.tokens("output_length")
        if "delay" in row.data:
            row.nanoseconds("delay", MS)
        rest(row, USED)
        for key in AGENTIC:
            if key in row.data:
                cure = "read it as agentic_mooncake, which says what waits for what"
                row.bad(key, "a field of Dynamo's form", "turns that follow each other", cure)
        if "session_id" in row.data:
            return Place(f"session {ident(row, 'session_id')}", at_ns)
        return Place(f"row {self.rows}", at_ns)

    def session(self, rows: list[Numbered]) -> Session:
        """Chain the rows of a session."""
        drafts: list[Draft] = []
        last: LlmNode | None = None
        begin_ns = before_ns = 0
        for line, row in rows:
            at_ns = row.nanoseconds("timestamp", MS) if "timestamp" in row.data else before_ns
            if not drafts:
                begin_ns = before_ns = at_ns
            if at_ns < before_ns:
                found = f"{at_ns / MS:g} ms below {before_ns / MS:g} ms of the turn before"
                problem = Problem("timestamp", found, "turns in order of time")
                raise BadSession(line, problem)
            before_ns = at_ns
            try:
                node = self._node(row, last)
            except BadRow as bad:
                raise BadSession(line, *bad.problems) from None
            node.at_ns = at_ns - begin_ns or None
            extra = rest(row, USED)
            kept: dict[str, Json] = {"src": extra} if extra else {}
            after = [drafts[-1].name] if drafts else []
            drafts.append(Draft(f"n{len(drafts)}", line, node, after, kept))
            last = node
        first = rows[0][1]
        nodes, carried = weave(drafts)
        sid = ident(first, "session_id") if "session_id" in first.data else f"r{rows[0][0]}"
        return Session(sid, begin_ns, nodes, src=sources("aiperf", carried, {}))

    def _node(self, row: Row, last: LlmNode | None) -> LlmNode:
        prompt, output = row.tokens("input_length"), row.tokens("output_length")
        delay_ns = row.nanoseconds("delay", MS) if "delay" in row.data else 0
        hashes, size = self.size.take(row, "hash_ids", prompt)
        row.close()
        repeated = 0
        if self.mode == "delta":
            hashes = full_blocks(hashes, prompt, size or 1)
            if last is not None:
                repeated = last.prompt_tokens + last.output_tokens
                prompt += repeated
                hashes = runs_of(last.hashes + hashes)
        elif last is not None and last.prompt_tokens + last.output_tokens <= prompt:
            repeated = last.prompt_tokens + last.output_tokens
        if prompt > MAX_TOKENS:
            row.bad("input_length", f"a prompt of {prompt:,} with its history", "a shorter one")
        row.close()
        return LlmNode(
            prompt, output, repeated, (), delay_ns, None, "user" if last is None else "agent",
            hashes, size if hashes else None,
        )  # fmt: skip


def prompt_mode(rows: Iterable[dict[str, Json]]) -> Mode | None:
    """Tell by evidence whether rows hold whole prompts or new tokens; None: it cannot be told.

    Rows say it themselves (`message_mode`); or else a whole prompt begins with the
    block that the one before it began with; or else whole prompts grow by what was
    answered. Rows without a second turn are whole either way.

    Examples
    --------
    >>> first = {"session_id": "a", "input_length": 900, "hash_ids": [1, 2]}
    >>> prompt_mode([first, first | {"input_length": 1100, "hash_ids": [1, 2, 3]}])
    'full'
    >>> prompt_mode([first, first | {"input_length": 200, "hash_ids": [3]}]) is None
    True
    """
    seen = _Evidence()
    for number, row in enumerate(rows):
        seen.add(row)
        if number >= LOOKED_AT or seen.turns >= COMPARED:
            return seen.verdict() if seen.turns or seen.said else None
    return seen.verdict()


class _Evidence:
    def __init__(self) -> None:
        self.said: set[Mode] = set()
        self.last: dict[str, tuple[int, object]] = {}
        """Of each session how long a whole prompt is at least, and its first block."""
        self.same = self.other = self.grown = self.turns = 0

    def add(self, row: dict[str, Json]) -> None:
        match row.get("message_mode"):
            case "delta":
                self.said.add("delta")
            case "history":
                self.said.add("full")
            case _:
                pass
        sid, prompt = row.get("session_id"), row.get("input_length")
        if sid is None or not isinstance(prompt, int):
            return
        listed = as_list(row.get("hash_ids"))
        begin = listed[0] if listed else None
        answer = row.get("output_length")
        if str(sid) in self.last:
            length, first = self.last[str(sid)]
            self.turns += 1
            self.grown += prompt >= length
            if begin is not None and first is not None:
                self.same += begin == first
                self.other += begin != first
        self.last[str(sid)] = prompt + (answer if isinstance(answer, int) else 0), begin

    def verdict(self) -> Mode | None:
        if self.said:
            return next(iter(self.said)) if len(self.said) == 1 else None
        if not self.turns:
            return "full"
        compared = self.same + self.other
        if compared:
            if self.same >= GROWING * compared:
                return "full"
            return "delta" if not self.same and compared >= TURNS else None
        if self.turns < TURNS:
            return None
        share = self.grown / self.turns
        return "full" if share >= GROWING else "delta" if share <= SHRINKING else None
