"""The closed table of units: what a user may write, in SI.

A quantity in a file is ``number unit``. Inside the program everything is SI:
s, B, FLOP, W, J, tok, and USD or EUR as written. ``GB`` is 1e9 bytes, ``GiB``
2**30; ``Gb/s`` counts bits, ``GB/s`` bytes, and both end as bytes per second.
"""

from __future__ import annotations

import math
import re
from typing import Literal

Dimension = Literal[
    "bytes",
    "bytes_per_s",
    "flop_per_s",
    "seconds",
    "watts",
    "joules",
    "tokens",
    "tokens_per_s",
    "op_per_s",
    "hertz",
    "celsius",
    "per_s",
    "ratio",
    "count",
    "g_per_kwh",
    "money",
    "money_per_h",
    "money_per_gpu_h",
    "money_per_w",
    "money_per_kwh",
    "money_per_mtok",
]

_DECIMAL = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_CURRENCIES = ("USD", "EUR")

_BYTES = {f"{p}B": f for p, f in (_DECIMAL | _BINARY).items() if p not in ("E",)}
_BITS = {f"{p}b": f / 8 for p, f in _DECIMAL.items() if p in ("", "K", "M", "G", "T")}

UNITS: dict[Dimension, dict[str, float]] = {
    "bytes": _BYTES,
    "bytes_per_s": {f"{unit}/s": f for unit, f in (_BYTES | _BITS).items()},
    "flop_per_s": {f"{p}FLOP/s": f for p, f in _DECIMAL.items()},
    "seconds": {
        "s": 1.0,
        "ms": 1e-3,
        "us": 1e-6,
        "ns": 1e-9,
        "min": 60.0,
        "h": 3600.0,
        "d": 86400.0,
        "year": 365.25 * 86400.0,
    },
    "watts": {"W": 1.0, "kW": 1e3, "MW": 1e6},
    "joules": {"J": 1.0, "Wh": 3600.0, "kWh": 3.6e6},
    "tokens": {"tok": 1.0},
    "tokens_per_s": {"tok/s": 1.0, "tok/min": 1 / 60},
    "op_per_s": {f"{p}op/s": f for p, f in _DECIMAL.items()},
    "hertz": {"Hz": 1.0, "MHz": 1e6, "GHz": 1e9},
    "celsius": {"degC": 1.0},
    "per_s": {"/s": 1.0, "/min": 1 / 60, "/h": 1 / 3600, "/d": 1 / 86400},
    "ratio": {"": 1.0, "ratio": 1.0, "%": 0.01},
    "count": {"": 1.0, "count": 1.0},
    "g_per_kwh": {"g/kWh": 1.0},
    "money": dict.fromkeys(_CURRENCIES, 1.0),
    "money_per_h": {f"{c}/h": 1.0 for c in _CURRENCIES},
    "money_per_gpu_h": {f"{c}/GPU-h": 1.0 for c in _CURRENCIES},
    "money_per_w": {f"{c}/W": 1.0 for c in _CURRENCIES},
    "money_per_kwh": {f"{c}/kWh": 1.0 for c in _CURRENCIES},
    "money_per_mtok": {f"{c}/Mtok": 1.0 for c in _CURRENCIES},
}
"""Dimension -> unit as written -> factor to SI."""

SI_UNIT: dict[Dimension, str] = {
    dimension: next(unit for unit, factor in units.items() if factor == 1.0)
    for dimension, units in UNITS.items()
}

_QUANTITY = re.compile(
    r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)\s*([A-Za-z%/\-]*)"
)


def parse_quantity(text: str, dimension: Dimension) -> float:
    """Read ``number unit`` as SI.

    Raises
    ------
    ValueError
        If the text is not a number with a unit of that dimension, or not finite.

    Examples
    --------
    >>> parse_quantity("800 Gb/s", "bytes_per_s")
    100000000000.0
    >>> parse_quantity("2 min", "seconds")
    120.0
    """
    match = _QUANTITY.fullmatch(text.strip()) if len(text) <= 64 else None
    units = UNITS[dimension]
    if match is None or match[2] not in units:
        raise ValueError(f"a quantity such as {example(dimension)!r}")
    value = float(match[1]) * units[match[2]]
    if not math.isfinite(value):
        raise ValueError(f"a finite quantity such as {example(dimension)!r}")
    return value


def format_quantity(value: float, dimension: Dimension) -> str:
    """Write an SI value so that `parse_quantity` gives it back exactly.

    Examples
    --------
    >>> format_quantity(8e10, "bytes")
    '80000000000.0 B'
    """
    return f"{value!r} {SI_UNIT[dimension]}".strip()


def example(dimension: Dimension) -> str:
    """Give a quantity of this dimension, for messages."""
    return f"4 {list(UNITS[dimension])[min(3, len(UNITS[dimension]) - 1)]}".strip()
