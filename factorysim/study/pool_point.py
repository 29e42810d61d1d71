"""What one pool of an operating point does: devices, batch, queue, KV cache, what binds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from factorysim.study.pools import SPLITS
from factorysim.study.usage import Bound, Reads, Usage, any_inside, steps_of, usage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.catalog import Device
    from factorysim.graph.plan import ServePlan
    from factorysim.metrics.inputs import Value, Window
    from factorysim.run.prepare import Prepared
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.store import Columns
    from factorysim.study.standing import Standing

    Floats = npt.NDArray[np.float64]


class KvUse(NamedTuple):
    """The KV cache of a replica, and how much of it calls hold."""

    blocks: int
    block_tokens: int
    sequences_that_fit: int
    """Calls at their full length, at once; prompts where they do not go on."""
    share_mean: float
    """Of its tokens, over the time in steps."""
    share_max: float


class PoolPoint(NamedTuple):
    """One pool: the replicas of a deployment, or the other side of a split."""

    name: str
    role: str
    """`serve`, `prefill`, `decode`; `ffn` or `draft` of a split's other side."""
    device: str
    rack: str
    racks: int
    replicas: int
    devices: int
    """Of all replicas."""
    tp: int
    ep: int
    pp: int
    dp: int
    stages: int
    """Layouts of `tp` that follow each other because of what LPUs hold; 1 elsewhere."""
    utilization: float
    """Share of the time in steps, of all replicas."""
    saturation: float | None
    """Mean fullness of the fullest of its limits (sequences, KV blocks, tokens of a step), 1 while
    calls wait; None of a split's other side, which has none of its own."""
    bound: Bound | None
    """None where no step was made."""
    batch_mean: float
    """Sequences in a step, over the time in steps."""
    batch_max: int
    queue_mean: float
    """Calls that wait: for a first step; where they only decode, for blocks."""
    queue_max: float
    queue_s: float | None
    """Mean wait there; None of a split's other side, where nobody waits."""
    kv: KvUse | None
    """None of a split's other side: what a draft LLM holds goes with its LLM's, block for block."""
    mfu: float | None
    mbu: float | None
    """Of `memory`, where that is told; else of the device's own."""
    memory: Literal["sram", "dram"] | None
    """Of LPUs whose KV lies in the DRAM behind them: which of the two steps spend longer on."""
    watts_per_device: float
    """Mean, idle between steps included."""
    tdp_w: float


class Measured(NamedTuple):
    """What a run left behind."""

    steps: Columns
    """Runs of steps, with their joules."""
    calls: Columns
    handoffs: Columns
    values: dict[str, Value]
    window: Window


def pool_points(
    prepared: Prepared, standings: dict[str, Standing], measured: Measured
) -> tuple[PoolPoint, ...]:
    """Sum up every pool of a plan, in the order of its deployments."""
    points: list[PoolPoint] = []
    for index, serve in enumerate(prepared.plan.serve):
        steps = steps_of(measured.steps, prepared.plan, index)
        points.append(_point(prepared, serve, steps, standings, measured, of_partner=False))
        if serve.partner is not None:
            points.append(_point(prepared, serve, steps, standings, measured, of_partner=True))
    return tuple(points)


def call_size(scenario: ScenarioSpec, serve: ServePlan) -> tuple[int, int]:
    """Tokens that a long call holds at its end on a deployment, and their blocks.

    Its last token is not kept; drafts of its last verify are held. Where prompts go on to
    another pool they alone are held.
    """
    from factorysim.physics.speculation import verified_tokens

    calls = scenario.streams["calls"].calls
    assert calls is not None  # `stream_of` has looked
    lengths = (calls.prompt_tokens, calls.output_tokens)
    prompt, output = (
        length.mean * (1 + length.spread) if length.kind == "uniform" else length.mean
        for length in lengths
    )
    if serve.role == "prefill":
        output = 1
    tokens = round(prompt + output) - 1 + verified_tokens(serve.law) - 1
    return tokens, -(-tokens // scenario.serving.kv.block_tokens)


def _point(
    prepared: Prepared,
    serve: ServePlan,
    steps: Columns,
    standings: dict[str, Standing],
    measured: Measured,
    *,
    of_partner: bool,
) -> PoolPoint:
    spec = prepared.scenario.deployments[serve.name]
    values, window = measured.values, measured.window
    pool, device, power, each = serve.pool, serve.device, serve.power, serve.devices_per_replica
    parallel, role, sram = spec.parallel, str(serve.role), spec.sram
    if of_partner:
        assert serve.partner is not None  # whose side is asked for
        assert spec.split is not None
        other = serve.partner
        pool, device, power, each = other.pool, other.device, other.power, other.devices_per_replica
        parallel, role = spec.split.parallel, SPLITS[spec.split.kind]
        sram = spec.split.sram if spec.split.kind == "draft" else None
    used = None
    if any_inside(steps, window):
        in_dram = sram is not None and sram.kv == "dram"
        used = usage(steps, serve, window, of_partner=of_partner, in_dram=in_dram)
    devices = each * len(serve.replicas)
    joules = 0.0 if used is None else used.active_j
    standing = standings[pool]
    memory, mbu = None, _share(values, f"mbu.{pool}")
    if used is not None and used.reads is not None:
        memory, mbu = _of_binding(used.reads, device, devices * window.length_s)
    return PoolPoint(
        name=pool,
        role=role,
        device=device.id,
        rack=standing.rack,
        racks=standing.number,
        replicas=len(serve.replicas),
        devices=devices,
        tp=parallel.tp,
        ep=parallel.ep,
        pp=parallel.pp,
        dp=parallel.dp,
        stages=each // parallel.devices,
        utilization=_number(values, f"utilization.{pool}"),
        saturation=None if of_partner else _share(values, f"saturation.{pool}"),
        bound=None if used is None else used.bound,
        batch_mean=0.0 if used is None else used.batch_mean,
        batch_max=0 if used is None else used.batch_max,
        queue_mean=_number(values, f"queue.{pool}.mean"),
        queue_max=_number(values, f"queue.{pool}.max"),
        queue_s=None if of_partner else _wait_s(serve, measured),
        kv=None if of_partner else _kv_use(prepared.scenario, serve, steps, used, window),
        mfu=_share(values, f"mfu.{pool}"),
        mbu=mbu,
        memory=memory,
        watts_per_device=power.idle_w + joules / (devices * window.length_s),
        tdp_w=device.tdp_w,
    )


def _of_binding(
    reads: Reads, device: Device, device_s: float
) -> tuple[Literal["sram", "dram"], float]:
    """Name the memory of LPUs that steps spend longer on, and the share of its data sheet."""
    assert device.sram is not None  # whose DRAM holds KV
    if reads.memory == "dram":
        return "dram", reads.dram_bytes / (device.sram.dram_bandwidth * device_s)
    return "sram", reads.sram_bytes / (device.memory_bandwidth * device_s)


def _wait_s(serve: ServePlan, measured: Measured) -> float | None:
    """Mean wait of the calls that came in the window: for a first step, or for blocks."""
    rows, since, until = measured.calls, "queued_s", "scheduled_s"
    if serve.role != "serve":
        rows = measured.handoffs
        if serve.role == "decode":
            since, until = "asked_s", "reserved_s"
    window = measured.window
    mine = (rows[since] >= window.start_s) & (rows[since] < window.end_s)
    waits = (rows[until] - rows[since])[mine]
    return float(waits.mean()) if len(waits) else None


def _kv_use(
    scenario: ScenarioSpec, serve: ServePlan, steps: Columns, used: Usage | None, window: Window
) -> KvUse:
    size = scenario.serving.kv.block_tokens
    mean, most = (0.0, 0.0) if used is None else _kv_shares(steps, used, serve, size, window)
    fit = serve.ranks * (serve.kv_blocks // serve.ranks // call_size(scenario, serve)[1])
    return KvUse(serve.kv_blocks, size, fit, mean, most)


def _kv_shares(
    steps: Columns, used: Usage, serve: ServePlan, block_tokens: int, window: Window
) -> tuple[float, float]:
    """Share of a replica's KV cache that is held, mean over the steps and most."""
    if serve.stages > 1:  # a step is of one micro-batch, and its blocks are those of all
        began = steps["started_s"]
        blocks = steps["kv_blocks"][(began >= window.start_s) & (began < window.end_s)]
        return float(blocks.mean()) / serve.kv_blocks, float(blocks.max()) / serve.kv_blocks
    tokens = serve.kv_blocks * block_tokens
    return used.kv_tokens_mean / tokens, used.kv_tokens_max / tokens


def _number(values: dict[str, Value], name: str) -> float:
    """Read a metric that always has a number."""
    value = values[name].value
    assert isinstance(value, float), name
    return value


def _share(values: dict[str, Value], name: str) -> float | None:
    value = values[name].value
    return value if isinstance(value, float) else None
