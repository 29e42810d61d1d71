"""The formats of traces that are read: what each is, what it carries, whether it was tried.

`experimental`: made from the documented form; no real file of it has been read yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from factorysim.spec.trace_format import TraceFormat

Status = Literal["tested", "experimental"]

AGENTIC = ("wait_for", "branches", "prefix_reset", "tool_wait_ms", "tool_events")
"""Fields that only the agentic form of Mooncake has."""


class FormatInfo(NamedTuple):
    """One format."""

    what: str
    status: Status
    times: str
    """Of what; empty: none."""
    prefixes: str
    """How repetition is told; empty: not at all."""
    tools: bool
    sessions: bool


FORMATS: dict[TraceFormat, FormatInfo] = {
    "fstrace": FormatInfo(
        "fstrace/1, the native form: sessions as DAGs", "tested", "all rows", "hashes", True, True
    ),
    "mooncake": FormatInfo(
        "Mooncake (FAST'25): calls, 512-token blocks", "tested", "arrivals", "hashes", False, False
    ),
    "azure": FormatInfo(
        "Azure LLM inference 2023, 2024: calls", "tested", "arrivals", "", False, False
    ),
    "azure_multimodal": FormatInfo(
        "Azure LMM 2025: calls with images", "experimental", "arrivals", "", False, False
    ),
    "weka": FormatInfo(
        "Weka kv-cache-tester: coding sessions, a file each",
        *("tested", "all rows", "hashes", True, True),
    ),
    "tracelab": FormatInfo(
        "TraceLab: rounds of Claude Code and Codex",
        "tested",
        "all rows",
        "cached tokens",
        True,
        True,
    ),
    "vidur": FormatInfo(
        "Vidur: lengths of requests", "tested", "arrivals, if any", "", False, False
    ),
    "agentcgroup": FormatInfo(
        "AgentCgroup: measured tool calls, without LLM calls",
        *("tested", "all rows", "", True, True),
    ),
    "taubench": FormatInfo(
        "tau-bench steps: dialogues in characters", "tested", "", "cached tokens", True, True
    ),
    "aiperf": FormatInfo(
        "aiperf mooncake+: turns with whole prompts",
        *("experimental", "arrivals and delays", "hashes", False, True),
    ),
    "aiperf_delta": FormatInfo(
        "aiperf mooncake+: turns with new tokens only",
        *("experimental", "arrivals and delays", "hashes", False, True),
    ),
    "agentic_mooncake": FormatInfo(
        "Dynamo agentic Mooncake: requests that wait",
        *("experimental", "arrivals and delays", "hashes", True, True),
    ),
    "dynamo_agent": FormatInfo(
        "Dynamo dynamo.agent.trace.v1: events",
        "experimental",
        "tools and ends",
        "hashes",
        True,
        True,
    ),
    "burstgpt": FormatInfo(
        "BurstGPT: requests to ChatGPT and GPT-4", "experimental", "arrivals", "", False, True
    ),
    "bailian": FormatInfo(
        "Qwen-Bailian: chats, 16-token blocks", "experimental", "arrivals", "hashes", False, True
    ),
    "copilot": FormatInfo(
        "GitHub Copilot agent 2026: sessions of turns",
        "experimental",
        "all rows",
        "cached tokens",
        True,
        True,
    ),
    "llmservingsim": FormatInfo(
        "LLMServingSim 2.0: flat or agentic requests",
        *("experimental", "arrivals and tools", "token ids", True, True),
    ),
    "otel": FormatInfo(
        "OpenTelemetry GenAI spans (OTLP JSON)",
        "experimental",
        "all rows",
        "cached tokens",
        True,
        True,
    ),
    "servegen_offline": FormatInfo(
        "ServeGen offline batches", "experimental", "", "hashes or none", False, False
    ),
}


def carries(info: FormatInfo) -> str:
    """Say what a format tells of calls besides their lengths.

    Examples
    --------
    >>> carries(FORMATS["azure"])
    'times of arrivals'
    >>> carries(FORMATS["servegen_offline"])
    'no times, hashes or none'
    """
    parts = [f"times of {info.times}" if info.times else "no times"]
    if info.prefixes:
        parts.append(info.prefixes)
    given = (("tools", info.tools), ("sessions", info.sessions))
    return ", ".join(parts + [name for name, there in given if there])
