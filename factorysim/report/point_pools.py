"""The pools of an operating point side by side, eighty columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.marked import printable
from factorysim.report.numbers import amount, digits, percent, seconds
from factorysim.report.terminal import mark, titled_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from factorysim.study.pool_point import PoolPoint
    from factorysim.study.predict import HandOffs, Point
    from factorysim.study.usage import Bound

BOUNDS = {
    "compute": "arithmetic",
    "memory": "memory",
    "link": "links",
    "overhead": "starts, host, the rest",
}
NONE = "-"


def pools_title(point: Point) -> str:
    """Name the devices of all pools."""
    parts = [f"{pool.devices} x {pool.device} ({pool.role})" for pool in point.pools]
    return " and ".join([", ".join(parts[:-1]), parts[-1]])


def pools_report(point: Point) -> list[RenderableType]:
    """Say what moves between pools, what each of them does, and which is fullest."""
    parts: list[RenderableType] = []
    if point.handoff is not None:
        parts += [_moved(point.handoff), ""]
    return [*parts, _table(point), "", mark("Fullest: ", _fullest(point), "")]


def bound_by(bound: Bound, memory: str | None) -> str:
    """Say what binds; of two memories, which."""
    return f"{BOUNDS[bound.word]}{of_memory(memory if bound.word == 'memory' else None)}"


def of_memory(memory: str | None) -> str:
    """Say which of two memories is meant."""
    return "" if memory is None else f" ({memory.upper()})"


def _fullest(point: Point) -> str:
    """Say which pool binds, how full which of its limits is, and what its steps wait for."""
    name, _, limit = point.bottleneck.partition(": ")
    words = printable(f"{name}, by the {limit}")
    for pool in point.pools:
        if pool.name == name and pool.saturation is not None and pool.bound is not None:
            words += f", {percent(pool.saturation)}; "
            words += f"its steps are bound by {bound_by(pool.bound, pool.memory)}"
    return words


def _moved(handoff: HandOffs) -> RenderableType:
    if not handoff.calls_per_s:
        return mark("Moved: ", "nothing: no call goes on from one pool to the other", "")
    when = {
        "none": "after the prompt is computed",
        "layers": "layer by layer while the prompt is computed",
    }[handoff.overlap]
    words = (
        f"{amount(handoff.moved_bytes_per_call, 'B')} of KV a call, "
        f"{amount(handoff.moved_bytes_per_s, 'B/s')} in all, {when}; the first token is made "
        f"by {handoff.first_token_from}"
    )
    return mark("Moved: ", words, "")


def _table(point: Point) -> Table:
    table = titled_table("Pools", ("", *(printable(pool.name) for pool in point.pools)))
    for column in table.columns[1:]:
        column.justify = "left"
        column.no_wrap = False
    rows = {
        "devices": [f"{pool.devices:,} x {pool.device}" for pool in point.pools],
        "in": [_racks(pool) for pool in point.pools],
        "layout": [_layout(pool) for pool in point.pools],
        "busy": [percent(pool.utilization) for pool in point.pools],
        "full": [NONE if pool.saturation is None else percent(pool.saturation)
                 for pool in point.pools],
        "bound by": [_bound(pool) for pool in point.pools],
        "batch": [f"{digits(pool.batch_mean)}, at most {pool.batch_max:,}" for pool in point.pools],
        "queue": [_queue(pool) for pool in point.pools],
        "KV blocks": [NONE if pool.kv is None else f"{pool.kv.blocks:,} a replica"
                      for pool in point.pools],
        "held": [_held(pool) for pool in point.pools],
        "calls that fit": [NONE if pool.kv is None else f"{pool.kv.sequences_that_fit:,}"
                            for pool in point.pools],
        "MFU, MBU": [f"{_share(pool.mfu)}, {_share(pool.mbu)}{of_memory(pool.memory)}"
                     for pool in point.pools],
        "power": [f"{amount(pool.watts_per_device, 'W')} of {amount(pool.tdp_w, 'W')}"
                  for pool in point.pools],
    }  # fmt: skip
    for name, cells in rows.items():
        table.add_row(name, *map(printable, cells))
    joules = amount(point.j_per_output_token, "J")
    table.add_row("per output token", f"{joules} in all", *[""] * (len(point.pools) - 1))
    if point.preemptions_per_call:
        times = f"{digits(point.preemptions_per_call)} times a call"
        table.add_row("preempted", times, *[""] * (len(point.pools) - 1))
    return table


def _racks(pool: PoolPoint) -> str:
    if pool.rack == pool.device:
        return f"{pool.racks:,} server{'s' * (pool.racks > 1)} of one"
    return f"{pool.racks:,} x {pool.rack}"


def _layout(pool: PoolPoint) -> str:
    widths = {"PP": pool.pp, "DP": pool.dp, "EP": pool.ep}
    sizes = f"TP {pool.tp}" + "".join(f", {key} {n}" for key, n in widths.items() if n > 1)
    stages = f", {pool.stages:,} stages" if pool.stages > 1 else ""
    return f"{pool.replicas:,} x ({sizes}{stages})"


def _bound(pool: PoolPoint) -> str:
    if pool.bound is None:
        return NONE
    share = getattr(pool.bound, pool.bound.word)
    return f"{percent(share)} {bound_by(pool.bound, pool.memory)}"


def _queue(pool: PoolPoint) -> str:
    if not pool.queue_max:
        return "none"
    wait = "" if pool.queue_s is None else f"; {seconds(pool.queue_s)}"
    return f"{digits(pool.queue_mean)}, at most {pool.queue_max:,.0f}{wait}"


def _held(pool: PoolPoint) -> str:
    if pool.kv is None:
        return NONE
    return f"{percent(pool.kv.share_mean)}, at most {percent(pool.kv.share_max)}"


def _share(value: float | None) -> str:
    return NONE if value is None else percent(value)
