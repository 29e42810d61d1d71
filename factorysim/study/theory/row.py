"""A row of the theory scorecard, and how replications decide it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.statistics import t_interval
from factorysim.study.theory.station import TRUE, Between, Skew

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.study.theory.station import Expected, Station, Values

CONFIDENCE = 1.0 - 1e-4
"""Of one row: of a hundred that are right, one in a hundred scorecards has one that fails
(Bonferroni). With 24 replications that is 4.7 standard errors."""
ROUNDING = 1e-9
"""Relative; where a law leaves nothing to chance, the interval has no width of its own."""


class TheoryRow(NamedTuple):
    """One metric of one station: theory, simulation, and whether they agree."""

    id: str
    metric: str
    expected: float
    got: float
    """Mean of the replications."""
    low: float
    high: float
    """Student's interval between replications."""
    error: float
    """Relative; absolute where 0 is expected."""
    holds: bool
    reason: str
    """Why it does not; empty if it does."""
    source: str
    sees: tuple[str, ...] = ()
    """Laws that the interval would be too narrow for, were they off by 5 %."""


def judge(station: Station, samples: Sequence[Values]) -> list[TheoryRow]:
    """Compare the replications of a station with theory.

    A row holds if theory lies in the interval, and the interval is so narrow that it
    would not if some law of the station were 5 % off. A bound holds unless the
    whole interval is beyond it.
    """
    truth = station.expected(TRUE)
    off = {law: station.expected(Skew(law)) for law in station.laws}
    rows: list[TheoryRow] = []
    for metric, expected in truth.items():
        got, low, high = _interval([sample[metric] for sample in samples])
        sees = tuple(
            law for law in station.laws if _apart(expected, off[law][metric], (high - low) / 2)
        )
        sides: list[tuple[str, float, bool]]
        if isinstance(expected, Between):
            sides = [
                (f"{metric}, at least", expected.least, high >= expected.least),
                (f"{metric}, at most", expected.most, low <= expected.most),
            ]
        else:
            sides = [(metric, expected, low <= expected <= high)]
        for name, value, agrees in sides:
            error = got / value - 1.0 if value else got
            why = "" if agrees else _beyond(value, low, high)
            if agrees and not sees:
                why = "the interval is too wide: a law 5 % off would pass"
            rows.append(
                TheoryRow(
                    station.id, name, value, got, low, high, error, not why, why,
                    station.source, sees,
                )
            )  # fmt: skip
    return rows


def _interval(values: Sequence[float]) -> tuple[float, float, float]:
    got, low, high = t_interval(values, CONFIDENCE)
    rounding = ROUNDING * abs(got)
    return got, low - rounding, high + rounding


def _apart(expected: Expected, off: Expected, half: float) -> bool:
    """Whether an interval of that half width cannot hold both."""
    first = expected if isinstance(expected, Between) else Between(expected, expected)
    second = off if isinstance(off, Between) else Between(off, off)
    return max(second.least - first.most, first.least - second.most) > half


def _beyond(value: float, low: float, high: float) -> str:
    side = "above" if low > value else "below"
    return f"{low:.6g} to {high:.6g} is {side} {value:.6g}"


def failed(station_id: str, source: str, why: str) -> TheoryRow:
    """Row of a station that could not be run at all."""
    nan = float("nan")
    return TheoryRow(station_id, "runs", 1.0, 0.0, nan, nan, -1.0, False, why, source)
