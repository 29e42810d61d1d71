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
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.sim.call import Call
    from factorysim.workload.runs import Runs


NO_CHILDREN: dict[int, Extent] = {}
"""Shared by all that have none, and never written to."""


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
        self.children = NO_CHILDREN
        """What follows its last block, by first id."""
        self.refs = refs
        """Running calls whose path goes through it."""
        self.stamp = 0
        """The unlocking since which nobody has it locked."""
        self.awaited = False
        """Whether it stands in the queue of those to be evicted."""


Hit: TypeAlias = tuple[int, int, Extent, int, int, int]
"""What was found for a call: how many blocks, how many of them nobody has locked, the extent
in which they end, after how many of its blocks; `run` and `end` of a call with such a path."""


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

    def match(self, content: Runs, most: int) -> Hit:
        """Find the leading blocks of `content` that are cached, at most `most`.

        The tree stays as it is.
        """
        extent = self.root
        matched = unlocked = at = run = end = 0
        for ordinal, (first, count) in enumerate(content, 1):
            stop = matched + count
            goal = stop if stop < most else most
            while matched < goal:
                size = extent.count
                if at == size:
                    child = extent.children.get(first)
                    if child is None:
                        return (matched, unlocked, extent, at, run, end)
                    extent, at, size = child, 0, child.count
                elif first != extent.first + at:
                    return (matched, unlocked, extent, at, run, end)
                run, end = ordinal, stop
                blocks = size - at
                if blocks > goal - matched:
                    blocks = goal - matched
                matched += blocks
                if not extent.refs:
                    unlocked += blocks
                at += blocks
                first += blocks
        return (matched, unlocked, extent, at, run, end)

    def lock(self, call: Call, hit: Hit) -> None:
        """Lock what `match` has just found for a call that has no path yet."""
        call.shared, _, extent, at, call.run, call.end = hit
        if at < extent.count:
            extent = _split(extent, at)
        call.leaf = extent
        while (parent := extent.parent) is not None:
            if not extent.refs:
                self.evictable -= extent.count
            extent.refs += 1
            extent = parent

    def register(self, call: Call, upto: int) -> int:
        """Lengthen a call's path to `upto` blocks, or to all that its content names.

        What is cached already is locked; the rest becomes cached and locked at
        once. Returns how many were cached: the call's own copies of them are free.
        """
        shared, leaf = call.shared, call.leaf
        if leaf is not None and shared < upto <= call.end and leaf.refs == 1 and not leaf.children:
            leaf.count += upto - shared  # inside a run, and nobody else is here
            call.shared = upto
            return 0
        content, run, end = call.content, call.run, call.end
        extent = self.root if leaf is None else leaf
        found = 0
        while shared < upto:
            if shared == end:
                if run == len(content):
                    break
                end += content[run][1]
                run += 1
                continue
            first, count = content[run - 1]
            first += count - (end - shared)
            count = min(end, upto) - shared
            child = extent.children.get(first)
            if child is None:
                extent = _append(extent, first, count)
            else:
                extent = _split(child, count) if count < child.count else child
                count = extent.count
                if not extent.refs:
                    self.evictable -= count
                extent.refs += 1
                found += count
            shared += count
        if shared != call.shared:
            call.leaf = extent
            call.shared, call.run, call.end = shared, run, end
        return found

    def follows(self, call: Call) -> bool:
        """Tell whether the block after a call's path is cached."""
        children = (call.leaf or self.root).children
        if not children:  # as a rule nobody has been there before
            return False
        left = call.end - call.shared
        if left:
            first, count = call.content[call.run - 1]
            return first + count - left in children
        for first, count in call.content[call.run :]:
            if count:
                return first in children
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
            extent.refs = refs = extent.refs - 1
            if not refs:
                extent.stamp = stamp
                self.evictable += extent.count
            extent = parent
        call.leaf = None
        call.shared = call.run = call.end = 0

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
        self.root.children = NO_CHILDREN
        self._queue.clear()
        self.evictable = 0

    def copied(self) -> PrefixTree:
        """Copy what is cached, to be looked into: nothing of it is locked or evicted."""
        copy = PrefixTree()
        waiting = [(self.root, copy.root)]
        while waiting:
            extent, twin = waiting.pop()
            if extent.children:
                twin.children = {}
            for first, child in extent.children.items():
                twin.children[first] = other = Extent(first, child.count, twin, 0)
                waiting.append((child, other))
        return copy

    def extents(self) -> Iterator[Extent]:
        """Walk over all that is cached."""
        waiting = [self.root]
        while waiting:
            children = waiting.pop().children.values()
            waiting += children
            yield from children

    def _remove(self, extent: Extent) -> None:
        """Take out a leaf; what it hung on may be a leaf now, and older than others."""
        parent = extent.parent
        assert parent is not None
        del parent.children[extent.first]
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
    if extent.refs == 1 and not children and extent.first + extent.count == first:
        extent.count += count
        return extent
    child = Extent(first, count, extent, 1)
    if children:
        children[first] = child
    else:
        extent.children = {first: child}
    return child


def _split(extent: Extent, count: int) -> Extent:
    """Cut an extent after `count` blocks; returns the head.

    The tail remains the object that it was: paths that end with it still do, and
    so does its place among those to be evicted.
    """
    parent = extent.parent
    assert parent is not None
    head = Extent(extent.first, count, parent, extent.refs)  # about to be locked: no stamp
    parent.children[extent.first] = head
    extent.first += count
    extent.count -= count
    extent.parent = head
    head.children = {extent.first: extent}
    return head
