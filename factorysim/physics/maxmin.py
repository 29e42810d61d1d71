"""Weighted max-min fair rates of flow classes over shared links.

Rates rise together, each in proportion to its weight, until a class reaches its
cap or a link is full; what that holds stays, the others rise on [1]_. So no flow
can have more without taking from one that has no more per weight. A class stands
for `flows` with one way and one cap, which get one rate.

The levels at which links fill only rise while flows are held, so a heap of links
by level needs a look at its top, not an update for every link that a held class
crosses: the work is the sum of the classes' hops, and a logarithm a link.

References
----------
.. [1] Bertsekas and Gallager, Data Networks, 2nd ed., 1992, section 6.5.2.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class FlowClass(Protocol):
    """Flows that cross the same links under the same cap."""

    @property
    def links(self) -> tuple[int, ...]:
        """Indices; one that a flow crosses more than once is given as often."""
        ...

    @property
    def cap(self) -> float:
        """B/s that one of the flows can do; above zero."""
        ...

    @property
    def flows(self) -> int:
        """How many they are; above zero."""
        ...

    @property
    def weight(self) -> int:
        """Shares of one flow; above zero, and whole: sums of them are exact."""
        ...


class Class(NamedTuple):
    """A `FlowClass` as plain values."""

    links: tuple[int, ...]
    cap: float
    flows: int = 1
    weight: int = 1


class Certificate(NamedTuple):
    """What shows that rates are max-min fair."""

    held_by: list[int | str]
    """For each class the full link on which no flow has more per weight; ``"cap"``
    where it has its cap, ``"nothing"`` where neither holds: then they are not."""
    fullest: float
    """Most that a link carries over its bandwidth."""


def max_min(
    classes: Sequence[FlowClass], bandwidth: Sequence[float] | Mapping[int, float]
) -> list[float]:
    """Rate of one flow of each class, B/s.

    Parameters
    ----------
    bandwidth
        B/s of each link, by index.

    Returns
    -------
    A class that no link holds back has its `cap` itself, to the bit.

    Examples
    --------
    Two flows share link 0; one of them is held to 1 by link 1, so 5 are left.

    >>> max_min([Class((0,), 9.0), Class((0, 1), 9.0)], [6.0, 1.0])
    [5.0, 1.0]
    """
    links: dict[int, _Link] = {}
    pulls = [one.flows * one.weight for one in classes]
    for k, one in enumerate(classes):
        pull = pulls[k]
        for index in one.links:
            link = links.get(index)
            if link is None:
                links[index] = _Link(bandwidth[index], pull, [k])
            else:
                link.pull += pull
                link.members.append(k)
    levels = [(link.room / link.pull, index) for index, link in links.items()]
    heapify(levels)
    cap_levels = [one.cap / one.weight for one in classes]
    by_cap = sorted(range(len(classes)), key=cap_levels.__getitem__, reverse=True)
    rates: list[float | None] = [None] * len(classes)
    while True:
        while by_cap and rates[by_cap[-1]] is not None:
            by_cap.pop()
        if not by_cap:
            return rates  # type: ignore[return-value]  # all are held
        level, full = _next_full(levels, links)
        at_cap = cap_levels[by_cap[-1]] <= level
        for k in (by_cap[-1],) if at_cap else links[full].members:
            if rates[k] is None:
                one = classes[k]
                rate = rates[k] = one.cap if at_cap else level * one.weight
                used, pull = one.flows * rate, pulls[k]
                for index in one.links:
                    link = links[index]
                    link.room -= used
                    link.pull -= pull


class _Link:
    """What is left of a link while rates rise."""

    __slots__ = ("members", "pull", "room")

    def __init__(self, room: float, pull: int, members: list[int]) -> None:
        self.room = room
        """B/s that no flow has for good."""
        self.pull = pull
        """Sum of the weights of flows that still rise."""
        self.members = members
        """Classes that cross it."""


def _next_full(levels: list[tuple[float, int]], links: dict[int, _Link]) -> tuple[float, int]:
    """Find the link that fills first, and at which level; infinite if none does."""
    while levels:
        level, index = levels[0]
        link = links[index]
        if not link.pull:
            heappop(levels)
            continue
        now = link.room / link.pull
        if now <= level:
            return level, index
        heapreplace(levels, (now, index))
    return inf, -1


def certificate(
    classes: Sequence[FlowClass],
    bandwidth: Sequence[float] | Mapping[int, float],
    rates: Sequence[float],
    *,
    tolerance: float = 1e-9,
) -> Certificate:
    """Tell what holds each class back: max-min rates are those where something does [1]_.

    Parameters
    ----------
    tolerance
        Relative.

    References
    ----------
    .. [1] Bertsekas and Gallager, section 6.5.2, the bottleneck property.

    Examples
    --------
    >>> classes = [Class((0,), 2.0), Class((0,), 9.0)]
    >>> certificate(classes, [6.0], [2.0, 4.0])
    Certificate(held_by=['cap', 0], fullest=1.0)
    >>> certificate(classes, [6.0], [2.0, 3.0]).held_by
    ['cap', 'nothing']
    """
    load: dict[int, float] = {}
    top: dict[int, float] = {}
    for one, rate in zip(classes, rates, strict=True):
        for link in one.links:
            load[link] = load.get(link, 0.0) + one.flows * rate
            top[link] = max(top.get(link, 0.0), rate / one.weight)
    full = {link for link, sent in load.items() if sent >= bandwidth[link] * (1 - tolerance)}

    def held_by(one: FlowClass, rate: float) -> int | str:
        if rate >= one.cap * (1 - tolerance):
            return "cap"
        level = rate / one.weight * (1 + tolerance)
        return next((link for link in one.links if link in full and level >= top[link]), "nothing")

    return Certificate(
        [held_by(one, rate) for one, rate in zip(classes, rates, strict=True)],
        max((sent / bandwidth[link] for link, sent in load.items()), default=0.0),
    )
