"""The one table of metric names: unit, population, window, formula.

``POOL`` in a name stands for a pool of the factory, ``LAW`` for an audited law,
``THRESHOLD`` for one of an SLO (by stream only).
"""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """What a name means."""

    unit: str
    population: str
    window: str
    """`arrivals`: who arrived in the window; `clock`: what happened in it; `run`: all."""
    formula: str


_STATS = ("mean", "p50", "p95", "p99")
_SESSIONS = "measured sessions"
_CALLS = "measured calls"
_TOOLS = "measured tool calls"


def _counts(kind: str, outcomes: tuple[str, ...]) -> dict[str, Metric]:
    population = f"measured {kind}"
    names = {
        f"{kind}.{outcome}": Metric("1", population, "arrivals", f"number that {verb}")
        for outcome, verb in _OUTCOMES.items()
        if outcome in outcomes
    }
    rate = Metric("1/s", kind, "clock", "completions in the window / its length")
    return names | {f"{kind}.completed_per_s": rate}


_OUTCOMES = {
    "arrived": "arrived",
    "completed": "completed",
    "in_slo": "completed within every threshold of its stream",
    "censored": "had not ended at the end of the run",
    "failed": "failed",
    "rejected": "no replica could ever hold, were longer than the LLM's context, or admission "
    "turned away to the last attempt",
    "cancelled": "was cancelled",
}


def _spread(name: str, population: str, window: str, formula: str) -> dict[str, Metric]:
    return {f"{name}.{stat}": Metric("s", population, window, formula) for stat in _STATS}


METRICS: dict[str, Metric] = {
    **_counts("sessions", ("arrived", "completed", "in_slo", "censored", "failed")),
    **_counts("calls", tuple(_OUTCOMES)),
    "calls.turned_away": Metric(
        "1", _CALLS, "arrivals", "number that admission turned away to the last attempt"
    ),
    "calls.retried": Metric("1", _CALLS, "arrivals", "number that were sent more than once"),
    "calls.retries": Metric("1", _CALLS, "arrivals", "sum of attempts after the first"),
    "tools.called": Metric("1", _TOOLS, "arrivals", "number"),
    "tools.failed": Metric("1", _TOOLS, "arrivals", "number whose last attempt failed"),
    "tools.retries": Metric("1", _TOOLS, "arrivals", "sum of attempts after the first"),
    "tools.retried_share": Metric("ratio", _TOOLS, "arrivals", "share with a second attempt"),
    "sandboxes.asked": Metric("1", "sandboxes", "arrivals", "number that sessions asked for"),
    "sandboxes.cold_starts": Metric(
        "1", "sandboxes asked for", "arrivals", "number that had to be started"
    ),
    "sandboxes.warm_hits": Metric(
        "1", "sandboxes asked for", "arrivals", "number that took the place of one kept ready"
    ),
    "sandboxes.held.mean": Metric(
        "1", "sandboxes", "clock", "mean number that hold memory, those kept ready too"
    ),
    "sandboxes.held_bytes.mean": Metric("B", "sandboxes", "clock", "mean memory that they hold"),
    **_spread("sandbox_wait_s", "sandboxes asked for", "arrivals", "ready - asked for"),
    **_spread("sandbox_start_s", "cold starts", "arrivals", "ready - got memory"),
    "tokens.prompt": Metric("tok", _CALLS, "arrivals", "sum of prompt tokens"),
    "tokens.prompt_hit": Metric("tok", _CALLS, "arrivals", "prompt tokens found in the KV cache"),
    "tokens.prompt_computed": Metric(
        "tok", _CALLS, "arrivals", "prompt tokens computed for the first time"
    ),
    "tokens.recomputed": Metric(
        "tok", _CALLS, "arrivals", "tokens computed again after a preemption"
    ),
    "tokens.output": Metric("tok", _CALLS, "arrivals", "output tokens made"),
    "tokens.output_per_s": Metric(
        "tok/s", "all steps", "clock", "tokens of steps that end in the window / its length"
    ),
    **_spread("ttft_s", _CALLS, "arrivals", "first output token - arrival"),
    **_spread("tpot_s", _CALLS, "arrivals", "(last token - first token) / (output tokens - 1)"),
    **_spread("itl_s", "gaps between output tokens", "clock", "gaps that end in the window"),
    **_spread(
        "handoff_s",
        "prompts computed apart",
        "clock",
        "decodes - prompt computed: waiting for blocks, KV on its way, the step in progress",
    ),
    **_spread("turn_s", _SESSIONS, "arrivals", "longest turn of a session"),
    **_spread("session_s", _SESSIONS, "arrivals", "end - arrival, users' gaps included"),
    **_spread("session_active_s", _SESSIONS, "arrivals", "end - arrival - gaps"),
    **{
        f"recovery_s.{what}": Metric(
            "s",
            "spikes of arrivals",
            "clock",
            f"end of a spike until no more {text} than in 95 % of the time before it; the longest",
        )
        for what, text in (
            ("waiting", "calls of its stream wait for a first token"),
            ("calls", "calls of its stream are in flight"),
            ("sessions", "sessions of its stream are there"),
        )
    },
    "goodput.sessions_per_s": Metric(
        "1/s", _SESSIONS, "arrivals", "sessions.in_slo / length of the window"
    ),
    "goodput.calls_per_s": Metric("1/s", _CALLS, "arrivals", "calls.in_slo / length of the window"),
    "goodput.output_tokens_per_s": Metric(
        "tok/s", _CALLS, "arrivals", "output tokens of calls in SLO / length of the window"
    ),
    "slo.sessions": Metric("ratio", "measured sessions with a verdict", "arrivals", "share in SLO"),
    "slo.calls": Metric("ratio", "measured calls with a verdict", "arrivals", "share in SLO"),
    "slo.met": Metric(
        "bool", "streams", "arrivals", "1 if every stream's slo.sessions reaches its attain"
    ),
    "slo.missed.THRESHOLD": Metric(
        "ratio",
        "measured sessions of a stream with a verdict",
        "arrivals",
        "share past ttft, tpot, turn or session; `failed`: past none, and yet not in SLO",
    ),
    "utilization.POOL": Metric(
        "ratio",
        "devices of the pool",
        "clock",
        "device-seconds in a step / device-seconds; by deployment, and by replica",
    ),
    "mfu.POOL": Metric(
        "ratio", "devices of the pool", "clock", "FLOP needed by steps that end there / dense peak"
    ),
    "mbu.POOL": Metric(
        "ratio", "devices of the pool", "clock", "bytes that they move / peak bandwidth"
    ),
    "expert_imbalance.POOL": Metric(
        "ratio",
        "steps of deployments with EP",
        "clock",
        "choices on the busiest EP rank / mean of the ranks, over the time in steps",
    ),
    "speculation.acceptance_rate": Metric(
        "ratio",
        "drafts of verifies",
        "clock",
        "drafts that became output / drafts, of verifies that end in the window",
    ),
    "speculation.acceptance_length": Metric(
        "tok", "verifies of a sequence", "clock", "output tokens of such a verify, its own included"
    ),
    "queue.POOL.mean": Metric(
        "1", "calls, tool calls", "clock", "mean number waiting for a first step or a host"
    ),
    "queue.POOL.max": Metric("1", "calls, tool calls", "clock", "most that waited at once"),
    "kv.hit_rate": Metric(
        "ratio",
        "measured calls that were scheduled",
        "arrivals",
        "hit tokens / prompt tokens; by tier: those that were there",
    ),
    "kv.moved_bytes": Metric(
        "B",
        "hand-offs, tiers of KV",
        "clock",
        "bytes of KV moved; by tier: to or from there",
    ),
    "kv.evicted_bytes": Metric("B", "KV blocks", "clock", "bytes that left their tier"),
    "fabric.utilization": Metric(
        "ratio",
        "links, each direction",
        "clock",
        "bytes carried / what the link can carry, of the busiest; by link. Messages below 64 KB "
        "cost latency only and are not counted",
    ),
    "fabric.busiest": Metric("text", "links, each direction", "clock", "the busiest link"),
    "io_work.host_cores": Metric(
        "1",
        "TLS, packets and storage on host CPUs",
        "clock",
        "core-seconds of the reference core / length of the window; by kind",
    ),
    "io_work.dpu_cores": Metric(
        "1",
        "the same on DPUs",
        "clock",
        "core-seconds of theirs / length of the window; by kind",
    ),
    "io_work.dpu_utilization": Metric(
        "ratio", "DPUs that do I/O work", "clock", "busy cores / cores"
    ),
    "saturation": Metric("ratio", "pools", "clock", "the highest saturation of a pool"),
    "saturation.POOL": Metric(
        "ratio",
        "replicas, or cores",
        "clock",
        "mean fullness of the fullest of sequences, KV blocks, tokens of a step (1 while a "
        "call waits for them); of cores",
    ),
    "bottleneck": Metric("text", "pools", "clock", "pool of the highest saturation, what is full"),
    **{
        f"power.{place}.{stat}": Metric("W", population, "clock", formula)
        for place, population, behind in (
            ("it_w", "racks", ""),
            ("facility_w", "site", " x PUE"),
        )
        for stat, formula in (
            ("mean", f"mean draw{behind}"),
            ("p99", f"p99 of the means over bins{behind}"),
            ("max", f"largest mean over a bin{behind}"),
        )
    },
    "energy.it_j": Metric("J", "racks", "clock", "draw integrated over the window"),
    "energy.j_per_output_token.accelerator": Metric(
        "J/tok", "serving devices in steps", "clock", "their joules / output tokens"
    ),
    "energy.j_per_output_token.host": Metric(
        "J/tok",
        "and busy hosts, and what racks always draw (NICs, switches, devices not deployed)",
        "clock",
        "their joules / output tokens",
    ),
    "energy.j_per_output_token.idle": Metric(
        "J/tok", "and deployed devices that wait: all racks", "clock", "energy.it_j / output tokens"
    ),
    "energy.j_per_output_token.electrical": Metric(
        "J/tok", "and the electrical chain", "clock", "joules before losses / output tokens"
    ),
    "energy.j_per_output_token.facility": Metric(
        "J/tok", "site", "clock", "energy.it_j x PUE / output tokens"
    ),
    "energy.j_per_session": Metric(
        "J", "sessions completed", "clock", "energy.it_j x PUE / sessions"
    ),
    "carbon.g_per_session": Metric(
        "g", "sessions completed", "clock", "facility kWh x carbon intensity / sessions"
    ),
    "cost.energy_usd_per_mtok_output": Metric(
        "USD/Mtok", "site", "clock", "facility kWh x energy price / output tokens"
    ),
    "cost.usd_per_mtok_input": Metric("USD/Mtok", "factory", "run", "cost / prompt tokens"),
    "cost.usd_per_mtok_output": Metric("USD/Mtok", "factory", "run", "cost / output tokens"),
    "cost.usd_per_session_in_slo": Metric("USD", "factory", "run", "cost / sessions in SLO"),
    **{
        f"time_share.{share}": Metric(
            "ratio", "measured sessions that completed", "arrivals", f"{text} / duration, summed"
        )
        for share, text in (
            ("queue", "waiting for a first step"),
            ("prefill", "first step to first token"),
            ("decode", "first token to last"),
            ("stall", "preempted, waiting or recomputing"),
            ("kv", "KV on its way"),
            ("network", "on links"),
            ("tool_queue", "waiting for a host"),
            ("tool", "running tools"),
            ("gap", "users' gaps"),
        )
    },
    "assumed_facts": Metric(
        "1", "facts that the run rests on", "run", "number that nobody has published"
    ),
    "audit.LAW": Metric("bool", "law of conservation", "run", "1 if it holds"),
}
"""Name -> what it means, in the order in which a report shows them."""


def metric(name: str) -> Metric:
    """Look up what a name of `summary.json` means.

    Raises
    ------
    KeyError
        If there is no such name.

    Examples
    --------
    >>> metric("utilization.nvl72").unit
    'ratio'
    >>> metric("queue.vera_cpu.max").unit
    '1'
    """
    if name in METRICS:
        return METRICS[name]
    if name.startswith("slo.missed."):
        return METRICS["slo.missed.THRESHOLD"]
    head, _, rest = name.partition(".")
    tail = f".{rest.rpartition('.')[2]}" if head == "queue" else ""
    for pattern in (f"{head}.POOL{tail}", f"{head}.LAW"):
        if rest and pattern in METRICS:
            return METRICS[pattern]
    raise KeyError(name)
