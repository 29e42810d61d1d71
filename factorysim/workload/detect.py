"""Which format a trace has, told from its content and never from its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from factorysim.errors import Fault, TraceError
from factorysim.marked import shown
from factorysim.workload.lines import BadRow, FaultLog, LineReader
from factorysim.workload.rows import parse_object

if TYPE_CHECKING:
    from pathlib import Path

TraceFormat = Literal["fstrace", "mooncake", "azure"]

_OTHER_JSON = {
    "chat_id": "a Qwen-Bailian trace",
    "round_index": "a TraceLab trace",
    "llm_calls": "a Copilot trace",
    "requests": "a Weka session",
    "event_type": "a Dynamo agent trace",
    "event": "a Dynamo agent trace",
    "wait_for": "an agentic Mooncake trace",
}
_OTHER_CSV = {
    "Request tokens": "a BurstGPT trace",
    "num_prefill_tokens": "a Vidur trace",
}


def detect_format(path: Path) -> TraceFormat:
    """Tell the format of a trace from its first row.

    Raises
    ------
    TraceError
        If the file cannot be read, is empty, or has a format that is not read.
    """
    log = FaultLog(path)
    with LineReader(path, log) as lines:
        number, text = next(iter(lines), (1, ""))
    log.close()
    if not text:
        raise TraceError(Fault(str(path), "", "no rows", "a trace"))
    where = f"{path}:{number}"
    return _of_json(where, text) if text.startswith("{") else _of_csv(where, text)


def _of_json(where: str, text: str) -> TraceFormat:
    try:
        row = parse_object(text)
    except BadRow as bad:
        raise TraceError(*(Fault(where, *problem) for problem in bad.problems)) from None
    if "k" in row:
        return "fstrace"
    other = next((name for key, name in _OTHER_JSON.items() if key in row), None)
    if other is None and {"timestamp", "input_length", "output_length"} & set(row):
        return "mooncake"
    raise _unread(where, other or f"a row of {', '.join(shown(key) for key in list(row)[:6])}")


def _of_csv(where: str, text: str) -> TraceFormat:
    columns = {column.strip() for column in text.split(",")}
    if {"TIMESTAMP", "ContextTokens", "GeneratedTokens"} & columns:
        return "azure"
    other = next((name for key, name in _OTHER_CSV.items() if key in columns), None)
    raise _unread(where, other or shown(text))


def _unread(where: str, found: str) -> TraceError:
    cure = "convert it to fstrace/1, or say its format if this is one of them"
    return TraceError(Fault(where, "", found, "rows of fstrace/1, Mooncake or Azure", cure))
