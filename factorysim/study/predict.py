"""One operating point: so many calls at any time, through the simulator itself.

On one replica, or on a pool that computes prompts and another that makes tokens.

`closed_loop` tells what is measured, and when. With lengths all alike nothing is drawn,
and one replication says all. Then calls whose prompts once met in a step keep
meeting, and TTFT is that of a burst; with lengths that vary (`spread`) they mix, as
in benchmarks that draw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from factorysim.errors import CapacityError, Fault, SpecError
from factorysim.metrics.inputs import Tables, Value, Window
from factorysim.run.model_error import model_errors
from factorysim.spec.serving import DisaggregationSpec
from factorysim.study.closed_loop import CALLS_LEAST, find_window, run_loop
from factorysim.study.operating_point import Ask, set_up, stream_of
from factorysim.study.pool_point import KvUse, Measured, PoolPoint, call_size, pool_points
from factorysim.study.pools import Wanted
from factorysim.study.reliance import assumed_facts
from factorysim.study.usage import Bound

if TYPE_CHECKING:
    from collections.abc import Callable

    from factorysim.catalog import Fact
    from factorysim.catalog.residuals import Quantity
    from factorysim.run.prepare import Prepared
    from factorysim.spec.llm import PrecisionSpec
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.store import Columns
    from factorysim.study.closed_loop import Settled
    from factorysim.study.operating_point import Setting

CALLS_MOST, CONCURRENCY_MOST = 200_000, 20_000
_QUANTITIES: dict[str, Quantity] = {
    "ttft_s": "ttft",
    "tpot_s": "tpot",
    "output_tokens_per_s": "throughput",
    "watts_per_device": "power",
    "j_per_output_token": "energy",
}
"""Field of a point, and the quantity whose residuals bound it."""
DRIFTS = "no steady state was found in the first pass: TTFT may still drift; --calls measures more"


class Spread(NamedTuple):
    """Seconds of a latency; None where too few were seen, or there is none."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class HandOffs(NamedTuple):
    """Calls on their way from the pool that computed their prompt to the one that decodes."""

    time_s: Spread
    """Prompt computed until it decodes."""
    calls_per_s: float
    moved_bytes_per_call: float
    """Of KV; what the destination held already did not move."""
    moved_bytes_per_s: float
    overlap: str
    first_token_from: str


class Bounded(NamedTuple):
    """Central 80 % of what would be measured, by the model's own error."""

    low: float
    high: float
    rows: int
    """Measured, from whose residuals the band is."""
    sources: int
    load: str
    """Theirs; `all`: too few rows had the load of this point."""


class ModelError(NamedTuple):
    """Bands of a point, by the model's own error: not of its facts, and not of chance."""

    title: str
    """`seen`, or what no fit has seen: a generation, a family of LLMs."""
    reason: str | None
    """Why there are no bands."""
    never_compared: tuple[str, ...]
    """What the point has, and no row that was compared."""
    bands: dict[str, Bounded]
    """Field of the point, its mean where it has several -> bounds."""


class Point(NamedTuple):
    """What an operating point does. Rates are of output tokens unless they say else.

    Of several pools, device, layout, queue, batch, KV, bound, MFU and MBU are those of the one
    that makes the tokens; `pools` has each. `devices` and all rates are of all.
    """

    llm: str
    device: str
    rack: str
    racks: int
    devices: int
    tp: int
    ep: int
    pp: int
    dp: int
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
    """Mean wait for the first step, wherever that is."""
    batch_mean: float
    """Sequences in a step, over the time in steps."""
    batch_max: int
    preemptions_per_call: float
    kv: KvUse
    bound: Bound | None
    """None where no step was made."""
    mfu: float | None
    mbu: float | None
    memory: str | None
    """Of LPUs whose KV lies in DRAM, the memory of `mbu`; see `PoolPoint`."""
    watts_per_device: float
    """Mean, idle between steps included."""
    tdp_w: float
    """Mean over the devices."""
    j_per_output_token: float
    """Of the devices alone: no hosts, switches, cooling."""
    pools: tuple[PoolPoint, ...]
    """In the order that a call meets them."""
    handoff: HandOffs | None
    """None where one pool does both."""
    bottleneck: str
    """The pool of the highest saturation, and which of its limits that is."""
    assumed: tuple[Fact, ...]
    """Facts that the point rests on and nobody has published."""
    model_error: ModelError
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
    pp: int = 1,
    dp: int = 1,
    spread: float = 0.0,
    precision: str | None = None,
    draft: str | None = None,
    draft_tokens: int | None = None,
    acceptance: float | None = None,
    prefill_pool: str | None = None,
    decode_pool: str | None = None,
    split: str | None = None,
    first_token_from: str | None = None,
    overlap: str | None = None,
    calls: int | None = None,
    overrides: Sequence[str] = (),
    catalog: str | Path | None = None,
) -> Point:
    """Simulate one operating point of one LLM, on one replica or on pools of replicas.

    Parameters
    ----------
    isl, osl
        Prompt and output tokens of every call.
    concurrency
        Calls at any time.
    tp, pp, dp
        Devices of a stage or a rank, stages, and ranks; one replica takes their product.
    ep
        Groups of devices that hold different experts.
    spread
        Half width of both lengths over their means: 0.1 draws them uniformly from
        0.9 to 1.1 of `isl` and `osl`.
    precision
        `fp8`, or ``weights=w4a16,compute=bf16,kv=fp8``; what is not named is BF16.
        None: see `operating_point.choose_precision`.
    draft, draft_tokens, acceptance
        Who drafts (an LLM of the catalog, `mtp` or `ngram`), how many tokens before each
        verify, and the probability that one is accepted if those before it were. None of
        them: no speculation.
    prefill_pool, decode_pool
        Replicas that compute prompts, and others that make tokens, like ``3xtp4,ep2`` on
        `device` or ``1xtp8@h200_sxm``; both or neither.
    split
        Like ``afd=tp64,ep64@groq3_lpu``: the FFN and the experts of the replicas that make
        tokens on LPUs, as many as hold them; ``draft=tp8@groq3_lpu``: the LLM that drafts.
    first_token_from, overlap
        Of `serving.disaggregation`: ``prefill`` or ``decode``; ``none`` or ``layers``.
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
    ask = Ask(llm, device, tp, ep, isl, osl, concurrency, spread, precision, pp=pp, dp=dp)
    ask = ask._replace(draft=draft, draft_tokens=draft_tokens, acceptance=acceptance)
    ask = ask._replace(wanted=Wanted(prefill_pool, decode_pool, split, first_token_from, overlap))
    setting = set_up(ask, overrides, load_catalog(overlay), overlay)
    _, arrivals = stream_of(setting.scenario)
    _check_size("--calls", CALLS_LEAST if calls is None else calls, CALLS_MOST)
    _check_size("--concurrency", arrivals.concurrency, CONCURRENCY_MOST)
    prepared = prepare(setting.scenario)
    _check_room(prepared)
    settled = find_window(prepared, arrivals.concurrency, calls)
    return _point(prepared, setting, settled, _measure(prepared, settled))


def _check_size(option: str, number: int, most: int) -> None:
    """Refuse what would not end: every row is kept in memory."""
    if not 1 <= number <= most:
        expected = f"from 1 to {most:,}"
        raise SpecError(Fault(option, "", f"{number:,}", expected, "`factorysim run` takes more"))


def _check_room(prepared: Prepared) -> None:
    """Refuse calls that no empty replica could hold."""
    faults: list[Fault] = []
    for serve in prepared.plan.serve:
        tokens, blocks = call_size(prepared.scenario, serve)
        room = serve.kv_blocks // serve.ranks
        if blocks <= room:
            continue
        size = prepared.scenario.serving.kv.block_tokens
        of_role = "" if serve.role == "serve" else f" ({serve.role})"
        faults.append(
            Fault(
                f"{prepared.scenario.llms[serve.llm].llm} on {serve.devices_per_replica} x "
                f"{serve.device.id}{of_role}",
                "isl" if serve.role == "prefill" else "isl + osl - 1",
                f"{tokens:,} tokens = {blocks:,} KV blocks of {size} tokens",
                f"at most {room:,} blocks, which the weights leave "
                "room for" + (" on a rank" if serve.ranks > 1 else ""),
                "shorten the calls, or more tp, fewer bits, another device",
            )
        )
    if faults:
        raise CapacityError(*faults)


def _measure(prepared: Prepared, settled: Settled) -> Measured:
    """Run again to the horizon; give the steps with their joules, and every metric."""
    from factorysim.metrics.replication import replication_metrics
    from factorysim.run.activity import step_columns
    from factorysim.run.replication import check_audit
    from factorysim.store import MemorySink

    sink = MemorySink()
    closing = run_loop(prepared, sink, settled.horizon_s, None)
    check_audit(closing.audit, 0)
    steps = dict(sink.columns("steps"))
    derive = step_columns(prepared.plan).compute
    steps |= derive(steps)
    tables = Tables(
        sink.columns("sessions"),
        sink.columns("calls"),
        sink.columns("tools"),
        [steps],
        sink.columns("gaps"),
        sink.columns("handoffs"),
        sink.columns("timeseries"),
        closing,
        derive,
    )
    slos = {name: stream.slo for name, stream in prepared.scenario.streams.items()}
    found = replication_metrics(tables, settled.window, prepared.layout, slos)
    check_audit(found.audit, 0)
    values = {value.name: value for value in found.values if value.by == "all"}
    values |= _of_calls(tables.calls, settled.window)
    return Measured(steps, tables.calls, tables.handoffs, values, settled.window)


def _of_calls(calls: Columns, window: Window) -> dict[str, Value]:
    """Mean wait for a first step, and preemptions a call, of the measured calls."""
    mine = (calls["arrived_s"] >= window.start_s) & (calls["arrived_s"] < window.end_s)
    waits = calls["scheduled_s"][mine] - calls["queued_s"][mine]
    columns = {"wait_s": waits, "preemptions": calls["preemptions"][mine]}
    return {name: Value(name, float(column.mean())) for name, column in columns.items()}


def _point(prepared: Prepared, setting: Setting, settled: Settled, measured: Measured) -> Point:
    """Put together what the metrics and the pools say."""
    scenario, values = prepared.scenario, measured.values
    stream, arrivals = stream_of(scenario)
    pools = pool_points(prepared, setting.standings, measured)
    serve = next(one for one in prepared.plan.serve if one.role != "prefill")
    main = next(one for one in pools if one.name == serve.pool)
    assert main.kv is not None  # only the other side of a split holds none
    calls = stream.calls
    assert calls is not None  # `stream_of` has looked
    devices = sum(one.devices for one in pools)
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
    watts = sum(one.watts_per_device * one.devices for one in pools)
    tpot = spread("tpot_s")
    return Point(
        llm=setting.llm.id,
        device=main.device,
        rack=main.rack,
        racks=main.racks,
        devices=devices,
        tp=main.tp,
        ep=main.ep,
        pp=main.pp,
        dp=main.dp,
        precision=scenario.llms[serve.llm].precision,
        precision_from=setting.precision_note,
        isl=calls.prompt_tokens.mean,
        osl=calls.output_tokens.mean,
        spread=0.0 if calls.output_tokens.kind == "fixed" else calls.output_tokens.spread,
        concurrency=arrivals.concurrency,
        calls=int(_count(values, "calls.arrived")),
        calls_left_out=settled.left_out,
        window_s=settled.window.length_s,
        ttft_s=spread("ttft_s"),
        tpot_s=tpot,
        itl_s=spread("itl_s"),
        latency_s=spread("session_s"),
        calls_per_s=calls_per_s,
        output_tokens_per_s=output_per_s,
        tokens_per_s=output_per_s + calls_per_s * calls.prompt_tokens.mean,
        output_tokens_per_s_per_device=output_per_s / devices,
        tokens_per_s_per_user=None if tpot.mean is None else 1 / tpot.mean,
        queue_mean=main.queue_mean,
        queue_max=main.queue_max,
        queue_s=_count(values, "wait_s"),
        batch_mean=main.batch_mean,
        batch_max=main.batch_max,
        preemptions_per_call=_count(values, "preemptions"),
        kv=main.kv,
        bound=main.bound,
        mfu=read(f"mfu.{main.name}"),
        mbu=read(f"mbu.{main.name}") if main.memory is None else main.mbu,
        memory=main.memory,
        watts_per_device=watts / devices,
        tdp_w=sum(one.tdp_w * one.devices for one in pools) / devices,
        j_per_output_token=watts / output_per_s,
        pools=pools,
        handoff=_handoffs(scenario, measured, spread) if len(prepared.plan.serve) > 1 else None,
        bottleneck=str(values["bottleneck"].value),
        assumed=tuple(assumed_facts(prepared, crosses=setting.crosses)),
        model_error=_model_error(
            prepared,
            {
                "ttft_s": values["ttft_s.mean"].value,
                "tpot_s": tpot.mean,
                "output_tokens_per_s": output_per_s,
                "watts_per_device": watts / devices,
                "j_per_output_token": watts / output_per_s,
            },
        ),
        notes=_notes(prepared, setting, settled),
        reasons=reasons,
        scenario=scenario,
    )


def _handoffs(
    scenario: ScenarioSpec, measured: Measured, spread: Callable[[str], Spread]
) -> HandOffs:
    """Sum up the hand-offs whose KV landed in the window."""
    rows, window = measured.handoffs, measured.window
    landed = (rows["landed_s"] >= window.start_s) & (rows["landed_s"] < window.end_s)
    moved, count = float(rows["moved_bytes"][landed].sum()), int(landed.sum())
    told = scenario.serving.disaggregation or DisaggregationSpec()
    return HandOffs(
        time_s=spread("handoff_s"),
        calls_per_s=count / window.length_s,
        moved_bytes_per_call=moved / count if count else 0.0,
        moved_bytes_per_s=moved / window.length_s,
        overlap=told.overlap,
        first_token_from=told.first_token_from,
    )


def _model_error(prepared: Prepared, got: dict[str, float | str | None]) -> ModelError:
    """Bound what would be measured, where the residuals of a closed loop tell."""
    errors = model_errors(prepared)
    bands: dict[str, Bounded] = {}
    for name, value in got.items():
        band = errors.band(_QUANTITIES[name], "closed")
        if band is not None and isinstance(value, float):
            bands[name] = Bounded(*band.around(value), band.rows, band.sources, band.load)
    return ModelError(errors.title, errors.reason or None, errors.never_compared, bands)


def _notes(prepared: Prepared, setting: Setting, settled: Settled) -> tuple[str, ...]:
    """Tell of racks, of links of splits that nobody has published, and of the steady state."""
    names = tuple(f"{serve.name}: " for serve in prepared.plan.serve)
    links = tuple(note for note in prepared.plan.notes if note.startswith(names))
    return setting.notes + links + ((DRIFTS,) if settled.drifts else ())


def _count(values: dict[str, Value], name: str) -> float:
    """Read a metric that always has a number."""
    value = values[name].value
    assert isinstance(value, float), name
    return value


def as_json(point: Point) -> dict[str, Any]:
    """Give a point as what JSON holds; assumed facts with their bands."""
    told: dict[str, Any] = {
        key: _plain(value) for key, value in point._asdict().items() if key != "scenario"
    }
    told["precision"] = point.precision.model_dump()
    told["assumed_count"] = len(point.assumed)
    keys = ("id", "value", "low", "high", "unit", "kind")
    told["assumed"] = [{key: getattr(fact, key) for key in keys} for fact in point.assumed]
    return told


def _plain(value: object) -> object:
    """Turn records into objects by field, what bounds with its name; all else stays."""
    if isinstance(value, Bound):
        return value._asdict() | {"by": value.word}
    if isinstance(value, ModelError):
        bands = {name: band._asdict() for name, band in value.bands.items()}
        told = {"class": value.title, **value._asdict(), "bands": bands}
        return {key: inner for key, inner in told.items() if key != "title"}
    if isinstance(value, Spread | KvUse | HandOffs | PoolPoint):
        return {key: _plain(inner) for key, inner in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in cast("tuple[object, ...]", value)]
    return value
