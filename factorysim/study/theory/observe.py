"""What is measured of a station: of those who came, and over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

AT_ONCE_S = 1e-9
"""Seconds are floats in records: a wait below this is none."""
WARMUP = 0.15
"""Of those who come, the first are left out: the station was empty before them."""
CLOSING = 0.9
"""Of the time in which all are expected to come: until then the station is looked at."""


class Seen(NamedTuple):
    """Everyone who came to a station, in order of arrival."""

    came_s: Floats
    started_s: Floats
    left_s: Floats

    @property
    def wait_s(self) -> Floats:
        """Before service, of those after the warm-up."""
        return self._kept(self.started_s - self.came_s)

    @property
    def service_s(self) -> Floats:
        """In service."""
        return self._kept(self.left_s - self.started_s)

    @property
    def sojourn_s(self) -> Floats:
        """In the station."""
        return self._kept(self.left_s - self.came_s)

    def _kept(self, values: Floats) -> Floats:
        return values[int(WARMUP * len(values)) :]

    def longer(self, t: float) -> float:
        """Share of those who wait longer than `t`."""
        return float(np.mean(self.wait_s > max(t, AT_ONCE_S)))

    def window(self, rate: float) -> tuple[float, float]:
        """When to look at the number present: not at the start, nor when arrivals run out."""
        length_s = len(self.came_s) / rate
        return WARMUP * length_s, CLOSING * length_s

    def at_least(self, rate: float, n: int) -> float:
        """Share of the time with `n` or more in the station."""
        below = shares_of_time(self.came_s, self.left_s, *self.window(rate), n - 1)
        return 1.0 - float(below.sum())


def shares_of_time(
    came_s: Floats, left_s: Floats, start_s: float, stop_s: float, most: int
) -> Floats:
    """Shares of a window with 0, 1, ... `most` present.

    Examples
    --------
    >>> shares_of_time(np.array([1.0, 2.0]), np.array([4.0, 3.0]), 0.0, 5.0, 2)
    array([0.4, 0.4, 0.2])
    """
    times, number = _levels((came_s, left_s))
    spans = np.diff(np.clip(np.append(times, np.inf), start_s, stop_s), prepend=start_s)
    number = np.append(0, number)
    kept = number <= most
    held = np.bincount(number[kept], spans[kept], most + 1)
    return held / (stop_s - start_s)


def mean_present(came_s: Floats, left_s: Floats, start_s: float, stop_s: float) -> float:
    """Mean number present in a window.

    Examples
    --------
    >>> mean_present(np.array([1.0, 2.0]), np.array([4.0, 3.0]), 0.0, 5.0)
    0.8
    """
    inside = np.clip(left_s, start_s, stop_s) - np.clip(came_s, start_s, stop_s)
    return float(inside.sum()) / (stop_s - start_s)


def _levels(sides: Sequence[Floats]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Instants at which somebody came or left, and how many are there after each."""
    came_s, left_s = sides
    left_s = np.where(np.isnan(left_s), np.inf, left_s)
    times = np.concatenate([came_s, left_s])
    steps = np.concatenate([np.ones(len(came_s), np.int64), np.full(len(left_s), -1)])
    order = np.argsort(times, kind="stable")
    return times[order], np.cumsum(steps[order])
