"""Formats of traces by the names that scenarios, options and messages give them."""

from __future__ import annotations

from typing import Literal

TraceFormat = Literal[
    "fstrace",
    "mooncake",
    "azure",
    "azure_multimodal",
    "weka",
    "tracelab",
    "vidur",
    "agentcgroup",
    "taubench",
    "aiperf",
    "aiperf_delta",
    "agentic_mooncake",
    "dynamo_agent",
    "burstgpt",
    "bailian",
    "copilot",
    "llmservingsim",
    "otel",
    "servegen_offline",
]
"""What each of them is: `factorysim.workload.formats`."""

FormatChoice = Literal["auto", TraceFormat]
"""What a stream or an option says; `auto` tells the format from the rows."""
