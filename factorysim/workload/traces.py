"""Recorded demand: sessions from a trace of any format that is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never

from factorysim.workload.detect import detect_format
from factorysim.workload.readers.azure import azure_epoch, read_azure
from factorysim.workload.readers.fsrecords import Meta
from factorysim.workload.readers.fstrace import read_fstrace, read_fstrace_meta
from factorysim.workload.readers.mooncake import BLOCK_TOKENS, read_mooncake
from factorysim.workload.readers.weka import read_weka, weka_block_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from factorysim.workload.detect import TraceFormat
    from factorysim.workload.repair import Repairs
    from factorysim.workload.session import Session


def read_trace(
    path: Path,
    trace_format: Literal["auto", "fstrace", "mooncake", "azure", "weka"] = "auto",
    *,
    repair: Repairs | None = None,
) -> Iterator[Session]:
    """Yield the sessions of a trace in order of arrival, lazily and in bounded memory.

    Parameters
    ----------
    path
        A regular file, plain, gzip or zstd; of Weka sessions also a folder of them.
    trace_format
        `auto` tells it from the first row.
    repair
        Drop or mend what is bad, and count it there; without it one fault refuses the trace.

    Raises
    ------
    TraceError
        At once if the file cannot be read or has another format; else when it
        ends, with up to 20 faults as file:line and how many more there are.
        Sessions before the first fault have been yielded by then.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> row = '{"timestamp": 5, "input_length": 600, "output_length": 8, "hash_ids": [0, 1]}'
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.jsonl")
    ...     _ = file.write_text(row)
    ...     [session] = read_trace(file)
    >>> session.at_ns, session.nodes[0].prompt_tokens
    (5000000, 600)
    """
    known: TraceFormat = detect_format(path) if trace_format == "auto" else trace_format
    match known:
        case "fstrace":
            return read_fstrace(path, repair)
        case "mooncake":
            return read_mooncake(path, repair)
        case "azure":
            return read_azure(path, repair)
        case "weka":
            return read_weka(path, repair)
        case _:
            assert_never(known)


def trace_meta(path: Path, trace_format: TraceFormat) -> Meta:
    """Make the first line of an fstrace of this trace."""
    match trace_format:
        case "fstrace":
            return read_fstrace_meta(path)
        case "mooncake":
            return Meta(path.name, "mooncake", None, BLOCK_TOKENS)
        case "azure":
            return Meta(path.name, "azure", azure_epoch(path))
        case "weka":
            return Meta(path.name, "weka", None, weka_block_tokens(path), "session")
        case _:
            assert_never(trace_format)
