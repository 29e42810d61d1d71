"""The fabric's rows of the benchmark: a change under contention, flows that fit, the refresh."""

from __future__ import annotations

import gc
import random
import time
from math import ceil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from factorysim.graph.factory import LinkTable, Path
from factorysim.sim.clock import ARRIVAL, COMPLETION, DECISION, Clock
from factorysim.sim.fabric import Fabric
from factorysim.sim.standing import REFRESH

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES, LINKS, HOPS = 1000, 2000, 6
REPEATS = 200
FITTING = 40_000
FS = 10**15


def fabric_change() -> dict[str, float]:
    """CPU time of one start among 1,000 saturated classes, and of flows that fit."""
    return {
        "change_ms": _change_ms(HOPS),
        "change_4_hops_ms": _change_ms(4),
        "alone_us": _fitting_us(2 * 10**12),
        "meeting_us": _fitting_us(10**12 // 8),
    }


def _world(
    ways: list[tuple[int, ...]], bandwidth: np.ndarray[Any, Any], refresh: float = REFRESH
) -> tuple[Any, Any]:
    """Build a fabric in which node k sends over the k-th way."""
    paths = [Path(way, 10**9, float(bandwidth[list(way)].min())) for way in ways]
    names = tuple(f"l{k}" for k in range(len(bandwidth)))
    plan: Any = SimpleNamespace(
        links=LinkTable(names, bandwidth, np.full(len(names), 1e-6)),
        routes=lambda src, _: paths[src],
    )
    sink: Any = SimpleNamespace(rows=lambda *_: None)
    clock = Clock()
    return clock, Fabric(clock, plan, sink, refresh=refresh)


def _change_ms(hops: int) -> float:
    """Least CPU time from a start to the new rates, all classes in one saturated component.

    Every link is crossed by two flows or more, each of which could fill it: the way of
    a class is `hops` links, drawn anew until all links are used.
    """
    draw = random.Random(1)
    deck: list[int] = []
    ways = []
    for _ in range(CLASSES):
        if len(deck) < hops:
            deck += draw.sample(range(LINKS), LINKS)
        ways.append(tuple(deck.pop() for _ in range(hops)))
    ways.append(ways[0])
    bandwidth = np.array([draw.uniform(1e9, 3.9e9) for _ in range(LINKS)])
    clock, fabric = _world(ways, bandwidth)
    for k in range(CLASSES):
        fabric.transfer(k, 0, 10**15, None, _nothing)
        fabric.transfer(k, 0, 10**15, None, _nothing)
    clock.run_until(1)
    best = float("inf")
    gc.disable()
    for k in range(REPEATS):
        start = time.process_time()
        fabric.transfer(k, 0, 10**15, None, _nothing)
        clock.run_until(clock.now_fs + 1)
        best = min(best, time.process_time() - start)
    gc.enable()
    full = sum(load.over_s > 0 for load in fabric.loads())
    assert full == LINKS, f"{full} links are saturated"
    return best * 1e3


def _fitting_us(gap_fs: int) -> float:
    """Least CPU time of a transfer over six hops, landing and row included."""
    ways = [(k, k + 8, 16, 17, k + 18, k + 26) for k in range(8)]
    best = float("inf")
    for _ in range(5):
        clock, fabric = _world(ways, np.full(34, 1e10))
        send = _sender(clock, fabric, gap_fs)
        clock.at(0, 0, send, 0)
        gc.collect()
        gc.disable()
        start = time.process_time()
        clock.run_until(FS * 1000)
        best = min(best, time.process_time() - start)
        gc.enable()
        assert not any(load.over_s for load in fabric.loads())
    return best / FITTING * 1e6


def _sender(clock: Any, fabric: Any, gap_fs: int) -> Callable[[int], None]:  # noqa: ANN401
    def send(k: int) -> None:
        fabric.transfer(k % 8, 0, 10**6, 1e9, _nothing)
        if k < FITTING:
            clock.at(clock.now_fs + gap_fs, 0, send, k + 1)

    return send


def _nothing() -> None:
    """Do nothing when a flow lands."""


RINGS, STEPS, STEP_FS = 6, 2000, 30 * 10**12
DEMAND = 4e9
"""B/s of a ring: two of them fit on a link of 1e10, a third does not."""


def fabric_refresh() -> dict[str, float]:
    """Error of step times from refreshing shares by 2 %, at ends of steps.

    Rings of standing traffic and flows of many sizes contend for three links. The
    same flows meet a refresh that is ten times finer, in its threshold (0.2 %) and then
    in its grain too (steps of a tenth, ten times as many). The error is that of the
    time to do all steps, over the finer one.
    """
    usual = _ring_times(REFRESH, 1)
    finer = _ring_times(REFRESH / 10, 1)
    finest = _ring_times(REFRESH / 10, 10)
    alone_s = STEPS * STEP_FS / FS
    return {
        "slowed_by": sum(usual.times) / len(usual.times) / alone_s - 1,
        "cuts": usual.cuts,
        "finer_cuts": finer.cuts,
        "finest_cuts": finest.cuts,
        "threshold_error_mean": _error(usual.times, finer.times, sum) / RINGS,
        "threshold_error_max": _error(usual.times, finer.times, max),
        "both_error_mean": _error(usual.times, finest.times, sum) / RINGS,
        "both_error_max": _error(usual.times, finest.times, max),
    }


class Ring:
    """Steps that cross the fabric, as a replica does them: runs of steps, cut by a new share."""

    def __init__(self, clock: Any, fabric: Any, number: int, step_fs: int, steps: int) -> None:  # noqa: ANN401
        self._clock = clock
        self._priority = COMPLETION + number
        self._step_fs = step_fs
        self._left = steps
        self._generation = self.cuts = 0
        self.finished_s = 0.0
        self._share = fabric.standing([(number % 3, 0)], self._cut)
        self._share.set_demand(DEMAND)
        clock.at(0, DECISION + number, self._start)

    def _start(self, _value: None) -> None:
        self._started_fs = self._clock.now_fs
        self._lasts_fs = ceil(self._step_fs / self._share.sample())
        self._end_after(self._left)

    def _cut(self) -> None:
        """End the run at the end of the step in progress."""
        self.cuts += 1
        self._end_after(-((self._started_fs - self._clock.now_fs) // self._lasts_fs))

    def _end_after(self, steps: int) -> None:
        self._generation += 1
        steps = min(self._left, max(1, steps))
        end_fs = self._started_fs + steps * self._lasts_fs
        self._clock.at(end_fs, self._priority, self._end, (self._generation, steps))

    def _end(self, run: tuple[int, int]) -> None:
        generation, steps = run
        if generation != self._generation:
            return
        self._left -= steps
        if self._left:
            self._start(None)
        else:
            self.finished_s = self._clock.now_fs / FS
            self._share.set_demand(0.0)


class RingTimes(NamedTuple):
    """Seconds that each ring took, and how often a run was cut."""

    times: list[float]
    cuts: int


def _ring_times(refresh: float, finer: int) -> RingTimes:
    """Run rings beside flows, with steps that are `finer` times shorter and more."""
    clock, fabric = _world([(0,), (1,), (2,), (0, 1), (1, 2)], np.full(3, 1e10), refresh)
    rings = [Ring(clock, fabric, k, STEP_FS // finer, STEPS * finer) for k in range(RINGS)]
    draw = random.Random(7)
    at_s = 0.0
    while at_s < STEPS * STEP_FS / FS:
        at_s += draw.expovariate(8.0)
        flow = draw.randrange(5), round(draw.expovariate(1 / 4e8)) + 10**6, draw.uniform(1e9, 6e9)
        clock.at(round(at_s * FS), ARRIVAL, _transfer(fabric), flow)
    clock.run_until(100 * STEPS * STEP_FS)
    return RingTimes([ring.finished_s for ring in rings], sum(ring.cuts for ring in rings))


def _transfer(fabric: Any) -> Callable[[tuple[int, int, float]], None]:  # noqa: ANN401
    def send(flow: tuple[int, int, float]) -> None:
        way, size, cap = flow
        fabric.transfer(way, 0, size, cap, _nothing)

    return send


def _error(times: list[float], finer: list[float], over: Callable[[list[float]], float]) -> float:
    return over([abs(a - b) / b for a, b in zip(times, finer, strict=True)])
