"""What makes I/O work: prompts and answers at the door, what tools send and store, KV of tiers.

- A prompt is worked on when it has landed, and reaches its replica after that. Of an
  answer the last message is worked on before it sets out. What went ahead (a message a
  token) costs the same cores; it is one job, as the answer ends, that nobody waits for.
- A tool's messages, and its bytes of stores, are worked on when its own work is done, on
  its host; its result goes back after that.
- KV to or from a store is worked on while it is sent: it has landed when both are done.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from factorysim.sim.clock import ARRIVAL, TRANSFER
from factorysim.sim.io_cores import NUMBERS, Load
from factorysim.sim.session import NETWORK, TOOL
from factorysim.sim.ways import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.graph.plan import FactoryPlan, Server
    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.io_cores import IoCores
    from factorysim.sim.router import Landed, Way
    from factorysim.sim.session import Branch
    from factorysim.sim.tools import ToolJob
    from factorysim.spec.io_work import IoWorkSpec
    from factorysim.workload.session import ToolNode

_BEHIND_DRIVERS = ("nvme", "cmx", "storage")
"""Tiers that software talks to; to and from host memory devices copy by themselves."""


class IoWork:
    """All I/O work of a factory, and the cores that do it."""

    def __init__(self, clock: Clock, plan: FactoryPlan, spec: IoWorkSpec, cores: IoCores) -> None:
        assert plan.io is not None
        self._clock = clock
        self._io = plan.io
        self._spec = spec
        self.cores = cores

    def way(self, inner: Way, node: int) -> IoWay:
        """Put the work at the door into the way to a replica at a node."""
        return IoWay(self, self._clock, inner, node)

    def messages(self, size_bytes: float, messages: int = 1) -> list[Load]:
        """Tell what work messages are that cross the door."""
        loads = []
        if self._spec.tls != "none":
            loads.append(Load("tls", size_bytes, messages))
        if self._spec.packets != "none":
            loads.append(Load("packets", size_bytes, messages))
        return loads

    def tool_ended(
        self,
        job: ToolJob,
        host: int,
        branch: Branch,
        node: ToolNode,
        back: Callable[[ToolJob], None],
    ) -> bool:
        """Work on what a tool has sent, read and written, then call back; False: there is none.

        Parameters
        ----------
        host
            Node that it ran on; outside of the factory that is nobody's work.
        """
        if host not in self._io.servers:
            return False
        answer_bytes = node.out_bytes or node.result_tokens * BYTES_PER_TOKEN
        loads = self.messages(node.in_bytes + answer_bytes, 2)
        stored_bytes = self._spec.tool_bytes * job.cpu_s
        if stored_bytes:
            loads.append(Load("storage", stored_bytes))
        since_fs = self._clock.now_fs

        def done(job: ToolJob) -> None:
            took_fs = self._clock.now_fs - since_fs
            branch.shares[NETWORK] += took_fs
            branch.shares[TOOL] -= took_fs  # whose end, to the session, is now
            back(job)

        return self.cores.work(
            host,
            loads,
            outward=True,
            priority=ARRIVAL + branch.live.number,
            then=done,
            value=job,
            cores=node.cores,
        )

    def carry(
        self,
        lanes: Sequence[tuple[int, int]],
        size_bytes: int,
        kind: str,
        done: Callable[[], None],
    ) -> int:
        """Work on KV that is sent on lanes; `done` is called as often as this returns."""
        return sum(
            self.cores.work(
                node,
                [Load("storage", moved_bytes)],
                outward=not kind.startswith("fetch"),
                priority=TRANSFER + NUMBERS + self.cores.numbered,
                then=lambda _: done(),
                cores=self._io.width,
            )
            for node, moved_bytes in self._servers(lanes, size_bytes, kind)
        )

    def estimate_fs(self, lanes: Sequence[tuple[int, int]], size_bytes: int, kind: str) -> int:
        """Tell how long that work would take on idle cores, behind what ports have to do."""
        outward = not kind.startswith("fetch")
        times = [
            self.cores.estimate_fs(
                node, Load("storage", moved_bytes), self._io.width, outward=outward
            )
            for node, moved_bytes in self._servers(lanes, size_bytes, kind)
        ]
        return max(times, default=0)

    def _servers(
        self, lanes: Sequence[tuple[int, int]], size_bytes: int, kind: str
    ) -> list[tuple[int, float]]:
        """Find whose cores work on KV: of each server a node, and the bytes that it moves."""
        verb, _, tier = kind.partition("_")
        if tier not in _BEHIND_DRIVERS or self._spec.storage == "none":
            return []
        found: dict[Server, tuple[int, float]] = {}
        for source, target in lanes:
            node = target if verb == "fetch" else source
            server = self._io.servers.get(node)  # boxes of a shared tier work for themselves
            if server is not None:
                first, moved_bytes = found.get(server, (node, 0.0))
                found[server] = first, moved_bytes + size_bytes
        return list(found.values())


class IoWay:
    """The way to a replica, with the work on its text at the replica's server."""

    def __init__(self, io: IoWork, clock: Clock, inner: Way, node: int) -> None:
        self._io = io
        self._clock = clock
        self._inner = inner
        self._node = node

    def there(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        """Carry a prompt to the replica, which gets it once the work is done."""
        self._inner.there(tokens, priority, partial(self._arrived, tokens, priority, landed), call)

    def back(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        """Carry the end of an answer to its session, once the work is done."""
        # After all ends of steps of this instant, and of tools' work.
        answered = partial(self._answered, tokens, priority, landed)
        self._clock.at(self._clock.now_fs, priority, answered, call)

    def _arrived(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        loads = self._io.messages(tokens * BYTES_PER_TOKEN)
        if not self._work(loads, priority, landed, call, outward=False):
            landed(call)

    def _answered(self, tokens: int, priority: int, landed: Landed, call: Call) -> None:
        io, ahead = self._io, tokens - 1
        if ahead > 0:
            self._work(io.messages(ahead * BYTES_PER_TOKEN, ahead), priority, None, None)
        last = io.messages(min(tokens, 1) * BYTES_PER_TOKEN)
        leave = partial(self._inner.back, tokens, priority, landed)
        if not self._work(last, priority, leave, call):
            leave(call)

    def _work(
        self,
        loads: list[Load],
        priority: int,
        then: Landed | None,
        call: Call | None,
        *,
        outward: bool = True,
    ) -> bool:
        return self._io.cores.work(
            self._node, loads, outward=outward, priority=priority, then=then, value=call
        )


def metered(plan: FactoryPlan) -> FactoryPlan:
    """Give the power meter a plan in which hosts that run no tools come after those that do."""
    if plan.io is None or plan.io.spare is None:
        return plan
    return plan._replace(tools=(*plan.tools, plan.io.spare))
