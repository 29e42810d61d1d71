"""Which number a row states: a quantity, its statistic, and per what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from factorysim.study.measured.rows import NotUnderstoodError

if TYPE_CHECKING:
    from factorysim.catalog.residuals import Quantity as Scored
    from factorysim.study.measured.rows import Row

Quantity: TypeAlias = Literal[
    "ttft", "tpot", "itl", "latency", "throughput", "tokens_per_s_per_user", "power", "energy"
]
OF_TIME: Quantity = "tokens_per_s_per_user"
"""A rate that is scored as the time that it is the inverse of."""
_SCORED: dict[Quantity, Scored] = {
    "ttft": "ttft",
    "tpot": "tpot",
    "itl": "tpot",
    OF_TIME: "tpot",
    "latency": "latency",
    "throughput": "throughput",
    "power": "power",
    "energy": "energy",
}
Per: TypeAlias = Literal["all", "device", "node"]


class Metric(NamedTuple):
    """A number of an experiment."""

    name: str
    """As the table has it."""
    quantity: Quantity
    statistic: str = "mean"
    """`mean`, `median` or a quantile like `p99`, over calls."""
    counts: Literal["output", "input", "total"] = "output"
    """Tokens that a throughput counts."""
    per: Per = "all"
    per_node: int | None = None
    wall: bool = False
    """Of a power: the whole server, not its devices alone."""


_RATE = re.compile(r"(output|input|total)_tokens_per_s_(total|per_gpu|per_device|per_node(\d+))")
_TIME = re.compile(r"(ttft|tpot|itl|e2e|latency)(?:_(mean|median|p\d+))?_(ms|s)")

_MEANS_CALLED_MEDIANS = "aiconfigurator"
"""Source whose medians of TTFT behave as means: the same point is 415 ms there and 136 ms in
the benchmark's own article, where a simulated mean is 447 and a median 113."""


def read_metric(row: Row) -> Metric:
    """Read the name of a metric, and its statistic from the notes.

    Raises
    ------
    NotUnderstoodError
        If the name is none of those known.
    """
    name = row.metric
    if rate := _RATE.fullmatch(name):
        per: Per = "node"
        if rate[2] == "total":
            per = "all"
        elif rate[3] is None:
            per = "device"
        node = int(rate[3]) if rate[3] else None
        return Metric(name, "throughput", counts=rate[1], per=per, per_node=node)  # type: ignore[arg-type]
    if time := _TIME.fullmatch(name):
        quantity = "latency" if time[1] in ("e2e", "latency") else time[1]
        return Metric(name, quantity, time[2] or _statistic(row))  # type: ignore[arg-type]
    if name == "tok_s_user":
        return Metric(name, "tokens_per_s_per_user")
    if name in ("power_w", "power_w_per_gpu"):
        one: Per = "all" if name == "power_w" else "device"
        return Metric(name, "power", per=one, wall="wall" in row.notes.lower())
    if name in ("joules_per_token", "j_per_output_token"):
        return Metric(name, "energy")
    raise NotUnderstoodError(f'metric "{name}"')


def quantity_of(quantity: Quantity, wall: bool) -> Scored:
    """Name under which a number's residual counts; power of servers is not that of devices."""
    return "wall_power" if quantity == "power" and wall else _SCORED[quantity]


def _statistic(row: Row) -> str:
    notes = row.notes.lower()
    if _MEANS_CALLED_MEDIANS in row.source_title.lower():
        return "mean"
    return "median" if "median" in notes else "mean"
