"""What carries KV between devices and stores: the fabric, a transfer on each lane."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.sim.clock import Clock
    from factorysim.sim.fabric import Fabric
    from factorysim.sim.io_work import IoWork

KIND = "kv_"
"""What the kinds of its transfers begin with."""


class FabricRoad:
    """Bytes on several lanes at once, that have landed with the last of them.

    Where they are storage's work for somebody's cores, they have landed when that is done too.
    """

    def __init__(self, clock: Clock, fabric: Fabric, io: IoWork | None = None) -> None:
        self._clock = clock
        self._fabric = fabric
        self._io = io
        self.landed_bytes = 0
        """On all lanes so far."""
        self.landed_by_kind: Counter[str] = Counter()
        """The same of what has landed on all of its lanes."""
        self.took_fs: Counter[str] = Counter()
        """Of that, from when it was sent, by kind."""
        self.lanes: Counter[str] = Counter()
        """That something was sent on so far, by kind."""

    def carry(
        self,
        lanes: Sequence[tuple[int, int]],
        size_bytes: int,
        kind: str,
        landed: Callable[[], None],
    ) -> None:
        """Send so many bytes on each lane, from node to node; call back when all have landed."""
        left = len(lanes)
        sent_fs = self._clock.now_fs

        def one_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                self.landed_by_kind[kind] += size_bytes * len(lanes)
                self.took_fs[kind] += self._clock.now_fs - sent_fs
                landed()

        def one_landed() -> None:
            self.landed_bytes += size_bytes
            one_done()

        self.lanes[kind] += left
        if self._io is not None:
            left += self._io.carry(lanes, size_bytes, kind, one_done)
        for source, target in lanes:
            self._fabric.transfer(source, target, size_bytes, None, one_landed, kind=KIND + kind)

    def estimate_fs(self, lanes: Sequence[tuple[int, int]], size_bytes: int, kind: str) -> int:
        """Tell how long that would take, if traffic stayed as it is and cores were idle."""
        sent_fs = self._fabric.estimate_fs(lanes, size_bytes)
        return (
            sent_fs
            if self._io is None
            else max(sent_fs, self._io.estimate_fs(lanes, size_bytes, kind))
        )

    def carried(self) -> dict[str, int]:
        """Bytes that the fabric says were sent so far, by kind."""
        sent = self._fabric.sent_by_kind.items()
        return {kind.removeprefix(KIND): size for kind, size in sent if kind.startswith(KIND)}

    def found_bytes(self) -> int:
        """Sum up what something pending in the clock will let land."""
        return sum(flow.size_bytes for flow in self._fabric.found() if flow.kind.startswith(KIND))
