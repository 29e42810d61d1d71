"""Populations: the calls of many clients, of which a few send most, in one order of time."""

from __future__ import annotations

from heapq import heapify, heapreplace
from typing import TYPE_CHECKING

from factorysim.workload.renewal import gaps_of, renewal_times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.spec.arrivals import PopulationArrivals

FIRST = 16
"""Gaps that are drawn at first for a client: most clients of a large population send few."""


def zipf_shares(clients: int, skew: float) -> list[float]:
    """Share of the sessions that each client sends.

    Examples
    --------
    >>> zipf_shares(3, 1.0)[0], zipf_shares(2, 0.0)
    (0.5454545454545455, [0.5, 0.5])
    """
    weights = [rank**-skew for rank in range(1, clients + 1)]
    total = sum(weights)
    return [weight / total for weight in weights]


def population_times(
    arrivals: PopulationArrivals, seed: int, replication: int, name: str
) -> Iterator[tuple[float, int]]:
    """Instants of all clients together, at a rate of 1, and whose each is.

    Each client is a stationary renewal process of its own, keyed by its number, so
    neither the rate nor how many others there are changes when it comes by its own clock.

    Examples
    --------
    >>> from itertools import islice
    >>> from factorysim.spec.arrivals import PopulationArrivals
    >>> spec = PopulationArrivals(process="population", rate="9/s", clients=5)
    >>> seen = list(islice(population_times(spec, 7, 0, "chat"), 100))
    >>> seen == sorted(seen) and {client for _, client in seen} <= set(range(5))
    True
    """
    from factorysim.rng import stream

    gaps = gaps_of(arrivals.family, arrivals.cv)
    shares = zipf_shares(arrivals.clients, arrivals.skew)
    clocks = [
        renewal_times(stream(seed, replication, name, "client", client), gaps, FIRST)
        for client in range(arrivals.clients)
    ]
    heap = [(next(clock) / shares[client], client) for client, clock in enumerate(clocks)]
    heapify(heap)
    while True:
        at, client = heap[0]
        yield at, client
        heapreplace(heap, (next(clocks[client]) / shares[client], client))
