"""Recorded demand: sessions from a trace of any format that is read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, assert_never

from factorysim.workload.detect import detect_format
from factorysim.workload.lines import read_sessions
from factorysim.workload.readers.azure import azure_epoch, read_azure
from factorysim.workload.readers.fsrecords import Meta
from factorysim.workload.readers.fstrace import read_fstrace, read_fstrace_meta
from factorysim.workload.readers.mooncake import BLOCK_TOKENS, read_mooncake
from factorysim.workload.readers.weka import ROW_BYTES, read_weka, weka_block_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from factorysim.spec.trace_format import FormatChoice, TraceFormat
    from factorysim.workload.lines import FaultLog, Sessions
    from factorysim.workload.repair import Repairs
    from factorysim.workload.session import Session

LONG: tuple[TraceFormat, ...] = ("copilot", "llmservingsim", "otel")
"""Formats whose rows are whole sessions, or batches of spans."""


def read_trace(
    path: Path,
    trace_format: FormatChoice = "auto",
    *,
    repair: Repairs | None = None,
) -> Iterator[Session]:
    """Yield the sessions of a trace in order of arrival, lazily and in bounded memory.

    Parameters
    ----------
    path
        A regular file, plain, gzip or zstd; of Weka sessions also a folder of them.
    trace_format
        `auto` tells it from the first rows.
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
        case "azure" | "azure_multimodal":
            return read_azure(path, repair)
        case "weka":
            return read_weka(path, repair)
        case _:
            row_bytes = ROW_BYTES if known in LONG else None
            return read_sessions(path, _parser(known), row_bytes, repair)


def _parser(name: TraceFormat) -> Callable[[Iterator[tuple[int, str]], FaultLog], Sessions]:
    """Choose what turns the lines of a format into sessions."""
    match name:
        case "tracelab":
            from factorysim.workload.readers.tracelab import parse_tracelab

            return parse_tracelab
        case "vidur":
            from factorysim.workload.readers.vidur import parse_vidur

            return parse_vidur
        case "agentcgroup":
            from factorysim.workload.readers.agentcgroup import parse_agentcgroup

            return parse_agentcgroup
        case "taubench":
            from factorysim.workload.readers.taubench import parse_taubench

            return parse_taubench
        case "aiperf":
            from factorysim.workload.readers.aiperf import parse_aiperf

            return partial(parse_aiperf, "full")
        case "aiperf_delta":
            from factorysim.workload.readers.aiperf import parse_aiperf

            return partial(parse_aiperf, "delta")
        case "agentic_mooncake":
            from factorysim.workload.readers.agentic_mooncake import parse_agentic_mooncake

            return parse_agentic_mooncake
        case "dynamo_agent":
            from factorysim.workload.readers.dynamo_agent import parse_dynamo_agent

            return parse_dynamo_agent
        case "burstgpt":
            from factorysim.workload.readers.burstgpt import parse_burstgpt

            return parse_burstgpt
        case "bailian":
            from factorysim.workload.readers.bailian import parse_bailian

            return parse_bailian
        case "copilot":
            from factorysim.workload.readers.copilot import parse_copilot

            return parse_copilot
        case "llmservingsim":
            from factorysim.workload.readers.llmservingsim import parse_llmservingsim

            return parse_llmservingsim
        case "otel":
            from factorysim.workload.readers.otel import parse_otel

            return parse_otel
        case "servegen_offline":
            from factorysim.workload.readers.servegen_offline import parse_servegen_offline

            return parse_servegen_offline
        case "fstrace" | "mooncake" | "azure" | "azure_multimodal" | "weka":
            raise ValueError(f"{name} has a reader of its own")
        case _:
            assert_never(name)


def trace_meta(path: Path, trace_format: TraceFormat) -> Meta:
    """Make the first line of an fstrace of this trace."""
    match trace_format:
        case "fstrace":
            return read_fstrace_meta(path)
        case "mooncake":
            return Meta(path.name, "mooncake", None, BLOCK_TOKENS)
        case "azure" | "azure_multimodal":
            return Meta(path.name, trace_format, azure_epoch(path))
        case "weka":
            return Meta(path.name, "weka", None, weka_block_tokens(path), "session")
        case _:  # sessions keep their begins, and calls the size of their blocks
            return Meta(path.name, trace_format)
