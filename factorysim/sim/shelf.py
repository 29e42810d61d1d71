"""A tier's store in its place: what reaches it, and where that goes which it parts with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from factorysim.sim.clock import TRANSFER
from factorysim.sim.store import Span, Store, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from factorysim.sim.clock import Clock
    from factorysim.sim.store import Line
    from factorysim.sim.tier_log import Log

_EXPIRY = TRANSFER + (1 << 47)
"""Priority of a store's alarm: after all transfers of its instant."""


class Road(Protocol):
    """What carries bytes between devices and stores."""

    def carry(
        self,
        lanes: Sequence[tuple[int, int]],
        size_bytes: int,
        kind: str,
        landed: Callable[[], None],
    ) -> None:
        """Send so many bytes on each lane, from node to node; call back when all have landed."""
        ...

    def estimate_fs(self, lanes: Sequence[tuple[int, int]], size_bytes: int, kind: str) -> int:
        """Tell how long that would take, if traffic stayed as it is."""
        ...


class Shelf(Store):
    """A store in its place: what reaches it, and where that goes which it parts with.

    Parameters
    ----------
    nodes
        Where its bytes lie: they are spread over these, or on one of them in turn.
    block_bytes
        Of one block, all devices together, each byte once.
    below
        The next tier; None: what it parts with is lost.
    ttl_fs
        What was not used for so long leaves; None: only for want of room.
    """

    __slots__ = (
        "_alarm_fs",
        "_clock",
        "_log",
        "_road",
        "_turn",
        "below",
        "beyond",
        "block_bytes",
        "nodes",
        "number",
        "offered",
        "present",
        "shared",
        "tier",
        "ttl_fs",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        log: Log,
        road: Road,
        number: int,
        tier: str,
        blocks: int,
        nodes: tuple[int, ...],
        block_bytes: float,
        *,
        shared: bool = False,
        below: Shelf | None = None,
        ttl_fs: int | None = None,
        keep: dict[Line, int] | None = None,
    ) -> None:
        super().__init__(blocks, keep)
        self._clock = clock
        self._log = log
        self._road = road
        self.number = number
        self.tier = tier
        self.nodes = nodes
        self.block_bytes = block_bytes
        self.shared = shared
        """By all servers: each transfer is with the next of its nodes."""
        self.below = below
        self.ttl_fs = ttl_fs
        self.offered = 0
        """Blocks that were to be put here so far."""
        self.present = 0
        """Those of them that were here already, or on their way."""
        self.beyond = 0
        """Those of them that had no room, and went to the next tier."""
        self._turn = 0
        self._alarm_fs: int | None = None

    def ends(self, near: Sequence[int]) -> list[int]:
        """Choose its node for each lane: the nearest, or of a shared one the next in turn."""
        ends = self.next_ends(near)
        if self.shared:
            self._turn = (self._turn + len(near)) % len(self.nodes)
        return ends

    def next_ends(self, near: Sequence[int]) -> list[int]:
        """Tell which nodes `ends` would choose."""
        nodes, turn = self.nodes, self._turn
        if not self.shared:
            return list(near)
        return [nodes[(turn + k) % len(nodes)] for k in range(len(near))]

    def put(self, spans: Iterable[Span], sources: Sequence[int], near: Sequence[int]) -> None:
        """Take in blocks from some nodes: those that are not here already are sent.

        Where there is no room, others go first; blocks beyond all room go to the next tier.
        """
        now_fs = self._clock.now_fs
        gone: list[Span] = []
        sent: list[Span] = []
        beyond: list[Span] = []
        spans = list(spans)
        self.offered += sum(span.high - span.low for span in spans)
        for span in joined(spans):
            self.present += self.held(span)
            self.touch(span, now_fs)  # lest what is here of the path makes room for the rest
            over: list[Span] = []
            for line, low, high in self.missing(span):
                stop = min(high, low + self.blocks - self.landing)
                if low < stop:
                    gone += self.make_room(stop - low, now_fs)
                    sent.append(Span(line, low, stop))
                    self.reserve(sent[-1], now_fs)
                if stop < high:
                    over.append(Span(line, stop, high))
            self.touch(span, now_fs)
            beyond += reversed(over)
        if gone:
            self.demote(joined(gone))
        self.beyond += sum(span.high - span.low for span in beyond)
        if beyond and self.below is not None:
            self.below.put(beyond, sources, _spread(self.below.nodes, len(sources)))
        if sent:
            self._send(sent, sources, near)
        self._set_alarm()

    def _send(self, sent: list[Span], sources: Sequence[int], near: Sequence[int]) -> None:
        blocks = sum(span.high - span.low for span in sent)
        lanes = list(zip(sources, self.ends(near), strict=True))
        size_bytes = blocks * self.block_bytes
        start_fs = self._clock.now_fs

        def landed() -> None:
            for span in sent:
                self.land(span)
            times = start_fs, self._clock.now_fs
            self._log.note("store", self.tier, blocks, times, size_bytes=size_bytes)
            self._log.stored_blocks[self.tier] += blocks
            self._set_alarm()

        self._road.carry(lanes, round(size_bytes / len(lanes)), f"store_{self.tier}", landed)

    def demote(self, gone: list[Span]) -> None:
        """Hand down what the store has parted with."""
        blocks = sum(span.high - span.low for span in gone)
        now_fs = self._clock.now_fs
        size_bytes = blocks * self.block_bytes
        self._log.note("evict", self.tier, blocks, (now_fs, now_fs), size_bytes=size_bytes)
        if self.below is not None:
            below = self.below
            nodes = self.ends(self.nodes[:1]) if self.shared else self.nodes
            below.put(gone, nodes, nodes if below.shared else below.nodes)

    def _set_alarm(self) -> None:
        """See to it that what is not used for long leaves on time."""
        if self.ttl_fs is None:
            return
        oldest = self.oldest_fs()
        if oldest is not None:
            due_fs = max(oldest + self.ttl_fs, self._clock.now_fs)
            if self._alarm_fs is None or due_fs < self._alarm_fs:
                self._alarm_fs = due_fs
                self._clock.at(due_fs, _EXPIRY + self.number, self._ring, due_fs)

    def _ring(self, due_fs: int) -> None:
        if due_fs != self._alarm_fs:
            return
        self._alarm_fs = None
        assert self.ttl_fs is not None
        gone = self.expire(self._clock.now_fs - self.ttl_fs)
        if gone:
            self.demote(joined(gone))
        self._set_alarm()


def _spread(nodes: Sequence[int], lanes: int) -> list[int]:
    """Give each lane one of some nodes, neighbours the same."""
    return [nodes[lane * len(nodes) // lanes] for lane in range(lanes)]
