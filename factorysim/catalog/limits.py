"""Which numbers a user's facts may hold: those that physics can divide by and count with.

A test holds the shipped facts to the same limits, so that loading them checks nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from factorysim.catalog.trees import KeyPath


class Limit(NamedTuple):
    """What a number must be, and how to say so."""

    holds: Callable[[float], bool]
    expected: str
    cure: str


class Order(NamedTuple):
    """Two facts of a record, of which the first is at most the second."""

    smaller: str
    larger: str
    cure: str


_RATE = Limit(
    lambda value: value > 0,
    "a quantity above zero",
    "times are divided by it; leave out what is not there",
)
_COUNT = Limit(
    lambda value: value >= 1 and value == int(value),
    "a whole number, 1 or more",
    "it is counted; leave out what is not there",
)
_COUNT_OR_NONE = Limit(
    lambda value: value == int(value), "a whole number, 0 or more", "it is counted"
)
_EFFICIENCY = Limit(
    lambda value: 0 < value <= 1,
    "a share above 0 and at most 1",
    "what is reached of the peak on the data sheet: 0.8, or 80 %",
)
_SHARE = Limit(lambda value: value <= 1, "a share from 0 to 1", "such as 0.1, or 10 %")
_RATIO = Limit(
    lambda value: value > 0,
    "a ratio above zero",
    "times are divided by it; 1 is neither more nor less",
)
_PUE = Limit(
    lambda value: value >= 1, "a ratio of 1 or more", "all the power of a site over that of its IT"
)
_POWER = Limit(
    lambda value: value > 0, "a power above zero", "the draw at full load, from the data sheet"
)

_RATES = frozenset({"B", "B/s", "FLOP/s", "op/s", "Hz"})
_MAY_BE_NONE = frozenset(
    {
        *("dense_layers", "moe_layers", "window_layers", "mtp_layers"),
        *("mamba_layers", "linear_attention_layers", "shared_experts"),
        *("mamba_state_bytes_per_sequence", "linear_state_bytes_per_sequence", "flash_bytes"),
        "warm_pool",
        *("dpus", "bluefield4", "switch_trays", "ethernet_switches"),
    }
)
"""Last keys of facts that are sound at zero: what a record may have none of."""

_NO_LIMITS = frozenset({"facility", "claims", "calibration"})
"""Sections that nothing is computed with."""

_DEVICE = (
    Order("idle_power", "tdp", "a device draws less at rest than at full load"),
    Order("cores", "threads", "each core runs one thread or more"),
)
ORDERS: dict[str, tuple[Order, ...]] = {
    "accelerators": _DEVICE,
    "cpus": _DEVICE,
    "llms": (
        Order("active_params", "total_params", "a token passes through some of the weights"),
        Order("attention.kv_heads", "attention.heads", "query heads share those of the KV cache"),
        Order("attention.kv_layers", "layers", "they are some of the layers"),
        Order("attention.window_layers", "layers", "they are some of the layers"),
        Order("attention.sparse_indexer.layers", "layers", "they are some of the layers"),
        Order("attention.layers_ratio_4", "layers", "they are some of the layers"),
        Order("attention.layers_ratio_128", "layers", "they are some of the layers"),
        Order("ffn.dense_layers", "layers", "they are some of the layers"),
        Order("ffn.moe_layers", "layers", "they are some of the layers"),
        Order("ffn.experts_active", "ffn.experts", "a token chooses among the experts"),
    ),
}
"""Section -> pairs of facts of its records that are out of order the other way round."""


def limit(path: KeyPath, unit: str) -> Limit | None:
    """Tell what the number of a fact must be, beside finite and not negative.

    Examples
    --------
    >>> limit(("llms", "llama_3_1_8b", "layers"), "count").expected
    'a whole number, 1 or more'
    >>> limit(("network", "nic_400g", "power"), "W") is None
    True
    """
    section, last = path[0], path[-1]
    if section in _NO_LIMITS:
        return None
    none = last in _MAY_BE_NONE or "contents" in path
    if unit in _RATES:
        return None if none else _RATE
    if unit == "count" or (unit == "tok" and section == "llms"):
        return _COUNT_OR_NONE if none else _COUNT
    if unit == "ratio":
        return _of_ratio(path)
    return _POWER if last == "tdp" else None


def _of_ratio(path: KeyPath) -> Limit | None:
    if path[0] == "efficiency":
        return _RATIO if path[-1].endswith(("_ratio", "_exponent")) else _EFFICIENCY
    if path[0] == "rules":
        return _SHARE
    if path[0] == "sites":
        return _PUE if path[-1] == "pue" else None
    return _RATIO if {"core_speed", "smt_yield", "patches_per_token"} & set(path) else None
