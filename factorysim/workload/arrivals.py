"""When sessions arrive: one unit-rate process, scaled by the rate.

The same seed at twice the rate gives the same arrivals at half the times, so a
sweep over rates compares like with like. Times are integer nanoseconds after
the start of the stream, drawn lazily and in blocks, without a horizon.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, assert_never

from factorysim.spec.arrivals import FixedConcurrency, GammaArrivals, PoissonArrivals, TraceArrivals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.spec.arrivals import Arrivals

BLOCK = 4096


def unit_times(seed: int, replication: int, name: str, *, cv: float = 1.0) -> Iterator[float]:
    """Arrival instants of a stationary gamma renewal process of rate 1, for ever.

    The first gap is the residual of a gap that was under way at time 0, so the
    expected number of arrivals up to t is t from the start [1]_. A `cv` of 1 is
    the Poisson process.

    Parameters
    ----------
    cv
        Standard deviation over mean of the gaps; above 0.

    References
    ----------
    .. [1] Cox, Renewal Theory, 1962, section 5.2 (equilibrium renewal process).

    Examples
    --------
    >>> from itertools import islice
    >>> times = list(islice(unit_times(7, 0, "code"), 3))
    >>> times == sorted(times) and times == list(islice(unit_times(7, 0, "code"), 3))
    True
    """
    import numpy as np

    from factorysim.rng import stream

    generator = stream(seed, replication, name, "arrivals")
    shape, scale = 1.0 / cv**2, cv**2
    gaps = generator.standard_gamma(shape, BLOCK) * scale
    # The gap that covers a fixed instant is length-biased, gamma(shape + 1); the
    # instant lies anywhere in it.
    gaps[0] = generator.random() * generator.standard_gamma(shape + 1.0) * scale
    now = 0.0
    while True:
        times = now + np.cumsum(gaps)
        yield from times.tolist()
        now = float(times[-1])
        gaps = generator.standard_gamma(shape, BLOCK) * scale


def arrival_times(arrivals: Arrivals, seed: int, replication: int, name: str) -> Iterator[int]:
    """Arrival instants of a stream, nanoseconds, without end.

    With fixed concurrency all are 0: the simulator starts the next session when
    one ends. The times of a trace are in the trace.

    Raises
    ------
    ValueError
        For the arrivals of a trace, which has its own times.
    """
    match arrivals:
        case PoissonArrivals():
            return _scaled(unit_times(seed, replication, name), arrivals.rate)
        case GammaArrivals():
            return _scaled(unit_times(seed, replication, name, cv=arrivals.cv), arrivals.rate)
        case FixedConcurrency():
            return repeat(0)
        case TraceArrivals():
            raise ValueError("arrivals of a trace are read with it")
        case _:
            assert_never(arrivals)


def _scaled(times: Iterator[float], rate: float) -> Iterator[int]:
    per_unit = 1e9 / rate
    return (round(time * per_unit) for time in times)
