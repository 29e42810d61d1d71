"""Traffic on links: flows at their caps where these fit, at max-min rates where not.

Flows with one way and one cap are a class. A link is *over* while the caps of all
that cross it sum to more than its bandwidth. What crosses no such link has its cap:
its end is known when it starts and costs O(hops). The classes that links which are
over join are solved together [1]_, and no others, once at the end of each instant at
which one of their flows started or ended.

References
----------
.. [1] `factorysim.physics.maxmin`.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from math import ceil, inf
from typing import TYPE_CHECKING, Any

from factorysim.physics.maxmin import max_min
from factorysim.sim.clock import FS_PER_S, REBALANCE, TRANSFER
from factorysim.sim.flows import UNIT, Flow, FlowClass, Link, Region, holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from factorysim.sim.clock import Clock

CLASSES_KEPT = 4096
_ROUNDING = 1e-9
"""By which caps may exceed a link before it counts as over."""


class Traffic:
    """All flows that may meet others.

    Parameters
    ----------
    bandwidth
        B/s of each link.
    on_known
        Told of each flow whose end is known only now: it was slowed.
    """

    def __init__(
        self, env: Clock, bandwidth: Sequence[float], on_known: Callable[[Flow], None]
    ) -> None:
        self._env = env
        self._bandwidth = bandwidth
        self._on_known = on_known
        self._links: dict[int, Link] = {}
        self._classes: dict[tuple[tuple[int, ...], float], FlowClass] = {}
        """By way and cap, with flows or kept for the next one; no standing ones."""
        self._keep = CLASSES_KEPT
        self._ends: list[tuple[int, int, Flow]] = []
        """Heap of all followed flows with their cap, and of what has become stale."""
        self._alone: Flow | None = None
        """A flow that has met no other so far. Alone it fits its links; only flows that
        meet are followed link by link, which costs as much as the rest of a transfer."""
        self._empty_fs = 0
        """When all flows so far will have ended, but for the slowed ones."""
        self._lasting = 0
        """Slowed flows, and standing classes that ask for something."""
        self._dirty: dict[Link, None] = {}
        """Links that are or were over, on which something changed since the last solve."""
        self._armed = False
        self._solves = 0

    def start(self, flow: Flow) -> Flow | None:
        """Take a flow; return the one before it if that stayed alone to its end."""
        end_fs = flow.end_fs
        assert end_fs is not None
        gone = None
        if flow.start_fs >= self._empty_fs and not self._lasting:
            gone, self._alone = self._alone, flow
        else:
            self._meet()
            self._settle(flow.start_fs)
            self._follow(flow)
        if end_fs > self._empty_fs:
            self._empty_fs = end_fs
        return gone

    def standing(
        self, links: tuple[int, ...], weight: int, changed: Callable[[FlowClass], None]
    ) -> FlowClass:
        """Make a class without flows, that asks for nothing yet."""
        path = tuple(self.link(index) for index in links)
        return FlowClass(links, path, 0.0, weight, since_fs=self._env.now_fs, changed=changed)

    def ask(self, one: FlowClass, demand: float) -> None:
        """Change what a standing class asks for."""
        now_fs = self._env.now_fs
        self._settle(now_fs)
        one.served, one.since_fs = one.served_at(now_fs), now_fs
        if one.flows:
            self._leave(one, now_fs)
            self._lasting -= 1
        times = Counter(one.path)
        narrowest = min((link.bandwidth / n for link, n in times.items()), default=inf)
        one.cap = one.rate = min(demand, narrowest)
        one.asks = round(one.cap * UNIT)
        if one.cap:
            self._meet()
            self._enter(one, now_fs)
            self._lasting += 1

    def solve(self) -> None:
        """Bring rates up to date with what changed at this instant."""
        if not self._dirty:
            return
        now_fs = self._env.now_fs
        self._settle(now_fs)
        dirty, self._dirty = self._dirty, {}
        self._solves += 1
        for link in dirty:
            link.account(now_fs)
        for link in dirty:
            over = link.asked > link.limit
            for one in link.classes:
                if one.mark != self._solves and (over or one.region is not None):
                    self._solve(one, now_fs)

    def settle(self) -> None:
        """Account for everything up to now."""
        now_fs = self._env.now_fs
        self._settle(now_fs)
        for link in self._links.values():
            link.account(now_fs)

    def alone_fs(self) -> tuple[tuple[int, ...], int]:
        """Links of the flow that has met no other so far, and for how long it was on them."""
        flow = self._alone
        if flow is None:
            return (), 0
        return flow.links, min(self._env.now_fs - flow.start_fs, flow.alone_fs)

    def under_way(self) -> Iterator[Flow]:
        """Flows that are still being sent, as far as the classes know."""
        now_fs = self._env.now_fs
        flow = self._alone
        if flow is not None and flow.end_fs is not None and flow.end_fs > now_fs:
            yield flow
        for one in self._classes.values():
            yield from (entry[2] for entry in one.ends if holds(entry) and entry[0] > now_fs)
            yield from (flow for _, _, flow in one.targets)

    def slowed_until(self, wake: Callable[[Any], object], region: Region) -> list[Flow]:
        """Slowed flows that a pending event of the clock will end."""
        if wake != self._wake:
            return []
        return [flow for one in region.classes() for _, _, flow in one.targets]

    # Starts and ends.

    def _meet(self) -> None:
        """Follow the flow that was alone, from its start."""
        flow, self._alone = self._alone, None
        if flow is not None:
            self._follow(flow)

    def _follow(self, flow: Flow) -> None:
        """Put a flow with its class on its links."""
        one = self._classes.get((flow.links, flow.cap))
        if one is None:
            one = self._new_class(flow.links, flow.cap)
        assert flow.end_fs is not None
        flow.of = one
        entry = flow.end_fs, flow.number, flow
        heappush(one.ends, entry)
        heappush(self._ends, entry)
        self._enter(one, flow.start_fs)

    def _new_class(self, links: tuple[int, ...], cap: float) -> FlowClass:
        """Make a class of flows; let those go that have none once there are many."""
        if len(self._classes) >= self._keep:
            self._classes = {key: one for key, one in self._classes.items() if one.flows}
            self._keep = max(CLASSES_KEPT, 2 * len(self._classes))
        path = tuple(self.link(index) for index in links)
        one = FlowClass(links, path, cap, asks=round(cap * UNIT))
        self._classes[links, cap] = one
        return one

    def _enter(self, one: FlowClass, since_fs: int) -> None:
        """Put one more flow of a class on its links."""
        one.flows += 1
        asks = one.asks
        for link in one.path:
            link.add(asks, since_fs)
            if one.flows == 1:
                link.classes[one] = None
            if link.asked > link.limit:
                self._touch(link)
            elif link.asked > link.peak:
                link.peak = link.asked

    def _leave(self, one: FlowClass, now_fs: int) -> None:
        """Take one flow of a class from its links."""
        one.flows -= 1
        for link in one.path:
            if link.asked > link.limit:
                self._touch(link)
            link.remove(one.asks, now_fs)
            if not one.flows:
                link.classes.pop(one, None)
        if not one.flows:
            one.region = None

    def _settle(self, now_fs: int) -> None:
        """End the flows with their cap that are due, in order."""
        ends = self._ends
        while ends and ends[0][0] <= now_fs:
            entry = heappop(ends)
            flow = entry[2]
            one = flow.of
            if one is not None and flow.end_fs == entry[0]:
                flow.of = None
                one.first_end_fs()
                self._leave(one, entry[0])

    def share(self, index: int, more: int) -> float:
        """B/s that a link would have for each of so many more flows, all of them alike."""
        self._settle(self._env.now_fs)
        crossing = self.link(index).crossing
        alone = self._alone
        if alone is not None and alone.end_fs is not None and index in alone.links:
            crossing += alone.end_fs > self._env.now_fs
        return self.link(index).bandwidth / (crossing + more)

    def link(self, index: int) -> Link:
        """Return what is known of a link."""
        link = self._links.get(index)
        if link is None:
            bandwidth = float(self._bandwidth[index])
            link = self._links[index] = Link(bandwidth, bandwidth * UNIT * (1 + _ROUNDING))
        return link

    # Solving.

    def _touch(self, link: Link) -> None:
        """Solve what a link joins, at the end of this instant."""
        self._dirty[link] = None
        if not self._armed:
            self._armed = True
            self._env.at(self._env.now_fs, REBALANCE, self._rebalance)

    def _rebalance(self, _value: None) -> None:
        self._armed = False
        self.solve()

    def _solve(self, seed: FlowClass, now_fs: int) -> None:
        """Give new rates to a class and all that links which are over join to it."""
        classes, links = self._reach(seed)
        rates = max_min(classes, self._bandwidth) if links else [seed.cap]
        for link in links:
            if link.over_since_fs != now_fs:
                link.account(now_fs)
            link.rate = 0.0
        region = Region(classes) if links else None
        due_fs = inf
        for one, rate in zip(classes, rates, strict=True):
            self._give(one, rate, now_fs)
            one.region = region
            load = rate * one.flows
            for link in one.path:
                link.rate += load
            first_fs = one.due_fs()
            if first_fs < due_fs:
                due_fs = first_fs
        if region is not None and due_fs < inf:
            self._env.at(max(now_fs, int(due_fs)), TRANSFER, self._wake, region)

    def _reach(self, seed: FlowClass) -> tuple[list[FlowClass], list[Link]]:
        """Find the classes that links which are over join to one, and these links."""
        mark = seed.mark = self._solves
        classes, links = [seed], []
        for one in classes:
            for link in one.path:
                if link.mark == mark:
                    continue
                link.mark = mark
                if link.asked > link.limit:
                    links.append(link)
                    for other in link.classes:
                        if other.mark != mark:
                            other.mark = mark
                            classes.append(other)
        return classes, links

    def _give(self, one: FlowClass, rate: float, now_fs: int) -> None:
        """Change the rate of a class, and how its flows are kept if they become slowed or free."""
        # A count that nobody waits for starts again: small numbers are finer.
        counts = one.targets or one.changed is not None
        one.served = one.served_at(now_fs) if counts else 0.0
        one.since_fs = now_fs
        one.rate = rate
        if one.changed is not None:
            one.changed(one)
        elif rate < one.cap:
            if one.ends:
                self._slow(one, now_fs)
        elif one.targets:
            self._free(one, now_fs)

    def _slow(self, one: FlowClass, now_fs: int) -> None:
        """From now on the class's count tells when its flows end."""
        entries, one.ends = one.ends, []
        for entry in entries:
            if not holds(entry):
                continue
            end_fs, number, flow = entry
            since_fs = flow.since_fs if flow.slowed else flow.start_fs
            flow.moved += (now_fs - since_fs) * flow.cap / FS_PER_S
            flow.slowed, flow.joined, flow.end_fs = True, one.served, None
            left = (end_fs - now_fs) * flow.cap / FS_PER_S
            heappush(one.targets, (one.served + left, number, flow))
            self._lasting += 1

    def _free(self, one: FlowClass, now_fs: int) -> None:
        """From now on the flows of a class have their cap."""
        for target, number, flow in one.targets:
            flow.moved += one.served - flow.joined
            left_fs = max(0, ceil((target - one.served) / one.cap * FS_PER_S))
            flow.since_fs = now_fs
            flow.end_fs = now_fs + left_fs
            self._empty_fs = max(self._empty_fs, flow.end_fs)
            entry = flow.end_fs, number, flow
            heappush(one.ends, entry)
            heappush(self._ends, entry)
            self._on_known(flow)
        self._lasting -= len(one.targets)
        one.targets = []

    def _wake(self, region: Region) -> None:
        """End the flows of a region that are due; the solve that follows wakes it again.

        What ends crosses a link that is over, so that all it joins is solved anew: of a
        region either all classes are still there, and one is due, or none.
        """
        now_fs = self._env.now_fs
        self._settle(now_fs)
        for one in region.classes():
            while one.targets and one.due_fs() <= now_fs:
                self._end_slowed(one, now_fs)

    def _end_slowed(self, one: FlowClass, now_fs: int) -> None:
        _, _, flow = heappop(one.targets)
        flow.moved = flow.sent_bytes(now_fs)
        flow.since_fs = flow.end_fs = now_fs
        flow.of = None
        self._lasting -= 1
        self._empty_fs = max(self._empty_fs, now_fs)
        self._leave(one, now_fs)
        self._on_known(flow)
