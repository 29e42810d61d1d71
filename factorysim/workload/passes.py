"""A trace again and again, and drawn anew: loops and bootstraps of its sessions."""

from __future__ import annotations

from bisect import bisect_left
from copy import copy
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from factorysim.errors import Fault, TraceError
from factorysim.workload.session import LlmNode, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np

    from factorysim.spec.stream import LoopSpec
    from factorysim.workload.session import Node

RESAMPLED_MAX = 1_000_000
"""Sessions of a trace that are kept in memory to be drawn from, at most."""
_DRAWN_IDS = 1 << 72
"""Between the ids of a session and of the same one, drawn again: hashes of 64 bits fit."""
_PASS_IDS = 1 << 84
"""Between those of a pass and of the next: all fit in what `content` leaves a trace."""


@dataclass(slots=True)
class Clock:
    """How long a trace is, known when it has been read."""

    path: Path
    sessions: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def watch(self, sessions: Iterator[Session]) -> Iterator[Session]:
        """Pass sessions on, and note when they come."""
        self.sessions = 0
        for session in sessions:
            if not self.sessions:
                self.first_ns = session.at_ns
            self.sessions += 1
            self.last_ns = session.at_ns
            yield session

    def period_ns(self) -> int:
        """From the start of the trace to where it could begin again: an average gap after the end.

        Raises
        ------
        TraceError
            If all sessions come at once.
        """
        spread_ns = self.last_ns - self.first_ns
        if not spread_ns:
            found = f"{self.sessions} sessions, all at {self.last_ns / 1e9:g} s"
            cure = "give the stream `arrivals`, or the loop a `period`"
            expected = "a clock, to know how long the trace is"
            raise TraceError(Fault(str(self.path), "", found, expected, cure))
        return self.last_ns + round(spread_ns / (self.sessions - 1))


def looped(
    one_pass: Callable[[int, Clock], Iterator[Session]],
    loop: LoopSpec,
    path: Path,
    *,
    timed: bool,
    speed: float,
) -> Iterator[Session]:
    """Repeat a trace, each pass after the one before; the ids of sessions stay unique.

    Parameters
    ----------
    one_pass
        Gives the sessions of a pass by its number, and notes in the clock when the
        trace's own come.
    timed
        Whether they come by the trace's clock: else their instants are another's.

    Raises
    ------
    TraceError
        Where a pass ends, if its period is unknown, or before its last session.
    """
    start_ns = 0
    fresh = loop.hashes == "fresh"
    for number in count() if loop.times is None else range(loop.times):
        clock = Clock(path)
        for session in one_pass(number, clock):
            if number:
                session.sid = f"{session.sid}@{number}"
                session.at_ns += start_ns
                if fresh:
                    session.nodes = _shifted(session, number * _PASS_IDS)
            yield session
        if not clock.sessions:
            return
        if timed and number + 1 != loop.times:
            start_ns += _period_ns(loop, clock, speed)


def _period_ns(loop: LoopSpec, clock: Clock, speed: float) -> int:
    if loop.period is None:
        return clock.period_ns()
    period_ns = round(loop.period * 1e9 / speed)
    if period_ns < clock.last_ns:
        last_s = clock.last_ns * speed / 1e9
        found, expected = (
            f"{loop.period:g} s",
            f"at least {last_s:g} s, when the last session comes",
        )
        raise TraceError(Fault(str(clock.path), "loop.period", found, expected))
    return period_ns


def _shifted(session: Session, shift: int) -> list[Node]:
    """Give a session's prompts ids that only the same copy of the trace has."""
    nodes: list[Node] = []
    for node in session.nodes:
        if isinstance(node, LlmNode) and node.hashes and session.hash_scope == "global":
            node = copy(node)
            node.hashes = tuple((first + shift, blocks) for first, blocks in node.hashes)
        nodes.append(node)
    return nodes


def bounded(sessions: Iterator[Session], path: Path) -> Iterator[Session]:
    """Refuse more sessions of a trace than can be kept to be drawn from.

    Raises
    ------
    TraceError
        As the first one too many comes.
    """
    for number, session in enumerate(sessions):
        if number == RESAMPLED_MAX:
            cure = "give the stream a limit"
            expected = "fewer, to be resampled in memory"
            raise TraceError(Fault(str(path), "", f"over {number:,} sessions", expected, cure))
        yield session


def resampled(sessions: list[Session], generator: np.random.Generator) -> Iterator[Session]:
    """Bootstrap: at each recorded arrival, a session drawn with replacement.

    The instants stay, so bursts and the profile of the day are the trace's, and
    no two copies come at one instant unless two sessions did.
    """
    if not sessions:
        return
    chosen: list[int] = generator.integers(len(sessions), size=len(sessions)).tolist()
    seen: set[int] = set()
    for ordinal, (slot, index) in enumerate(zip(sessions, chosen, strict=True)):
        again = _again(sessions[index], ordinal, slot.at_ns)
        # Drawn again, a session is another one that is like it: to find all of its
        # prompts in the cache would be an artefact.
        if index in seen:
            again.hash_scope = "session"
        seen.add(index)
        yield again


def block_bootstrap(
    sessions: list[Session], block_ns: int, period_ns: int, generator: np.random.Generator
) -> Iterator[Session]:
    """Bootstrap of blocks of time: what came within one still comes together.

    Blocks begin at any instant and wrap around the end of the trace, so each session
    is as likely as any other [1]_. The c-th time that a session is drawn it
    belongs to the c-th copy of the trace: sessions share prompts within a copy, as
    recorded, and none finds its own prompt in the cache because it was drawn twice.

    References
    ----------
    .. [1] Politis and Romano, "A circular block-resampling procedure for stationary
       data", in LePage and Billard (eds.), Exploring the Limits of Bootstrap, 1992.
    """
    times = [session.at_ns for session in sessions]
    drawn = [0] * len(sessions)
    ordinal = 0
    for slot_ns in range(0, period_ns, block_ns):
        length_ns = min(block_ns, period_ns - slot_ns)
        begin_ns = int(generator.integers(period_ns))
        for index, at_ns in _within(times, begin_ns, length_ns, period_ns):
            again = _again(sessions[index], ordinal, slot_ns + at_ns)
            if drawn[index]:
                again.nodes = _shifted(again, drawn[index] * _DRAWN_IDS)
            drawn[index] += 1
            ordinal += 1
            yield again


def _within(
    times: list[int], begin_ns: int, length_ns: int, period_ns: int
) -> Iterator[tuple[int, int]]:
    """Which sessions come within a time, on a clock that begins again, and how far into it."""
    for turn_ns in range(0, begin_ns + length_ns, period_ns):
        low = bisect_left(times, begin_ns - turn_ns)
        high = bisect_left(times, begin_ns + length_ns - turn_ns)
        for index in range(low, high):
            yield index, times[index] + turn_ns - begin_ns


def _again(session: Session, ordinal: int, at_ns: int) -> Session:
    """Let a session come once more, under an id of its own."""
    again = copy(session)
    again.sid, again.at_ns = f"{session.sid}~{ordinal}", at_ns
    return again
