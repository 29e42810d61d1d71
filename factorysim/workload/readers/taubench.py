"""Dialogues of tau-bench as step sizes: CSV, a row a message, lengths in characters.

What an assistant says is a call whose prompt is all that was said before; a tool
follows its call, and a user's message ends a turn. There are no times in the file:
tools and users take none, and the dialogues come at once unless the stream has
arrivals of its own. Tokens are characters / 4; reasoning and the schemas of tools
are not counted by the source.

References
----------
.. [1] Yao et al., "tau-bench", arXiv:2406.12045; derived from its `historical_trajectories`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.gather import Place
from factorysim.workload.lines import Problem
from factorysim.workload.readers.assemble import assemble
from factorysim.workload.readers.fields import columns, ident, rest, sources, tokens_of
from factorysim.workload.rows import MAX_TOKENS
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from factorysim.workload.weave import BadSession, Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.gather import Numbered
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json, Row
    from factorysim.workload.session import Initiator

COLUMNS = (
    *("task_id", "trial", "reward", "step", "role", "tool_name", "n_tool_calls"),
    *("content_chars", "tool_args_chars"),
)
ROLES = ("system", "user", "assistant", "tool")
MAX_CHARS = MAX_TOKENS


def parse_taubench(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the dialogues of a tau-bench table, all at 0."""
    parse = columns(lines, log, COLUMNS)
    if parse is not None:
        yield from assemble(lines, log, _place, _session, parse)


def _place(row: Row) -> Place:
    row.whole("step", 0, 10**9)
    if row.data.get("role") not in ROLES:
        row.bad("role", row.found("role"), f"one of {', '.join(ROLES)}")
    row.whole("content_chars", 0, MAX_CHARS)
    row.whole("tool_args_chars", 0, MAX_CHARS, default=0)
    row.whole("n_tool_calls", 0, 10**6, default=0)
    row.text("tool_name", "tool")
    return Place(_sid(row))


def _sid(row: Row) -> str:
    return f"task{ident(row, 'task_id')}-trial{ident(row, 'trial')}"


class _Dialogue:
    """A session as it grows, message by message."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.tokens = 0
        """Of all messages so far."""
        self.seen = 0
        """Of them, those that the last call had in its prompt or said itself."""
        self.after: list[str] = []
        """What the next call waits for."""
        self.said: str | None = None
        """The last call, while the tools that it asked for are listed."""
        self.initiator: Initiator = "user"

    def take(self, line: int, row: Row) -> None:
        """Add a message."""
        size = tokens_of(row.whole("content_chars", 0, MAX_CHARS))
        name = f"m{len(self.drafts)}"
        match row.data["role"]:
            case "assistant":
                self._assistant(name, line, row, size)
                return
            case "tool":
                self._tool(name, line, row, size)
            case "user" if self.drafts:
                self.drafts.append(Draft(name, line, GapNode(0), self.after))
                self.after, self.said, self.initiator = [name], None, "user"
        self.tokens += size

    def _assistant(self, name: str, line: int, row: Row, size: int) -> None:
        size += tokens_of(row.whole("tool_args_chars", 0, MAX_CHARS, default=0))
        prompt, output = self.tokens, max(1, size)
        if not prompt:
            expected = "a system or user message before it"
            raise BadSession(line, Problem("role", "an assistant that was told nothing", expected))
        node = LlmNode(prompt, output, min(self.seen, prompt), initiator=self.initiator)
        kept: dict[str, Json] = {"src": {"characters": row.plain("content_chars")}}
        if asked := row.whole("n_tool_calls", 0, 10**6, default=0):
            kept["src"] = {"characters": row.plain("content_chars"), "n_tool_calls": asked}
        self.drafts.append(Draft(name, line, node, self.after, kept))
        self.tokens += output
        self.seen = self.tokens
        self.after, self.said, self.initiator = [name], name, "agent"

    def _tool(self, name: str, line: int, row: Row, size: int) -> None:
        if self.said is None:
            expected = "an assistant's message before it"
            raise BadSession(line, Problem("role", "a tool that nobody called", expected))
        chars = row.whole("content_chars", 0, MAX_CHARS)
        node = ToolNode(row.text("tool_name", "tool"), result_tokens=size, out_bytes=chars)
        self.drafts.append(Draft(name, line, node, [self.said], {"status": "untimed"}))
        self.after = [other for other in self.after if other != self.said] + [name]
        self.initiator = "tool"


def _session(rows: list[Numbered]) -> Session:
    rows = sorted(rows, key=lambda numbered: numbered[1].whole("step", 0, 10**9))
    dialogue = _Dialogue()
    before = -1
    for line, row in rows:
        step = row.whole("step", 0, 10**9)
        if step == before:
            raise BadSession(line, Problem("step", f"{step} again", "each once in a dialogue"))
        before = step
        dialogue.take(line, row)
    first = rows[0][1]
    if not any(isinstance(draft.node, LlmNode) for draft in dialogue.drafts):
        expected = "at least one message of the assistant"
        raise BadSession(rows[0][0], Problem("role", "a dialogue without an answer", expected))
    nodes, carried = weave(dialogue.drafts)
    told: dict[str, Json] = {"tokens": "characters / 4", "times": "none recorded"}
    if "reward" in first.data:
        told["reward"] = first.plain("reward")
    told |= rest(first, COLUMNS)
    return Session(_sid(first), 0, nodes, src=sources("taubench", carried, told))
