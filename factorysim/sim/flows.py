"""Flows, the classes that they are of, and the links that they cross: live state.

Of a class that is slowed every flow gets on alike. So the class counts the bytes
`served` to any of its flows, a flow waits for the count at which it has all of its
own, and a change of rate costs the same for one flow as for a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop
from math import ceil, inf
from typing import TYPE_CHECKING

from factorysim.sim.clock import FS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

UNIT = 10**6
"""Caps sum as whole millionths of a B/s: sums of floats would drift."""


@dataclass(slots=True, eq=False)
class Flow:
    """Bytes under way from one node to another."""

    number: int
    """Unique, ascending; the order of flows that land at one instant."""
    kind: str
    src: int
    dst: int
    size_bytes: int
    links: tuple[int, ...]
    cap: float
    """B/s: its own, or the narrowest link's."""
    start_fs: int
    alone_fs: int
    """Time to send it at its cap."""
    latency_fs: int
    on_landed: Callable[[], None] | None
    """None once it has landed: its class may hold it for longer than who waits for it."""
    end_fs: int | None
    """When its last byte is sent; None while it is slowed."""
    of: FlowClass | None = None
    """None: it is not followed, or has been sent."""
    slowed: bool = False
    """Whether it ever was."""
    moved: float = 0.0
    """Bytes that were sent up to `since_fs`, of one that was slowed."""
    since_fs: int = 0
    """Since when it has its cap, if it was slowed before."""
    joined: float = 0.0
    """What its class had been served as it was slowed."""

    def lands_fs(self) -> int | None:
        """When its last byte lands, if that is known."""
        return None if self.end_fs is None else self.end_fs + self.latency_fs

    def sent_bytes(self, now_fs: int) -> float:
        """Bytes that left so far, from rates and times alone."""
        if self.end_fs is None:
            assert self.of is not None
            return self.moved + self.of.served_at(now_fs) - self.joined
        since_fs = self.since_fs if self.slowed else self.start_fs
        return self.moved + (min(now_fs, self.end_fs) - since_fs) * self.cap / FS_PER_S


@dataclass(slots=True, eq=False)
class Link:
    """A link, what crosses it right now, and how full it was."""

    bandwidth: float
    limit: float
    """Bandwidth in `UNIT`, with room for rounding."""
    asked: int = 0
    """Sum of the caps, in `UNIT`."""
    crossing: int = 0
    """Flows, and standing classes that ask for something."""
    classes: dict[FlowClass, None] = field(default_factory=dict)
    mark: int = 0
    """Number of the last solve that reached it."""
    busy_fs: int = 0
    """Time up to `busy_since_fs` with something crossing it."""
    busy_since_fs: int = 0
    over_fs: int = 0
    over_since_fs: int | None = None
    rate: float = 0.0
    """B/s that cross it while it is over."""
    moved: float = 0.0
    """Bytes that crossed it while it was over."""
    peak: int = 0
    """The most that was asked of it at the end of an instant, in `UNIT`."""

    def add(self, asks: int, since_fs: int) -> None:
        """Let something cross it."""
        if not self.crossing:
            self.busy_since_fs = since_fs
        self.crossing += 1
        self.asked += asks

    def remove(self, asks: int, now_fs: int) -> None:
        """Let something cross it no more."""
        self.asked -= asks
        self.crossing -= 1
        if not self.crossing:
            self.busy_fs += now_fs - self.busy_since_fs

    def busy_until(self, now_fs: int) -> int:
        """Time up to now with something crossing it."""
        return self.busy_fs + (now_fs - self.busy_since_fs if self.crossing else 0)

    def account(self, now_fs: int) -> None:
        """Close the time for which it was over, and open another if it still is."""
        since_fs = self.over_since_fs
        if since_fs is not None:
            self.over_fs += now_fs - since_fs
            self.moved += self.rate * (now_fs - since_fs) / FS_PER_S
        asked = self.asked
        self.over_since_fs = now_fs if asked > self.limit else None
        if asked > self.peak:
            self.peak = asked


@dataclass(slots=True, eq=False)
class FlowClass:
    """Flows with one way and one cap; or a standing one, of periodic traffic."""

    links: tuple[int, ...]
    path: tuple[Link, ...]
    cap: float
    weight: int = 1
    flows: int = 0
    asks: int = 0
    """Of one flow, in `UNIT`."""
    rate: float = 0.0
    """Of one flow, B/s; its cap, unless it is slowed."""
    since_fs: int = 0
    served: float = 0.0
    """Bytes to any flow that was there, up to `since_fs`."""
    ends: list[tuple[int, int, Flow]] = field(default_factory=list)
    """Heap of the flows with their cap, by the instant at which they end."""
    targets: list[tuple[float, int, Flow]] = field(default_factory=list)
    """Heap of the flows that are slowed, by the count of `served` at which they end."""
    region: Region | None = None
    mark: int = 0
    changed: Callable[[FlowClass], None] | None = None
    """Told of new rates; of standing classes alone."""

    def served_at(self, now_fs: int) -> float:
        """Bytes that one flow gets up to now."""
        return self.served + self.rate * (now_fs - self.since_fs) / FS_PER_S

    def due_fs(self) -> float:
        """When its first flow ends, if nothing changes; infinite without flows."""
        if self.targets:
            left = self.targets[0][0] - self.served
            return self.since_fs + (ceil(left / self.rate * FS_PER_S) if left > 0.0 else 0)
        return self.first_end_fs()

    def first_end_fs(self) -> float:
        """Forget flows that have left, and tell when the first with its cap ends."""
        ends = self.ends
        while ends and not holds(ends[0]):
            heappop(ends)
        return ends[0][0] if ends else inf


class Region:
    """Classes that were solved together, and the one wake-up that they share."""

    def __init__(self, classes: list[FlowClass]) -> None:
        self._classes = classes

    def classes(self) -> list[FlowClass]:
        """Those that no later solve has taken out."""
        return [one for one in self._classes if one.region is self]


def holds(entry: tuple[int, int, Flow]) -> bool:
    """Whether a flow still ends when this entry of a heap says."""
    end_fs, _, flow = entry
    return flow.end_fs == end_fs and flow.of is not None
