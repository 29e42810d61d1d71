"""The fabric: bytes from node to node, at a rate cap, after the latency of the way.

A flow has the lesser of its cap and its path's narrowest link, as long as all flows
on every link that it crosses fit; where they do not, they share by max-min fairness
(`factorysim.sim.traffic`). Messages below 64 KB cost latency only: there flow models
do not hold [1]_, and the size does not matter.

References
----------
.. [1] Velho, Schnorr, Casanova and Legrand, "On the validity of flow-level TCP
   network models for grid and cloud simulations", ACM TOMACS 23(4), 2013.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from factorysim.sim.clock import FS_PER_S, S_PER_FS, TRANSFER
from factorysim.sim.flows import UNIT, Flow, Region
from factorysim.sim.standing import REFRESH, Standing
from factorysim.sim.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.graph.factory import Path
    from factorysim.graph.plan import FactoryPlan
    from factorysim.records import RecordSink
    from factorysim.sim.clock import Clock

LATENCY_ONLY_BYTES = 64_000
"""Messages below this cost latency only (Velho et al., section 5: flows of less are off)."""
_ROWS = 4096
"""Records handed on at a time."""
_SHORT = 1e-9
"""Relative, by which the bytes that a slowed flow was given may differ from its size."""
_INSTANTS = 8
"""Femtoseconds at its cap by which they may differ too: ends are whole femtoseconds."""


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
    """What the flows of a run did to one link."""

    name: str
    bandwidth: float
    """B/s."""
    carried_bytes: int
    over_s: float
    """Time during which the flows' caps summed to more than the bandwidth: it was
    saturated, and slowed them."""
    peak_ratio: float
    """The most that the caps summed to, over the bandwidth."""
    fullest: float
    """Bytes carried over what the link can do, in the time that it was busy or in the
    time that it was saturated, whichever is more; above 1 never."""


class Books(NamedTuple):
    """Bytes of all transfers, from counts kept apart."""

    links: list[LinkLoad]
    sent_bytes: int
    landed_bytes: int
    found_bytes: int
    """Of what is still under way and will land."""
    short: int
    """Slowed flows whose rates over time do not add up to their size."""
    handed_bytes: int
    """Sent from prefill to decode."""


def sending_fs(route: Route, size_bytes: int, cap: float | None = None) -> int:
    """Femtoseconds for which a message occupies its way, alone: 0 below 64 KB.

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


@dataclass(slots=True)
class _Way:
    """What went from one node to another so far."""

    path: Path
    carried: int = 0
    """Bytes."""
    timed: int = 0
    """Bytes of them that took time to send."""
    alone_fs: int = 0
    """Time taken by flows that met no other."""
    peak: float = 0.0
    """Highest cap of a flow, B/s."""


class Fabric:
    """Transfers between the nodes of a plan.

    Parameters
    ----------
    refresh
        Relative change of its share that a standing class is told of.

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
    >>> for size in (10**6, 10**6):
    ...     fabric.transfer(0, 1, size, None, lambda: print(env.now))
    >>> env.run_until(10**15)
    2001000000000
    2001000000000
    """

    def __init__(
        self, env: Clock, plan: FactoryPlan, sink: RecordSink, *, refresh: float = REFRESH
    ) -> None:
        self._env = env
        self._plan = plan
        self._sink = sink
        self._refresh = refresh
        self._traffic = Traffic(env, plan.links.bandwidth.tolist(), self._expect)
        self._ways: dict[tuple[int, int], _Way] = {}
        self._standing: list[Standing] = []
        self._rows: list[tuple[object, ...]] = []
        """Of `records.TransferRow`."""
        self._started = 0
        self._sent_bytes = self._landed_bytes = 0
        self.sent_by_kind: Counter[str] = Counter()
        """Bytes, so far."""
        self.landed = 0
        """Transfers that have landed."""
        self._short = 0

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
        way = self._ways.get((src, dst))
        if way is None:
            way = self._ways[src, dst] = _Way(self._plan.routes(src, dst))
        path = way.path
        now_fs = self._env.now_fs
        alone_fs = sending_fs(path, size_bytes, cap)
        rate = path.bandwidth if cap is None else min(cap, path.bandwidth)
        way.carried += size_bytes
        self._sent_bytes += size_bytes
        self.sent_by_kind[kind] += size_bytes
        self._started += 1
        flow = Flow(
            self._started,
            kind,
            src,
            dst,
            size_bytes,
            path.links,
            rate,
            now_fs,
            alone_fs,
            path.latency_fs,
            on_landed,
            now_fs + alone_fs,
        )
        if alone_fs:
            way.timed += size_bytes
            if rate > way.peak:
                way.peak = rate
            gone = self._traffic.start(flow)
            if gone is not None:
                self._ways[gone.src, gone.dst].alone_fs += gone.alone_fs
        self._expect(flow)

    def estimate_fs(self, pairs: Sequence[tuple[int, int]], size_bytes: int) -> int:
        """Tell how long messages would take that start now together, all of one size.

        If nothing else started or ended, and every link were shared evenly by what
        crosses it: what a sender can know.
        """
        paths = [self._plan.routes(src, dst) for src, dst in pairs]
        own = Counter(link for path in paths for link in path.links)
        longest = 0
        for path in paths:
            time_fs = path.latency_fs
            if size_bytes >= LATENCY_ONLY_BYTES and path.links:
                rate = min(self._traffic.share(link, own[link]) for link in path.links)
                time_fs += ceil(size_bytes / rate * FS_PER_S)
            longest = max(longest, time_fs)
        return longest

    def standing(
        self,
        pairs: Sequence[tuple[int, int]],
        on_change: Callable[[], None],
        *,
        weight: int = 1,
    ) -> Standing:
        """Reserve a share for traffic that repeats: of collectives, from node to node.

        Parameters
        ----------
        pairs
            Nodes that send, and to whom; all at the same rate, at the same time.
        on_change
            Called at the end of an instant at which the share differs from the one that
            was last sampled by more than `refresh`; once, until it is sampled again.
        weight
            Shares of one pair; a flow has 1.
        """
        links = [link for src, dst in pairs for link in self._plan.routes(src, dst).links]
        handle = Standing(
            self._env, self._traffic, tuple(links), len(pairs), weight, self._refresh, on_change
        )
        self._standing.append(handle)
        return handle

    def found(self) -> list[Flow]:
        """Transfers that something pending in the clock will let land."""
        flows: dict[int, Flow] = {}
        for callback, value in self._env.pending():
            if callback == self._land:
                if value.lands_fs() is not None:
                    flows[value.number] = value
            elif isinstance(value, Region):
                flows |= {f.number: f for f in self._traffic.slowed_until(callback, value)}
        return list(flows.values())

    def books(self) -> Books:
        """Balance what was sent, and what each link did."""
        found = sum(flow.size_bytes for flow in self.found())
        return Books(
            self.loads(),
            self._sent_bytes,
            self._landed_bytes,
            found,
            self._short,
            self.sent_by_kind["kv"],
        )

    def carried_bytes(self) -> dict[int, float]:
        """Bytes that took time on each link up to now, by its index: no small messages."""
        now_fs = self._env.now_fs
        carried: defaultdict[int, float] = defaultdict(float)
        for way in self._ways.values():
            for index in way.path.links:
                carried[index] += way.timed
        for flow in self._traffic.under_way():
            for index in flow.links:
                carried[index] -= flow.size_bytes - flow.sent_bytes(now_fs)
        for handle in self._standing:
            for index in handle.links:
                carried[index] += handle.carried_bytes()
        return dict(carried)

    def loads(self) -> list[LinkLoad]:
        """Report what each link that carried something has seen so far, in order of index."""
        self._traffic.settle()
        carried: Counter[int] = Counter()
        moved = self.carried_bytes()
        busy_fs: Counter[int] = Counter()
        peaks: dict[int, float] = {}
        for way in self._ways.values():
            for index in way.path.links:
                carried[index] += way.carried
                busy_fs[index] += way.alone_fs
                peaks[index] = max(peaks.get(index, 0.0), way.peak)
        links, alone_fs = self._traffic.alone_fs()
        for index in links:
            busy_fs[index] += alone_fs
        for handle in self._standing:
            for index in handle.links:
                carried[index] += round(handle.carried_bytes())
        return [
            self._load(index, carried[index], moved[index], busy_fs[index], peaks.get(index, 0.0))
            for index in sorted(carried)
        ]

    def flush(self) -> None:
        """Hand on the records of what has landed."""
        if self._rows:
            self._sink.rows("transfers", self._rows)
            self._rows = []

    def _load(self, index: int, carried: int, moved: float, alone_fs: int, peak: float) -> LinkLoad:
        link = self._traffic.link(index)
        busy_fs = alone_fs + link.busy_until(self._env.now_fs)
        shares = ((moved, busy_fs), (link.moved, link.over_fs))
        return LinkLoad(
            self._plan.links.names[index],
            link.bandwidth,
            carried,
            link.over_fs / FS_PER_S,
            max(link.peak / UNIT, peak) / link.bandwidth,
            max(_filled(sent, time_fs, link.bandwidth) for sent, time_fs in shares),
        )

    def _expect(self, flow: Flow) -> None:
        """Let a flow land, now that the end of its sending is known."""
        lands_fs = flow.lands_fs()
        assert lands_fs is not None
        self._env.at(lands_fs, TRANSFER + flow.number, self._land, flow)

    def _land(self, flow: Flow) -> None:
        now_fs = self._env.now_fs
        on_landed = flow.on_landed
        if on_landed is None or flow.lands_fs() != now_fs:
            return  # it was slowed since: another event lets it land
        flow.on_landed = None
        self._landed_bytes += flow.size_bytes
        self.landed += 1
        slowed_fs = 0
        if flow.slowed:
            slowed_fs = now_fs - flow.latency_fs - flow.start_fs - flow.alone_fs
            off = abs(flow.sent_bytes(now_fs) - flow.size_bytes)
            self._short += off > _SHORT * flow.size_bytes + _INSTANTS * flow.cap / FS_PER_S
        self._rows.append(
            (
                flow.kind,
                flow.src,
                flow.dst,
                flow.size_bytes,
                flow.start_fs * S_PER_FS,
                now_fs * S_PER_FS,
                slowed_fs * S_PER_FS,
            )
        )
        if len(self._rows) >= _ROWS:
            self.flush()
        on_landed()


def _filled(sent_bytes: float, time_fs: int, bandwidth: float) -> float:
    """Bytes over what fits into a time; one byte is left to rounding."""
    over = max(0.0, sent_bytes - 1.0)
    fits = bandwidth * time_fs / FS_PER_S
    return over / fits if fits else (inf if over else 0.0)
