"""Which format a trace has, told from its content and never from its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from factorysim.errors import Fault, TraceError
from factorysim.marked import shown
from factorysim.workload.lines import BadRow, FaultLog, LineReader
from factorysim.workload.readers.weka import ROW_BYTES, weka_files
from factorysim.workload.rows import parse_object

if TYPE_CHECKING:
    from pathlib import Path

TraceFormat = Literal["fstrace", "mooncake", "azure", "weka"]

WEKA_KEY = b'"block_size"'

_OTHER_JSON = {
    "chat_id": "a Qwen-Bailian trace",
    "round_index": "a TraceLab trace",
    "llm_calls": "a Copilot trace",
    "event_type": "a Dynamo agent trace",
    "event": "a Dynamo agent trace",
    "wait_for": "an agentic Mooncake trace",
}
_OTHER_CSV = {
    "Request tokens": "a BurstGPT trace",
    "num_prefill_tokens": "a Vidur trace",
}


def detect_format(path: Path) -> TraceFormat:
    """Tell the format of a trace from its first row; of a folder, from that of its first file.

    Raises
    ------
    TraceError
        If the file cannot be read, is empty, or has a format that is not read.
    """
    folder, path = path, weka_files(path)[0]
    log = FaultLog(path)
    with LineReader(path, log) as lines:
        if WEKA_KEY in lines.peek():  # whole sessions are longer than rows of others
            lines.row_bytes = ROW_BYTES
        number, text = next(iter(lines), (1, ""))
    log.close()
    if not text:
        raise TraceError(Fault(str(path), "", "no rows", "a trace"))
    where = f"{path}:{number}"
    known = _of_json(where, text) if text.startswith("{") else _of_csv(where, text)
    if folder.is_dir() and known != "weka":
        cure = "name one of its files"
        raise TraceError(Fault(str(folder), "", f"a folder of {known} traces", "a file", cure))
    return known


def _of_json(where: str, text: str) -> TraceFormat:
    try:
        row = parse_object(text)
    except BadRow as bad:
        raise TraceError(*(Fault(where, *problem) for problem in bad.problems)) from None
    if "k" in row:
        return "fstrace"
    if "requests" in row and "block_size" in row:
        return "weka"
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
    return TraceError(Fault(where, "", found, "rows of fstrace/1, Mooncake, Azure or Weka", cure))
