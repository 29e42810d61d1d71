"""What a router knows of the prefixes that its replicas hold.

`HeldIndex` reads the caches themselves, as a router does to which the engines
send their KV events. `SentIndex` knows only what the router has sent where: it
forgets what it sent longest ago, and guesses that so does the replica.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from factorysim.sim.clock import FS_PER_S

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.prefix import PrefixTree
    from factorysim.sim.replica import Replica
    from factorysim.spec.serving import ServingSpec


class PrefixIndex(Protocol):
    """Tells how much of a prompt each replica is thought to hold."""

    def add(self, replica: Replica, /) -> None:
        """Know of one more replica."""
        ...

    def hits(self, call: Call, /) -> npt.NDArray[np.int64]:
        """Shape ``(replicas,)``, tokens: full blocks, and never the last token."""
        ...

    def sent(self, call: Call, replica: int, /) -> None:
        """Note where a call goes, by the replica's position."""
        ...


def index_of(serving: ServingSpec, clock: Clock) -> PrefixIndex | None:
    """Make the index that a router's policy asks for; None if nothing is asked or cached."""
    spec = serving.router
    if spec.policy not in ("prefix_aware", "score") or serving.retained == "none":
        return None
    if spec.index == "exact":
        return HeldIndex(clock, spec.snapshot)
    return SentIndex(spec.index_blocks)


class HeldIndex:
    """The caches of the replicas: as they are, or as they were.

    With a period they are copied before the first call of each, so that what is
    seen is never older than it. A look walks the tree of every replica that holds
    the prompt's first block.
    """

    def __init__(self, clock: Clock, period_s: float = 0.0) -> None:
        self._clock = clock
        self._period_fs = round(period_s * FS_PER_S)
        self._seen_period = -1
        self._block_tokens = 1
        self._live: list[PrefixTree] = []
        self._seen = self._live

    def add(self, replica: Replica) -> None:
        """Know of one more replica."""
        self._live.append(replica.ledger)
        self._block_tokens = replica.ledger.block_tokens

    def hits(self, call: Call) -> npt.NDArray[np.int64]:
        """Look into every cache, or the copy of it."""
        if self._period_fs:
            self._copy_if_due()
        found = np.zeros(len(self._live), dtype=np.int64)
        content, size = call.content, self._block_tokens
        if content:
            first = content[0][0]
            most = (call.prompt_tokens - 1) // size
            for position, tree in enumerate(self._seen):
                if first in tree.root.children:
                    found[position] = tree.match(content, most)[0] * size
        return found

    def sent(self, call: Call, replica: int) -> None:
        """Learn nothing: what the replica makes of it will be seen."""

    def _copy_if_due(self) -> None:
        period = self._clock.now_fs // self._period_fs
        if period != self._seen_period:
            self._seen_period = period
            self._seen = [tree.copied() for tree in self._live]


class Sent:
    """Blocks of consecutive ids that have been sent to the same replicas.

    What follows them has been sent to no other: a path is sent as a whole.
    """

    __slots__ = ("children", "count", "end", "first", "parent", "stamps")

    def __init__(self, first: int, count: int, parent: Sent | None, end: int) -> None:
        self.first = first
        self.count = count
        self.parent = parent
        self.end = end
        """Blocks from the root up to its last."""
        self.children: dict[int, Sent] = {}
        """What follows its last block, by first id."""
        self.stamps: dict[int, int] = {}
        """By replica, the sending in which it was last on the path."""


class SentIndex:
    """What has been sent to each replica, at most so many blocks of it: one tree for all.

    A look is one walk, and a count for each replica on each extent of the path.
    Of a replica's blocks those are forgotten that were sent longest ago, from the
    tail. What the replica has evicted, or answered, it does not know.
    """

    def __init__(self, blocks: int | None = None) -> None:
        self._blocks = blocks
        """Of each replica; None: as many as its cache has."""
        self._block_tokens = 1
        self._root = Sent(0, 0, None, 0)
        self._room: list[int] = []
        self._queues: list[list[tuple[int, int, int, Sent]]] = []
        """Of each replica a heap of what it holds, by stamp, from the tail, and as entered.

        Each stands in it once, perhaps with an older stamp, which is put right when
        it comes up. What comes first is a leaf among what the replica holds, since
        what it hangs on was on the same path, and maybe on later ones.
        """
        self._sendings = self._entries = 0

    def add(self, replica: Replica) -> None:
        """Know of one more replica."""
        self._block_tokens = replica.ledger.block_tokens
        self._room.append(replica.ledger.blocks if self._blocks is None else self._blocks)
        self._queues.append([])

    def hits(self, call: Call) -> npt.NDArray[np.int64]:
        """Walk along the prompt, and count for all that it was sent to."""
        found = np.zeros(len(self._room), dtype=np.int64)
        size = self._block_tokens
        left = (call.prompt_tokens - 1) // size
        counts = found.data
        extent, at = self._root, 0
        for first, count in call.content:
            while count and left:
                if at == extent.count:
                    child = extent.children.get(first)
                    if child is None:
                        return found
                    extent, at = child, 0
                elif first != extent.first + at:
                    return found
                blocks = min(extent.count - at, count, left)
                tokens = blocks * size
                for replica in extent.stamps:
                    counts[replica] += tokens
                at += blocks
                left -= blocks
                first += blocks
                count -= blocks
        return found

    def sent(self, call: Call, replica: int) -> None:
        """Note the full blocks of a prompt."""
        self._sendings = stamp = self._sendings + 1
        left = call.prompt_tokens // self._block_tokens
        extent = self._root
        for first, run in call.content:
            count = min(run, left)
            left -= count
            while count:
                child = extent.children.get(first)
                if child is None:
                    extent = self._append(extent, first, count, replica, stamp)
                    break
                if child.count > count:
                    child = self._split(child, count)
                self._touch(child, replica, stamp)
                first += child.count
                count -= child.count
                extent = child
        if self._room[replica] < 0:
            self._forget(replica)

    def _touch(self, extent: Sent, replica: int, stamp: int) -> None:
        if replica not in extent.stamps:
            self._room[replica] -= extent.count
            self._enter(extent, replica, stamp)
        extent.stamps[replica] = stamp

    def _enter(self, extent: Sent, replica: int, stamp: int) -> None:
        self._entries += 1
        heappush(self._queues[replica], (stamp, -extent.end, self._entries, extent))

    def _append(self, extent: Sent, first: int, count: int, replica: int, stamp: int) -> Sent:
        """Enter new blocks; a leaf that one replica alone has grows, as a session does."""
        if (
            extent.first + extent.count == first
            and not extent.children
            and extent.stamps.keys() == {replica}
        ):
            self._room[replica] -= count
            extent.count += count
            extent.end += count
            return extent
        child = Sent(first, count, extent, extent.end + count)
        extent.children[first] = child
        self._touch(child, replica, stamp)
        return child

    def _split(self, extent: Sent, count: int) -> Sent:
        """Cut an extent after `count` blocks; returns the head, which is new."""
        parent = extent.parent
        assert parent is not None
        head = Sent(extent.first, count, parent, extent.end - extent.count + count)
        head.stamps = extent.stamps.copy()
        for replica, stamp in head.stamps.items():
            self._enter(head, replica, stamp)
        parent.children[head.first] = head
        extent.first += count
        extent.count -= count
        extent.parent = head
        head.children = {extent.first: extent}
        return head

    def _forget(self, replica: int) -> None:
        """Forget what was sent to a replica longest ago, until the rest is few enough."""
        queue = self._queues[replica]
        excess = -self._room[replica]
        while excess > 0:
            stamp, end, entry, extent = queue[0]
            latest = extent.stamps[replica], -extent.end
            if latest != (stamp, end):
                heapreplace(queue, (*latest, entry, extent))
                continue
            if extent.count > excess:
                self._split(extent, extent.count - excess)
                continue
            heappop(queue)
            excess -= extent.count
            del extent.stamps[replica]
            if not extent.stamps:
                parent = extent.parent
                assert parent is not None
                del parent.children[extent.first]
        self._room[replica] = 0
