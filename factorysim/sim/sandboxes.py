"""Sandboxes that tools run in: started, shared by a session, kept warm, given back.

A sandbox holds memory of one host from the beginning of its start to its end, and
the tools that it serves run there. Those who find no room stand in a line for the
whole deployment; whoever gives memory back serves the head of it.

Nobody can wait for ever. Of each host sandboxes leave `burst` bytes to the tools in
them, so a tool in a sandbox gets its memory once others have ended; and a session that
waits for a sandbox gives back those of its own that no tool uses (`Holders`), so none
holds memory idle while it waits for another's. What is left in a host's memory is
then in sandboxes that work, or whose sessions go on, or ready for the next who asks.

A start is a job of its host like a tool's: it stands in the same line and shares the cores.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from factorysim.records import StationLine
from factorysim.rng import uniform
from factorysim.sim.clock import ARRIVAL, FS_PER_NS, FS_PER_S
from factorysim.sim.tools import ToolJob
from factorysim.workload.tools import ToolTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from factorysim.graph.plan import ToolPlan
    from factorysim.rng import KeyPart
    from factorysim.sim.calendar import Calendar
    from factorysim.sim.clock import Clock
    from factorysim.sim.tools import ToolStation

NOBODY = -1
"""Session of a sandbox that is kept ready."""
FIRST_START = -(1 << 62)
"""Number of a station's first job that is the start of a sandbox: all of them are below zero."""
_ONLY = np.zeros(1, dtype=np.int64)


@dataclass(slots=True, eq=False)
class Box:
    """One sandbox."""

    number: int
    pool: SandboxPool
    session: int
    context: int
    who: tuple[KeyPart, ...]
    """Part of the key of its start's draw."""
    asked_fs: int
    host: int = -1
    granted_fs: int | None = None
    """When it got memory; its start begins then."""
    ready_fs: int | None = None
    warm: bool = False
    """Whether its place was kept ready before."""
    waiting: list[ToolJob] = field(default_factory=list)
    """Tools that came before it was ready."""
    users: int = 0
    """Tools in it."""
    served: int = 0
    rests: int = 0
    """How often it has been left idle: time-outs of older rests are stale."""

    @property
    def idle(self) -> bool:
        """Whether it is ready, and no tool uses it."""
        return self.ready_fs is not None and not self.users


class Holders:
    """Which sandboxes each session holds, of all deployments, and how many it waits for."""

    def __init__(self) -> None:
        self._boxes: dict[int, list[Box]] = {}
        self._waiting: Counter[int] = Counter()
        self._over: set[int] = set()
        """Sessions that have ended while sandboxes of theirs were in use."""

    def took(self, box: Box, *, over: bool) -> None:
        """Note whose a sandbox is, and whether that session has failed already."""
        self._boxes.setdefault(box.session, []).append(box)
        if over:
            self._over.add(box.session)

    def gone(self, box: Box) -> None:
        """Note that a sandbox has ended."""
        boxes = self._boxes[box.session]
        boxes.remove(box)
        if not boxes:
            del self._boxes[box.session]
            self._over.discard(box.session)

    def waits(self, session: int) -> None:
        """Note that a session waits for memory: it gives back what it does not use."""
        self._waiting[session] += 1
        self._end_idle(session)

    def waited(self, session: int) -> None:
        """Note that a session has got what it waited for."""
        self._waiting[session] -= 1
        if not self._waiting[session]:
            del self._waiting[session]

    def unwanted(self, session: int) -> bool:
        """Tell whether a session gives back a sandbox as soon as it is idle."""
        return session in self._waiting or session in self._over

    def gap(self, session: int) -> None:
        """Take back the sandboxes that are not held while the user thinks."""
        self._end_idle(session, lambda box: not box.pool.plan.through_gaps)

    def agent_over(self, session: int, context: int) -> None:
        """Take back the sandboxes of a sub-agent that has handed back what it found."""
        self._end_idle(session, lambda box: box.context == context)

    def over(self, session: int) -> None:
        """Take back the sandboxes of a session that has ended; those in use once they are not."""
        self._end_idle(session)
        if session in self._boxes:
            self._over.add(session)

    def _end_idle(self, session: int, which: Callable[[Box], bool] | None = None) -> None:
        for box in list(self._boxes.get(session, ())):
            if box.idle and (which is None or which(box)):
                box.pool.end(box)


class SandboxPool:
    """The sandboxes of one tools deployment.

    Parameters
    ----------
    on_end
        Takes a sandbox that has ended, and why.
    on_wait
        Told of a sandbox that no host has memory for.
    key
        Of the random streams of its starts: the seed first.
    """

    def __init__(
        self,
        clock: Clock,
        calendar: Calendar,
        tools: ToolPlan,
        station: ToolStation,
        holders: Holders,
        on_end: Callable[[Box, str], None],
        on_wait: Callable[[Box], None],
        key: tuple[int, *tuple[KeyPart, ...]],
    ) -> None:
        assert tools.sandbox is not None
        self.plan = plan = tools.sandbox
        self.name = tools.name
        self._clock = clock
        self._calendar = calendar
        self._station = station
        self._holders = holders
        self._on_end = on_end
        self._on_wait = on_wait
        self._key = key
        self._starts = ToolTable(["start"], [plan.start])
        self._room = [(int(host.memory_bytes) - plan.burst) // plan.memory for host in tools.hosts]
        """Sandboxes that a host has room for."""
        self._held = [0 for _ in tools.hosts]
        self._ready: list[deque[Box]] = [deque() for _ in tools.hosts]
        """Kept warm, the oldest first."""
        self._refilling = [0 for _ in tools.hosts]
        self._line: deque[Box] = deque()
        self._shared: dict[tuple[int, int], Box] = {}
        """By session and context."""
        self._all: dict[int, Box] = {}
        self._starting: dict[int, Box] = {}
        """By the number of the job that starts them."""
        self.begun = 0
        self._gone = 0
        self._area_fs = self._sojourn_fs = self._kept_fs = 0
        for host, room in enumerate(self._room):
            for _ in range(min(plan.warm, room)):
                box = self._new(NOBODY, 0, ())
                self._take_memory(box, host)
                box.ready_fs = 0
                self._ready[host].append(box)

    @property
    def now_fs(self) -> int:
        """The present instant."""
        return self._clock.now_fs

    # What tools ask for, and leave.

    def submit(
        self, job: ToolJob, context: int, who: tuple[KeyPart, ...], *, over: bool = False
    ) -> None:
        """Take a tool: it runs in its session's sandbox, which is started if there is none.

        Parameters
        ----------
        context
            Of the session, which calls the tool.
        who
            Asks for a sandbox, should one be started: part of the key of that draw.
        over
            Whether the session has failed already, in another branch.
        """
        context = context if self.plan.per == "agent" else 0
        box = self._shared.get((job.session, context))
        if box is None:
            box = self._new(job.session, context, who)
            box.waiting.append(job)
            if self.plan.per != "call":
                self._shared[job.session, context] = box
            self._holders.took(box, over=over)
            self._ask(box)
        elif box.ready_fs is None:
            box.waiting.append(job)
        else:
            self._use(box, job)

    def left(self, job: ToolJob) -> None:
        """Let a tool go: its sandbox may be idle now, and memory of its host free."""
        box = job.owner
        assert box is not None
        box.users -= 1
        if not box.users:
            self._rest(box)
        if job.memory:
            self._serve(box.host)

    def started(self, job: ToolJob) -> None:
        """Let a sandbox be used whose start has ended."""
        box = self._starting.pop(job.number)
        box.ready_fs = self._clock.now_fs
        if box.session != NOBODY:
            self._open(box)
            return
        self._refilling[box.host] -= 1
        if self._line:
            self._hand_over(box, self._from_line())
        else:
            self._ready[box.host].append(box)

    def end(self, box: Box, why: str = "given_back") -> None:
        """End a sandbox that is ready and that no tool uses."""
        assert box.idle
        self._shared.pop((box.session, box.context), None)
        self._holders.gone(box)
        self._leave(box, why)
        self._held[box.host] -= 1
        self._station.give_memory(box.host, self.plan.memory)
        self._serve(box.host)

    # What becomes of a sandbox.

    def _new(self, session: int, context: int, who: tuple[KeyPart, ...]) -> Box:
        now_fs = self._clock.now_fs
        box = Box(self.begun, self, session, context, who, now_fs)
        self.begun += 1
        self._all[box.number] = box
        self._area_fs -= now_fs
        return box

    def _ask(self, box: Box) -> None:
        """Find a sandbox that stands ready, or room for a new one, or the end of the line."""
        ready = [host for host, boxes in enumerate(self._ready) if boxes]
        if ready:
            host = min(ready, key=self._station.load)
            self._hand_over(self._ready[host].popleft(), box)
            self._refill(host)
            return
        free = [host for host in range(len(self._room)) if self._has_room(host)]
        if free and not self._line:
            self._begin(box, min(free, key=self._emptiness))
            return
        self._line.append(box)
        self._on_wait(box)
        self._holders.waits(box.session)

    def _emptiness(self, host: int) -> tuple[float, float]:
        """Order of hosts: by the memory that sandboxes hold, then by the cores asked of them."""
        return self._held[host] / self._room[host], self._station.load(host)

    def _has_room(self, host: int) -> bool:
        free = self._held[host] < self._room[host]
        return free and self.plan.memory <= self._station.free_memory(host)

    def _from_line(self) -> Box:
        box = self._line.popleft()
        self._holders.waited(box.session)
        return box

    def _take_memory(self, box: Box, host: int) -> None:
        box.host, box.granted_fs = host, self._clock.now_fs
        self._held[host] += 1
        self._station.keep_memory(host, self.plan.memory)

    def _begin(self, box: Box, host: int) -> None:
        """Start a sandbox on a host that has room."""
        self._take_memory(box, host)
        job, remote_fs = self._start_job(box)
        self._starting[job.number] = box
        if remote_fs:
            when_fs = self._clock.now_fs + remote_fs
            priority = ARRIVAL + max(0, box.session)
            self._calendar.at(when_fs, priority, self._station.submit, job)
        else:
            self._station.submit(job)

    def _start_job(self, box: Box) -> tuple[ToolJob, int]:
        """Draw the work of a start, and the femtoseconds that it waits for others before."""
        work = self.plan.start.work
        normal = ndtri(uniform(*self._key, *box.who, "body"))
        tail = uniform(*self._key, *box.who, "tail")
        (seconds,) = self._starts.durations(_ONLY, np.array([normal]), np.array([tail])).tolist()
        remote_fs = round(seconds * work.remote_share * 1e9) * FS_PER_NS
        cpu_s = seconds * (1.0 - work.remote_share) * work.cores
        return ToolJob(
            FIRST_START + box.number, box.session, cpu_s, work.cores, host=box.host
        ), remote_fs

    def _hand_over(self, ready: Box, box: Box) -> None:
        """Let a sandbox that stands ready become the one that was asked for."""
        box.host, box.warm = ready.host, True
        box.granted_fs = box.ready_fs = self._clock.now_fs
        self._leave(ready, "taken")
        self._open(box)

    def _open(self, box: Box) -> None:
        """Let the tools in that waited for a sandbox."""
        jobs, box.waiting = box.waiting, []
        for job in jobs:
            self._use(box, job)

    def _use(self, box: Box, job: ToolJob) -> None:
        job.owner, job.host = box, box.host
        box.users += 1
        box.served += 1
        self._station.submit(job)

    def _rest(self, box: Box) -> None:
        """Keep a sandbox that is idle, or give it back."""
        if self.plan.per == "call":
            self.end(box, "used")
        elif self._holders.unwanted(box.session):
            self.end(box)
        else:
            box.rests += 1
            if self.plan.idle_fs is not None:
                due_fs = self._clock.now_fs + self.plan.idle_fs
                priority = ARRIVAL + box.session
                self._calendar.at(due_fs, priority, self._expire, (box, box.rests))

    def _expire(self, rest: tuple[Box, int]) -> None:
        box, number = rest
        if box.number in self._all and box.idle and box.rests == number:
            self.end(box, "timed_out")

    def _leave(self, box: Box, why: str) -> None:
        """Count a sandbox out."""
        now_fs = self._clock.now_fs
        del self._all[box.number]
        self._gone += 1
        self._area_fs += now_fs
        self._sojourn_fs += now_fs - box.asked_fs
        assert box.granted_fs is not None
        self._kept_fs += now_fs - box.granted_fs
        self._on_end(box, why)

    def _serve(self, host: int) -> None:
        """Serve those who wait, then the warm pool, where a host may have memory again."""
        while self._line and self._has_room(host):
            self._begin(self._from_line(), host)
        self._refill(host)

    def _refill(self, host: int) -> None:
        """Start what the warm pool lacks, as long as nobody waits for the room."""
        while (
            len(self._ready[host]) + self._refilling[host] < self.plan.warm
            and not self._line
            and self._has_room(host)
        ):
            self._refilling[host] += 1
            box = self._new(NOBODY, 0, ("warm", self.begun))
            self._begin(box, host)

    # What the audit asks.

    def waiting(self) -> Iterator[ToolJob]:
        """Tools whose sandbox is not ready."""
        for box in self._all.values():
            yield from box.waiting

    def held(self) -> Iterator[Box]:
        """Sandboxes that have not ended."""
        yield from self._all.values()

    def astray(self) -> int:
        """Count hosts whose memory for sandboxes is not what these hold, and lost sandboxes."""
        by_host = Counter(box.host for box in self._all.values() if box.granted_fs is not None)
        memory = self.plan.memory
        off = sum(
            by_host[host] != held or kept != held * memory
            for host, (held, kept) in enumerate(
                zip(self._held, self._station.kept_memory(), strict=True)
            )
        )
        in_line = sum(box.granted_fs is None for box in self._all.values())
        return off + abs(in_line - len(self._line)) + abs(self.begun - self._gone - len(self._all))

    def line(self) -> StationLine:
        """Return the totals as of now: Little's law asks that area and sojourn be equal."""
        now_fs = self._clock.now_fs
        there = self._all.values()
        sojourn_fs = self._sojourn_fs + sum(now_fs - box.asked_fs for box in there)
        kept_fs = self._kept_fs + sum(
            now_fs - box.granted_fs for box in there if box.granted_fs is not None
        )
        present = self.begun - self._gone
        return StationLine(
            station=f"{self.name} sandboxes",
            capacity=float(sum(self._room)),
            arrivals=self.begun,
            departures=self._gone,
            area_s=(self._area_fs + present * now_fs) / FS_PER_S,
            sojourn_s=sojourn_fs / FS_PER_S,
            busy_s=kept_fs / FS_PER_S,
        )
