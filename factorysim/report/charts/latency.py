"""How long calls and sessions took: a distribution function for each stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.curves import POINTS, Curve, empirical
from factorysim.metrics.demand import (
    DURATION_COLUMNS,
    LATENCY_COLUMNS,
    duration_samples,
    latency_samples,
)
from factorysim.metrics.slo import inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from factorysim.report.charts.source import Source

    Sample = tuple[npt.NDArray[np.float64], int]

TITLES = {
    "ttft_s": "Time to first token (TTFT)",
    "tpot_s": "Time per output token (TPOT)",
    "turn_s": "Longest turn of a session",
    "session_s": "Session, start to end",
}
LIMITS = {"ttft_s": "ttft", "tpot_s": "tpot", "turn_s": "turn", "session_s": "session"}
"""The threshold of an SLO that bounds each."""
FINE = 4 * POINTS
"""Corners of a curve on paper."""
LEAST = 1e-3
"""Share of a sample that may lie left of a logarithmic axis: one that took next to no time would
else stretch it."""


class StreamCurve(NamedTuple):
    """Of one stream, all replications together."""

    stream: str
    curve: Curve
    """Seconds."""
    limit_s: float | None
    """That the stream's SLO asks for; None: it asks for none."""


class LatencyChart(NamedTuple):
    """One kind of latency."""

    name: str
    """`ttft_s` and the like: the metric whose quantiles it draws."""
    title: str
    unit: str
    curves: tuple[StreamCurve, ...]
    """Of streams that have any; may be none."""


def latency_charts(source: Source, *, fine: bool = False) -> list[LatencyChart]:
    """Distribution functions of TTFT, TPOT, turns and sessions, by stream.

    Of what arrived in the window. Who had not ended counts as longer than all others:
    where there are such, a curve ends below 1.

    Parameters
    ----------
    fine
        More corners than a screen can tell apart, down to the last one of a million.
    """
    samples: dict[str, dict[str, list[Sample]]] = {name: {} for name in TITLES}
    for replication in source.replications:
        for name, stream, sample in _samples(source, replication):
            samples[name].setdefault(stream, []).append(sample)
    return [
        LatencyChart(name, title, "s", tuple(_curves(source, name, samples[name], fine)))
        for name, title in TITLES.items()
    ]


def _samples(source: Source, replication: int) -> Iterator[tuple[str, str, Sample]]:
    end_s = source.end_s(replication)
    calls = source.columns("calls", LATENCY_COLUMNS, replication)
    mine = inside(source.window, calls["arrived_s"])
    for code, stream in enumerate(calls["stream"].words):
        its = mine & (calls["stream"].codes == code)
        for name, sample in latency_samples(calls, its, end_s).items():
            yield name, stream, sample
    sessions = source.columns("sessions", DURATION_COLUMNS, replication)
    mine = inside(source.window, sessions["arrived_s"])
    for code, stream in enumerate(sessions["stream"].words):
        its = mine & (sessions["stream"].codes == code)
        for name, sample in duration_samples(sessions, its).items():
            if name in TITLES:
                yield name, stream, sample


def _curves(
    source: Source, name: str, samples: dict[str, list[Sample]], fine: bool
) -> Iterator[StreamCurve]:
    import numpy as np

    for stream in source.streams:
        parts = samples.get(stream, [])
        if parts:
            known = np.concatenate([seconds for seconds, _ in parts])
            censored = sum(censored for _, censored in parts)
            points = FINE if fine else POINTS
            curve = empirical(known, censored, points, decades=fine)
            if curve.n:
                limit = source.manifest["slo"][stream][LIMITS[name]]
                yield StreamCurve(stream, curve, limit)
