"""Which number a row states: a quantity, its statistic, and per what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from factorysim.study.measured.rows import NotUnderstoodError

if TYPE_CHECKING:
    from factorysim.catalog.residuals import Quantity as Scored
    from factorysim.study.measured.rows import Row

Quantity: TypeAlias = Literal[
    "ttft",
    "tpot",
    "itl",
    "latency",
    "throughput",
    "tokens_per_s_per_user",
    "power",
    "energy",
    "distance",
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
    """As the shipped table would spell it: the unit of a time comes last."""
    quantity: Quantity
    statistic: str = "mean"
    """`mean`, `median` or a quantile like `p99`, over calls; of a distance, that of which times."""
    counts: Literal["output", "input", "total", "calls"] = "output"
    """Tokens that a throughput counts, or whole calls."""
    per: Per = "all"
    per_node: int | None = None
    wall: bool = False
    """Of a power: the whole server, not its devices alone."""


_STATISTIC = r"(?:mean|avg|median|p\d{1,2}(?:\.\d+)?)"
_TIMES: dict[str, Quantity] = {
    "ttft": "ttft", "time_to_first_token": "ttft",
    "tpot": "tpot", "time_per_output_token": "tpot",
    "itl": "itl", "inter_token_latency": "itl",
    "e2e": "latency", "e2el": "latency", "e2e_latency": "latency", "latency": "latency",
    "request_latency": "latency",
}  # fmt: skip
"""Names of times, vLLM's and AIPerf's among them."""
_TIME = re.compile(
    rf"(?:({_STATISTIC})_)?({'|'.join(_TIMES)})(?:_({_STATISTIC}))?_(ms|s)(?:_({_STATISTIC}))?"
)
_RATE = re.compile(
    r"(output|input|total)_(?:tokens_per_s|token_throughput|throughput)"
    r"(?:_(total|per_gpu|per_device|per_node(\d{1,5})))?"
)
_CALLS = re.compile(
    r"(?:requests_per_s|request_throughput)(?:_(total|per_gpu|per_device|per_node(\d{1,5})))?"
)
_COUNTS_NOTHING = re.compile(r"(tokens_per_s|(token_)?throughput)(_|$)")
_WHOLE = {"tok": "tokens", "req": "requests"}
_PER_USER = ("tok_s_user", "tokens_per_s_per_user", "output_tokens_per_s_per_user")

_WALL = re.compile(
    r"\bat (?:the )?wall\b|\bwall[ -](?:power|plug|socket|outlet)\b|\bnode power\b"
    r"|(?:^|[;,.]\s*)wall\s*(?:$|[;,.])"
)
"""A power measured before the server's supplies; a wall clock measures none."""
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
    name = _plain(row.metric)
    if rate := _RATE.fullmatch(name):
        return _rate(name, rate[1], rate[2], rate[3])
    if calls := _CALLS.fullmatch(name):
        return _rate(name, "calls", calls[1], calls[2])
    if time := _TIME.fullmatch(name):
        return _time(row, time)
    if name in _PER_USER:
        return Metric(name, "tokens_per_s_per_user")
    if name in ("power_w", "power_w_per_gpu"):
        one: Per = "all" if name == "power_w" else "device"
        return Metric(name, "power", per=one, wall=bool(_WALL.search(row.notes.lower())))
    if name in ("joules_per_token", "j_per_output_token"):
        return Metric(name, "energy")
    hint = ": tokens of outputs, of inputs, or in total?" if _COUNTS_NOTHING.match(name) else ""
    raise NotUnderstoodError(f'metric "{row.metric}"{hint}')


def _plain(text: str) -> str:
    """Spell a name as the table does.

    Examples
    --------
    >>> _plain("TTFT (ms)"), _plain("output tok/s")
    ('ttft_ms', 'output_tokens_per_s')
    """
    low = re.sub(r"\b(tok|tokens|req|requests)/s(ec)?\b", r"\1_per_s", text.lower())
    low = re.sub(r"\b(tok|req)_per_s", lambda word: f"{_WHOLE[word[1]]}_per_s", low)
    low = re.sub(r"/(user|gpu|device)\b", r"_per_\1", low)
    return re.sub(r"[^a-z0-9.]+", "_", low).strip("_")


def _rate(name: str, counts: str, what: str | None, node: str | None) -> Metric:
    per: Per = "node" if node else "all" if what in (None, "total") else "device"
    return Metric(name, "throughput", "mean", counts, per, int(node) if node else None)  # type: ignore[arg-type]


def _time(row: Row, told: re.Match[str]) -> Metric:
    quantity = _TIMES[told[2]]
    stated = [one for one in (told[1], told[3], told[5]) if one]
    if len(stated) > 1:
        raise NotUnderstoodError(f'metric "{row.metric}" states two statistics')
    statistic = stated[0] if stated else _statistic(row)
    statistic = "mean" if statistic == "avg" else statistic
    if quantity == "itl" and statistic == "p50":
        statistic = "median"
    if quantity == "itl" and statistic not in ("mean", "median"):
        raise NotUnderstoodError(
            f'metric "{row.metric}": of single gaps only mean and median are predicted'
        )
    middle = f"_{stated[0]}" if stated else ""
    return Metric(f"{told[2]}{middle}_{told[4]}", quantity, statistic)


def quantity_of(quantity: Quantity, wall: bool) -> Scored | None:
    """Name under which a number's residual counts; power of servers is not that of devices.

    None: it has no residual, since it is a distance itself.
    """
    return "wall_power" if quantity == "power" and wall else _SCORED.get(quantity)


def _statistic(row: Row) -> str:
    notes = row.notes.lower()
    if _MEANS_CALLED_MEDIANS in row.source_title.lower():
        return "mean"
    return "median" if "median" in notes else "mean"
