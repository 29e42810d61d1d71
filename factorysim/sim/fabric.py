"""The fabric: bytes from node to node, at a rate cap, after the latency of the way.

Each flow gets the lesser of its cap and its path's narrowest link, as if it were
alone. That is exact as long as the flows on every link fit together; where they
do not, a link notes for how long its flows asked for more than it has, and the
most that they asked, so that an audit can warn. Messages below 64 KB cost latency
only: there flow models do not hold [1]_, and the size does not matter.

References
----------
.. [1] Velho, Schnorr, Casanova and Legrand, "On the validity of flow-level TCP
   network models for grid and cloud simulations", ACM TOMACS 23(4), 2013.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Protocol

from factorysim.records import TransferRow
from factorysim.sim.clock import FS_PER_S, TRANSFER

if TYPE_CHECKING:
    from collections.abc import Callable

    from factorysim.graph.plan import FactoryPlan
    from factorysim.records import RecordSink
    from factorysim.sim.clock import Clock

LATENCY_ONLY_BYTES = 64_000
"""Messages below this cost latency only (Velho et al., section 5: flows of less are off)."""
_ROWS = 4096
"""Records handed on at a time."""
_ROUNDING = 1e-9
"""By which flows may exceed a link before it counts: their rates are whole B/s."""


class Route(Protocol):
    """What a delay needs of a way: a `Path`, or the plan of a replica or a host."""

    @property
    def latency_fs(self) -> int:
        """One way, propagation alone."""
        ...

    @property
    def bandwidth(self) -> float:
        """Of the narrowest link, B/s."""
        ...


class LinkLoad(NamedTuple):
    """What the flows of a run asked of one link."""

    name: str
    bandwidth: float
    """B/s."""
    carried_bytes: int
    over_s: float
    """Time during which the flows' rates summed to more than the bandwidth."""
    peak_ratio: float
    """The most that they summed to, over the bandwidth."""


@dataclass(slots=True)
class _Link:
    """Flows on a link right now; settled when the next one starts."""

    bandwidth: float
    rate: int = 0
    """Sum over the flows, B/s."""
    since_fs: int = 0
    over_fs: int = 0
    peak: int = 0
    ends: list[tuple[int, int]] = field(default_factory=list)
    """Heap of the instants at which flows end, and their rates."""

    def settle(self, now_fs: int) -> None:
        """Account for the time up to now, flow by flow that ended in it."""
        while self.ends and self.ends[0][0] <= now_fs:
            end_fs, rate = heappop(self.ends)
            self._elapse(end_fs)
            self.rate -= rate
        self._elapse(now_fs)

    def start(self, now_fs: int, end_fs: int, rate: int) -> None:
        self.settle(now_fs)
        self.rate += rate
        self.peak = max(self.peak, self.rate)
        heappush(self.ends, (end_fs, rate))

    def _elapse(self, until_fs: int) -> None:
        if self.rate > self.bandwidth * (1 + _ROUNDING):
            self.over_fs += until_fs - self.since_fs
        self.since_fs = until_fs


def sending_fs(route: Route, size_bytes: int, cap: float | None = None) -> int:
    """Femtoseconds for which a message occupies its way: 0 below 64 KB.

    Parameters
    ----------
    cap
        B/s that the sender or the receiver can do; None: no other limit.

    Examples
    --------
    >>> from factorysim.graph.factory import Path
    >>> way = Path(links=(0,), latency_fs=2_000_000_000, bandwidth=1e9)
    >>> sending_fs(way, 1_000_000, cap=5e8) / 1e15
    0.002
    """
    if size_bytes < LATENCY_ONLY_BYTES:
        return 0
    rate = route.bandwidth if cap is None else min(cap, route.bandwidth)
    return ceil(size_bytes / rate * FS_PER_S)


class _Flow(NamedTuple):
    """Bytes on their way over some links."""

    links: tuple[int, ...]
    start_fs: int
    end_fs: int
    rate: int
    """B/s."""


@dataclass(slots=True)
class _Way:
    """What went from one node to another so far."""

    links: tuple[int, ...]
    carried: int = 0
    peak: int = 0
    """Highest rate of a flow, B/s."""


class Fabric:
    """Transfers between the nodes of a plan.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from factorysim.graph.factory import LinkTable, Path
    >>> from factorysim.sim.clock import Clock
    >>> plan = SimpleNamespace(
    ...     links=LinkTable(("a -> b",), np.array([1e9]), np.array([1e-6])),
    ...     routes=lambda a, b: Path((0,), 10**9, 1e9))
    >>> env = Clock()
    >>> fabric = Fabric(env, plan, SimpleNamespace(rows=lambda table, rows: None))
    >>> fabric.transfer(0, 1, 10**6, None, lambda: print(env.now))
    >>> env.run_until(10**15)
    1001000000000
    """

    def __init__(self, env: Clock, plan: FactoryPlan, sink: RecordSink) -> None:
        self._env = env
        self._plan = plan
        self._sink = sink
        self._links: dict[int, _Link] = {}
        self._ways: dict[tuple[int, int], _Way] = {}
        self._alone: _Flow | None = None
        """A flow that has met no other so far. Alone it fits its links; only flows that
        meet are followed link by link, which costs as much as the rest of a transfer."""
        self._empty_fs = 0
        """When all flows so far will have ended."""
        self._rows: list[tuple[object, ...]] = []
        self._started = 0

    def transfer(
        self,
        src: int,
        dst: int,
        size_bytes: int,
        cap: float | None,
        on_landed: Callable[[], None],
        *,
        kind: str = "message",
    ) -> None:
        """Send bytes between two nodes now; call back when the last one lands.

        Parameters
        ----------
        cap
            B/s that the ends can do; None: what the path carries.
        kind
            What it is, for the record.

        Raises
        ------
        CapacityError
            If no way joins the two.
        """
        assert size_bytes >= 0
        assert cap is None or cap > 0.0
        path = self._plan.routes(src, dst)
        now_fs = self._env.now_fs
        busy_fs = sending_fs(path, size_bytes, cap)
        landed_fs = now_fs + path.latency_fs + busy_fs
        way = self._ways.get((src, dst))
        if way is None:
            way = self._ways[src, dst] = _Way(path.links)
        way.carried += size_bytes
        if busy_fs:
            rate = round(path.bandwidth if cap is None else min(cap, path.bandwidth))
            if rate > way.peak:
                way.peak = rate
            self._start(_Flow(path.links, now_fs, now_fs + busy_fs, rate))
        row = TransferRow(kind, src, dst, size_bytes, now_fs / FS_PER_S, landed_fs / FS_PER_S)
        self._started += 1
        priority = TRANSFER + self._started
        self._env.at(landed_fs, priority, self._land, (row, on_landed))

    def loads(self) -> list[LinkLoad]:
        """Report what each link that carried something has seen so far, in order of index."""
        now_fs = self._env.now_fs
        carried: Counter[int] = Counter()
        peaks: dict[int, int] = {}
        for way in self._ways.values():
            for index in way.links:
                carried[index] += way.carried
                peaks[index] = max(peaks.get(index, 0), way.peak)
        loads = []
        for index in sorted(carried):
            link = self._link(index)
            link.settle(now_fs)
            ratio = max(link.peak, peaks[index]) / link.bandwidth
            name = self._plan.links.names[index]
            over_s = link.over_fs / FS_PER_S
            loads.append(LinkLoad(name, link.bandwidth, carried[index], over_s, ratio))
        return loads

    def flush(self) -> None:
        """Hand on the records of what has landed."""
        if self._rows:
            self._sink.rows("transfers", self._rows)
            self._rows = []

    def _start(self, flow: _Flow) -> None:
        """Note a flow, and the one that it is the first to meet."""
        if flow.start_fs >= self._empty_fs:
            self._alone = flow
        else:
            if self._alone is not None:
                self._follow(self._alone)
                self._alone = None
            self._follow(flow)
        if flow.end_fs > self._empty_fs:
            self._empty_fs = flow.end_fs

    def _follow(self, flow: _Flow) -> None:
        """Account for a flow on each of its links."""
        for index in flow.links:
            self._link(index).start(flow.start_fs, flow.end_fs, flow.rate)

    def _link(self, index: int) -> _Link:
        link = self._links.get(index)
        if link is None:
            link = self._links[index] = _Link(float(self._plan.links.bandwidth[index]))
        return link

    def _land(self, flight: tuple[TransferRow, Callable[[], None]]) -> None:
        row, on_landed = flight
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self.flush()
        on_landed()
