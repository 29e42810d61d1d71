"""The clock: SimPy's event queue in integer femtoseconds, with one order at an instant.

At one instant, ends of steps come first, then transfers landing, then arrivals,
then scheduling decisions; within each, entities go in order of their id. The
order is carried by the event's priority, so it does not depend on which event
was scheduled first: walking every step or whole runs of them gives the same.
"""

from __future__ import annotations

from heapq import heappop, heappush
from operator import index
from typing import TYPE_CHECKING, Any

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
REBALANCE = 5 << 48
"""New shares of links, once for all that an instant has started and ended."""


class Clock(simpy.Environment):
    """A SimPy environment whose time is an integer number of femtoseconds.

    What it queues is a callback and a value for it, behind what SimPy orders its
    events by; SimPy's own events, processes and timeouts come in through `schedule`
    and meet the same order.

    Examples
    --------
    >>> clock = Clock()
    >>> def blink(env):
    ...     yield env.timeout(5)
    ...     print("process", env.now)
    >>> blinking = clock.process(blink(clock))
    >>> clock.at(3, ARRIVAL, print, "callback")
    >>> clock.run_until(10)
    callback
    process 5
    """

    def __init__(self) -> None:
        super().__init__(initial_time=0)
        self.now_fs = 0
        """`now`, as a plain attribute and a plain int."""
        self.heap: list[Any] = self._queue
        """What is still to happen: entries by instant, priority and order of scheduling."""
        self.events = 0
        """Events processed so far."""

    @property
    def now(self) -> int:
        """The instant of the event in hand."""
        return self.now_fs

    def at(
        self, when_fs: int, priority: int, callback: Callable[[Any], object], value: object = None
    ) -> None:
        """Call back with `value` at an instant not in the past."""
        heappush(self.heap, (when_fs, priority, next(self._eid), callback, value))

    def schedule(self, event: simpy.Event, priority: int = 1, delay: float = 0) -> None:
        """Take in an event of SimPy's own; a delay that is no whole number is a `TypeError`."""
        whole: Any = delay
        self.at(self.now_fs + index(whole), priority, _process, event)

    def step(self) -> None:
        """Process the next event, as `simpy.Environment` asks."""
        if not self.heap:
            raise simpy.core.EmptySchedule
        self.now_fs, _, _, callback, value = heappop(self.heap)
        callback(value)

    def pending(self) -> Iterator[tuple[Callable[[Any], object], Any]]:
        """Go through what is still to happen, callback and value, in no order."""
        for _, _, _, callback, value in self.heap:
            yield callback, value

    def alone(self) -> bool:
        """Whether nothing else is due at this instant."""
        heap = self.heap
        return not heap or heap[0][0] > self.now_fs

    def run_until(self, end_fs: int) -> None:
        """Process every event before `end_fs`, and leave the clock there.

        SimPy's own loop, inlined: a method call an event costs a tenth of the
        budget of a simulated call.
        """
        heap, pop = self.heap, heappop
        first = next(self._eid) - len(heap)
        # An entry of its own ends the loop, before all others of that instant.
        heappush(heap, (end_fs, -1, -1, None, None))
        while True:
            self.now_fs, _, _, callback, value = pop(heap)
            if callback is None:
                break
            callback(value)
        self.events += next(self._eid) - first - len(heap) - 1


def _process(event: simpy.Event) -> None:
    """Call back those who wait for an event of SimPy's, or raise what nobody caught."""
    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for callback in callbacks:
        callback(event)
    if not event._ok and not hasattr(event, "_defused"):
        raise event._value
