"""Traces in TraceLab form: JSONL, a row a round of a coding agent, with its tools and its times.

A round is a call of the LLM that answers with text or tools. `prefix_tokens` is what
the provider found in its cache, the least that the prompt repeats. Rounds of a session
follow each other: after the tools that the round before asked for, or after the user.
Sub-agents are sessions of their own. Tools of a round begin when its call has ended,
though some were asked for before its last token. Result tokens are characters / 4.

References
----------
.. [1] "TraceLab", arXiv:2606.30560; uw-syfi/TraceLab, `round_trace.jsonl`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.workload.gather import Place
from factorysim.workload.lines import Problem
from factorysim.workload.readers.assemble import assemble
from factorysim.workload.readers.fields import (
    MS,
    adopt,
    answered,
    ident,
    inner,
    instant,
    rest,
    sources,
    tokens_of,
)
from factorysim.workload.rows import MAX_TOKENS, Row, as_list
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from factorysim.workload.weave import BadSession, Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.gather import Numbered
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json
    from factorysim.workload.session import Initiator

INPUTS = ("user_message", "tool_result")
MAX_CHARS = 10**12
USED = (
    *("session_id", "round_index", "input_tokens_total", "prefix_tokens"),
    *("newly_append_tokens", "output_tokens", "tools", "model"),
)
TOOL_USED = ("tool_name", "input_chars", "result_chars", "tool_wall_latency_ms")


class _Tool(NamedTuple):
    node: ToolNode
    kept: dict[str, Json]
    ended_ns: int | None


class _Round(NamedTuple):
    line: int
    number: int
    node: LlmNode
    kept: dict[str, Json]
    asked_ns: int
    """When its last input was there."""
    user_ns: int | None
    """When the user's message came that it answers."""
    ended_ns: int
    tools: list[_Tool]
    silent: bool


def parse_tracelab(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the sessions of a TraceLab trace in order of their first events."""
    return assemble(lines, log, _place, _session)


def _place(row: Row) -> Place:
    """Check a round as it comes, so that each fault is told at its line."""
    told = _round(0, row)
    return Place(ident(row, "session_id"), _began(told))


def _began(told: _Round) -> int:
    return told.asked_ns if told.user_ns is None else min(told.user_ns, told.asked_ns)


def _round(line: int, row: Row) -> _Round:
    ident(row, "session_id")
    index = row.whole("round_index", 0, 10**9)
    prompt = row.tokens("input_tokens_total")
    prefix = row.whole("prefix_tokens", 0, MAX_TOKENS)
    appended = row.whole("newly_append_tokens", 0, MAX_TOKENS)
    if not row.problems and prefix + appended != prompt:
        found, expected = f"{prompt}", f"prefix_tokens and newly_append_tokens, {prefix + appended}"
        row.bad("input_tokens_total", found, expected)
    output, spoken = answered(row, "output_tokens")
    asked_ns, user_ns, ended_ns = _times(row)
    tools = _tools(row)
    kept: dict[str, Json] = {"model": row.text("model")} if "model" in row.data else {}
    src = rest(row, USED)
    row.close()
    obs: dict[str, Json] = {"dur": ended_ns - asked_ns, "cached": prefix}
    kept |= {"n": index, "obs": obs, "src": src}
    node = LlmNode(prompt, output, prefix)
    return _Round(line, index, node, kept, asked_ns, user_ns, ended_ns, tools, not spoken)


def _times(row: Row) -> tuple[int, int | None, int]:
    """When a round's last input was there, the user's message, and its last output."""
    inputs: list[int] = []
    users: list[int] = []
    outputs: list[int] = []
    for number, item in enumerate(as_list(row.data.get("timing_events")) or ()):
        event = inner(row, f"timing_events.{number}", item)
        if event is None:
            continue
        at_ns, kind = instant(event, "timestamp"), event.text("event_type")
        adopt(row, f"timing_events.{number}", event)
        (inputs if kind in INPUTS else outputs).append(at_ns)
        if kind == "user_message":
            users.append(at_ns)
    if not inputs and not outputs:
        row.bad("timing_events", "no events", "at least one, with its timestamp")
        return 0, None, 0
    asked_ns = max(inputs) if inputs else min(outputs)
    return asked_ns, max(users, default=None), max(outputs, default=asked_ns)


def _tools(row: Row) -> list[_Tool]:
    tools: list[_Tool] = []
    for number, item in enumerate(as_list(row.data.get("tools", [])) or ()):
        tool = inner(row, f"tools.{number}", item)
        if tool is None:
            continue
        timed = "tool_wall_latency_ms" in tool.data
        chars = tool.whole("result_chars", 0, MAX_CHARS, default=0)
        node = ToolNode(
            cls=tool.text("tool_name"),
            remote_ns=tool.nanoseconds("tool_wall_latency_ms", MS) if timed else 0,
            result_tokens=min(tokens_of(chars), MAX_TOKENS),
            in_bytes=tool.whole("input_chars", 0, MAX_CHARS, default=0),
            out_bytes=chars,
        )
        ended_ns = instant(tool, "result_at") if "result_at" in tool.data else None
        failed = tool.flag("is_error", default=False)
        status = "error" if failed else "ok" if timed else "unknown"
        kept: dict[str, Json] = {"status": status, "src": rest(tool, TOOL_USED)}
        adopt(row, f"tools.{number}", tool)
        tools.append(_Tool(node, kept, ended_ns))
    return tools


def _session(rows: list[Numbered]) -> Session:
    """Chain the rounds of a session."""
    rounds = sorted((_round(line, row) for line, row in rows), key=lambda told: told.number)
    drafts: list[Draft] = []
    counts = {"outputs_of_0": 0, "tools_without_time": 0, "waits_below_0": 0}
    began_ns = _began(rounds[0])
    after: list[str] = []
    before = rounds[0]
    for told in rounds:
        if drafts:
            if told.number == before.number:
                found = f"{told.number} again (first on line {before.line})"
                problem = Problem("round_index", found, "each once in a session")
                raise BadSession(told.line, problem)
            after = _wait(told, before, after, drafts, counts)
        told.node.at_ns = max(0, told.asked_ns - began_ns) or None
        name = f"c{told.number}"
        drafts.append(Draft(name, told.line, told.node, after, told.kept))
        after = [name]
        for number, tool in enumerate(told.tools):
            drafts.append(Draft(f"{name}t{number}", told.line, tool.node, [name], tool.kept))
            counts["tools_without_time"] += tool.kept["status"] == "unknown"
        if told.tools:
            after = [f"{name}t{number}" for number in range(len(told.tools))]
        counts["outputs_of_0"] += told.silent
        before = told
    nodes, carried = weave(drafts)
    sid = ident(rows[0][1], "session_id")
    src = sources("tracelab", carried, {"began_unix_ns": began_ns}, counts)
    return Session(sid, began_ns, nodes, src=src)


def _wait(
    told: _Round, before: _Round, after: list[str], drafts: list[Draft], counts: dict[str, int]
) -> list[str]:
    """Wait for what came between two rounds; returns what the later one waits for."""
    results = [tool.ended_ns for tool in before.tools if tool.ended_ns is not None]
    free_ns = max(before.ended_ns, *results) if results else before.ended_ns
    begun_ns = told.asked_ns if told.user_ns is None else told.user_ns
    counts["waits_below_0"] += begun_ns < free_ns
    wait_ns = max(0, begun_ns - free_ns)
    initiator: Initiator = "user" if told.user_ns is not None else "tool"
    told.node.initiator = initiator if told.user_ns is not None or before.tools else "agent"
    if told.user_ns is None:
        told.node.delay_ns = wait_ns
        return after
    gap = f"g{told.number}"
    drafts.append(Draft(gap, told.line, GapNode(wait_ns), after))
    told.node.delay_ns = max(0, told.asked_ns - max(told.user_ns, free_ns))
    return [gap]
