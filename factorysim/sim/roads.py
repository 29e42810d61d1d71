"""What carries KV between devices and stores: the fabric, a transfer on each lane."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.sim.fabric import Fabric

KIND = "kv_"
"""What the kinds of its transfers begin with."""


class FabricRoad:
    """Bytes on several lanes at once, that have landed with the last of them."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self.sent_bytes = self.landed_bytes = 0
        """On all lanes so far."""
        self.landed_by_kind: Counter[str] = Counter()
        """The same of what has landed on all of its lanes."""

    def carry(
        self,
        lanes: Sequence[tuple[int, int]],
        size_bytes: int,
        kind: str,
        landed: Callable[[], None],
    ) -> None:
        """Send so many bytes on each lane, from node to node; call back when all have landed."""
        left = len(lanes)

        def one_landed() -> None:
            nonlocal left
            left -= 1
            self.landed_bytes += size_bytes
            if not left:
                self.landed_by_kind[kind] += size_bytes * len(lanes)
                landed()

        self.sent_bytes += size_bytes * left
        for source, target in lanes:
            self._fabric.transfer(source, target, size_bytes, None, one_landed, kind=KIND + kind)

    def estimate_fs(self, lanes: Sequence[tuple[int, int]], size_bytes: int) -> int:
        """Tell how long that would take, if traffic stayed as it is."""
        return self._fabric.estimate_fs(lanes, size_bytes)

    def found_bytes(self) -> int:
        """Sum up what something pending in the clock will let land."""
        return sum(flow.size_bytes for flow in self._fabric.found() if flow.kind.startswith(KIND))
