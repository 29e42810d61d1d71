"""When sessions arrive: one unit-rate process, scaled by the rate.

The same seed at twice the rate gives the same arrivals at half the times, so a
sweep over rates compares like with like; where the rate changes in the course of
time, the n-th session is still the same one. Times are integer nanoseconds after
the start of the stream, drawn lazily and in blocks, without a horizon.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, assert_never

from factorysim.spec.arrivals import (
    FittedArrivals,
    FixedConcurrency,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    PopulationArrivals,
    TraceArrivals,
    WeibullArrivals,
)
from factorysim.workload.intensity import inverted, pieces_of
from factorysim.workload.populations import population_times
from factorysim.workload.renewal import (
    GammaGaps,
    WeibullGaps,
    gaps_of,
    renewal_times,
    weibull_shape,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.spec.arrivals import Arrivals, RatedArrivals
    from factorysim.workload.renewal import Gaps

CV = 2.0
"""Of Weibull gaps where the spec gives neither it nor their shape."""


def unit_times(seed: int, replication: int, name: str, gaps: Gaps) -> Iterator[float]:
    """Arrival instants of a stationary renewal process of rate 1, for ever.

    Examples
    --------
    >>> from itertools import islice
    >>> times = list(islice(unit_times(7, 0, "code", GammaGaps(2.0)), 3))
    >>> times == sorted(times)
    True
    """
    from factorysim.rng import stream

    return renewal_times(stream(seed, replication, name, "arrivals"), gaps)


def arrival_times(arrivals: Arrivals, seed: int, replication: int, name: str) -> Iterator[int]:
    """Arrival instants of a stream, nanoseconds, without end.

    With fixed concurrency all are 0: the simulator starts the next session when
    one ends. The times of a trace are in the trace.

    Raises
    ------
    ValueError
        For the arrivals of a trace, which has its own times, and for a process that
        has not been fitted to one.
    """
    match arrivals:
        case FixedConcurrency():
            return repeat(0)
        case TraceArrivals():
            raise ValueError("arrivals of a trace are read with it")
        case FittedArrivals():
            if arrivals.family is None or arrivals.cv is None or arrivals.rate is None:
                raise ValueError("arrivals have to be fitted to a trace first")
            gaps = gaps_of(arrivals.family, arrivals.cv)
            return _scaled(unit_times(seed, replication, name, gaps), arrivals.rate)
        case PopulationArrivals():
            unit: Iterator[float] = (
                at for at, _ in population_times(arrivals, seed, replication, name)
            )
        case _:
            unit = unit_times(seed, replication, name, _gaps(arrivals))
    if not arrivals.varies and not isinstance(arrivals, MmppArrivals):
        return _scaled(unit, arrivals.rate)
    pieces = pieces_of(arrivals, seed, replication, name)
    return (round(at_s * 1e9) for at_s in inverted(unit, pieces, arrivals.rate))


def client_names(
    arrivals: Arrivals, seed: int, replication: int, name: str
) -> Iterator[str] | None:
    """Whose each session is, in order of arrival; None where the process knows no clients."""
    if not isinstance(arrivals, PopulationArrivals):
        return None
    return (f"c{client}" for _, client in population_times(arrivals, seed, replication, name))


def _gaps(arrivals: RatedArrivals) -> Gaps:
    match arrivals:
        case PoissonArrivals() | MmppArrivals():
            return GammaGaps(1.0)
        case GammaArrivals():
            return GammaGaps(arrivals.cv)
        case WeibullArrivals():
            if arrivals.shape is not None:
                return WeibullGaps(arrivals.shape)
            return WeibullGaps(weibull_shape(CV if arrivals.cv is None else arrivals.cv))
        case PopulationArrivals():
            return gaps_of(arrivals.family, arrivals.cv)
        case _:
            assert_never(arrivals)


def _scaled(times: Iterator[float], rate: float) -> Iterator[int]:
    per_unit = 1e9 / rate
    return (round(time * per_unit) for time in times)
