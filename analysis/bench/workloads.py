"""The workloads of the benchmark, as scenarios.

W1 is what Vidur's authors publish (CodeLlama-34B, fp16, two A100-80GB a replica,
chunks of 512 tokens, at most 128 sequences, 27,904 blocks of 16): the fastest
simulator that steps every iteration does 1,199 calls/s there, whatever the number
of replicas.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from factorysim.resources import resource_path

MOONCAKE = (
    Path(__file__).resolve().parents[3] / "shared/traces/mooncake_conversation_trace.jsonl.gz"
)
WEKA = MOONCAKE.parent / "weka_claude_code"
TRACE_S = 3600.0 / 20
"""Of the Mooncake trace at twenty times its speed."""


class Workload(NamedTuple):
    """A scenario, and when to stop."""

    scenario: dict[str, Any]
    horizon_s: float
    overrides: tuple[str, ...] = ()
    """As `--set` takes them: what may lie outside of the scenario's folder."""


def w1(
    replicas: int,
    *,
    calls: int = 5000,
    output: int = 128,
    rate: float = 4.0,
    clock: str = "run_length",
    **serving: Any,  # noqa: ANN401
) -> Workload:
    """Build W1 at `rate` calls/s a replica."""
    rules = {"token_budget": 512, "max_sequences": 128, "router": {"policy": "round_robin"}}
    lengths = {"prompt_tokens": {"mean": 512}, "output_tokens": {"mean": output}}
    arrivals = {"process": "poisson", "rate": f"{rate * replicas} /s"}
    return Workload(
        _scenario(
            "open/hgx-a100",
            llm={"llm": "code_llama_34b"},
            deployments={
                "serve": {"pool": "a100", "replicas": replicas, "parallel": {"tp": 2}, "llm": "m"}
            },
            stream={"calls": lengths, "arrivals": arrivals, "limit": calls},
            serving={**rules, "kv": {"blocks": 27904}, **serving},
            clock=clock,
        ),
        calls / (rate * replicas) * 1.1 + output * 0.2,
    )


def saturated() -> Workload:
    """Keep 512 calls of 1,000 + 400 tokens in flight on each of four replicas."""
    lengths = {"prompt_tokens": {"mean": 1000}, "output_tokens": {"mean": 400}}
    return Workload(
        _scenario(
            "open/hgx-h200",
            llm={"llm": "llama_3_1_70b", "precision": FP8},
            deployments={
                "serve": {"pool": "hgx", "replicas": 4, "parallel": {"tp": 4}, "llm": "m"}
            },
            stream={
                "calls": lengths,
                "arrivals": {"process": "fixed_concurrency", "concurrency": 2048},
                "limit": 20000,
            },
            serving={"max_sequences": 512},
        ),
        3600.0,
    )


def mooncake() -> Workload:
    """Replay the shared Mooncake trace at twenty times its speed on one NVL72."""
    return Workload(
        _scenario(
            "closed/vera-rubin-nvl72",
            llm={"llm": "mistral_large_3", "precision": FP8},
            deployments={
                "serve": {"pool": "nvl72", "replicas": 9, "parallel": {"tp": 8}, "llm": "m"}
            },
            stream={"speed": 20},
            serving={},
        ),
        TRACE_S * 10,
        (f"streams.s.trace={json.dumps(str(MOONCAKE))}",),
    )


def weka() -> Workload:
    """Replay the shared Claude Code sessions on one NVL72, one a minute, as they went."""
    return Workload(
        _scenario(
            "closed/vera-rubin-nvl72",
            llm={"llm": "mistral_large_3", "precision": FP8},
            deployments={
                "serve": {"pool": "nvl72", "replicas": 9, "parallel": {"tp": 8}, "llm": "m"}
            },
            stream={"arrivals": {"process": "poisson", "rate": "1 /min"}},
            serving={"router": {"policy": "sticky"}},
        ),
        60 * 86400.0,
        (f"streams.s.trace={json.dumps(str(WEKA))}",),
    )


def agents(sessions: int = 25_000) -> Workload:
    """Run code-analysis agents on the pod of 1,152 GPUs, 20 sessions a second."""
    return Workload(
        _scenario(
            "closed/vera-rubin-pod",
            llm={"llm": "mistral_large_3", "precision": FP8},
            deployments={
                "serve": {"pool": "nvl72", "replicas": 144, "parallel": {"tp": 8}, "llm": "m"},
                "tools": {"role": "tools", "pool": "vera_cpu"},
            },
            stream={
                "agent": "code_analysis",
                "reasoning_effort": "medium",
                "arrivals": {"process": "poisson", "rate": "20 /s"},
                "limit": sessions,
            },
            serving={"router": {"policy": "sticky"}},
        ),
        7 * 86400.0,
    )


FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}

WORKLOADS = {
    "w1_1": lambda: w1(1),
    "w1_16": lambda: w1(16),
    "w1_long": lambda: w1(16, output=2048, rate=0.25),
    "w1_long_stepwise": lambda: w1(16, calls=500, output=2048, rate=0.25, clock="stepwise"),
    "w1_out_256": lambda: w1(16, output=256, rate=2.0),
    "w1_out_2560": lambda: w1(16, output=2560, rate=0.2),
    "large_batch": saturated,
    "kv_thrash": lambda: w1(16, output=512, rate=2.0, kv={"blocks": 420}),
    "mooncake": mooncake,
    "weka": weka,
    "agents": agents,
}
"""Row of `bench.json` -> what it runs."""


def _scenario(
    topology: str,
    *,
    llm: dict[str, Any],
    deployments: dict[str, Any],
    stream: dict[str, Any],
    serving: dict[str, Any],
    clock: str = "run_length",
) -> dict[str, Any]:
    return {
        "schema": "factorysim.scenario/1",
        "question": "How fast is the simulator?",
        "topology": str(resource_path("topologies", topology)),
        "llms": {"m": llm},
        "deployments": deployments,
        "streams": {"s": {"llm": "m", **stream}},
        "serving": serving,
        "run": {"kind": "terminating", "replications": 1, "seed": 1, "clock": clock},
    }
