"""A scenario's demand times a factor: the same sessions, closer together."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.spec.arrivals import FixedConcurrency, TraceArrivals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.stream import StreamSpec

PER_SECOND, AT_ONCE = "sessions/s", "sessions at any time"
NS_PER_S = 1e9
SPEED_MOST = 1e6


class Extent(NamedTuple):
    """How many sessions a stream has, and when its last one comes."""

    sessions: int
    last_s: float


class Scaling(NamedTuple):
    """What is scaled together, and what a scale of 1 stands for."""

    scenario: ScenarioSpec
    streams: tuple[str, ...]
    rate: float
    """Of the scaled streams at scale 1: those of a given concurrency are only counted
    where all are."""
    unit: str
    units: int | None
    """Of a grid of whole concurrencies: the largest at scale 1; None: any scale."""
    extents: dict[str, Extent]
    """Of the streams that run out: traces, and those with a limit."""

    def at(self, scale: float) -> ScenarioSpec:
        """Give the scenario with its scaled streams `scale` times as dense."""
        streams = {
            name: _scaled(stream, scale) if name in self.streams else stream
            for name, stream in self.scenario.streams.items()
        }
        return self.scenario.model_copy(update={"streams": streams})

    def run_out(self, scale: float, end_s: float) -> dict[str, float]:
        """Streams whose sessions have all come before `end_s`, and when."""
        lasts = {
            name: extent.last_s / (scale if name in self.streams else 1.0)
            for name, extent in self.extents.items()
        }
        return {name: last_s for name, last_s in lasts.items() if last_s < 0.9 * end_s}


def scaling_of(scenario: ScenarioSpec, stream: str | None) -> Scaling:
    """Find out how the demand of a scenario, or of one stream, is scaled.

    Raises
    ------
    SpecError
        If there is no such stream, or a trace whose sessions all come at once.
    """
    if stream is not None and stream not in scenario.streams:
        near = get_close_matches(stream, scenario.streams, n=1)
        known = ", ".join(sorted(scenario.streams))
        cure = f'did you mean "{near[0]}"?' if near else f"it has {known}"
        raise SpecError(Fault("--stream", "", f'"{stream}"', "a stream of the scenario", cure))
    names = tuple(scenario.streams) if stream is None else (stream,)
    chosen = {name: scenario.streams[name] for name in names}
    extents = {
        name: _extent(scenario, name, one)
        for name, one in scenario.streams.items()
        if _ends(one) and one.arrivals.process != "fixed_concurrency"
    }
    closed = [
        one.arrivals.concurrency
        for one in chosen.values()
        if isinstance(one.arrivals, FixedConcurrency)
    ]
    if len(closed) == len(chosen):
        return Scaling(scenario, names, float(sum(closed)), AT_ONCE, max(closed), extents)
    rate = sum(_rate(scenario, name, extents.get(name)) for name in chosen)
    return Scaling(scenario, names, rate, PER_SECOND, None, extents)


def _ends(stream: StreamSpec) -> bool:
    """Whether a stream runs out of sessions."""
    forever = stream.loop is not None and stream.loop.times is None
    return bool(stream.limit) if stream.trace is None else not forever


def _extent(scenario: ScenarioSpec, name: str, stream: StreamSpec) -> Extent:
    """Count a stream's sessions, of replication 0; where instants suffice, none is drawn."""
    count, last_ns = 0, 0
    for at_ns in _instants(scenario.run.seed, name, stream):
        count, last_ns = count + 1, at_ns
    return Extent(count, last_ns / NS_PER_S)


def _instants(seed: int, name: str, stream: StreamSpec) -> Iterator[int]:
    from factorysim.workload.arrivals import arrival_times
    from factorysim.workload.demand import build_demand
    from factorysim.workload.thinning import kept

    if stream.trace is None and stream.clients is None:
        times = islice(arrival_times(stream.arrivals, seed, 0, name), stream.limit)
        return compress(times, kept(stream.share, seed, name))
    path = Path(stream.trace) if stream.trace else None
    demand = build_demand(name, stream, seed=seed, replication=0, trace_path=path)
    return (session.at_ns for session in demand.sessions())


def _rate(scenario: ScenarioSpec, name: str, extent: Extent | None) -> float:
    """Sessions a second of a stream, on average; 0 of a given concurrency."""
    from factorysim.workload.servegen import read_pool

    stream = scenario.streams[name]
    arrivals = stream.arrivals
    if isinstance(arrivals, FixedConcurrency):
        return 0.0
    if stream.clients is not None:
        pool = read_pool(Path(stream.clients.folder), stream.clients.most)
        return pool.rate * stream.clients.times * stream.share
    if isinstance(arrivals, TraceArrivals):
        return _recorded_rate(scenario, name, extent)
    assert arrivals.rate is not None, "fitted before anything is scaled"
    return arrivals.rate * stream.share


def _recorded_rate(scenario: ScenarioSpec, name: str, extent: Extent | None) -> float:
    stream = scenario.streams[name]
    if extent is None:  # for ever: as fast as in its first pass
        once = stream.model_copy(update={"loop": None})
        extent = _extent(scenario, name, once)
    if not extent.last_s:
        raise SpecError(
            Fault(
                f"streams.{name}",
                "trace",
                "sessions that all come at once",
                "sessions over a time that can be scaled",
                "give it arrivals of its own, or scale another with --stream",
            )
        )
    return extent.sessions / extent.last_s


def _scaled(stream: StreamSpec, scale: float) -> StreamSpec:
    if isinstance(stream.arrivals, TraceArrivals):
        if stream.clients is not None:
            times = stream.clients.times * scale
            clients = stream.clients.model_copy(update={"times": times})
            return stream.model_copy(update={"clients": clients})
        return stream.model_copy(update={"speed": min(stream.speed * scale, SPEED_MOST)})
    return stream.model_copy(update={"arrivals": stream.arrivals.scaled(scale)})
