"""Axes that people read: one unit, few ticks, logarithmic where values span much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.report.numbers import common_unit

if TYPE_CHECKING:
    from collections.abc import Callable

LOG_FROM = 8.0
"""Largest over smallest value of an axis, from which on it is logarithmic."""


class Scale(NamedTuple):
    """The unit of an axis: values are divided by `factor`."""

    factor: float
    unit: str

    def label(self, text: str) -> str:
        """Write what an axis shows.

        Examples
        --------
        >>> Scale(1.0, "s").label("Time (TTFT)"), Scale(1.0, "W").label("Power")
        ('Time (TTFT, s)', 'Power (W)')
        """
        if not self.unit:
            return text
        return f"{text[:-1]}, {self.unit})" if text.endswith(")") else f"{text} ({self.unit})"


def scale_of(largest: float, unit: str, smallest: float | None = None) -> Scale:
    """Choose the unit that an axis up to `largest` has.

    Parameters
    ----------
    smallest
        Of a logarithmic axis of time: where it would be a small part of a minute, an
        hour or a day, the axis is in seconds.

    Examples
    --------
    >>> scale_of(600.0, "s"), scale_of(600.0, "s", smallest=0.2)
    (Scale(factor=60.0, unit='min'), Scale(factor=1.0, unit='s'))
    """
    scale = Scale(*common_unit(largest, unit))
    if unit == "s" and smallest is not None and scale.factor > 1 and smallest < scale.factor / 10:
        return Scale(1.0, "s")
    return scale


def tick(value: float) -> str:
    """Write a value of an axis.

    Examples
    --------
    >>> tick(0.5), tick(20.0), tick(1500.0), tick(2e6)
    ('0.5', '20', '1.5k', '2M')
    """
    for factor, prefix in ((1e6, "M"), (1e3, "k"), (1.0, "")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}"


def linear(axis: Any, most: int = 5, text: Callable[[float], str] = tick) -> None:  # noqa: ANN401
    """Give an axis a few even ticks."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def logarithmic(
    axis: Any,  # noqa: ANN401
    low: float,
    high: float,
    text: Callable[[float], str] = tick,
) -> None:
    """Make an axis logarithmic, with as many ticks as its span leaves room for."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    along = axis.axis_name == "x"
    (axis.axes.set_xscale if along else axis.axes.set_yscale)("log")
    subs = (1.0, 2.0, 5.0) if high / low < 100 else (1.0, 3.0) if high / low < 1e3 else (1.0,)
    axis.set_major_locator(LogLocator(10.0, subs=subs))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def grid(axes: Any, along: str = "both") -> None:  # noqa: ANN401
    """Draw lines behind the values of an axis, or of both."""
    axes.grid(True, which="major", axis=along)
