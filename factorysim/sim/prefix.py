"""The prefix cache of one replica: which blocks of KV are computed already, and for whom.

A block is known by its id and by all ids before it, so cached blocks form a tree.
Neighbours are rarely told apart: an extent is a run of consecutive ids that the
same calls have locked, and is cut in two where another call's path ends or turns
off. So a call costs as many operations as it has runs of ids and extents on its
path, however many blocks these stand for.

A path is locked as a whole, from the root, so what is locked by nobody is always
the outer part of the tree. There the leaf that was unlocked longest ago goes
first, block by block from its tail.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.sim.call import Call
    from factorysim.workload.content import Runs


class Extent:
    """Cached blocks of consecutive ids, one after another on every path through them.

    The root has none of them, and no parent.
    """

    __slots__ = ("awaited", "children", "count", "first", "parent", "refs", "stamp")

    def __init__(self, first: int, count: int, parent: Extent | None, refs: int) -> None:
        self.first = first
        self.count = count
        """Blocks: of what is cached, at least one."""
        self.parent = parent
        self.children: dict[int, Extent] | None = None
        """What follows its last block, by first id; None until there is any."""
        self.refs = refs
        """Running calls whose path goes through it."""
        self.stamp = 0
        """The unlocking since which nobody has it locked."""
        self.awaited = False
        """Whether it stands in the queue of those to be evicted."""


def path(leaf: Extent | None) -> Iterator[Extent]:
    """Walk from the end of a path to its beginning; the root is not on it."""
    while leaf is not None and leaf.parent is not None:
        yield leaf
        leaf = leaf.parent


class PrefixTree:
    """Cached blocks as a radix tree of extents; `evictable` of them are locked by nobody."""

    __slots__ = ("_queue", "_unlockings", "evictable", "evicted", "root")

    def __init__(self) -> None:
        self.evictable = 0
        self.evicted = 0
        """Blocks evicted so far."""
        self.root = Extent(0, 0, None, 0)
        self._queue: list[tuple[int, Extent]] = []
        """Heap of unlocked leaves by stamp, which no two share: a path has one leaf.

        An extent stands in it once at most. One that was locked since, or has
        children now, is put right when it comes up.
        """
        self._unlockings = 0

    def match(self, content: Runs, most: int) -> tuple[int, int]:
        """Find the leading blocks of `content` that are cached, at most `most`.

        Returns how many there are, and how many of those nobody has locked. The
        tree stays as it is.
        """
        extent = self.root
        matched = unlocked = at = 0  # at: blocks of the extent that are matched
        for first, count in content:
            while count:
                if at == extent.count:
                    child = extent.children.get(first) if extent.children else None
                    if child is None:
                        return matched, unlocked
                    extent, at = child, 0
                elif first != extent.first + at:
                    return matched, unlocked
                blocks = min(extent.count - at, count, most - matched)
                if not blocks:
                    return matched, unlocked
                matched += blocks
                if not extent.refs:
                    unlocked += blocks
                at += blocks
                first += blocks
                count -= blocks
        return matched, unlocked

    def lock(self, call: Call, blocks: int) -> None:
        """Lock the first blocks of a call that has none; `match` has found them."""
        found = self.register(call, blocks)
        assert found == blocks, "locked what is not cached"

    def register(self, call: Call, upto: int) -> int:
        """Lengthen a call's path to `upto` blocks, or to all that its content names.

        What is cached already is locked; the rest becomes cached and locked at
        once. Returns how many were cached: the call's own copies of them are free.
        """
        content, extent = call.content, call.leaf or self.root
        shared, run, before = call.shared, call.run, call.before
        found = 0
        while shared < upto and run < len(content):
            first, count = content[run]
            offset = shared - before
            if offset == count:
                run += 1
                before += count
                continue
            first += offset
            count = min(count - offset, upto - shared)
            child = extent.children.get(first) if extent.children else None
            if child is None:
                extent = _append(extent, first, count)
            else:
                if count < child.count:
                    child = _split(child, count)
                else:
                    count = child.count
                if not child.refs:
                    self.evictable -= count
                child.refs += 1
                found += count
                extent = child
            shared += count
        if shared != call.shared:
            call.leaf = extent
            call.shared, call.run, call.before = shared, run, before
        return found

    def follows(self, call: Call) -> bool:
        """Tell whether the block after a call's path is cached."""
        children = (call.leaf or self.root).children
        if not children:
            return False
        offset = call.shared - call.before
        for first, count in call.content[call.run :]:
            if offset < count:
                return first + offset in children
            offset -= count
        return False

    def unlock(self, call: Call) -> None:
        """Let go of a call's path; what nobody else has locked is evictable from now on."""
        extent = call.leaf
        if extent is None:
            return
        self._unlockings = stamp = self._unlockings + 1
        if extent.refs == 1 and not extent.children and not extent.awaited:
            extent.awaited = True
            heappush(self._queue, (stamp, extent))
        while (parent := extent.parent) is not None:
            extent.refs -= 1
            if not extent.refs:
                extent.stamp = stamp
                self.evictable += extent.count
            extent = parent
        call.leaf = None
        call.shared = call.run = call.before = 0

    def evict(self, blocks: int) -> None:
        """Forget so many blocks: of the leaf unlocked longest ago, from its tail, and so on."""
        assert blocks <= self.evictable, "more blocks taken than are available"
        self.evictable -= blocks
        self.evicted += blocks
        queue = self._queue
        while blocks:
            stamp, extent = queue[0]
            if extent.refs or extent.children:
                heappop(queue)
                extent.awaited = False
            elif extent.stamp != stamp:
                heapreplace(queue, (extent.stamp, extent))
            elif extent.count > blocks:
                extent.count -= blocks
                blocks = 0
            else:
                heappop(queue)
                blocks -= extent.count
                self._remove(extent)

    def clear(self) -> None:
        """Forget everything."""
        self.root.children = None
        self._queue.clear()
        self.evictable = 0

    def extents(self) -> Iterator[Extent]:
        """Walk over all that is cached."""
        waiting = [self.root]
        while waiting:
            children = waiting.pop().children
            if children:
                waiting += children.values()
                yield from children.values()

    def _remove(self, extent: Extent) -> None:
        """Take out a leaf; what it hung on may be a leaf now, and older than others."""
        parent = extent.parent
        assert parent is not None
        assert parent.children is not None
        del parent.children[extent.first]
        extent.count = 0
        if parent.children or parent.refs or parent.awaited or parent is self.root:
            return
        parent.awaited = True
        heappush(self._queue, (parent.stamp, parent))


def _append(extent: Extent, first: int, count: int) -> Extent:
    """Enter new blocks after an extent; returns the one that holds them.

    A leaf that one call alone has locked grows, so that a session's history stays
    one extent over all its calls.
    """
    children = extent.children
    if extent.refs == 1 and not children and first == extent.first + extent.count:
        extent.count += count
        return extent
    child = Extent(first, count, extent, 1)
    if children is None:
        extent.children = {first: child}
    else:
        children[first] = child
    return child


def _split(extent: Extent, count: int) -> Extent:
    """Cut an extent after `count` blocks; returns the head.

    The tail remains the object that it was: paths that end with it still do, and
    so does its place among those to be evicted.
    """
    parent = extent.parent
    assert parent is not None
    assert parent.children is not None
    head = Extent(extent.first, count, parent, extent.refs)
    head.stamp = extent.stamp
    parent.children[extent.first] = head
    extent.first += count
    extent.count -= count
    extent.parent = head
    head.children = {extent.first: extent}
    return head
