"""What waits for what, told from when things ran.

Traces of spans say when each began and ended, not why. What began after another had
ended is taken to have waited for it; what overlaps ran side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def waits_by_time(spans: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Tell of each span the last ones that had ended when it began.

    Those that others of them waited for are left out: they are waited for through
    these. Of spans at one instant the shorter, then the earlier in the list comes first.

    Parameters
    ----------
    spans
        Begin and end, in any order.

    Returns
    -------
    For each span the places of those it waits for.

    Examples
    --------
    >>> waits_by_time([(0, 5), (6, 9), (7, 8), (9, 12)])
    [(), (0,), (0,), (1, 2)]
    """
    from heapq import heappop, heappush

    order = sorted(range(len(spans)), key=lambda place: (*spans[place], place))
    waits: list[tuple[int, ...]] = [()] * len(spans)
    running: list[tuple[int, int, int]] = []
    """End, turn in the order, place."""
    ended: list[tuple[int, int, int]] = []
    """Of those, the ones that none which has ended waited for."""
    latest = (-1, -1)
    """Begin and turn of the last to begin of all that have ended."""
    for turn, place in enumerate(order):
        begin, end = spans[place]
        news = False
        while running and running[0][0] <= begin:
            done = heappop(running)
            ended.append(done)
            latest = max(latest, (spans[done[2]][0], done[1]))
            news = True
        if news:  # one that ended before the last of them began is waited for through it
            ended = [done for done in ended if not _before(done, latest)]
        waits[place] = tuple(sorted(done[2] for done in ended))
        heappush(running, (end, turn, place))
    return waits


def _before(done: tuple[int, int, int], begun: tuple[int, int]) -> bool:
    """Whether one had ended when another began, which came later in the order."""
    end, turn, _ = done
    return end <= begun[0] and turn < begun[1]
