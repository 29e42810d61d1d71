"""From values to pixels, with the ticks that people read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, overload

from factorysim.report.numbers import common_unit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

LOG_FROM = 30.0
"""Ratio of the largest value to the smallest from which a positive axis is logarithmic."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Tick(NamedTuple):
    """A place on an axis, and what is written there."""

    value: float
    text: str


class Scale(NamedTuple):
    """An axis: values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[Tick, ...]
    unit: str
    """In which the ticks are written; blank where each tick has its own, or there is none."""

    @overload
    def at(self, value: float) -> float: ...
    @overload
    def at(self, value: Floats) -> Floats: ...
    def at(self, value: float | Floats) -> float | Floats:
        """Pixel of a value; outside the axis it is that of the nearest end."""
        import numpy as np

        low, high = (math.log(self.low), math.log(self.high)) if self.log else self[:2]
        inside = np.clip(value, self.low, self.high)
        share = ((np.log(inside) if self.log else inside) - low) / (high - low)
        pixel = self.start + share * (self.end - self.start)
        return float(pixel) if np.ndim(pixel) == 0 else pixel

    def even(self, count: int) -> list[float]:
        """Values that lie evenly on the pixels, both ends included."""
        import numpy as np

        if self.log:
            return [float(v) for v in np.geomspace(self.low, self.high, count)]
        return [float(v) for v in np.linspace(self.low, self.high, count)]


def linear(
    low: float, high: float, pixels: tuple[float, float], unit: str = "", *,
    most: int = 5, tight: bool = False,
) -> Scale:  # fmt: skip
    """Make an axis of even steps.

    Parameters
    ----------
    unit
        Of the values, as metrics have it; ticks are written in the prefix that suits them.
    most
        Ticks, about.
    tight
        Whether it ends where the values end, and not at a tick.

    Examples
    --------
    >>> axis = linear(0.0, 3456.0, (0.0, 100.0), "W")
    >>> [tick.text for tick in axis.ticks], axis.unit, axis.at(2000.0)
    (['0', '1', '2', '3', '4'], 'kW', 50.0)
    """
    if not high > low:
        high = low + (abs(low) or 1.0)
    factor, written = common_unit(max(abs(low), abs(high)), unit) if unit else (1.0, "")
    step = nice((high - low) / factor / most) * factor
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9) if tight else math.ceil(high / step - 1e-9)
    ticks = tuple(
        Tick(step * n, _plain(step * n / factor, step / factor)) for n in range(first, last + 1)
    )
    ends = (low, high) if tight else (min(low, step * first), step * last)
    return Scale(*ends, *pixels, False, ticks, written)


def nice(rough: float) -> float:
    """Round a step up to one, two, two and a half or five times a power of ten.

    Examples
    --------
    >>> nice(0.7), nice(2.3), nice(30.0)
    (1.0, 2.5, 50.0)
    """
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step for step in STEPS if step * power >= rough * (1 - 1e-9)) * power


def positive(
    low: float, high: float, pixels: tuple[float, float], unit: str, *, most: int = 6
) -> Scale:
    """Make an axis of positive values: logarithmic where they span much, else from 0.

    Where it spans few powers of ten, it has ticks between them: nobody reads values off an axis
    with a single number.

    Examples
    --------
    >>> axis = positive(0.002, 15.0, (0.0, 300.0), "s")
    >>> axis.log, [tick.text for tick in axis.ticks]
    (True, ['10 ms', '100 ms', '1 s', '10 s'])
    >>> [tick.text for tick in positive(12.0, 900.0, (0.0, 300.0), "s").ticks]
    ['20 s', '50 s', '100 s', '200 s', '500 s']
    """
    if low <= 0 or high < low * LOG_FROM:
        return linear(0.0, high, pixels, unit)
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / most))
    powers = [10.0**n for n in range(first - 1, last + 1) if (n - first) % every == 0]
    between = (1.0, 2.0, 5.0) if high < 100 * low else (1.0, 3.0) if high < 1e3 * low else (1.0,)
    values = [power * part for power in powers for part in between]
    inside = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    ticks = tuple(Tick(value, _with_unit(value, unit)) for value in inside)
    return Scale(low, high, *pixels, True, ticks, "")


def _with_unit(value: float, unit: str) -> str:
    """Write a tick of decades: of seconds in seconds, for 1,000 s and 17 min are not even."""
    if unit == "s" and value >= 1:
        return f"{value:,.0f} s"
    factor, written = common_unit(value * 2, unit)
    return f"{value / factor:g} {written}".strip()


def _plain(value: float, step: float) -> str:
    """Write a value with the decimals that its steps need."""
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(step * 10**places - round(step * 10**places)) > 1e-6:
        places += 1
    return f"{value:,.{places}f}"
