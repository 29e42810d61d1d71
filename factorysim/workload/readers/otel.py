"""Traces of production agents: OpenTelemetry GenAI spans, as OTLP in JSON.

All traces of a conversation (`gen_ai.conversation.id`) are a session; a trace without
one is a session of its own. `chat`, `text_completion` and `generate_content` spans are
calls, `execute_tool` and `retrieval` spans tools, and what a nested `invoke_agent`
holds is a sub-agent's, in a context of its own. All other spans only take time.

Spans tell when things ran, and which ran inside which: of those inside one span, one
that began after others had ended waited for the last of them, and overlapping ones ran
side by side. A tool with calls or tools inside is what they are. Between an answer that
ends one outermost span and the call that begins the next one the user pauses.

Calls that failed without usage took no tokens that are known: they are left out and
counted. Tokens read from a provider's cache are the least that a prompt repeats.

Experimental: made from the conventions; no file of a production agent has been read yet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from factorysim.workload.intervals import waits_by_time
from factorysim.workload.lines import Problem
from factorysim.workload.readers.assemble import assemble
from factorysim.workload.readers.fields import sources
from factorysim.workload.readers.otel_spans import (
    CACHED,
    INPUT,
    OUTPUT,
    REASONING,
    Span,
    place_span,
    read_span,
    span_lines,
)
from factorysim.workload.rows import as_map, parse_object
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from factorysim.workload.weave import BadSession, Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from factorysim.workload.gather import Numbered
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json
    from factorysim.workload.session import Initiator, Node

DEPTH = 100
"""Parts inside of parts, at most; what is deeper counts as beside what it is inside of."""
TAKEN = (*INPUT, *OUTPUT, REASONING, CACHED, "gen_ai.request.model", "gen_ai.operation.name")
"""Attributes that nodes hold; all others are kept in `src`."""


def parse_otel(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the sessions of OTLP spans in order of their first spans."""
    return assemble(span_lines(lines, log), log, place_span, _session, parse_object)


def _session(rows: list[Numbered]) -> Session | None:
    once = {(span.trace, span.id): span for span in (read_span(*row) for row in reversed(rows))}
    spans = list(once.values())[::-1]  # exporters send again what they are not sure of
    story = _Story(spans)
    story.tell()
    if not story.drafts:
        return None
    nodes, carried = weave(story.drafts)
    began_ns = story.began_ns
    first = min(spans, key=lambda span: span.begin_ns)
    conversation = next((c for span in spans if (c := span.word("gen_ai.conversation.id"))), "")
    told: dict[str, Json] = {
        "traces": list[object](dict.fromkeys(span.trace for span in spans)),
        "began_unix_ns": began_ns,
    }
    counts = {
        "calls_without_usage": story.unused,
        "outputs_of_0": story.silent,
        "spans_twice": len(rows) - len(spans),
    }
    agent = next((a for span in spans if (a := span.word("gen_ai.agent.name"))), "")
    sid = conversation or first.trace
    return Session(sid, began_ns, nodes, agent=agent, src=sources("otel", carried, told, counts))


class _Part:
    """A call or tool, or what is inside of a span as a whole."""

    def __init__(self, span: Span, inside: list[_Part]) -> None:
        self.span = span
        self.inside = sorted(inside, key=lambda part: part.times)
        self.depth: int = 1 + max((part.depth for part in inside), default=0)
        self.times = (span.begin_ns, span.end_ns)
        """When it ran: of a whole, its parts."""
        if inside and span.kind != "call":
            ends = [part.times[1] for part in inside]
            self.times = self.inside[0].times[0], max(ends)


class _Wait(NamedTuple):
    """What something waits for, when that had ended, and what it was."""

    names: tuple[str, ...]
    free_ns: int
    by: Initiator


class _Story:
    """A session's spans, turned into drafts of nodes."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.drafts: list[Draft] = []
        self.unused = self.silent = 0
        self.began_ns = min(span.begin_ns for span in spans)
        self._contexts = 0
        self._turns = self._grouped(spans)

    def tell(self) -> None:
        """Lay out the turns: each outermost span, or all inside of one that was not exported."""
        waits = waits_by_time([turn.times for turn in self._turns])
        ends: list[_Wait] = []
        for turn, places in zip(self._turns, waits, strict=True):
            wait = _Wait((), self.began_ns, "user")
            if places:
                wait = self._pause(turn, _all([ends[place] for place in places]))
            ends.append(self._lay(turn.inside, wait, 0, nested=False))

    def _grouped(self, spans: Sequence[Span]) -> list[_Part]:
        """Build the parts of each outermost span, from the innermost spans outwards."""
        known = {(span.trace, span.id) for span in spans}
        children: dict[tuple[str, str], list[Span]] = {}
        tops: dict[tuple[str, str], list[Span]] = {}
        for span in spans:
            parent = (span.trace, span.parent)
            if parent in known:
                children.setdefault(parent, []).append(span)
            else:
                key = parent if span.parent else (span.trace, f"itself {span.id}")
                tops.setdefault(key, []).append(span)
        order: list[Span] = []
        waiting = [span for group in tops.values() for span in group]
        while waiting:
            span = waiting.pop()
            order.append(span)
            waiting += children.get((span.trace, span.id), [])
        if len(order) != len(spans):
            reached = {(span.trace, span.id) for span in order}
            lost = next(span for span in spans if (span.trace, span.id) not in reached)
            problem = Problem("parentSpanId", "a cycle", "spans inside of others, or of none")
            raise BadSession(lost.line, problem)
        parts: dict[tuple[str, str], list[_Part]] = {}
        for span in reversed(order):
            inner = children.get((span.trace, span.id), [])
            inside = [part for child in inner for part in parts.pop((child.trace, child.id))]
            parts[span.trace, span.id] = self._parts(span, inside)
        turns = []
        for group in tops.values():
            inside = [part for span in group for part in parts[span.trace, span.id]]
            if inside:
                turns.append(_Part(replace(group[0], kind="other"), inside))
        return sorted(turns, key=lambda turn: turn.times)

    def _parts(self, span: Span, inside: list[_Part]) -> list[_Part]:
        """Make what a span is: a call, a tool, a whole of parts, or no more than its parts."""
        if span.kind == "call" and not span.count(*INPUT):
            self.unused += 1
            return inside
        if span.kind in ("call", "tool") and not inside:
            return [_Part(span, [])]
        if span.kind == "other" or not inside:
            return inside
        whole = _Part(span, inside)
        return [whole] if whole.depth < DEPTH else inside

    def _pause(self, turn: _Part, wait: _Wait) -> _Wait:
        """Let the user think between an answer and the next call."""
        first = turn.inside[0]
        while first.inside and first.span.kind != "call":
            first = first.inside[0]
        if wait.by == "tool" or first.span.kind != "call":
            return wait
        begin_ns = turn.times[0]
        gap = GapNode(max(0, begin_ns - wait.free_ns))
        return _Wait((self._add(turn.span, gap, wait, {}),), begin_ns, "user")

    def _lay(self, parts: list[_Part], wait: _Wait, context: int, *, nested: bool) -> _Wait:
        """Add parts, side by side or one after the other; returns what waits for all of them."""
        waits = waits_by_time([part.times for part in parts])
        ends: list[_Wait] = []
        for part, places in zip(parts, waits, strict=True):
            before = _all([ends[place] for place in places]) if places else wait
            ends.append(self._one(part, before, context, nested=nested))
        awaited = {place for places in waits for place in places}
        return _all([end for place, end in enumerate(ends) if place not in awaited])

    def _one(self, part: _Part, wait: _Wait, context: int, *, nested: bool) -> _Wait:
        span = part.span
        match span.kind:
            case "call":
                name = self._call(span, wait, context)
                if not part.inside:
                    return _Wait((name,), span.end_ns, "agent")
                begin_ns = part.inside[0].times[0]
                asked = _Wait((name,), begin_ns, "agent")
                return self._lay(part.inside, asked, context, nested=nested)
            case "tool" if not part.inside:
                return _Wait((self._tool(span, wait),), span.end_ns, "tool")
            case "tool":
                end = self._lay(part.inside, wait, context, nested=nested)
                return end._replace(by="tool")
            case "agent" if nested:
                self._contexts += 1
                begun = wait._replace(by="agent")
                end = self._lay(part.inside, begun, self._contexts, nested=True)
                return end._replace(by="tool")
            case _:
                return self._lay(part.inside, wait, context, nested=True)

    def _call(self, span: Span, wait: _Wait, context: int) -> str:
        prompt, output = span.count(*INPUT) or 1, span.count(*OUTPUT) or 0
        self.silent += not output
        cached = span.count(CACHED)
        repeated = min(max(cached or 0, 0), prompt)
        node = LlmNode(prompt, max(output, 1), repeated, initiator=wait.by, context=context)
        kept: dict[str, Json] = {} if cached is None else {"obs": {"cached": cached}}
        if model := span.word("gen_ai.request.model"):
            kept["model"] = model
        if (thought := span.count(REASONING)) is not None:
            kept["reason"] = thought
        return self._add(span, node, wait, kept)

    def _tool(self, span: Span, wait: _Wait) -> str:
        name = span.word("gen_ai.tool.name", "tool")
        node = ToolNode(name, remote_ns=span.end_ns - span.begin_ns)
        return self._add(span, node, wait, {"status": "error" if span.failed else "ok"})

    def _add(self, span: Span, node: Node, wait: _Wait, kept: dict[str, Json]) -> str:
        name = f"p{len(self.drafts)}"
        if not isinstance(node, GapNode):
            node.at_ns = span.begin_ns - self.began_ns or None
            node.delay_ns = max(0, span.begin_ns - wait.free_ns) if wait.names else 0
            told = {key: value for key, value in span.told.items() if key not in TAKEN}
            where: dict[str, Json] = {"trace": span.trace, "span": span.id, "name": span.name}
            lasted_ns = span.end_ns - span.begin_ns
            status = "failed" if span.failed else "ok"
            seen = {"dur": lasted_ns, "status": status} | (as_map(kept.get("obs")) or {})
            kept = kept | {"obs": seen, "src": where | told}
        self.drafts.append(Draft(name, span.line, node, list(wait.names), kept))
        return name


def _all(waits: list[_Wait]) -> _Wait:
    """Wait for all of several."""
    names = tuple(dict.fromkeys(name for wait in waits for name in wait.names))
    kinds = {wait.by for wait in waits}
    by: Initiator = "tool" if "tool" in kinds else "agent" if "agent" in kinds else "user"
    return _Wait(names, max(wait.free_ns for wait in waits), by)
