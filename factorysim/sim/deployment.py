"""A serving deployment under way: its replicas, their rows, its share of Little's law."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.records import CHUNK_ROWS, StationLine
from factorysim.sim.clock import FS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from factorysim.graph.plan import ServePlan
    from factorysim.records import RunNote
    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.replica import Replica
    from factorysim.sim.router import Router


class Deployment:
    """What is inside its replicas, counted twice: as an area, and by each call's stay."""

    def __init__(
        self,
        number: int,
        plan: ServePlan,
        router: Router,
        clock: Clock,
        flush: Callable[[Deployment], None],
    ) -> None:
        self.number = number
        self.plan = plan
        self._router = router
        self._clock = clock
        self._flush = flush
        """Takes the rows, once they fill a chunk."""
        self.replicas: list[Replica] = []
        self.rows: list[RunNote] = []
        """Which its replicas write."""
        self.arrivals = self.departures = 0
        self._came_fs = self._left_fs = 0
        """Sums of the instants at which calls came and left."""
        self._sojourn_fs = 0

    def take(self, call: Call) -> None:
        """Hand a call that has landed to its replica."""
        server = call.server
        assert server is not None
        self.arrivals += 1
        self._came_fs += self._clock.now_fs
        server.submit(call)

    def give(self, call: Call) -> None:
        """Send back a call that has left its replica."""
        now_fs = self._clock.now_fs
        self.departures += 1
        self._left_fs += now_fs
        handoff = call.handoff
        queued = call.queued_fs if handoff is None else handoff.asked_fs
        assert queued is not None
        # By what the replica wrote into the call, where `now_fs` is what the clock says.
        last = call.last_token_fs if call.outcome == "completed" else now_fs
        assert last is not None
        self._sojourn_fs += last - queued
        if len(self.rows) >= CHUNK_ROWS:
            self._flush(self)
        self._router.back(call, call.tag.resume)

    def bypass(self, call: Call) -> None:
        """Send back a call that has landed here, but whose answer its prefill replica gave."""
        self._router.back(call, call.tag.resume)

    def line(self, now_fs: int, present: list[Call]) -> StationLine:
        """Draw the balance, with the stays so far of the calls that are present."""
        # The integral of the number present: each call adds from when it came.
        area = self._left_fs - self._came_fs + (self.arrivals - self.departures) * now_fs
        sojourn = self._sojourn_fs
        for call in present:
            came = call.queued_fs if call.handoff is None else call.handoff.asked_fs
            assert came is not None
            sojourn += now_fs - came
        devices = self.plan.devices_per_replica
        return StationLine(
            station=self.plan.name,
            capacity=devices * len(self.replicas),
            arrivals=self.arrivals,
            departures=self.departures,
            area_s=area / FS_PER_S,
            sojourn_s=sojourn / FS_PER_S,
            busy_s=devices * sum(replica.busy_fs for replica in self.replicas) / FS_PER_S,
        )
