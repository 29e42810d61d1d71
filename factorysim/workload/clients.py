"""Calls of a pool of clients: each in bursts of its own, with lengths of its own."""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heapreplace
from itertools import count
from typing import TYPE_CHECKING

from factorysim.rng import stream
from factorysim.workload.draws import KeyedUniforms
from factorysim.workload.renewal import gaps_of, window_times
from factorysim.workload.session import LlmNode, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from factorysim.spec.stream import ClientsSpec
    from factorysim.workload.servegen import Client, Lengths, Pool

BLOCK = 1024


def client_sessions(
    pool: Pool, spec: ClientsSpec, seed: int, replication: int, name: str, *, priority: int = 0
) -> Iterator[Session]:
    """Yield the calls of all clients in order of time, a session each, for ever.

    Within a window a client's gaps are those of a stationary renewal process with the
    window's rate and CV, so its mean count is exact. How long the n-th call of a client is
    follows from n and the time of day; prompt and output are drawn apart from each
    other, since the files say nothing of both together.
    """
    uniforms = KeyedUniforms(seed, replication, name)
    clocks = [
        _instants(pool, client, number, spec, uniforms)
        for number, client in enumerate(pool.clients)
    ]
    lengths = [
        _ClientLengths(client, stream(seed, replication, name, "lengths", number))
        for number, client in enumerate(pool.clients)
    ]
    made = [0] * len(clocks)
    length_s = pool.length_s
    heap = [(next(clock), number) for number, clock in enumerate(clocks)]
    heapify(heap)
    while True:
        at_s, number = heap[0]
        # On the folder's clock, which begins again.
        node = lengths[number].next_call((at_s + spec.start) % length_s)
        client = pool.clients[number].name
        sid = f"{name}-{client}-{made[number]}"
        made[number] += 1
        yield Session(sid, round(at_s * 1e9), [node], "", client, priority)
        heapreplace(heap, (next(clocks[number]), number))


def _instants(
    pool: Pool, client: Client, number: int, spec: ClientsSpec, uniforms: KeyedUniforms
) -> Iterator[float]:
    """Yield when a client calls, in seconds after the start of the stream.

    Each window is keyed by its number, whatever the rate; the first may have begun
    before the stream, and what came then is left out.
    """
    windows = round(pool.length_s / pool.window_s)
    for place in count(int(spec.start // pool.window_s)):
        at = place % windows
        if at >= len(client.windows):
            continue
        window = client.windows[at]
        if not window.rate:
            continue
        rate = window.rate * spec.times
        generator = uniforms.at("window", number, place)
        offset_s = place * pool.window_s - spec.start
        gaps = gaps_of(window.family, window.cv)
        for unit in window_times(generator, gaps, rate * pool.window_s):
            at_s = offset_s + unit / rate
            if at_s >= 0.0:
                yield at_s


class _ClientLengths:
    """The lengths of one client's calls, in order: two uniforms each."""

    def __init__(self, client: Client, generator: np.random.Generator) -> None:
        self._starts = [one.start_s for one in client.datasets]
        self._datasets = client.datasets
        self._uniforms = _pairs(generator)

    def next_call(self, at_s: float) -> LlmNode:
        """Draw from what was published for that time, or else last before it."""
        place = max(0, bisect_right(self._starts, at_s) - 1)
        dataset = self._datasets[place]
        prompt, output = next(self._uniforms)
        return LlmNode(_quantile(dataset.prompt, prompt), _quantile(dataset.output, output))


def _pairs(generator: np.random.Generator) -> Iterator[list[float]]:
    while True:
        yield from generator.random((BLOCK, 2)).tolist()


def _quantile(lengths: Lengths, uniform: float) -> int:
    place = bisect_right(lengths.upto, uniform)
    return lengths.tokens[min(place, len(lengths.tokens) - 1)]
