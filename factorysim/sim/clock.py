"""The clock: SimPy's event queue in integer femtoseconds, with one order at an instant.

At one instant, ends of steps come first, then transfers landing, then arrivals,
then scheduling decisions; within each, entities go in order of their id. The
order is carried by the event's priority, so it does not depend on which event
was scheduled first: walking every step or whole runs of them gives the same.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

import simpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FS_PER_S = 10**15
FS_PER_NS = 10**6
S_PER_FS = 1e-15
"""To turn an instant into the seconds of a record: a product is cheaper than a quotient."""

COMPLETION = 1 << 48
"""Ends of steps, of tools' work; plus the entity's id, as below."""
TRANSFER = 2 << 48
ARRIVAL = 3 << 48
DECISION = 4 << 48


class Tick(NamedTuple):
    """The least that can happen: a callback, and a value for it.

    SimPy's queue orders it like any event; `Clock.run_until` calls it back without
    the list of callbacks that a SimPy event carries.
    """

    callback: Callable[[Any], None]
    value: Any = None


_make_tuple = tuple.__new__


class Clock(simpy.Environment):
    """A SimPy environment whose time is an integer number of femtoseconds."""

    def __init__(self) -> None:
        super().__init__(initial_time=0)
        self.now_fs = 0
        """`now`, as a plain attribute and a plain int."""
        self.events = 0
        """Events processed so far."""

    def at(
        self, when_fs: int, priority: int, callback: Callable[[Any], None], value: object = None
    ) -> None:
        """Call back with a `Tick` that carries `value`, at an instant not in the past."""
        # `Tick(...)` would run a Python frame: a third of what an event costs.
        entry: Any = (when_fs, priority, next(self._eid), _make_tuple(Tick, (callback, value)))
        heappush(self._queue, entry)

    def pending(self) -> Iterator[Tick]:
        """Go through what is still to happen, in no order."""
        for entry in self._queue:
            tick: Any = entry[3]
            if type(tick) is Tick:
                yield tick

    def alone(self) -> bool:
        """Whether nothing else is due at this instant."""
        queue = self._queue
        return not queue or queue[0][0] > self.now_fs

    def run_until(self, end_fs: int) -> None:
        """Process every event before `end_fs`, and leave the clock there.

        SimPy's own loop, inlined: a method call an event costs a tenth of the
        budget of a simulated call.
        """
        queue: list[Any] = self._queue
        events = 0
        while queue and queue[0][0] < end_fs:
            when, _, _, event = heappop(queue)
            self._now = self.now_fs = when
            events += 1
            if type(event) is Tick:
                event.callback(event)
            else:
                callbacks, event.callbacks = event.callbacks, None
                for callback in callbacks:
                    callback(event)
                if not event._ok:
                    raise event._value
        self._now = self.now_fs = end_fs
        self.events += events
