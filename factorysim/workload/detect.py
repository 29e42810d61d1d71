"""Which format a trace has, told from its rows and never from its name.

Each format says by which fields it is known. Where the rows fit several, or fit one
in two readings, the file is refused with the option that settles it.
"""

from __future__ import annotations

import re
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, TraceError
from factorysim.marked import shown
from factorysim.workload.formats import AGENTIC, FORMATS
from factorysim.workload.lines import BadRow, FaultLog, LineReader
from factorysim.workload.readers.weka import ROW_BYTES, weka_files
from factorysim.workload.rows import parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from factorysim.spec.trace_format import FormatChoice, TraceFormat
    from factorysim.workload.rows import Json

    Numbered = Iterator[tuple[int, str]]

ROWS = 100
"""Whose fields are looked at: the first row of a session may lack what the later ones have."""
LONG_ROWS = (b'"block_size"', b'"resourceSpans"', b'"turns"', b'"sub_requests"', b'"input_tok_ids"')
"""Of formats whose rows are whole sessions, or lists of tokens."""

_TURNS = {"session_id", "delay", "messages", "message_mode", "text_input", "group_id", "is_restart"}
_LENGTHS = {"timestamp", "input_length", "output_length"}
_CLAIMS: dict[TraceFormat, Callable[[set[str]], bool]] = {
    "fstrace": lambda keys: "k" in keys,
    "weka": lambda keys: {"requests", "block_size"} <= keys,
    "tracelab": lambda keys: "round_index" in keys,
    "copilot": lambda keys: {"turns", "session_id"} <= keys,
    "dynamo_agent": lambda keys: "event" in keys,
    "otel": lambda keys: "resourceSpans" in keys,
    "bailian": lambda keys: "chat_id" in keys,
    "llmservingsim": lambda keys: bool(keys & {"sub_requests", "input_toks"}),
    "agentic_mooncake": lambda keys: bool(keys & set(AGENTIC)),
    "aiperf": lambda keys: (
        bool(keys & _TURNS and keys & {"input_length", "messages", "text_input"})
        and not keys & set(AGENTIC)
    ),
    "servegen_offline": lambda keys: (
        {"request_id", "input_length"} <= keys
        and not keys & {"timestamp", "session_id", "delay", *AGENTIC}
    ),
}
"""By which fields of its first rows a format is known."""
_COLUMNS: dict[TraceFormat, Callable[[set[str]], bool]] = {
    "azure": lambda names: (
        bool(names & {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}) and "NumImages" not in names
    ),
    "azure_multimodal": lambda names: {"ContextTokens", "NumImages"} <= names,
    "burstgpt": lambda names: "Request tokens" in names,
    "vidur": lambda names: "num_prefill_tokens" in names,
    "agentcgroup": lambda names: {"t_start_s", "duration_s", "tool"} <= names,
    "taubench": lambda names: {"role", "content_chars"} <= names,
}
_OTHER_JSON = {
    "play_id": "an agentic Mooncake trace of version 2",
    "assistant_response_length": "an Applied Compute (TRIE) trace",
    "conversations": "ShareGPT conversations, which have text and no lengths",
}
_OTHER_CSV = {
    "prompt_size": "a Splitwise trace",
    "StartTimeOffset": "an APEX trace",
}
_CLIENT = re.compile(r"\d+(\.\d+)?(,[\d.eE+-]*){2},[A-Za-z]*(,[\d.eE+-]*){2}", re.ASCII)
_LENGTHS_OF_CLIENT = re.compile(rb'^\s*\{\s*"\d+"\s*:\s*\{\s*"(input|output)_tokens"')
_PACKED = {
    b"PK\x03\x04": ("a zip archive", "unpack it, and give a file of it"),
    b"PAR1": ("a Parquet file", "write its rows as JSONL or fstrace/1"),
    b"\xfd7zXZ": ("an xz file", "decompress it: xz -d"),
    b"BZh": ("a bzip2 file", "decompress it: bzip2 -d"),
}
MADE_UP = (
    "one row a second and two models in turns: files made up under the name of BurstGPT look"
    " so; take the releases of HPMLL/BurstGPT"
)


class Detection(NamedTuple):
    """A format, and what a user should know before trusting the file."""

    format: TraceFormat
    notes: tuple[str, ...] = ()


def detect_format(path: Path) -> TraceFormat:
    """Tell the format of a trace from its first rows; of a folder, from those of its first file.

    Raises
    ------
    TraceError
        If the file cannot be read, is empty, has a format that is not read, or one
        that its rows do not settle.
    """
    return detect(path).format


def detect(path: Path, choice: FormatChoice = "auto") -> Detection:
    r"""Tell the format as `detect_format` does, with notes; one that is chosen is not looked for.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.csv")
    ...     _ = file.write_text("num_prefill_tokens,num_decode_tokens\\n12,3\n")
    ...     detect(file)
    Detection(format='vidur', notes=())
    """
    if choice != "auto":
        return Detection(choice, status_notes(choice))
    folder, path = path, weka_files(path)[0]
    log = FaultLog(path)
    with LineReader(path, log) as lines:
        begin = lines.peek()
        _refuse_packed(path, begin)
        if any(key in begin for key in LONG_ROWS):
            lines.row_bytes = ROW_BYTES
        rows = iter(lines)
        number, text = next(rows, (1, ""))
        if not text:
            log.close()
            raise TraceError(Fault(str(path), "", "no rows", "a trace"))
        where = f"{path}:{number}"
        if b'"resourceSpans"' in begin:  # an object may be spread over many lines
            known = Detection("otel")
        elif _LENGTHS_OF_CLIENT.match(begin):
            raise _client(where)
        elif text.startswith("{"):
            known = _of_json(path, chain([(number, text)], rows))
        else:
            known = _of_csv(where, text, chain([(number, text)], rows))
    if folder.is_dir() and known.format != "weka":
        cure = "name one of its files"
        found = f"a folder of {known.format} traces"
        raise TraceError(Fault(str(folder), "", found, "a file", cure))
    return known._replace(notes=status_notes(known.format) + known.notes)


def status_notes(name: TraceFormat) -> tuple[str, ...]:
    """Give what a user should know of a format, however it was chosen.

    Examples
    --------
    >>> status_notes("mooncake"), len(status_notes("otel"))
    ((), 1)
    """
    if FORMATS[name].status == "tested":
        return ()
    return ("experimental: made from the documented form, no real file has been read yet",)


def _refuse_packed(path: Path, begin: bytes) -> None:
    """Tell archives of traces from traces."""
    for magic, (found, cure) in _PACKED.items():
        if begin.startswith(magic):
            raise TraceError(Fault(str(path), "", found, "a trace, plain or gzip", cure))
    if begin[257:262] == b"ustar":
        cure = "unpack it (tar xf) and give one of its files; they are read as they are"
        raise TraceError(Fault(str(path), "", "a tar archive", "a trace, plain or gzip", cure))


def _of_json(path: Path, lines: Numbered) -> Detection:
    rows = _objects(path, lines)
    (number, first), *more = islice(rows, ROWS)
    where = f"{path}:{number}"
    keys = set(first).union(*(row for _, row in more))
    fitting = [name for name, claims in _CLAIMS.items() if claims(keys)]
    other = next((name for key, name in _OTHER_JSON.items() if key in keys), None)
    if not fitting and other is None and _LENGTHS & keys:
        fitting = ["mooncake"]
    if not fitting:
        seen = ", ".join(shown(key) for key in list(first)[:6])
        raise _unread(where, other or f"a row of {seen}")
    if fitting == ["aiperf"]:
        return Detection(_turns(where, (row for _, row in chain([(number, first)], more, rows))))
    if len(fitting) > 1:
        raise _ambiguous(where, *fitting)
    return Detection(fitting[0])


def _objects(path: Path, lines: Numbered) -> Iterator[tuple[int, dict[str, Json]]]:
    """Yield the rows that can be read; refuse the first one if none can."""
    from factorysim.workload.readers.fields import without_nulls

    first: TraceError | None = None
    found = False
    for number, text in lines:
        try:
            row = without_nulls(parse_object(text))
        except BadRow as bad:
            where = f"{path}:{number}"
            first = first or TraceError(*(Fault(where, *problem) for problem in bad.problems))
            continue
        found = True
        yield number, row
        if "requests" in row:  # a whole session of megabytes: one is enough
            return
    if first is not None and not found:
        raise first


def _turns(where: str, rows: Iterator[dict[str, Json]]) -> TraceFormat:
    """Tell whole prompts from new tokens."""
    from factorysim.workload.readers.aiperf import prompt_mode

    match prompt_mode(rows):
        case "full":
            return "aiperf"
        case "delta":
            return "aiperf_delta"
        case None:
            cure = _choose("aiperf", "aiperf_delta")
            found = "turns whose prompts may be whole (aiperf) or new tokens only (aiperf_delta)"
            raise TraceError(Fault(where, "", found, "rows that tell which", cure))


def _of_csv(where: str, text: str, lines: Numbered) -> Detection:
    if _CLIENT.fullmatch(text):
        raise _client(where)
    names = {name.strip() for name in text.split(",")}
    if "n_llm_calls" in names:
        cure = "read its table of tool calls; sums of a run cannot be replayed"
        raise TraceError(
            Fault(where, "", "sums of AgentCgroup runs", "a row for each call or tool", cure)
        )
    fitting = [name for name, claims in _COLUMNS.items() if claims(names)]
    if len(fitting) > 1:
        raise _ambiguous(where, *fitting)
    if not fitting:
        other = next((name for key, name in _OTHER_CSV.items() if key in names), None)
        raise _unread(where, other or shown(text))
    if fitting == ["burstgpt"]:
        from factorysim.workload.readers.burstgpt import SAMPLE, looks_made_up

        if looks_made_up(list(_records(islice(lines, SAMPLE + 1)))):
            return Detection("burstgpt", (MADE_UP,))
    return Detection(fitting[0])


def _records(lines: Numbered) -> Iterator[dict[str, Json]]:
    """Yield the first rows of a CSV file that can be read."""
    from factorysim.workload.readers.fields import columns

    parse = columns(lines, None, ())
    for _, text in lines:
        try:
            if parse is not None:
                yield parse(text)
        except BadRow:
            continue


def _client(where: str) -> TraceError:
    cure = (
        "it says how often a client asks and not what came when: a stream draws from its folder"
        " by `clients: {folder: ..}`"
    )
    return TraceError(Fault(where, "", "a client of a ServeGen population", "a trace", cure))


def _choose(*names: TraceFormat) -> str:
    options = " or ".join(f"--format {name}" for name in names)
    return f"say which: {options} (in a stream `format: {names[0]}`)"


def _ambiguous(where: str, *names: TraceFormat) -> TraceError:
    found = f"rows that may be {' or '.join(names)}"
    return TraceError(Fault(where, "", found, "rows of one format", _choose(*names)))


def _unread(where: str, found: str) -> TraceError:
    cure = "convert it to fstrace/1, or say its format if this is one of them"
    expected = f"a format of `factorysim trace formats` ({len(FORMATS)} of them)"
    return TraceError(Fault(where, "", found, expected, cure))
