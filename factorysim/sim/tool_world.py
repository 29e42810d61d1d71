"""What sessions use of tools: which deployment runs a class, in a sandbox or not, after a check."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from factorysim.sim.clock import ARRIVAL
from factorysim.sim.io_cores import IoJob
from factorysim.sim.sandboxes import Holders, SandboxPool
from factorysim.sim.series import Series
from factorysim.sim.session import Use
from factorysim.sim.tools import ToolJob, ToolStation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from factorysim.graph.plan import CheckPlan, ToolPlan
    from factorysim.records import StationLine
    from factorysim.rng import KeyPart
    from factorysim.sim.book import Book
    from factorysim.sim.calendar import Calendar
    from factorysim.sim.clock import Clock
    from factorysim.sim.incidents import Incidents
    from factorysim.sim.io_work import IoWork
    from factorysim.sim.power import PowerMeter
    from factorysim.sim.session import Branch
    from factorysim.workload.session import ToolNode


class Way(NamedTuple):
    """What a call passes before it goes on."""

    latency_fs: int
    cpu_s: float
    """Core-seconds of a check, on a host of tools."""
    station: int
    """Whose hosts do that work; -1: nobody's."""


class Work(NamedTuple):
    """What the stations say that they did, and what is wrong with them."""

    core_s: float
    served_s: float
    done_s: float
    hosts_astray: int
    boxes_astray: int
    boxes_begun: int


class ToolWorld:
    """All tools deployments of a factory.

    Parameters
    ----------
    entity
        Id of the first host in the order at one instant; all others follow it.
    key
        Of the random streams of starts of sandboxes: the seed first.
    """

    def __init__(
        self,
        clock: Clock,
        calendar: Calendar,
        plans: Sequence[ToolPlan],
        llm_check: CheckPlan | None,
        book: Book,
        meter: PowerMeter,
        incidents: Incidents,
        *,
        io: IoWork | None,
        entity: int,
        key: tuple[int, *tuple[KeyPart, ...]],
        horizon_s: float,
        bins: int,
    ) -> None:
        self._clock = clock
        self._plans = plans
        self._book = book
        self._meter = meter
        self._io = io
        self.used = 0
        """Jobs begun: attempts at tools, and checks."""
        self.using: dict[int, Use] = {}
        """Jobs under way, by number."""
        boxes = [plan.sandbox for plan in plans if plan.sandbox is not None]
        self.holders = Holders() if boxes else None
        self.boxed_by_agent = any(box.per == "agent" for box in boxes)
        """Whether sub-agents have sandboxes of their own somewhere."""
        self.stations: list[ToolStation] = []
        self._pools: list[SandboxPool | None] = []
        self._series = [Series("busy_cores", plan.name, horizon_s, bins) for plan in plans]
        for number, plan in enumerate(plans):
            station = ToolStation(
                clock,
                plan,
                partial(self.left, number),
                entity=entity,
                on_busy=partial(self.busy, number),
            )
            entity += len(plan.hosts)
            self.stations.append(station)
            if io is not None:
                io.cores.tools.append(station)
            self._pools.append(
                None
                if self.holders is None or plan.sandbox is None
                else SandboxPool(
                    clock,
                    calendar,
                    plan,
                    station,
                    self.holders,
                    book.write_sandbox,
                    incidents.no_memory,
                    (*key, plan.name),
                )
            )
        self._named = {cls: n for n, plan in enumerate(plans) for cls in plan.classes}
        rest = [n for n, plan in enumerate(plans) if not plan.classes]
        self._rest = rest[0] if rest else -1
        self._ways = [self._way(plan, number) for number, plan in enumerate(plans)]
        self.has_ways = any(way is not None for way in self._ways)
        self.llm_way = None if llm_check is None else self._llm_way(llm_check)

    def _way(self, plan: ToolPlan, number: int) -> Way | None:
        check = plan.check
        latency_fs = plan.latency_fs + (0 if check is None else check.latency_fs)
        cpu_s = 0.0 if check is None else check.cpu_s
        return Way(latency_fs, cpu_s, number) if latency_fs or cpu_s else None

    def _llm_way(self, check: CheckPlan) -> Way:
        """Where LLM calls are checked: on the first tools deployment of the factory's own."""
        own = [number for number, plan in enumerate(self._plans) if not plan.elastic]
        station = own[0] if own else (0 if self._plans else -1)
        return Way(check.latency_fs, check.cpu_s, station)

    # What sessions do.

    def way(self, node: ToolNode) -> Way | None:
        """Tell what an attempt at a tool passes before it."""
        place = self._named.get(node.cls, self._rest)
        return None if place < 0 else self._ways[place]

    def ask(self, use: Use, cpu_s: float) -> ToolJob | None:
        """Start an attempt's CPU work; None: no deployment takes its class."""
        node = use.node
        assert node is not None
        place = self._named.get(node.cls, self._rest)
        if place < 0:
            return None
        live = use.branch.live
        job = ToolJob(self.used, live.number, cpu_s, node.cores, node.memory_bytes, place)
        self.using[self.used] = use
        self.used += 1
        job.asked_fs = self._clock.now_fs
        pool = self._pools[place]
        if pool is None:
            self.stations[place].submit(job)
        else:
            who = live.stream.name, live.plan.sid, live.tools, use.attempt
            pool.submit(job, node.context, who, over=live.failed)
        return job

    def check(self, branch: Branch, way: Way) -> ToolJob | None:
        """Start the work of a check; None: there are no hosts for it."""
        if way.station < 0:
            return None
        job = ToolJob(self.used, branch.live.number, way.cpu_s, station=way.station)
        self.using[self.used] = Use(branch, None, self._clock.now_fs, 1)
        self.used += 1
        self.stations[way.station].submit(job)
        return job

    def left(self, number: int, job: ToolJob) -> None:
        """Let whoever waits for a job of a station go on."""
        io, pool = self._io, self._pools[number]
        if isinstance(job, IoJob):
            assert io is not None
            io.cores.left(job)
            return
        if job.number < 0:
            assert pool is not None
            pool.started(job)
            return
        use = self.using[job.number]
        branch, node = use.branch, use.node
        if job.owner is not None:
            assert pool is not None
            pool.left(job)
        if io is not None and node is not None and job.outcome == "completed":
            host = self._plans[number].hosts[job.host].node
            if io.tool_ended(job, host, branch, node, self._back):
                return
        del self.using[job.number]
        # What the session does next sees every completion of this instant.
        clock = self._clock
        if not self.stations[number].leaving and clock.alone():
            branch.resume()
        else:
            clock.at(clock.now_fs, ARRIVAL + branch.live.number, branch.resume)

    def _back(self, job: ToolJob) -> None:
        """Go on with a session whose tool has ended, and the I/O work of that too."""
        self.using.pop(job.number).branch.resume()

    def busy(self, number: int, rows: npt.NDArray[np.float64]) -> None:
        """Meter how many cores of a deployment's hosts were busy, and when."""
        self._meter.add_busy(number, rows)
        _, start_s, stop_s, cores = rows.T
        self._series[number].add(start_s, stop_s, cores)

    # The end.

    def close(self) -> None:
        """Write down the jobs and the sandboxes that are there at the end."""
        for station, pool in zip(self.stations, self._pools, strict=True):
            station.flush()
            jobs = [
                job for job in station.in_flight() if job.number >= 0 and not isinstance(job, IoJob)
            ]
            if pool is not None:
                jobs += pool.waiting()
            self._censor(jobs)
            if pool is not None:
                for box in pool.held():
                    self._book.write_sandbox(box, "held")
        if self._io is not None:
            waiting = self._io.cores.waiting()
            self._censor(one for one in waiting if isinstance(one, ToolJob))

    def _censor(self, jobs: Iterable[ToolJob]) -> None:
        """Write down jobs that are under way at the end."""
        for job in jobs:
            use = self.using[job.number]
            if use.node is None:
                self._book.count_job("censored")
            else:
                self._book.write_tool(use, job, "censored", None)

    def samples(self) -> Iterator[tuple[float, str, str, float]]:
        """Busy cores over time."""
        for series in self._series:
            yield from series.samples()

    def lines(self) -> tuple[StationLine, ...]:
        """Balance every deployment, and its sandboxes."""
        pools = [pool.line() for pool in self._pools if pool is not None]
        return (*(station.line() for station in self._all()), *pools)

    def work(self) -> Work:
        """Sum up what the stations did."""
        stations = self._all()
        given = [station.work() for station in stations]
        cards = None if self._io is None else self._io.cores.dpus  # of no meter
        return Work(
            core_s=sum(one.line().busy_s for one in stations if one is not cards),
            served_s=sum(served for served, _ in given),
            done_s=sum(done for _, done in given),
            hosts_astray=sum(len(station.astray()) for station in stations),
            boxes_astray=sum(pool.astray() for pool in self._pools if pool is not None),
            boxes_begun=sum(pool.begun for pool in self._pools if pool is not None),
        )

    def _all(self) -> list[ToolStation]:
        """List the stations of tools, then those of I/O work alone."""
        return self.stations if self._io is None else self.stations + self._io.cores.stations()
