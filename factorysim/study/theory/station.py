"""What a station of the theory scorecard is: one law of queueing, and how to see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

OFF = 1.05
"""A law that is off by so much must be seen: an interval that would let it pass is too wide."""


class Skew:
    """Factors on the laws of a station: 1 for each, but for the one that is put off on purpose.

    Examples
    --------
    >>> skew = Skew("service", 1.05)
    >>> skew.of("service"), skew.of("arrivals")
    (1.05, 1.0)
    """

    __slots__ = ("_factor", "_law")

    def __init__(self, law: str = "", factor: float = OFF) -> None:
        self._law = law
        self._factor = factor

    def of(self, law: str) -> float:
        """Factor on a law."""
        return self._factor if law == self._law else 1.0


TRUE = Skew()


class Between(NamedTuple):
    """Theory gives bounds, no value."""

    least: float
    most: float


Expected = float | Between
Values = Mapping[str, float]


class Station(NamedTuple):
    """One station, built from the simulator's parts, and what theory says of it."""

    id: str
    laws: tuple[str, ...]
    """That can be put off: `Skew.of` is asked for each of them, and for no other."""
    source: str
    expected: Callable[[Skew], Mapping[str, Expected]]
    """By metric, from closed forms alone."""
    sample: Callable[[int, Skew], Values]
    """By metric, of one replication."""
    calls: int = 0
    """That one replication serves, about."""
