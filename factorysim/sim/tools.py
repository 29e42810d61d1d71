"""Tools on CPU hosts: memory admission, then processor sharing or whole cores.

A job is an amount of work, `cpu_s` core-seconds of the reference core, that can
keep `cores` cores busy at once. It goes to the host with the least load, is
admitted there when its memory is free (first come, first served: the head of
the line blocks), and then runs under one of two disciplines.

``ps``
    Processor sharing. Job i runs at ``cores_i * min(1, C / S)`` times the host's
    speed, where S is the sum of the cores asked by the jobs that run and C what
    the host's cores give: their number, times `smt_yield` where each has a
    second thread. So up to C nobody feels the others; the threads' yield comes
    in as soon as S exceeds the cores, not gradually up to the number of threads.
``fcfs``
    A job holds ``ceil(cores)`` whole cores (all of a host that has fewer) from
    admission to its end. Second threads stay idle, as under static CPU pinning.

Processor sharing runs in virtual time [1]_: V grows by ``min(1, C / S)`` per
second, so a job that would take w seconds alone ends when V has grown by w, and
an event costs O(log n). V is an integer count of 2**-20 fs, cores of 1e-6: each
event rounds V down by less than one unit, jobs end at the first femtosecond at
which V has reached their tag. Under `fcfs` S never exceeds C, so V is the time.

References
----------
.. [1] Parekh and Gallager, "A generalized processor sharing approach to flow
   control in integrated services networks", IEEE/ACM ToN 1(3), 1993, section III.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from factorysim.records import StationLine
from factorysim.sim.clock import COMPLETION, FS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from factorysim.graph.plan import HostPlan, ToolPlan
    from factorysim.sim.clock import Clock
    from factorysim.sim.sandboxes import Box

    Floats = npt.NDArray[np.float64]

CORE = 10**6
"""Units of a core: fractions of a core count as integers."""
_FRACTION_BITS = 20
"""Of virtual time below the femtosecond."""
_BUSY_ROWS = 8192
"""Busy intervals handed on at a time."""
_BUSY_COLUMNS = 4


@dataclass(slots=True)
class ToolJob:
    """One tool's work for a CPU host, and what became of it."""

    number: int
    """Unique, ascending; the order of jobs that end at one instant."""
    session: int
    cpu_s: float
    """Core-seconds on the reference core."""
    cores: float = 1.0
    """That it can keep busy at once; above zero."""
    memory_bytes: float = 0.0
    """Held from admission to the end."""
    station: int = 0
    """Place of its deployment among those of tools."""
    ready_fs: int | None = None
    admitted_fs: int | None = None
    finished_fs: int | None = None
    host: int = -1
    """Index into the plan's hosts; -1: no host was used. Given before, it is bound to that one."""
    outcome: str = ""
    """`completed` or `rejected`, once it has left."""
    asked_fs: int | None = None
    """When its session asked for cores, or for a sandbox before."""
    owner: Box | None = field(default=None, repr=False)
    """The sandbox that it runs in."""
    held: int = field(default=0, repr=False)
    """Units of `CORE` that it asks of its host."""
    memory: int = field(default=0, repr=False)


@dataclass(slots=True)
class _Host:
    """A host's jobs, and its virtual time; amounts of cores in units of `CORE`."""

    index: int
    cores: int
    capacity: int
    """What the cores give with all their threads busy."""
    speed: float
    free_memory: int
    kept: int = 0
    """Bytes that sandboxes hold, of those that are not free."""
    demand: int = 0
    """Sum over the jobs that run."""
    asked: int = 0
    """Sum over the jobs that run or wait."""
    virtual: int = 0
    """Virtual time at `virtual_at_fs`, in 2**-20 fs."""
    virtual_at_fs: int = 0
    beyond: int = 0
    """What second threads gave beyond the cores, in units of `CORE` times 2**-20 fs."""
    wake_fs: int | None = None
    generation: int = 0
    """Of the wake-up that counts: older ones are stale."""
    busy: int = 0
    busy_since_fs: int = 0
    busy_since_s: float = 0.0
    busy_total: int = 0
    running: list[tuple[int, int, ToolJob]] = field(default_factory=list)
    """Heap of virtual end, number, job."""
    waiting: deque[ToolJob] = field(default_factory=deque)

    def advance(self, now_fs: int) -> None:
        """Bring virtual time up to now, before `demand` changes."""
        elapsed = now_fs - self.virtual_at_fs << _FRACTION_BITS
        if self.demand > self.cores:
            self.beyond += elapsed * (min(self.demand, self.capacity) - self.cores)
            if self.demand > self.capacity:
                elapsed = elapsed * self.capacity // self.demand
        self.virtual += elapsed
        self.virtual_at_fs = now_fs

    def due_fs(self) -> int:
        """When the first of the running jobs ends, if nothing changes."""
        left = self.running[0][0] - self.virtual
        if self.demand > self.cores and self.demand > self.capacity:
            return self.virtual_at_fs - (-left * self.demand // (self.capacity << _FRACTION_BITS))
        return self.virtual_at_fs - (-left >> _FRACTION_BITS)


class ToolStation:
    """The hosts of one tools deployment.

    `on_done(job)` is called at the instant at which a job leaves, from an event of
    `COMPLETION` priority, never from inside `submit`. A job without CPU work
    touches no host and leaves at the instant of its submission, and so does one
    whose memory no host has (`rejected`). Whoever submits should do so from an
    event of `ARRIVAL` priority, so that the choice of host sees every completion
    of that instant. A job whose `host` is set goes there, and is `rejected` if it asks for
    more memory than sandboxes leave to it.

    Parameters
    ----------
    entity
        Id of the first host in the order at one instant; the others follow it.
    on_busy
        Takes the hosts' busy intervals, many at a time, for the power meter: of each
        the host's index, start and end in seconds, and busy cores.

    Examples
    --------
    >>> from factorysim.graph.plan import HostPlan, ToolPlan
    >>> from factorysim.sim.clock import Clock
    >>> host = HostPlan(node=0, rack=0, cores=1, threads=1, speed=1.0, memory_bytes=1e9,
    ...                 latency_fs=0, bandwidth=1e9, idle_w=0.0, peak_w=0.0)
    >>> plan = ToolPlan(name="tools", pool="cpu", discipline="ps", smt_yield=1.0, hosts=(host,))
    >>> env = Clock()
    >>> station = ToolStation(env, plan, lambda job: print(job.number, job.finished_fs / 1e15))
    >>> station.submit(ToolJob(number=1, session=0, cpu_s=1.0))
    >>> station.submit(ToolJob(number=2, session=0, cpu_s=2.0))
    >>> env.run_until(10**16)
    1 2.0
    2 3.0
    """

    def __init__(
        self,
        env: Clock,
        plan: ToolPlan,
        on_done: Callable[[ToolJob], None],
        *,
        entity: int = 0,
        on_busy: Callable[[Floats], None] | None = None,
    ) -> None:
        self._env = env
        self._name = plan.name
        self._on_done = on_done
        self._on_busy = on_busy
        self._whole_cores = plan.discipline == "fcfs"
        self._most = plan.most
        self._burst = 0 if plan.sandbox is None else plan.sandbox.burst
        self._priority = COMPLETION + entity
        yields = 1.0 if self._whole_cores else plan.smt_yield
        self._hosts = [_host(i, host, yields) for i, host in enumerate(plan.hosts)]
        self._memory_of = [host.free_memory for host in self._hosts]
        """By host, to the byte: a cloud has more of them than a float can tell apart."""
        self._memory = np.array(self._memory_of, dtype=np.float64)
        self._memory_of_all = min(self._memory_of)
        self._load = np.zeros(len(self._hosts), dtype=np.float64)
        self._busy = array("d")
        """Busy intervals, one after the other."""
        self.present = 0
        self.leaving = 0
        """Jobs that have ended at this instant and are still to be told of."""
        self._arrivals = 0
        self._departures = 0
        self._area_fs = 0
        """Under `present`, less `present` times now: each change adds its instant."""
        self._sojourn_fs = 0
        self._done_s = 0.0
        """Core-seconds that jobs which ended had asked for, on their hosts."""

    def submit(self, job: ToolJob) -> None:
        """Take a job now."""
        now_fs = self._env.now_fs
        job.ready_fs = now_fs
        self._arrivals += 1
        if job.cpu_s <= 0.0:
            job.admitted_fs = now_fs
            self._env.at(now_fs, self._priority, self._pass, (job, "completed"))
            return
        job.memory = ceil(job.memory_bytes)
        host: _Host | None
        if job.host < 0:
            host = self._least_loaded(job.memory)
        else:
            host = self._hosts[job.host] if job.memory <= self._burst else None
        if host is None:
            job.host = -1
            self._env.at(now_fs, self._priority, self._pass, (job, "rejected"))
            return
        assert job.cores > 0.0
        job.host = host.index
        job.held = max(1, round(job.cores * CORE))
        if self._whole_cores:
            job.held = min(ceil(job.cores) * CORE, host.cores)
        host.asked += job.held
        self._load[host.index] = host.asked / host.capacity
        self.present += 1
        self._area_fs -= now_fs
        if host.waiting or not self._fits(host, job):
            host.waiting.append(job)
            return
        host.advance(now_fs)
        self._start(host, job, now_fs)
        self._arm(host)

    def astray(self) -> list[int]:
        """Hosts whose cores and memory are not what their jobs hold: there should be none."""
        return [
            host.index
            for host, memory in zip(self._hosts, self._memory_of, strict=True)
            if host.demand != sum(job.held for _, _, job in host.running)
            or host.asked != host.demand + sum(job.held for job in host.waiting)
            or host.free_memory
            != memory - host.kept - sum(job.memory for _, _, job in host.running)
        ]

    def free_memory(self, host: int) -> int:
        """Bytes of a host that nobody holds."""
        return self._hosts[host].free_memory

    def load(self, host: int) -> float:
        """Cores asked of a host over those it has."""
        return float(self._load[host])

    def keep_memory(self, host: int, amount: int) -> None:
        """Set bytes of a host aside for a sandbox; there must be as many."""
        one = self._hosts[host]
        assert amount <= one.free_memory
        one.free_memory -= amount
        one.kept += amount

    def give_memory(self, host: int, amount: int) -> None:
        """Take bytes of a host back from a sandbox: jobs that wait for memory may begin."""
        one = self._hosts[host]
        one.free_memory += amount
        one.kept -= amount
        if one.waiting and self._fits(one, one.waiting[0]):
            now_fs = self._env.now_fs
            one.advance(now_fs)
            while one.waiting and self._fits(one, one.waiting[0]):
                self._start(one, one.waiting.popleft(), now_fs)
            self._arm(one)

    def kept_memory(self) -> list[int]:
        """Bytes that sandboxes hold, by host."""
        return [host.kept for host in self._hosts]

    def work(self) -> tuple[float, float]:
        """Core-seconds that hosts gave to jobs, and those that jobs have got of what they ask."""
        now_fs = self._env.now_fs
        done_s = self._done_s
        served = 0
        for host in self._hosts:
            host.advance(now_fs)
            busy = host.busy_total + host.busy * (now_fs - host.busy_since_fs)
            served += (busy << _FRACTION_BITS) + host.beyond
            for end, _, job in host.running:
                left = max(0, end - host.virtual) / (FS_PER_S << _FRACTION_BITS)
                done_s += _asked_s(job, host) - left * job.held / CORE
        return served / (CORE * FS_PER_S << _FRACTION_BITS), done_s

    def in_flight(self) -> Iterator[ToolJob]:
        """Jobs that have not left, host by host: those that run, then those that wait."""
        for host in self._hosts:
            yield from (job for _, _, job in host.running)
            yield from host.waiting

    def line(self) -> StationLine:
        """Return the totals as of now; the difference of two is a window's.

        The area is kept by the station, the sojourns by the jobs that left and
        those still here: Little's law asks that they be equal, to the femtosecond.
        Rejected jobs count among the arrivals and the departures.
        """
        now_fs = self._env.now_fs
        sojourn_fs = self._sojourn_fs
        for job in self.in_flight():
            assert job.ready_fs is not None
            sojourn_fs += now_fs - job.ready_fs
        busy = sum(h.busy_total + h.busy * (now_fs - h.busy_since_fs) for h in self._hosts)
        return StationLine(
            station=self._name,
            capacity=sum(host.cores for host in self._hosts) / CORE,
            arrivals=self._arrivals,
            departures=self._departures,
            area_s=(self._area_fs + self.present * now_fs) / FS_PER_S,
            sojourn_s=sojourn_fs / FS_PER_S,
            busy_s=busy / (CORE * FS_PER_S),
        )

    def flush(self) -> None:
        """Hand on the busy intervals up to now, the open ones too."""
        now_fs = self._env.now_fs
        for host in self._hosts:
            self._close_interval(host, now_fs)
        self._hand_on()

    def _least_loaded(self, memory: int) -> _Host | None:
        """Host with the least cores asked over capacity, of those that can ever hold it."""
        if memory <= self._memory_of_all:
            return self._hosts[self._load.argmin()]
        able = self._memory >= memory
        return self._hosts[np.where(able, self._load, np.inf).argmin()] if able.any() else None

    def _fits(self, host: _Host, job: ToolJob) -> bool:
        if self._most is not None and len(host.running) >= self._most:
            return False
        if self._whole_cores and host.demand + job.held > host.cores:
            return False
        return job.memory <= host.free_memory

    def _start(self, host: _Host, job: ToolJob, now_fs: int) -> None:
        """Admit a job that fits; the host's virtual time is up to date."""
        host.free_memory -= job.memory
        host.demand += job.held
        job.admitted_fs = now_fs
        # A third of a core is held as 333,333 millionths: work is done by what is held.
        cores = min(job.cores, job.held / CORE)
        alone_fs = max(1, round(job.cpu_s / (cores * host.speed) * FS_PER_S))
        heappush(host.running, (host.virtual + (alone_fs << _FRACTION_BITS), job.number, job))
        if host.busy != (host.demand if host.demand < host.cores else host.cores):
            self._close_interval(host, now_fs)

    def _arm(self, host: _Host) -> None:
        """See to it that the host wakes when its first job ends, or before."""
        due_fs = host.due_fs()
        if host.wake_fs is None or due_fs < host.wake_fs:
            host.generation += 1
            host.wake_fs = due_fs
            wake = (host, host.generation)
            self._env.at(due_fs, self._priority + host.index, self._wake, wake)

    def _wake(self, wake: tuple[_Host, int]) -> None:
        """End the jobs that are due, then admit those that wait."""
        host, generation = wake
        if generation != host.generation:
            return
        now_fs = self._env.now_fs
        host.wake_fs = None
        if host.due_fs() > now_fs:  # later jobs slowed the first one down
            self._arm(host)
            return
        host.advance(now_fs)
        done = self._finished(host)
        while host.waiting and self._fits(host, host.waiting[0]):
            self._start(host, host.waiting.popleft(), now_fs)
        self.leaving = len(done)
        self.present -= self.leaving
        self._area_fs += self.leaving * now_fs
        if host.busy != (host.demand if host.demand < host.cores else host.cores):
            self._close_interval(host, now_fs)
        self._load[host.index] = host.asked / host.capacity
        if host.running:
            self._arm(host)
        for job in done:
            self.leaving -= 1
            self._leave(job, now_fs, "completed")

    def _finished(self, host: _Host) -> list[ToolJob]:
        """Take out the jobs whose virtual end has come, in order of number."""
        running = host.running
        done = []
        while running and running[0][0] <= host.virtual:
            job = heappop(running)[2]
            host.demand -= job.held
            host.asked -= job.held
            host.free_memory += job.memory
            done.append(job)
        self._done_s += sum([_asked_s(job, host) for job in done])
        if not running:
            host.virtual = 0  # a busy period is over: keep the integers short
        if len(done) > 1:
            done.sort(key=lambda job: job.number)
        return done

    def _pass(self, passed: tuple[ToolJob, str]) -> None:
        """Let a job go that no host has seen."""
        job, outcome = passed
        self._leave(job, self._env.now_fs, outcome)

    def _leave(self, job: ToolJob, now_fs: int, outcome: str) -> None:
        assert job.ready_fs is not None
        job.finished_fs = now_fs
        job.outcome = outcome
        self._departures += 1
        self._sojourn_fs += now_fs - job.ready_fs
        self._on_done(job)

    def _close_interval(self, host: _Host, now_fs: int) -> None:
        """Write down how busy the host was until now, and begin another interval."""
        busy, since_fs, since_s = host.busy, host.busy_since_fs, host.busy_since_s
        host.busy = min(host.demand, host.cores)
        if since_fs == now_fs:
            return
        now_s = now_fs / FS_PER_S
        host.busy_since_fs, host.busy_since_s = now_fs, now_s
        if busy:
            host.busy_total += busy * (now_fs - since_fs)
            self._busy.extend((host.index, since_s, now_s, busy / CORE))
            if len(self._busy) >= _BUSY_ROWS * _BUSY_COLUMNS:
                self._hand_on()

    def _hand_on(self) -> None:
        """Hand on the busy intervals that have been written down."""
        rows = np.frombuffer(self._busy).reshape(-1, _BUSY_COLUMNS)
        self._busy = array("d")
        if self._on_busy is not None and len(rows):
            self._on_busy(rows)


def _asked_s(job: ToolJob, host: _Host) -> float:
    """Core-seconds of a host that a job takes, with those of its cores that it leaves idle."""
    cores, held = job.cores, job.held / CORE
    return job.cpu_s * held / (host.speed * (held if held < cores else cores))


def _host(index: int, plan: HostPlan, smt_yield: float) -> _Host:
    cores = plan.cores * CORE
    capacity = round(cores * smt_yield) if plan.threads > plan.cores else cores
    return _Host(index, cores, capacity, plan.speed, free_memory=int(plan.memory_bytes))
