"""Small worlds of sandboxes: a pool on hosts of its own, with starts that take a given time."""

from __future__ import annotations

from factorysim.graph.plan import HostPlan, SandboxPlan, ToolPlan
from factorysim.sim.calendar import Calendar
from factorysim.sim.clock import ARRIVAL, Clock
from factorysim.sim.sandboxes import FIRST_START, Box, Holders, SandboxPool
from factorysim.sim.tools import ToolJob, ToolStation
from factorysim.spec.agent import LognormalSeconds, LognormalTokens, ToolClassSpec, ToolWork

FS = 10**15
US = {"kind": "assumed", "source": "us"}


def start_class(p50_s=1.0, *, sigma=0.5, remote=0.0, memory="3 B"):
    return ToolClassSpec(
        about="A start.",
        duration=LognormalSeconds(p50=f"{p50_s} s", sigma=sigma, **US),
        work=ToolWork(cores=1, remote_share=remote, memory=memory, **US),
        result_tokens=LognormalTokens(p50=1, sigma=0.1, **US),
    )


def sandbox(
    per="session", *, memory=3, burst=4, warm=0, idle_s=None, through_gaps=True, start=None
):
    return SandboxPlan(
        per=per,
        start=start_class() if start is None else start,
        memory=memory,
        burst=burst,
        warm=warm,
        idle_fs=None if idle_s is None else round(idle_s * FS),
        through_gaps=through_gaps,
    )


def host(*, cores=4, memory=10, speed=1.0):
    return HostPlan(0, 0, cores, cores, speed, memory, 0, 1e9, 50.0, 150.0)


def tool_plan(box, *hosts, name="t", discipline="ps", **more):
    return ToolPlan(name, "cpu", discipline, 1.0, hosts or (host(),), sandbox=box, **more)


class FixedStarts(SandboxPool):
    """Starts that take a second of one core, or what `start_s` says."""

    start_s = 1.0

    def _start_job(self, box):
        return ToolJob(FIRST_START + box.number, box.session, self.start_s, 1.0, host=box.host), 0


class Boxes:
    """A pool, and what becomes of the tools that are submitted at given seconds."""

    def __init__(self, *plans, start_s=1.0):
        self.env = Clock()
        self.calendar = Calendar(self.env)
        self.holders = Holders()
        self.done: list[tuple[int, float]] = []
        self.ended: list[tuple[int, int, str, float]] = []
        self.last: set[int] = set()
        """Tools with which their session ends."""
        self.in_line: list[Box] = []
        """Sandboxes that found no memory, as they came."""
        self.left: dict[int, int] | None = None
        """Tools that a session has yet to use, where it ends with the last of them."""
        self.pools: list[SandboxPool] = []
        self.stations: list[ToolStation] = []
        for number, plan in enumerate(plans):
            station = ToolStation(self.env, plan, self._leaving(number), entity=10 * number)
            self.stations.append(station)
            pool = FixedStarts(
                self.env,
                self.calendar,
                plan,
                station,
                self.holders,
                self._end,
                self.in_line.append,
                (7, "box"),
            )
            pool.start_s = start_s
            self.pools.append(pool)

    def _leaving(self, number):
        def left(job):
            if job.number < 0:
                self.pools[number].started(job)
                return
            self.pools[number].left(job)
            self.done.append((job.number, self.env.now_fs / FS))
            if self.left is not None:
                self.left[job.session] -= 1
            if job.number in self.last or (self.left and not self.left[job.session]):
                self.holders.over(job.session)

        return left

    def _end(self, box, why):
        self.ended.append((box.number, box.session, why, self.env.now_fs / FS))

    def add(self, at_s, number, session, cpu_s=1.0, *, memory=0, context=0, pool=0, last=False):
        if last:
            self.last.add(number)
        job = ToolJob(number, session, cpu_s, 1.0, memory)

        def submit(_):
            self.pools[pool].submit(job, context, (session, number))

        self.env.at(round(at_s * FS), ARRIVAL + number, submit)
        return job

    def over(self, at_s, session, number=10**6):
        def end(_):
            self.holders.over(session)

        self.env.at(round(at_s * FS), ARRIVAL + number, end)

    def at(self, at_s, what, number=10**6):
        self.env.at(round(at_s * FS), ARRIVAL + number, lambda _: what())

    def run(self, until_s=1000.0):
        self.env.run_until(round(until_s * FS))
        for pool, station in zip(self.pools, self.stations, strict=True):
            assert pool.astray() == 0
            assert station.astray() == []
            line = pool.line()
            assert line.area_s == line.sojourn_s
            assert line.busy_s <= line.capacity * until_s
        return dict(self.done)
