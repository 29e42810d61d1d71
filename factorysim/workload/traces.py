"""Recorded demand: sessions from a trace of any format that is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from factorysim.workload.detect import detect_format
from factorysim.workload.readers.agentcgroup import read_agentcgroup
from factorysim.workload.readers.agentic_mooncake import read_agentic_mooncake
from factorysim.workload.readers.aiperf import read_aiperf
from factorysim.workload.readers.azure import azure_epoch, read_azure
from factorysim.workload.readers.bailian import read_bailian
from factorysim.workload.readers.burstgpt import read_burstgpt
from factorysim.workload.readers.copilot import read_copilot
from factorysim.workload.readers.dynamo_agent import read_dynamo_agent
from factorysim.workload.readers.fsrecords import Meta
from factorysim.workload.readers.fstrace import read_fstrace, read_fstrace_meta
from factorysim.workload.readers.llmservingsim import read_llmservingsim
from factorysim.workload.readers.mooncake import BLOCK_TOKENS, read_mooncake
from factorysim.workload.readers.otel import read_otel
from factorysim.workload.readers.servegen_offline import read_servegen_offline
from factorysim.workload.readers.taubench import read_taubench
from factorysim.workload.readers.tracelab import read_tracelab
from factorysim.workload.readers.vidur import read_vidur
from factorysim.workload.readers.weka import read_weka, weka_block_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from factorysim.spec.trace_format import FormatChoice, TraceFormat
    from factorysim.workload.session import Session


def read_trace(path: Path, trace_format: FormatChoice = "auto") -> Iterator[Session]:
    """Yield the sessions of a trace in order of arrival, lazily and in bounded memory.

    Parameters
    ----------
    path
        A regular file, plain or gzip; of Weka sessions also a folder of them.
    trace_format
        `auto` tells it from the first rows.

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
            return read_fstrace(path)
        case "mooncake":
            return read_mooncake(path)
        case "azure" | "azure_multimodal":
            return read_azure(path)
        case "weka":
            return read_weka(path)
        case "tracelab":
            return read_tracelab(path)
        case "vidur":
            return read_vidur(path)
        case "agentcgroup":
            return read_agentcgroup(path)
        case "taubench":
            return read_taubench(path)
        case "aiperf":
            return read_aiperf(path, "full")
        case "aiperf_delta":
            return read_aiperf(path, "delta")
        case "agentic_mooncake":
            return read_agentic_mooncake(path)
        case "dynamo_agent":
            return read_dynamo_agent(path)
        case "burstgpt":
            return read_burstgpt(path)
        case "bailian":
            return read_bailian(path)
        case "copilot":
            return read_copilot(path)
        case "llmservingsim":
            return read_llmservingsim(path)
        case "otel":
            return read_otel(path)
        case "servegen_offline":
            return read_servegen_offline(path)
        case _:
            assert_never(known)


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
