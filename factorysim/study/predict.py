"""One operating point: so many calls at any time on one replica, through the simulator itself.

`closed_loop` tells what is measured, and when. With lengths all alike nothing is drawn,
and one replication says all. Then calls whose prompts once met in a step keep
meeting, and TTFT is that of a burst; with lengths that vary (`spread`) they mix, as
in benchmarks that draw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.errors import CapacityError, Fault, SpecError
from factorysim.metrics.inputs import Tables, Value, Window
from factorysim.study.closed_loop import CALLS_LEAST, find_window, run_loop
from factorysim.study.known_error import known_error
from factorysim.study.operating_point import Ask, set_up, stream_of
from factorysim.study.reliance import assumed_facts
from factorysim.study.usage import Bound, usage

if TYPE_CHECKING:
    from factorysim.catalog import Fact
    from factorysim.run.prepare import Prepared
    from factorysim.spec.scenario import PrecisionSpec, ScenarioSpec
    from factorysim.store import Columns
    from factorysim.study.closed_loop import Settled
    from factorysim.study.operating_point import Setting

CALLS_MOST, CONCURRENCY_MOST = 200_000, 20_000
DRIFTS = "no steady state was found in the first pass: TTFT may still drift; --calls measures more"


class Spread(NamedTuple):
    """Seconds of a latency; None where too few were seen, or there is none."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class KvUse(NamedTuple):
    """The KV cache of a replica, and how much of it calls hold."""

    blocks: int
    block_tokens: int
    sequences_that_fit: int
    """Calls at their full length, at once."""
    share_mean: float
    """Of its tokens, over the time in steps."""
    share_max: float


class Point(NamedTuple):
    """What an operating point does. Rates are of output tokens unless they say else."""

    llm: str
    device: str
    rack: str
    racks: int
    devices: int
    tp: int
    ep: int
    precision: PrecisionSpec
    precision_from: str
    isl: float
    osl: float
    spread: float
    """Half width of the output lengths over their mean."""
    concurrency: int
    calls: int
    """Measured: arrived in the window."""
    calls_left_out: int
    """Completions before the window."""
    window_s: float
    ttft_s: Spread
    tpot_s: Spread
    itl_s: Spread
    latency_s: Spread
    """Of whole calls, back at the client."""
    calls_per_s: float
    output_tokens_per_s: float
    tokens_per_s: float
    """Prompt tokens of completed calls and output tokens."""
    output_tokens_per_s_per_device: float
    tokens_per_s_per_user: float | None
    """1 / mean TPOT: how quick an answer flows once it does."""
    queue_mean: float
    queue_max: float
    queue_s: float
    """Mean wait for the first step."""
    batch_mean: float
    """Sequences in a step, over the time in steps."""
    batch_max: int
    preemptions_per_call: float
    kv: KvUse
    bound: Bound
    mfu: float | None
    mbu: float | None
    watts_per_device: float
    """Mean, idle between steps included."""
    tdp_w: float
    j_per_output_token: float
    """Of the replica's devices alone: no hosts, switches, cooling."""
    assumed: tuple[Fact, ...]
    """Facts that the point rests on and nobody has published."""
    known_error: str
    notes: tuple[str, ...]
    reasons: dict[str, str]
    """Why a value is None."""
    scenario: ScenarioSpec


def predict(
    llm: str,
    device: str,
    *,
    isl: int,
    osl: int,
    concurrency: int,
    tp: int = 1,
    ep: int = 1,
    spread: float = 0.0,
    precision: str | None = None,
    calls: int | None = None,
    overrides: Sequence[str] = (),
    catalog: str | Path | None = None,
) -> Point:
    """Simulate one operating point of one LLM on one kind of device.

    Parameters
    ----------
    isl, osl
        Prompt and output tokens of every call.
    concurrency
        Calls at any time.
    tp, ep
        Devices of the replica, and groups of them that hold different experts.
    spread
        Half width of both lengths over their means: 0.1 draws them uniformly from
        0.9 to 1.1 of `isl` and `osl`.
    precision
        `fp8`, or ``weights=w4a16,compute=bf16,kv=fp8``; what is not named is BF16.
        None: see `operating_point.choose_precision`.
    calls
        To measure, rounded up to whole waves; as many as `closed_loop` says if not
        given.
    overrides
        Keys of the scenario, like ``serving.token_budget=2048``.
    catalog
        A file of facts over the shipped ones.

    Raises
    ------
    SpecError
        If a name is unknown, or a number or an override is no good.
    CapacityError
        If it does not fit, with the arithmetic.

    Examples
    --------
    >>> point = predict("llama_3_1_8b", "h100_sxm", isl=1024, osl=128, concurrency=4)
    >>> point.bound.word, point.tpot_s.mean < 0.02
    ('memory', True)
    """
    from factorysim.catalog import load_catalog
    from factorysim.run.prepare import prepare

    overlay = None if catalog is None else Path(catalog)
    ask = Ask(llm, device, tp, ep, isl, osl, concurrency, spread, precision)
    setting = set_up(ask, overrides, load_catalog(overlay), overlay)
    _, arrivals = stream_of(setting.scenario)
    _check_size("--calls", CALLS_LEAST if calls is None else calls, CALLS_MOST)
    _check_size("--concurrency", arrivals.concurrency, CONCURRENCY_MOST)
    prepared = prepare(setting.scenario)
    _check_room(prepared)
    settled = find_window(prepared, arrivals.concurrency, calls)
    steps, values = _measure(prepared, settled)
    return _point(prepared, setting, settled, steps, values)


def _check_size(option: str, number: int, most: int) -> None:
    """Refuse what would not end: every row is kept in memory."""
    if not 1 <= number <= most:
        expected = f"from 1 to {most:,}"
        raise SpecError(Fault(option, "", f"{number:,}", expected, "`factorysim run` takes more"))


def _check_room(prepared: Prepared) -> None:
    """Refuse calls that no empty replica could hold."""
    serve, kv = prepared.plan.serve[0], prepared.scenario.serving.kv
    tokens, blocks = _call_size(prepared.scenario)
    if blocks > serve.kv_blocks:
        raise CapacityError(
            Fault(
                f"{prepared.scenario.llms[serve.llm].llm} on {serve.devices_per_replica} x "
                f"{serve.device.id}",
                "isl + osl - 1",
                f"{tokens:,} tokens = {blocks:,} KV blocks of {kv.block_tokens} tokens",
                f"at most {serve.kv_blocks:,} blocks, which the weights leave room for",
                "shorten the calls, or more tp, fewer bits, another device",
            )
        )


def _call_size(scenario: ScenarioSpec) -> tuple[int, int]:
    """Tokens that a long call holds at its end, and their blocks; its last token is not kept."""
    calls = scenario.streams["calls"].calls
    assert calls is not None  # `stream_of` has looked
    longest = [
        length.mean * (1 + length.spread) if length.kind == "uniform" else length.mean
        for length in (calls.prompt_tokens, calls.output_tokens)
    ]
    tokens = round(sum(longest)) - 1
    return tokens, -(-tokens // scenario.serving.kv.block_tokens)


def _measure(prepared: Prepared, settled: Settled) -> tuple[Columns, dict[str, Value]]:
    """Run again to the horizon; give the steps with their joules, and every metric."""
    from factorysim.metrics.replication import replication_metrics
    from factorysim.run.activity import step_columns
    from factorysim.run.replication import check_audit
    from factorysim.store import MemorySink

    sink = MemorySink()
    closing = run_loop(prepared, sink, settled.horizon_s, None)
    check_audit(closing.audit, 0)
    steps = dict(sink.columns("steps"))
    steps |= step_columns(prepared.plan).compute(steps)
    tables = Tables(
        sink.columns("sessions"),
        sink.columns("calls"),
        sink.columns("tools"),
        [steps],
        sink.columns("gaps"),
        sink.columns("handoffs"),
        sink.columns("timeseries"),
        closing,
    )
    slos = {name: stream.slo for name, stream in prepared.scenario.streams.items()}
    found = replication_metrics(tables, settled.window, prepared.layout, slos)
    check_audit(found.audit, 0)
    values = {value.name: value for value in found.values if value.by == "all"}
    return steps, values | _of_calls(tables.calls, settled.window)


def _of_calls(calls: Columns, window: Window) -> dict[str, Value]:
    """Mean wait for a first step, and preemptions a call, of the measured calls."""
    mine = (calls["arrived_s"] >= window.start_s) & (calls["arrived_s"] < window.end_s)
    waits = calls["scheduled_s"][mine] - calls["queued_s"][mine]
    columns = {"wait_s": waits, "preemptions": calls["preemptions"][mine]}
    return {name: Value(name, float(column.mean())) for name, column in columns.items()}


def _point(
    prepared: Prepared,
    setting: Setting,
    settled: Settled,
    steps: Columns,
    values: dict[str, Value],
) -> Point:
    """Put together what the metrics and the steps say."""
    scenario, serve = prepared.scenario, prepared.plan.serve[0]
    stream, arrivals = stream_of(scenario)
    used = usage(steps, serve, settled.window)
    kv_tokens = len(serve.replicas) * serve.kv_blocks * scenario.serving.kv.block_tokens
    deployment, calls = scenario.deployments[serve.name], stream.calls
    assert calls is not None  # `stream_of` has looked
    devices = len(serve.replicas) * serve.devices_per_replica
    reasons: dict[str, str] = {}

    def read(name: str) -> float | None:
        value = values[name]
        if value.value is None:
            reasons[name] = value.reason
        return value.value if isinstance(value.value, float) else None

    def spread(name: str) -> Spread:
        return Spread(*(read(f"{name}.{stat}") for stat in Spread._fields))

    output_per_s = _count(values, "tokens.output_per_s")
    calls_per_s = _count(values, "calls.completed_per_s")
    window_s = settled.window.length_s
    device_s = devices * window_s
    joules = used.active_j + serve.power.idle_w * device_s
    tpot = spread("tpot_s")
    return Point(
        llm=setting.llm.id,
        device=serve.device.id,
        rack=setting.rack,
        racks=setting.racks,
        devices=devices,
        tp=deployment.parallel.tp,
        ep=deployment.parallel.ep,
        precision=scenario.llms[serve.llm].precision,
        precision_from=setting.precision_note,
        isl=calls.prompt_tokens.mean,
        osl=calls.output_tokens.mean,
        spread=0.0 if calls.output_tokens.kind == "fixed" else calls.output_tokens.spread,
        concurrency=arrivals.concurrency,
        calls=int(_count(values, "calls.arrived")),
        calls_left_out=settled.left_out,
        window_s=window_s,
        ttft_s=spread("ttft_s"),
        tpot_s=tpot,
        itl_s=spread("itl_s"),
        latency_s=spread("session_s"),
        calls_per_s=calls_per_s,
        output_tokens_per_s=output_per_s,
        tokens_per_s=output_per_s + calls_per_s * calls.prompt_tokens.mean,
        output_tokens_per_s_per_device=output_per_s / devices,
        tokens_per_s_per_user=None if tpot.mean is None else 1 / tpot.mean,
        queue_mean=_count(values, f"queue.{serve.pool}.mean"),
        queue_max=_count(values, f"queue.{serve.pool}.max"),
        queue_s=_count(values, "wait_s"),
        batch_mean=used.batch_mean,
        batch_max=used.batch_max,
        preemptions_per_call=_count(values, "preemptions"),
        kv=KvUse(
            serve.kv_blocks,
            scenario.serving.kv.block_tokens,
            serve.kv_blocks // _call_size(scenario)[1],
            used.kv_tokens_mean / kv_tokens,
            used.kv_tokens_max / kv_tokens,
        ),
        bound=used.bound,
        mfu=read(f"mfu.{serve.pool}"),
        mbu=read(f"mbu.{serve.pool}"),
        watts_per_device=joules / device_s,
        tdp_w=serve.device.tdp_w,
        j_per_output_token=joules / (output_per_s * window_s),
        assumed=tuple(assumed_facts(prepared, crosses=setting.crosses)),
        known_error=known_error(serve.device),
        notes=setting.notes + ((DRIFTS,) if settled.drifts else ()),
        reasons=reasons,
        scenario=scenario,
    )


def _count(values: dict[str, Value], name: str) -> float:
    """Read a metric that always has a number."""
    value = values[name].value
    assert isinstance(value, float), name
    return value


def as_json(point: Point) -> dict[str, Any]:
    """Give a point as what JSON holds; assumed facts with their bands."""
    told: dict[str, Any] = {
        key: value._asdict() if hasattr(value, "_asdict") else value
        for key, value in point._asdict().items()
        if key != "scenario"
    }
    told["bound"] |= {"by": point.bound.word}
    told["precision"] = point.precision.model_dump()
    told["assumed_count"] = len(point.assumed)
    keys = ("id", "value", "low", "high", "unit", "kind")
    told["assumed"] = [{key: getattr(fact, key) for key in keys} for fact in point.assumed]
    return told
