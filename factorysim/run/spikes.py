"""When more sessions of a stream arrive than usual, as metrics ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.inputs import Spike
from factorysim.spec.arrivals import FittedArrivals, FixedConcurrency, TraceArrivals

if TYPE_CHECKING:
    from factorysim.spec.arrivals import Arrivals
    from factorysim.spec.scenario import ScenarioSpec


def spikes_of(scenario: ScenarioSpec) -> tuple[Spike, ...]:
    """Give the spikes of all streams in order of time; those that overlap or touch are one.

    One that multiplies the rate by 1 or less is none: nothing is to be recovered from.
    """
    found = [
        spike
        for stream, spec in scenario.streams.items()
        for spike in _joined(stream, spec.arrivals)
    ]
    return tuple(sorted(found, key=lambda spike: spike.start_s))


def _joined(stream: str, arrivals: Arrivals) -> list[Spike]:
    if isinstance(arrivals, FittedArrivals | FixedConcurrency | TraceArrivals):
        return []
    joined: list[Spike] = []
    for name, spike in sorted(arrivals.spikes.items(), key=lambda item: item[1].at):
        new = Spike(stream, name, spike.at, spike.at + spike.length)
        if spike.times > 1.0 and joined and new.start_s <= joined[-1].end_s:
            last, end_s = joined[-1], max(joined[-1].end_s, new.end_s)
            joined[-1] = last._replace(name=f"{last.name}+{name}", end_s=end_s)
        elif spike.times > 1.0:
            joined.append(new)
    return joined
