"""Events far ahead, kept out of the clock's queue until they are near.

Users think for minutes: of the events of a large run most are ends of such gaps,
and a queue that holds them all makes every event dearer, since each walks down a
heap of what is not due for long and in no cache. A calendar keeps them in pages
of a second or so, and opens a page when the clock comes to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from factorysim.sim.clock import Clock

    Entry = tuple[int, int, Callable[[Any], object], object]

PAGE_BITS = 50
"""A page is 2**50 fs, 1.1 s."""
_OPENING = 0
"""Priority of a page's opening: before all else of its first instant."""


class Calendar:
    """What sessions wait for, in the order of the clock.

    An event goes to the clock at once if it is due on the page that is open, else
    when its page is opened. So events of one instant and priority come in the order
    in which they were put down here, as they do on the clock itself.

    Examples
    --------
    >>> from factorysim.sim.clock import ARRIVAL, Clock
    >>> clock = Clock()
    >>> calendar = Calendar(clock)
    >>> calendar.at(10**18, ARRIVAL, print, "a quarter of an hour later")
    >>> calendar.at(10**12, ARRIVAL, print, "soon")
    >>> clock.run_until(10**19)
    soon
    a quarter of an hour later
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pages: dict[int, list[Entry]] = {}

    def at(
        self, when_fs: int, priority: int, callback: Callable[[Any], object], value: object = None
    ) -> None:
        """Call back with `value` at an instant not in the past."""
        clock = self._clock
        page = when_fs >> PAGE_BITS
        if page == clock.now_fs >> PAGE_BITS:
            clock.at(when_fs, priority, callback, value)
            return
        entries = self._pages.get(page)
        if entries is None:
            entries = self._pages[page] = []
            clock.at(page << PAGE_BITS, _OPENING, self._open, page)
        entries.append((when_fs, priority, callback, value))

    def pending(self) -> Iterator[tuple[Callable[[Any], object], Any]]:
        """Go through what is on pages not yet open, callback and value, in no order."""
        for entries in self._pages.values():
            for _, _, callback, value in entries:
                yield callback, value

    def _open(self, page: int) -> None:
        """Hand a page's events to the clock."""
        for entry in self._pages.pop(page):
            self._clock.at(*entry)
