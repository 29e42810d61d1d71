"""The cores that do I/O work: jobs of hosts and of DPUs, one after the other, and DPUs' ports.

On host CPUs that run tools I/O work shares the cores with them; on a DPU it shares that
DPU's cores with other I/O work, and its bytes pass through the DPU's port, one after the
other, each way by itself: a job is done when its cores and its port are. Bytes that come
in meet the DPU first and then the host, those that go out the host first.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from factorysim.graph.plan import DPUS
from factorysim.sim.audit import close, equal
from factorysim.sim.clock import FS_PER_S
from factorysim.sim.series import Series
from factorysim.sim.tools import ToolJob, ToolStation
from factorysim.spec.io_work import IO_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from factorysim.graph.plan import FactoryPlan, HostPlan, IoPlan, Server
    from factorysim.records import AuditLine, SampleRow
    from factorysim.sim.clock import Clock
    from factorysim.spec.io_work import IoKind, IoWorkSpec

    Floats = npt.NDArray[np.float64]

NUMBERS = 1 << 46
"""Numbers of jobs, behind those of tools at one instant; and of KV that lands with its work."""
_SPARES, _CARDS = 1 << 40, 1 << 41
"""Entities of the first host without tools and of the first DPU: behind replicas and tools."""
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


class IoCores:
    """Hosts and DPUs that do I/O work.

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
        self._begun = self._ended = 0
        self.numbered = 0
        """Jobs so far."""
        self._asked_s = self._given_s = 0.0
        """Core-seconds by kind as chains began, and of jobs as their cores were done."""
        self._series: dict[str, Series] = {}
        self._shape = end_s, bins
        for kind in IO_KINDS:
            if spec.where(kind) != "none":
                self._series_of(f"{spec.where(kind)} {kind}")
        self._notes: list[tuple[str, float, float, float]] = []
        """Place and kind, from, to, cores: of chains that have ended."""

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
        spent_s = {"dpu": 0.0, "host": 0.0}
        for load in loads:
            where, work_s = self.cost(server, load)
            works_s[f"{where} {load.kind}"] = work_s
            spent_s[where] += work_s
        jobs = []
        if spent_s["dpu"]:
            jobs.append(self._job(spent_s["dpu"], cores, dpu=server.dpu))
        if spent_s["host"]:
            jobs.append(self._job(spent_s["host"], cores, host=server.host))
        if not jobs:
            return False
        if not outward:  # comes to the DPU first
            jobs.reverse()
        number, size_bytes = self._begun, _bytes_of(loads, works_s)
        now_fs = self._clock.now_fs
        chain = Chain(number, now_fs, outward, priority, then, value, jobs, works_s, size_bytes)
        self._begun += 1
        self._asked_s += sum(works_s.values())
        self._open[number] = chain
        self._submit(chain)
        return True

    def cost(self, server: Server, load: Load) -> tuple[str, float]:
        """Tell who does some work, and how many core-seconds of theirs it takes."""
        kind, size_bytes, messages = load
        if self._spec.where(kind) == "dpu" and server.dpu is not None:
            return "dpu", self._io.dpu_costs[server.dpu][kind].work_s(size_bytes, messages)
        return "host", self._io.host_costs[kind].work_s(size_bytes, messages)

    def estimate_fs(self, node: int, load: Load, cores: float, *, outward: bool) -> int:
        """Tell how long work would take on idle cores, behind what the port has to do."""
        server = self._io.servers[node]
        where, work_s = self.cost(server, load)
        port_fs = 0
        if where == "dpu":
            assert server.dpu is not None
            assert self._io.dpus is not None
            host = self._io.dpus.hosts[server.dpu]
            ahead_fs = self._ports_fs[server.dpu, outward] - self._clock.now_fs
            port_fs = max(0, ahead_fs) + self._port_fs(server.dpu, load.size_bytes)
        else:
            assert server.host is not None
            host = self._hosts[server.host[0]][server.host[1]]
        return max(port_fs, ceil(work_s / (min(cores, host.cores) * host.speed) * FS_PER_S))

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

    def _job(
        self,
        work_s: float,
        cores: float,
        *,
        dpu: int | None = None,
        host: tuple[int, int] | None = None,
    ) -> IoJob:
        number = NUMBERS + self.numbered
        self.numbered += 1
        job = IoJob(number, -1, work_s, cores, station=-1)
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


def _bytes_of(loads: Sequence[Load], works_s: dict[str, float]) -> float:
    """Bytes of which DPUs do some work: messages' once, though two kinds work on them."""
    mine = [load for load in loads if f"dpu {load.kind}" in works_s]
    sent_bytes = max((load.size_bytes for load in mine if load.kind != "storage"), default=0.0)
    return sent_bytes + sum(load.size_bytes for load in mine if load.kind == "storage")
