"""Running an experiment: one replica, the load that it had, and all that a row may ask of it.

Of several replicas one is simulated, with its share of the load. What a benchmark leaves in,
its start and its end, is left in here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.errors import CapacityError, Fault
from factorysim.study.closed_loop import FOREVER_S, STREAM, run_demand, run_loop
from factorysim.study.measured.conditions import (
    Closed,
    Offered,
    Queued,
    Recorded,
    Static,
    Steady,
)
from factorysim.study.measured.recorded import RecordedDemand
from factorysim.study.standing import stand

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.catalog import Catalog
    from factorysim.run.prepare import Prepared
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.store.tables import Labels
    from factorysim.study.measured.conditions import Conditions
    from factorysim.study.measured.metrics import Metric

    Floats = npt.NDArray[np.float64]
    Columns = dict[str, Any]

STEADY_WAVES = (2, 6)
"""Of a steady load: waves of calls before what is measured, and all of them."""
OFFERED_CALLS = (600, 4000)
"""Bounds on the calls of a Poisson load, which lasts `OFFERED_S` within them."""
OFFERED_S = 240.0
OFFERED_LEFT_OUT = 0.25
"""Of those calls, at the start."""
BLOCK_TOKENS = 16
"""Of a block of the KV cache."""
RATE_DIGITS = 0.005
"""To which the highest rate within limits is found."""


RATE_LEAST = 1e-3
"""Calls per second that hardly ever meet: who misses its limits then always does."""


class Outcome(NamedTuple):
    """What one replica did."""

    ttft_s: Floats
    tpot_s: Floats
    latency_s: Floats
    gap_s: float
    """Median gap between output tokens."""
    output_per_s: float
    input_per_s: float
    device_w: float
    """Mean draw of a device."""
    rest_w: float
    """Of its server, all devices apart."""
    kv_share: float
    """Of the KV cache, on average over steps."""
    preemptions: float


def scenario_of(conditions: Conditions, catalog: Catalog, rate_per_s: float = 1.0) -> ScenarioSpec:
    """Write the experiment as a scenario of one replica; of a log, of all that served it.

    Raises
    ------
    UserError
        If it does not fit together.
    """
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.scenario import ScenarioSpec

    c, cut = conditions, conditions.cut
    parallel = {"tp": cut.tp, "pp": cut.pp, "ep": cut.ep, "dp": cut.dp}
    device = catalog.device(c.device)
    replicas = cut.replicas if isinstance(c.load, Recorded) else 1
    standing = stand(catalog, device, ParallelSpec.model_validate(parallel), replicas)
    # Attention-DP bounds the sequences of each rank, as engines do.
    most = -(-c.max_sequences // cut.dp)
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": f"What was measured of {c.llm} on {c.device}?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": {"devices": {"rack": standing.rack, "count": standing.number}},
                "fabric": {"kind": "none" if standing.number == 1 else "leaf_spine"},
            },
            "llms": {
                "llm": {
                    "llm": c.llm,
                    "precision": {"weights": c.weights, "compute": c.compute, "kv": c.kv},
                }
            },
            "deployments": {
                "serve": {
                    "llm": "llm",
                    "pool": "devices",
                    "replicas": replicas,
                    "parallel": parallel,
                }
            },
            "streams": {
                STREAM: {
                    "llm": "llm",
                    "calls": {
                        "prompt_tokens": c.prompt.model_dump(),
                        "output_tokens": c.output.model_dump(),
                    },
                    "arrivals": _arrivals(conditions, rate_per_s),
                }
            },
            "serving": {
                "engine": c.engine,
                "scheduler": _scheduler(conditions),
                "max_sequences": most,
                "token_budget": max(c.token_budget, most),
                "kv": {
                    "memory_fraction": c.memory_fraction,
                    "block_tokens": BLOCK_TOKENS,
                    "retain": _retain(conditions),
                    "blocks": _blocks(conditions),
                },
            },
        }
    )


def _scheduler(conditions: Conditions) -> str:
    """Rules of the engine; a static batch computes all prompts first."""
    ranked = conditions.cut.dp > 1 or conditions.cut.pp > 1
    static = isinstance(conditions.load, Static) or conditions.engine == "splitwise_2023"
    if static and conditions.cut.dp == 1:
        return "prefill_first"
    return "trtllm" if conditions.engine == "trtllm" and not ranked else "vllm"


def _retain(conditions: Conditions) -> str:
    """Keep nothing of benchmarks' random prompts; a log's calls may find again what was theirs."""
    load = conditions.load
    return "shared" if isinstance(load, Recorded) and load.prefix_caching else "none"


def _blocks(conditions: Conditions) -> int | None:
    """Give a static batch the KV cache that it had, and a log the one that it tells."""
    load = conditions.load
    if isinstance(load, Recorded) and load.kv_tokens is not None:
        return load.kv_tokens // BLOCK_TOKENS
    if not isinstance(load, Static) or conditions.cut.dp > 1:
        return None
    tokens = conditions.prompt.mean + conditions.output.mean
    return load.batch * (int(tokens) // BLOCK_TOKENS + 1)


def _arrivals(conditions: Conditions, rate_per_s: float) -> dict[str, object]:
    load = conditions.load
    match load:
        case Closed():
            number = load.concurrency
        case Queued():
            number = max(1, load.calls)
        case Static() | Steady():
            number = load.batch
        case Offered() | Recorded():  # whose calls come when they came
            return {"process": "poisson", "rate": f"{rate_per_s:.12g}/s"}
    return {"process": "fixed_concurrency", "concurrency": number}


class Observed(NamedTuple):
    """An experiment that was run: what came out, and the steps that it took."""

    conditions: Conditions
    prepared: Prepared
    outcome: Outcome
    steps: Columns

    def read(self, metric: Metric) -> float:
        """Read off what a row states."""
        return read_metric_of(self.outcome, metric, self.conditions)


def observe(conditions: Conditions, catalog: Catalog) -> Observed:
    """Run an experiment that has no rate to find, and keep its steps.

    Raises
    ------
    UserError
        If the replica cannot hold what it should.
    """
    catalog = suited(conditions, catalog)
    prepared = prepare_with(scenario_of(conditions, catalog), catalog)
    load = conditions.load
    match load:
        case Closed() | Queued():
            outcome, steps = _measured(prepared, load.calls, 0.0, 1.0)
        case Static():
            outcome, steps = _measured(prepared, load.batch, 0.0, 1.0, static=True)
        case Steady():
            before, waves = STEADY_WAVES
            start, end = before / waves, (waves - 1) / waves
            outcome, steps = _measured(prepared, waves * load.batch, start, end)
        case Recorded():
            outcome, steps = _measured(prepared, RecordedDemand(STREAM, load.calls), 0.0, 1.0)
        case Offered():
            raise TypeError("an offered load has a rate of its own: run_experiment")
    return Observed(conditions, prepared, outcome, steps)


def run_experiment(conditions: Conditions, catalog: Catalog) -> Outcome:
    """Run an experiment as it was; Poisson arrivals at the stated rate.

    Raises
    ------
    UserError
        If the replica cannot hold what it should.
    """
    load = conditions.load
    if isinstance(load, Offered):
        catalog = suited(conditions, catalog)
        if load.rate_per_s is None:
            return run_offered(conditions, catalog, highest_rate(conditions, catalog))
        return run_offered(conditions, catalog, load.rate_per_s / conditions.cut.replicas)
    return observe(conditions, catalog).outcome


def run_offered(conditions: Conditions, catalog: Catalog, rate_per_s: float) -> Outcome:
    """Run a Poisson load on the one replica."""
    prepared = prepare_with(scenario_of(conditions, catalog, rate_per_s), catalog)
    least, most = OFFERED_CALLS
    calls = int(min(max(OFFERED_S * rate_per_s, least), most))
    return _measured(prepared, calls, OFFERED_LEFT_OUT, 1.0)[0]


def highest_rate(conditions: Conditions, catalog: Catalog) -> float:
    """Find the highest rate of calls on one replica within the p99 limits, by bisection.

    Raises
    ------
    CapacityError
        If not even calls that hardly ever meet keep them.
    """
    import numpy as np

    load = conditions.load
    assert isinstance(load, Offered)

    def keeps(rate: float) -> bool:
        outcome = run_offered(conditions, catalog, rate)
        late = np.quantile(outcome.ttft_s, 0.99), np.quantile(outcome.tpot_s, 0.99)
        return bool(late[0] <= load.ttft_s and late[1] <= load.tpot_s)

    low, high = 0.0, 1.0
    while keeps(high):
        low, high = high, 2 * high
    while high - low > RATE_DIGITS * high:
        if high < RATE_LEAST:
            found = f"p99 limits of {load.ttft_s:g} s and {load.tpot_s:g} s"
            raise CapacityError(Fault(conditions.llm, "", found, "limits that a rate keeps"))
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return (low + high) / 2


def suited(conditions: Conditions, catalog: Catalog) -> Catalog:
    """Give the device the clock that it ran at, and the LLM the context that was asked of it.

    One batch is timed from inside the engine, which has no door then.
    """
    from math import ceil

    values: dict[str, float] = {}
    device, llm = catalog.device(conditions.device), catalog.llm(conditions.llm)
    if isinstance(conditions.load, Static):
        values[f"efficiency.{conditions.engine}.{device.generation}.request_s"] = 0.0
    if conditions.clock != 1.0:
        for form, rate in device.flops.items():
            values[f"accelerators.{device.id}.flops.{form}"] = rate * conditions.clock
    lengths = conditions.prompt, conditions.output
    longest = sum(ceil(one.mean * (1 + one.spread)) for one in lengths)
    if isinstance(conditions.load, Recorded):
        longest = max(call.prompt_tokens + call.output_tokens for call in conditions.load.calls)
    if longest > llm.context_length:
        values[f"llms.{llm.id}.context_length"] = longest
    return catalog.with_values(values) if values else catalog


def prepare_with(scenario: ScenarioSpec, catalog: Catalog) -> Prepared:
    """Prepare a scenario with a catalog at hand."""
    from factorysim.run.prepare import Prepared, build_plan, layout_of

    plan = build_plan(scenario, catalog)
    return Prepared(scenario, catalog, plan, layout_of(scenario, catalog, plan))


def _measured(
    prepared: Prepared,
    calls: int | RecordedDemand,
    start: float,
    end: float,
    *,
    static: bool = False,
) -> tuple[Outcome, Columns]:
    """Run so many calls, or those given; measure from one share of their ends to another."""
    import numpy as np

    from factorysim.run.activity import step_columns
    from factorysim.run.replication import check_audit
    from factorysim.store import MemorySink

    sink = MemorySink()
    if isinstance(calls, int):
        closing = run_loop(prepared, sink, FOREVER_S, calls)
    else:
        closing = run_demand(prepared, calls, sink, FOREVER_S)
    check_audit(closing.audit, 0)
    steps: Columns = dict(sink.columns("steps"))
    steps |= step_columns(prepared.plan).compute(steps)
    table = sink.columns("calls")
    _check_served(prepared, table["outcome"])
    finished = np.sort(table["finished_s"])
    from_s = float(table["arrived_s"].min()) if start == 0.0 else _at(finished, start)
    to_s = float(finished[-1]) if end == 1.0 else _at(finished, end)
    mine = (table["finished_s"] > from_s) & (table["finished_s"] <= to_s)
    first, made = table["first_token_s"][mine], table["output_tokens"][mine]
    last, arrived = table["finished_s"][mine], table["arrived_s"][mine]
    several = made > 1
    # Of a static batch decodes are timed once all prompts are done.
    begun = np.full_like(first, first.max()) if static else first
    inside = (steps["finished_s"] > from_s) & (steps["finished_s"] <= to_s)
    span = to_s - from_s
    serve = prepared.plan.serve[0]
    devices = serve.devices_per_replica
    active_j = float(steps["active_j"][inside].sum())
    outcome = Outcome(
        ttft_s=first - arrived,
        tpot_s=(last - begun)[several] / (made[several] - 1),
        latency_s=last - arrived,
        gap_s=_median_gap(steps, inside),
        output_per_s=float(steps["emitted_tokens"][inside].sum()) / span,
        input_per_s=float(steps["prompt_tokens"][inside].sum()) / span,
        device_w=serve.power.idle_w + active_j / span / devices,
        rest_w=prepared.plan.racks[0].rest_w,
        kv_share=_kv_share(steps, inside, serve.kv_blocks),
        preemptions=float(table["preemptions"][mine].mean()),
    )
    return outcome, {name: column[inside] for name, column in steps.items()}


def _check_served(prepared: Prepared, outcomes: Labels) -> None:
    """Refuse an experiment some of whose calls no replica could ever hold."""
    lost = int((~outcomes.equal("completed")).sum())
    if lost:
        found = f"{lost} of {len(outcomes.codes)} calls that no replica can hold"
        blocks = prepared.plan.serve[0].kv_blocks
        expected = f"calls of at most {blocks * BLOCK_TOKENS:,} tokens"
        raise CapacityError(Fault(prepared.scenario.llms["llm"].llm, "", found, expected))


def _at(finished: Floats, share: float) -> float:
    return float(finished[min(len(finished) - 1, int(share * len(finished)))])


def _median_gap(steps: Columns, inside: npt.NDArray[np.bool_]) -> float:
    """Median gap between two tokens: of steps by how many decodes they hold."""
    import numpy as np

    n = steps["steps"][inside]
    middle = (steps["step_fs"][inside] + steps["slope_fs"][inside] * (n - 1) / 2) * 1e-15
    weight = n * steps["decodes"][inside]
    order = np.argsort(middle)
    passed = np.cumsum(weight[order])
    return float(middle[order][np.searchsorted(passed, passed[-1] / 2)]) if len(order) else 0.0


def _kv_share(steps: Columns, inside: npt.NDArray[np.bool_], blocks: int) -> float:
    spent = (steps["finished_s"] - steps["started_s"])[inside]
    return float((steps["kv_blocks"][inside] * spent).sum() / max(spent.sum(), 1e-30) / blocks)


def read_metric_of(outcome: Outcome, metric: Metric, conditions: Conditions) -> float:
    """Read off an outcome what a row states, in the row's unit."""
    cut = conditions.cut
    replicas, devices = cut.replicas, cut.devices
    match metric.quantity:
        case "ttft" | "tpot" | "itl" | "latency":
            scale = 1.0 if metric.name.endswith("_s") else 1e3
            return scale * _time(outcome, metric)
        case "tokens_per_s_per_user":
            return 1.0 / _time(outcome, metric._replace(quantity="tpot"))
        case "throughput":
            rate = _rate(outcome, metric, conditions)
            if metric.per == "all":
                return rate * replicas
            return rate / devices * (metric.per_node or 1 if metric.per == "node" else 1)
        case "power":
            if metric.wall:
                return outcome.device_w * devices * replicas + outcome.rest_w
            return outcome.device_w * (1 if metric.per == "device" else devices * replicas)
        case "energy":
            return outcome.device_w * devices / outcome.output_per_s
        case "distance":
            return _distance(outcome, metric, conditions)


def _rate(outcome: Outcome, metric: Metric, conditions: Conditions) -> float:
    """Tokens, or calls, per second of a replica."""
    if isinstance(conditions.load, Static):
        return _static_rate(outcome, metric, conditions)
    if metric.counts == "calls":
        return outcome.output_per_s / conditions.output.mean
    if metric.counts == "input":
        return outcome.input_per_s
    if metric.counts == "output":
        return outcome.output_per_s
    return outcome.output_per_s + outcome.input_per_s


def _static_rate(outcome: Outcome, metric: Metric, conditions: Conditions) -> float:
    """Of one batch prompts and outputs are timed apart.

    Ranks compute prompts beside decodes, so there the median gap is that of decodes alone.
    """
    load = conditions.load
    assert isinstance(load, Static)
    if metric.counts == "input":
        return load.batch * conditions.prompt.mean / float(outcome.ttft_s.max())
    alone_s = _time(outcome, metric._replace(quantity="tpot"))
    return load.batch / (outcome.gap_s if conditions.cut.dp > 1 else alone_s)


def _distance(outcome: Outcome, metric: Metric, conditions: Conditions) -> float:
    """Kolmogorov and Smirnov's: the largest gap between two empirical distributions."""
    import numpy as np

    load = conditions.load
    assert isinstance(load, Recorded)
    if metric.statistic == "ttft":
        recorded, found = [call.ttft_s for call in load.calls], outcome.ttft_s
    else:
        recorded, found = [call.latency_s for call in load.calls], outcome.latency_s
    sides = np.sort(recorded), np.sort(found)
    at = np.concatenate(sides)
    below = [np.searchsorted(side, at, side="right") / len(side) for side in sides]
    return float(np.abs(below[0] - below[1]).max())


def _time(outcome: Outcome, metric: Metric) -> float:
    import numpy as np

    if metric.quantity == "itl":
        if metric.statistic == "median" or not len(outcome.tpot_s):
            return outcome.gap_s or float("nan")
        return float(outcome.tpot_s.mean())
    values = {"ttft": outcome.ttft_s, "tpot": outcome.tpot_s, "latency": outcome.latency_s}
    found = values[metric.quantity]
    if not len(found):
        return float("nan")
    if metric.statistic == "mean":
        return float(found.mean())
    q = 0.5 if metric.statistic == "median" else float(metric.statistic[1:]) / 100
    return float(np.quantile(found, q))
