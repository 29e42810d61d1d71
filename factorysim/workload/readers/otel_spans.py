"""Spans of OpenTelemetry as OTLP writes them in JSON, and what those of GenAI say.

A file holds an object of `resourceSpans` a line, as the collector's file exporter
writes them, or one such object over many lines. Names of attributes follow the GenAI
conventions up to 2026, with the older names of token counts.

References
----------
.. [1] OTLP 1.x, JSON encoding; opentelemetry-semantic-conventions 0.66b2, `gen_ai`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from factorysim.workload.gather import Place
from factorysim.workload.lines import BadRow, Problem
from factorysim.workload.readers.fields import note, without_nulls
from factorysim.workload.rows import MAX_NS, MAX_TOKENS, Row, as_list, as_map, parse_object, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json

FILE_BYTES = 256 * 2**20
"""Of one object over many lines, at most: it is in memory at once."""

Kind = Literal["call", "tool", "agent", "other"]
KINDS: dict[str, Kind] = {
    "chat": "call",
    "text_completion": "call",
    "generate_content": "call",
    "execute_tool": "tool",
    "retrieval": "tool",
    "invoke_agent": "agent",
}
"""By `gen_ai.operation.name`; all others, and spans without it, take time and no more."""
INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
CACHED = "gen_ai.usage.cache_read.input_tokens"
REASONING = "gen_ai.usage.reasoning.output_tokens"
FAILED = (2, "STATUS_CODE_ERROR")


@dataclass(frozen=True, slots=True)
class Span:
    """What is taken of a span."""

    line: int
    trace: str
    id: str
    parent: str
    """Empty: none."""
    name: str
    kind: Kind
    begin_ns: int
    end_ns: int
    failed: bool
    told: dict[str, Json]
    """Attributes, as plain values."""

    def count(self, *names: str) -> int | None:
        """Take a number of tokens; None if it is not told."""
        values = [self.told[name] for name in names if name in self.told]
        return values[0] if values and type(values[0]) is int else None

    def word(self, name: str, default: str = "") -> str:
        """Take a word."""
        value = self.told.get(name)
        return value[:1000] if isinstance(value, str) and value[:1000].isprintable() else default


def span_lines(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[tuple[int, str]]:
    """Yield each span of a file as a row of its own, with the line that it is on."""
    for number, text in _objects(lines, log):
        try:
            data = parse_object(text)
        except BadRow as bad:
            note(log, number, bad)
            continue
        resources = as_list(data.get("resourceSpans"))
        if resources is None:
            problem = Problem("resourceSpans", "nothing", "OTLP spans")
            log.add(number, problem)
            continue
        for resource in resources:
            for scope in as_list((as_map(resource) or {}).get("scopeSpans", [])) or ():
                for span in as_list((as_map(scope) or {}).get("spans", [])) or ():
                    yield number, json.dumps(span, default=float)


def _objects(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[tuple[int, str]]:
    """Yield a row a line; all lines at once if the first is not a whole object."""
    first, text = next(lines, (1, ""))
    if not text:
        return
    if not _opens(text):
        yield first, text
        yield from lines
        return
    parts, size = [text], len(text)
    for number, more in lines:
        parts.append(more)
        size += len(more)
        if size > FILE_BYTES:
            cure = "write an object a line: jq -c . FILE"
            found = f"one object of over {FILE_BYTES:,} bytes"
            log.add(number, Problem("", found, "smaller objects, one a line", cure))
            return
    yield first, "\n".join(parts)


def _opens(text: str) -> bool:
    """Whether a line is only the beginning of an object."""
    try:
        json.loads(text)
    except ValueError:
        return not text.endswith("}")
    except RecursionError:  # whoever reads it tells what is wrong with it
        return False
    return False


def place_span(row: Row) -> Place:
    """Check a span; spans of a trace, and traces of a conversation, are of one session."""
    span = read_span(0, row)
    ties: tuple[str, ...] = ()
    if conversation := span.word("gen_ai.conversation.id"):
        ties = (f"conversation {conversation}",)
    return Place(f"trace {span.trace}", span.begin_ns, ties)


def read_span(line: int, row: Row) -> Span:
    """Read a span.

    Raises
    ------
    BadRow
        With every problem; also if a call tells no tokens and no failure.
    """
    row = Row(without_nulls(row.data))
    trace, name = row.text("traceId"), row.text("spanId")
    begin_ns, end_ns = _nanos(row, "startTimeUnixNano"), _nanos(row, "endTimeUnixNano")
    if not row.problems and end_ns < begin_ns:
        row.bad("endTimeUnixNano", f"{end_ns}", f"no less than startTimeUnixNano, {begin_ns}")
    told = _attributes(row)
    status = as_map(row.data.get("status")) or {}
    operation = told.get("gen_ai.operation.name")
    span = Span(
        line,
        trace,
        name,
        row.text("parentSpanId", "") if row.data.get("parentSpanId") else "",
        row.text("name", "span"),
        KINDS.get(operation, "other") if isinstance(operation, str) else "other",
        begin_ns,
        end_ns,
        status.get("code") in FAILED or "error.type" in told,
        told,
    )
    if span.kind == "call":
        _check_tokens(row, span)
    row.close()
    return span


def _check_tokens(row: Row, span: Span) -> None:
    for names in (INPUT, OUTPUT):
        tokens = span.count(*names)
        if (tokens is None or (not tokens and names is INPUT)) and not span.failed:
            cure = "let the instrumentation record the usage of calls"
            found = "nothing" if tokens is None else "0"
            row.bad(f"attributes.{names[0]}", found, "a number of tokens", cure)
        elif tokens is not None and not 0 <= tokens <= MAX_TOKENS:
            row.bad(f"attributes.{names[0]}", f"{tokens}", f"from 0 to {MAX_TOKENS:,}")


def _nanos(row: Row, key: str) -> int:
    """Take a moment: OTLP's JSON writes 64-bit numbers as text."""
    value = row.data.get(key)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if type(value) is int and 0 <= value <= 10 * MAX_NS:
        return value
    row.bad(key, row.found(key), "nanoseconds since 1970")
    return 0


def _attributes(row: Row) -> dict[str, Json]:
    told: dict[str, Json] = {}
    for item in as_list(row.data.get("attributes", [])) or ():
        pair = as_map(item) or {}
        key, value = pair.get("key"), as_map(pair.get("value"))
        if isinstance(key, str) and value:
            told[key] = _attribute(value)
    return told


def _attribute(value: dict[str, Json]) -> Json:
    """Take the value of an attribute; whole numbers may be text."""
    kind, content = next(iter(value.items()))
    if kind == "intValue" and isinstance(content, str):
        text = content.removeprefix("-")
        if text.isascii() and text.isdecimal() and len(text) < 20:
            return int(content)
    if kind == "arrayValue":
        items = as_list((as_map(content) or {}).get("values", [])) or ()
        return [_attribute(inner) for item in items if (inner := as_map(item))]
    try:
        return plain(content)
    except ValueError:
        return None
