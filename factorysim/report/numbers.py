"""Numbers as people read them: three digits, a prefix, the half width beside."""

from __future__ import annotations

import math

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_LARGE = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def digits(value: float) -> str:
    """Three significant digits, without an exponent where there is room.

    Examples
    --------
    >>> digits(1234.5), digits(0.04567), digits(12.0)
    ('1234', '0.0457', '12.0')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    size = math.floor(math.log10(abs(value)))
    if size < -5 or size > 8:
        return f"{value:.2e}"
    return f"{value:.{max(0, 2 - size)}f}"


def amount(value: float, unit: str = "") -> str:
    """Three digits and a decimal prefix.

    Examples
    --------
    >>> amount(12_345.0, "W"), amount(0.5, "1/s"), amount(999.0)
    ('12.3 kW', '0.500 1/s', '999')
    """
    factor, prefix = next((pair for pair in _PREFIXES if abs(value) >= pair[0]), (1.0, ""))
    return f"{digits(value / factor)} {prefix}{unit}".strip()


def seconds(value: float) -> str:
    """Write a duration in the unit that suits it.

    Examples
    --------
    >>> seconds(0.0123), seconds(4.5), seconds(200.0)
    ('12.3 ms', '4.50 s', '3.33 min')
    """
    if value == 0:
        return "0 s"
    factor, unit = _time_unit(abs(value))
    return f"{digits(value / factor)} {unit}"


def _time_unit(size: float) -> tuple[float, str]:
    large = (pair for pair in _LARGE if size >= 2 * pair[0])
    small = (pair for pair in _SMALL if size >= pair[0])
    return next(large, None) or next(small, _SMALL[-1])


def percent(value: float) -> str:
    """Write a share.

    Examples
    --------
    >>> percent(0.1234), percent(1.0), percent(0.00042), percent(-0.5), percent(3e-9)
    ('12.3 %', '100 %', '0.042 %', '-50.0 %', '<0.001 %')
    """
    hundred = value * 100
    size = abs(hundred)
    if size >= 99.95:
        return f"{hundred:.0f} %"
    if size >= 0.1 or size == 0:
        return f"{hundred:.1f} %"
    return f"{hundred:.3f} %" if size >= 0.001 else f"{'>-' if value < 0 else '<'}0.001 %"


def apart(one: float, other: float) -> tuple[str, str]:
    """Write two shares, with as many digits as tell them apart if they differ.

    Examples
    --------
    >>> apart(0.871, 0.95), apart(0.87137, 0.8714), apart(0.9996, 1.0), apart(0.9, 0.9)
    (('87.1 %', '95.0 %'), ('87.137 %', '87.140 %'), ('99.96 %', '100.00 %'), ('90.0 %', '90.0 %'))
    """
    told = percent(one), percent(other)
    for places in range(2, 7):
        if told[0] != told[1] or one == other:
            break
        told = f"{100 * one:.{places}f} %", f"{100 * other:.{places}f} %"
    return told


def common_unit(largest: float, unit: str) -> tuple[float, str]:
    """Choose the unit in which values up to `largest` are written, and its factor.

    Examples
    --------
    >>> common_unit(0.02, "s"), common_unit(0.4, "ratio"), common_unit(2300.0, "tok/s")
    ((0.001, 'ms'), (0.01, '%'), (1000.0, 'ktok/s'))
    """
    if unit == "s":
        pairs = (*_LARGE, *_SMALL)
        return next((pair for pair in pairs if largest >= 2 * pair[0]), _SMALL[-1])
    if unit == "ratio":
        return 0.01, "%"
    factor, prefix = next((pair for pair in _PREFIXES if largest >= pair[0]), (1.0, ""))
    return factor, "" if unit in ("1", "bool") else f"{prefix}{unit}"


def unit_beside(value: float, unit: str) -> tuple[float, str]:
    """Give the unit in which `of_unit` writes a value, and its factor.

    Examples
    --------
    >>> unit_beside(1.9, "s"), unit_beside(0.4, "ratio"), unit_beside(2300.0, "tok/s")
    ((1.0, 's'), (0.01, '%'), (1000.0, 'ktok/s'))
    """
    return _time_unit(abs(value)) if unit == "s" and value else common_unit(abs(value), unit)


def of_unit(value: float, unit: str) -> str:
    """Write a value of a metric, by the unit that `metrics.names` gives it."""
    match unit:
        case "s":
            return seconds(value)
        case "ratio":
            return percent(value)
        case "bool":
            return "yes" if value else "no"
        case "1":
            return "<0.001" if 0 < value < 1e-3 else amount(value)
        case _:
            return amount(value, unit)
