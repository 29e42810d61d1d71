"""The way between the sessions and a replica: text that crosses the fabric.

Messages below the fabric's limit cost latency only and are folded into the one
event of their landing; larger ones (a prompt of 16,000 tokens and up) are
transfers of the fabric, with a record and a share of its links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.sim.fabric import LATENCY_ONLY_BYTES

if TYPE_CHECKING:
    from factorysim.graph.plan import FactoryPlan, ReplicaPlan
    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.fabric import Fabric
    from factorysim.sim.router import Landed

BYTES_PER_TOKEN = 4
"""Of text, both ways: about four characters a token in English (a rule of thumb of
tokenizers' authors; tau-bench's figures in our sources use the same). A guess."""


class FabricWay:
    """From the clients' node of the graph to a replica's first device.

    On its way there a call spends `door_fs` in the engine's front end, which takes
    any number at once: API, tokenizer, hand-over to the scheduler.
    """

    def __init__(
        self, clock: Clock, fabric: Fabric, plan: FactoryPlan, placed: ReplicaPlan, door_fs: int
    ) -> None:
        self._clock = clock
        self._fabric = fabric
        self._clients = plan.clients
        self._cap = plan.session_bandwidth
        self._replica = placed.devices[0]
        self._latency_fs = placed.latency_fs
        self._door_fs = door_fs

    def there(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        """Carry a prompt to the replica."""
        size = tokens * BYTES_PER_TOKEN
        clock, door_fs = self._clock, self._door_fs
        if size < LATENCY_ONLY_BYTES:
            clock.at(clock.now_fs + self._latency_fs + door_fs, priority, landed, call)
        else:
            self._fabric.transfer(
                self._clients,
                self._replica,
                size,
                self._cap,
                lambda: clock.at(clock.now_fs + door_fs, priority, landed, call),
                kind="prompt",
            )

    def back(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        """Carry the last token of an answer to its session: the others went ahead."""
        clock = self._clock
        clock.at(clock.now_fs + self._latency_fs, priority, landed, call)
