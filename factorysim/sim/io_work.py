"""I/O work under way: TLS, packets and storage as jobs of host cores and of DPUs.

What crosses the door or goes to a store makes a job at the server where it lands. On
host CPUs that run tools it shares the cores with them; on a DPU it shares that DPU's
cores with other I/O work, and its bytes pass through the DPU's port, one after the
other, each way by itself: a job is done when its cores and its port are. Bytes that
come in meet the DPU first and then the host, those that go out the host first.

- A prompt is worked on when it has landed, and reaches its replica after that. Of an
  answer the last message is worked on before it sets out. What went ahead (a message a
  token) costs the same cores; it is one job, as the answer ends, that nobody waits for.
- A tool's messages, and its bytes of stores, are worked on when its own work is done, on
  its host; its result goes back after that.
- KV to or from a store is worked on while it is sent: it has landed when both are done.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from factorysim.graph.io_work import DPUS
from factorysim.sim.audit import close, equal
from factorysim.sim.clock import ARRIVAL, FS_PER_S, TRANSFER
from factorysim.sim.series import Series
from factorysim.sim.session import NETWORK, TOOL
from factorysim.sim.tools import ToolJob, ToolStation
from factorysim.sim.ways import BYTES_PER_TOKEN
from factorysim.spec.io_work import IO_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from factorysim.graph.io_work import IoPlan, Server
    from factorysim.graph.plan import FactoryPlan, HostPlan
    from factorysim.records import AuditLine, SampleRow
    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.router import Landed, Way
    from factorysim.sim.session import Branch
    from factorysim.spec.io_work import IoKind, IoWorkSpec
    from factorysim.workload.session import ToolNode

    Floats = npt.NDArray[np.float64]

_SPARES, _CARDS = 1 << 40, 1 << 41
"""Entities of the first host without tools and of the first DPU: behind replicas and tools."""
_NUMBERS = 1 << 46
"""Numbers of jobs, and of KV that lands when its work is done: behind all others'."""
_BEHIND_DRIVERS = ("nvme", "cmx", "storage")
"""Tiers that software talks to; to and from host memory devices copy by themselves."""
_ROWS = 4096
"""Pieces of work that are added to the series at a time."""


class Load(NamedTuple):
    """Bytes that make work of one kind."""

    kind: IoKind
    size_bytes: float
    messages: int = 1


@dataclass(slots=True)
class IoJob(ToolJob):
    """I/O work of one server, on its host or on its DPU."""

    chain: Chain | None = None
    """What it is part of."""
    dpu: int = -1
    """That does it; -1: the host."""
    station: int = -1
    """Of the host."""


@dataclass(slots=True)
class Chain:
    """Work on the same bytes: one job, or one on the DPU and one on the host."""

    number: int
    since_fs: int
    outward: bool
    """Whether the bytes leave the server."""
    priority: int
    then: Callable[[Any], object] | None
    """Called with `value` once all is done, at that priority; None: nobody waits."""
    value: object
    jobs: list[IoJob]
    """Still to be done, the next one last."""
    works_s: dict[str, float]
    """Core-seconds by place and kind."""
    dpu_bytes: float
    """That pass through the DPU's port."""
    port_fs: int = 0
    """When the last of them is through."""


class IoWork:
    """All I/O work of a factory.

    Parameters
    ----------
    on_busy
        Takes the busy intervals of host CPUs that run no tools, for the power meter.
    end_s, bins
        Of the series.
    """

    def __init__(
        self,
        clock: Clock,
        plan: FactoryPlan,
        io: IoPlan,
        spec: IoWorkSpec,
        on_busy: Callable[[Floats], None],
        end_s: float,
        bins: int,
    ) -> None:
        self._clock = clock
        self._io = io
        self._spec = spec
        self._hosts: list[tuple[HostPlan, ...]] = [tools.hosts for tools in plan.tools]
        self.tools: list[ToolStation] = []
        """Stations of the plan's tools, in its order: they hand `IoJob`s back to `left`."""
        self.spare: ToolStation | None = None
        """Host CPUs that run no tools."""
        if io.spare is not None:
            self._hosts.append(io.spare.hosts)
            self.spare = ToolStation(clock, io.spare, self.left, entity=_SPARES, on_busy=on_busy)
        self.dpus: ToolStation | None = None
        self._busy_dpus = Series("busy_cores", DPUS, end_s, bins)
        if io.dpus is not None:
            self.dpus = ToolStation(
                clock, io.dpus, self.left, entity=_CARDS, on_busy=self._note_busy_dpus
            )
        self._ports_fs: defaultdict[tuple[int, bool], int] = defaultdict(int)
        """When a DPU's port, one way, has let through all that was to go."""
        self._open: dict[int, Chain] = {}
        self._begun = self._ended = self._numbered = 0
        self._asked_s = self._given_s = 0.0
        """Core-seconds of chains as they began, and of jobs as their cores were done."""
        self._series: dict[str, Series] = {}
        self._shape = end_s, bins
        for kind in IO_KINDS:
            if self._on(kind):
                self._series_of(f"{spec.where(kind)} {kind}")
        self._notes: list[tuple[str, float, float, float]] = []
        """Place and kind, from, to, cores: of chains that have ended."""

    # What makes work.

    def way(self, inner: Way, node: int) -> IoWay:
        """Put the work at the door into the way to a replica at a node."""
        return IoWay(self, self._clock, inner, node)

    def messages(self, size_bytes: float, messages: int = 1) -> list[Load]:
        """Tell what work messages are that cross the door."""
        loads = []
        if self._spec.tls != "none":
            loads.append(Load("tls", size_bytes, messages))
        if self._spec.packets != "none":
            loads.append(Load("packets", size_bytes, messages))
        return loads

    def tool_ended(
        self, job: ToolJob, branch: Branch, node: ToolNode, back: Callable[[ToolJob], None]
    ) -> bool:
        """Work on what a tool has sent, read and written, then call back; False: there is none."""
        answer_bytes = node.out_bytes or node.result_tokens * BYTES_PER_TOKEN
        loads = self.messages(node.in_bytes + answer_bytes, 2)
        stored_bytes = self._spec.tool_bytes * node.cpu_s
        if stored_bytes:
            loads.append(Load("storage", stored_bytes))
        since_fs = self._clock.now_fs

        def done(job: ToolJob) -> None:
            took_fs = self._clock.now_fs - since_fs
            branch.shares[NETWORK] += took_fs
            branch.shares[TOOL] -= took_fs  # whose end, to the session, is now
            back(job)

        host = self._hosts[0][job.host].node
        return self.work(
            host,
            loads,
            outward=True,
            priority=ARRIVAL + branch.live.number,
            then=done,
            value=job,
            cores=node.cores,
        )

    def carry(
        self,
        lanes: Sequence[tuple[int, int]],
        size_bytes: int,
        kind: str,
        done: Callable[[], None],
    ) -> int:
        """Work on KV that is sent on lanes; `done` is called as often as this returns."""
        return sum(
            self.work(
                node,
                [Load("storage", moved_bytes)],
                outward=not kind.startswith("fetch"),
                priority=TRANSFER + _NUMBERS + self._numbered,
                then=lambda _: done(),
                cores=self._io.width,
            )
            for node, moved_bytes in self._servers(lanes, size_bytes, kind)
        )

    def estimate_fs(self, lanes: Sequence[tuple[int, int]], size_bytes: int, kind: str) -> int:
        """Tell how long that work would take on idle cores, behind what ports have to do."""
        outward = not kind.startswith("fetch")
        longest_fs = 0
        for node, moved_bytes in self._servers(lanes, size_bytes, kind):
            server = self._io.servers[node]
            where, work_s = self._cost(server, Load("storage", moved_bytes))
            if where == "dpu":
                assert server.dpu is not None
                assert self._io.dpus is not None
                cores = self._io.dpus.hosts[server.dpu]
                ahead_fs = max(0, self._ports_fs[server.dpu, outward] - self._clock.now_fs)
                longest_fs = max(longest_fs, ahead_fs + self._port_fs(server.dpu, moved_bytes))
            else:
                assert server.host is not None
                cores = self._hosts[server.host[0]][server.host[1]]
            rate = min(self._io.width, cores.cores) * cores.speed
            longest_fs = max(longest_fs, ceil(work_s / rate * FS_PER_S))
        return longest_fs

    def _servers(
        self, lanes: Sequence[tuple[int, int]], size_bytes: int, kind: str
    ) -> list[tuple[int, float]]:
        """Find whose cores work on KV: of each server a node, and the bytes that it moves."""
        verb, _, tier = kind.partition("_")
        if tier not in _BEHIND_DRIVERS or not self._on("storage"):
            return []
        found: dict[Server, tuple[int, float]] = {}
        for source, target in lanes:
            node = target if verb == "fetch" else source
            server = self._io.servers.get(node)  # boxes of a shared tier work for themselves
            if server is not None:
                first, moved_bytes = found.get(server, (node, 0.0))
                found[server] = first, moved_bytes + size_bytes
        return list(found.values())

    # Work.

    def work(
        self,
        node: int,
        loads: Sequence[Load],
        *,
        outward: bool,
        priority: int,
        then: Callable[[Any], object] | None,
        value: object = None,
        cores: float = 1.0,
    ) -> bool:
        """Have a server's cores work on bytes, and then call back; False: there is no work.

        Parameters
        ----------
        node
            Where the bytes are.
        cores
            That can work on them at once.
        """
        server = self._io.servers[node]
        works_s: dict[str, float] = {}
        on_dpu = on_host = stored_bytes = sent_bytes = 0.0
        for load in loads:
            where, work_s = self._cost(server, load)
            works_s[f"{where} {load.kind}"] = work_s
            if where == "host":
                on_host += work_s
                continue
            on_dpu += work_s
            if load.kind == "storage":
                stored_bytes = load.size_bytes
            else:
                sent_bytes = load.size_bytes
        jobs = []
        if on_dpu:
            jobs.append(self._job(on_dpu, cores, dpu=server.dpu))
        if on_host:
            jobs.append(self._job(on_host, cores, host=server.host))
        if not jobs:
            return False
        if not outward:  # comes to the DPU first
            jobs.reverse()
        now_fs, dpu_bytes = self._clock.now_fs, stored_bytes + sent_bytes
        number = self._begun
        chain = Chain(number, now_fs, outward, priority, then, value, jobs, works_s, dpu_bytes)
        self._begun += 1
        self._asked_s += on_dpu + on_host
        self._open[number] = chain
        self._submit(chain)
        return True

    def left(self, job: ToolJob) -> None:
        """Go on, now that the cores are done with a job."""
        assert isinstance(job, IoJob)
        chain = job.chain
        assert chain is not None
        self._given_s += job.cpu_s
        chain.jobs.pop()
        if chain.jobs:
            self._submit(chain)
        else:
            at_fs = max(self._clock.now_fs, chain.port_fs)
            self._clock.at(at_fs, chain.priority, self._end, chain)

    def _cost(self, server: Server, load: Load) -> tuple[str, float]:
        """Tell who does some work, and how many core-seconds of theirs it takes."""
        kind, size_bytes, messages = load
        if self._spec.where(kind) == "dpu" and server.dpu is not None:
            return "dpu", self._io.dpu_costs[server.dpu][kind].work_s(size_bytes, messages)
        return "host", self._io.host_costs[kind].work_s(size_bytes, messages)

    def _job(
        self,
        work_s: float,
        cores: float,
        *,
        dpu: int | None = None,
        host: tuple[int, int] | None = None,
    ) -> IoJob:
        number = _NUMBERS + self._numbered
        self._numbered += 1
        job = IoJob(number, -1, work_s, cores)
        if dpu is not None:
            job.dpu = job.host = dpu
        else:
            assert host is not None, "the plan gives a host wherever there is no DPU"
            job.station, job.host = host
        return job

    def _submit(self, chain: Chain) -> None:
        """Give the next job of a chain to its cores, and its bytes to the port."""
        job = chain.jobs[-1]
        job.chain = chain
        if job.dpu >= 0:
            port = job.dpu, chain.outward
            begins_fs = max(self._ports_fs[port], self._clock.now_fs)
            chain.port_fs = begins_fs + self._port_fs(job.dpu, chain.dpu_bytes)
            self._ports_fs[port] = chain.port_fs
            station = self.dpus
        else:
            station = self.spare if job.station == len(self.tools) else self.tools[job.station]
        assert station is not None
        station.submit(job)

    def _port_fs(self, dpu: int, size_bytes: float) -> int:
        return ceil(size_bytes / self._io.lines[dpu] * FS_PER_S)

    def _end(self, chain: Chain) -> None:
        """End a chain, and tell who waits for it."""
        now_fs = self._clock.now_fs
        del self._open[chain.number]
        self._ended += 1
        since_s, now_s = chain.since_fs / FS_PER_S, now_fs / FS_PER_S
        took_s = (now_fs - chain.since_fs) / FS_PER_S
        for place, work_s in chain.works_s.items():
            self._notes.append((place, since_s, now_s, work_s / took_s))
        if len(self._notes) >= _ROWS:
            self._add_notes()
        if chain.then is not None:
            chain.then(chain.value)

    def _on(self, kind: IoKind) -> bool:
        return self._spec.where(kind) != "none"

    # What is told of it.

    def waiting(self) -> Iterator[object]:
        """Go through the calls and the tools' jobs whose bytes are worked on."""
        return (chain.value for chain in self._open.values() if chain.value is not None)

    def stations(self) -> list[ToolStation]:
        """List the stations that do nothing but I/O work."""
        return [station for station in (self.spare, self.dpus) if station is not None]

    def samples(self) -> list[SampleRow]:
        """Draw the cores that worked on each kind over time, and the DPUs' that were busy."""
        for station in self.stations():
            station.flush()
        self._add_notes()
        series = list(self._series.values())
        if self.dpus is not None:
            series.append(self._busy_dpus)
        return [row for one in series for row in one.samples()]

    def audit(self) -> tuple[AuditLine, ...]:
        """Compare the work that was asked for with what jobs were given, and count chains."""
        left_s = sum(job.cpu_s for chain in self._open.values() for job in chain.jobs)
        open_ = len(self._open)
        given_s = self._given_s + left_s
        return (
            close("I/O core-seconds asked = done + under way", self._asked_s, given_s),
            equal("I/O work begun = ended + under way", self._begun, self._ended + open_),
        )

    def _series_of(self, place: str) -> Series:
        series = self._series.get(place)
        if series is None:
            series = self._series[place] = Series("io_cores", place, *self._shape)
        return series

    def _add_notes(self) -> None:
        by_place: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for place, *interval in self._notes:
            by_place[place].append((interval[0], interval[1], interval[2]))
        self._notes = []
        for place, rows in by_place.items():
            self._series_of(place).add(*np.array(rows).T)

    def _note_busy_dpus(self, rows: Floats) -> None:
        _, start_s, stop_s, cores = rows.T
        self._busy_dpus.add(start_s, stop_s, cores)


class IoWay:
    """The way to a replica, with the work on its text at the replica's server."""

    def __init__(self, io: IoWork, clock: Clock, inner: Way, node: int) -> None:
        self._io = io
        self._clock = clock
        self._inner = inner
        self._node = node

    def there(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        """Carry a prompt to the replica, which gets it once the work is done."""
        self._inner.there(tokens, priority, partial(self._arrived, tokens, priority, landed), call)

    def back(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        """Carry the end of an answer to its session, once the work is done."""
        # After all ends of steps of this instant, and of tools' work.
        answered = partial(self._answered, tokens, priority, landed)
        self._clock.at(self._clock.now_fs, priority, answered, call)

    def _arrived(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        loads = self._io.messages(tokens * BYTES_PER_TOKEN)
        if not self._work(loads, priority, landed, call, outward=False):
            landed(call)

    def _answered(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        io, ahead = self._io, tokens - 1
        if ahead > 0:
            self._work(io.messages(ahead * BYTES_PER_TOKEN, ahead), priority, None, None)
        last = io.messages(min(tokens, 1) * BYTES_PER_TOKEN)
        leave = partial(self._inner.back, tokens, priority, landed)
        if not self._work(last, priority, leave, call):
            leave(call)

    def _work(
        self,
        loads: list[Load],
        priority: int,
        then: Landed | None,
        call: Call | None,
        *,
        outward: bool = True,
    ) -> bool:
        return self._io.work(
            self._node, loads, outward=outward, priority=priority, then=then, value=call
        )


def metered(plan: FactoryPlan) -> FactoryPlan:
    """Give the power meter a plan in which hosts that run no tools come after those that do."""
    if plan.io is None or plan.io.spare is None:
        return plan
    return plan._replace(tools=(*plan.tools, plan.io.spare))
