"""The tiers of a factory under way: stores, the replicas that use them, what sessions wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.sim.call import GONE
from factorysim.sim.clock import FS_PER_S
from factorysim.sim.roads import FabricRoad
from factorysim.sim.shelf import Shelf
from factorysim.sim.store import lines_of
from factorysim.sim.tier_audit import audit_tiers
from factorysim.sim.tier_log import Log
from factorysim.sim.tiers import ReplicaTiers, Rules, TieredLedger
from factorysim.sim.tool_times import ToolTimes, keep_fs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.graph.plan import FactoryPlan, ServePlan
    from factorysim.records import AuditLine
    from factorysim.sim.call import Call, Limits
    from factorysim.sim.clock import Clock
    from factorysim.sim.costs import StepCosts
    from factorysim.sim.fabric import Fabric
    from factorysim.sim.io_work import IoWork
    from factorysim.sim.session import Live
    from factorysim.sim.store import Line
    from factorysim.spec.serving import ServingSpec
    from factorysim.workload.session import ToolNode


class TierWorld:
    """Stores by place, and what the engines know of the sessions whose KV waits in them."""

    def __init__(
        self,
        clock: Clock,
        serving: ServingSpec,
        plan: FactoryPlan,
        fabric: Fabric,
        rows: list[tuple[object, ...]],
        io: IoWork | None = None,
    ) -> None:
        self._clock = clock
        self._serving = serving
        self.log = Log(rows, block_tokens=serving.kv.block_tokens)
        self._road = FabricRoad(clock, fabric, io)
        self._kept: dict[int, tuple[Sequence[Shelf], list[Line]]] = {}
        """By session, what is better kept for it, and where."""
        self._times = ToolTimes()
        self._answers: dict[int, Call] = {}
        """The last call of each session that is under way."""
        self._replicas: list[ReplicaTiers] = []
        kv = serving.kv
        self._tool_aware = kv.eviction == "tool_ttl"
        self._shelves: list[Shelf] = []
        for number, store in enumerate(plan.stores):  # each comes after the one below it
            self._shelves.append(
                Shelf(
                    clock,
                    self.log,
                    self._road,
                    number,
                    store.tier,
                    store.blocks,
                    store.nodes,
                    store.block_bytes,
                    shared=store.shared,
                    below=None if store.below < 0 else self._shelves[store.below],
                    ttl_fs=None if kv.ttl is None else round(kv.ttl * FS_PER_S),
                    keep={} if self._tool_aware else None,
                )
            )

    def replica(
        self, serve: ServePlan, number: int, limits: Limits, costs: StepCosts
    ) -> ReplicaTiers:
        """Give a replica, by its number in its deployment, HBM and what it reaches below."""
        reached = serve.stores[number]
        kv = self._serving.kv
        tiers = ReplicaTiers(
            self._clock,
            self.log,
            self._road,
            Rules(kv.offload, kv.fetch, limits.token_budget),
            TieredLedger(limits.blocks, limits.block_tokens),
            costs,
            [self._shelves[index] for index in reached.stores],
            serve.replicas[number].devices,
            reached.near,
            reached.lane_bytes,
        )
        self._replicas.append(tiers)
        return tiers

    # What sessions do.

    def answered(self, call: Call) -> None:
        """Remember the call that a session's next tool follows, and check what it says."""
        self.log.check(call)
        self._answers[call.session] = call

    def tool_begins(self, live: Live, node: ToolNode) -> None:
        """Let the engine that a session was served by know of a tool that it calls."""
        call = self._answers.get(live.number)
        if call is None or call.server is None or not call.content:
            return
        tiers = call.server.tiers
        if tiers is None:
            return
        blocks = (call.prompt_tokens + call.output_tokens - 1) // tiers.ledger.block_tokens
        if self._tool_aware:
            self._keep_for(call, node, tiers, blocks)
        tiers.tool_begins(call.content, blocks)

    def _keep_for(self, call: Call, node: ToolNode, tiers: ReplicaTiers, blocks: int) -> None:
        mean_fs = self._times.mean_fs(node.cls)
        refill_fs = tiers.prefill_fs(0, call.prompt_tokens + call.output_tokens)
        lines = [span.line for span in lines_of(call.content, 0, blocks)]
        for shelf in tiers.shelves:
            keep = shelf.keep
            assert keep is not None
            until_fs = self._clock.now_fs + keep_fs(mean_fs, refill_fs, blocks / shelf.blocks)
            for line in lines:
                if until_fs > keep.get(line, 0):
                    keep[line] = until_fs
        self._kept[call.session] = tiers.shelves, lines

    def tool_ended(self, node: ToolNode, took_fs: int) -> None:
        """Learn how long a class of tools takes."""
        self._times.ended(node.cls, took_fs)

    def session_over(self, session: int) -> None:
        """Forget a session."""
        self._answers.pop(session, None)
        shelves, lines = self._kept.pop(session, ((), []))
        for shelf in shelves:
            for line in lines:
                if shelf.keep is not None:
                    shelf.keep.pop(line, None)

    # The end.

    @property
    def fetching(self) -> int:
        """Calls that wait for blocks, outside of queues and batches."""
        return sum(
            call.state != GONE for tiers in self._replicas for call in tiers.fetching.values()
        )

    def audit(self, flying: Iterable[Call]) -> tuple[AuditLine, ...]:
        """Draw the balances of the tiers, with the calls that are in flight."""
        fetching_fs = {
            number: None if call.fetch is None else call.fetch.started_fs
            for tiers in self._replicas
            for number, call in tiers.fetching.items()
        }
        for call in flying:
            self.log.check(call, fetching_fs.get(call.number))
        return audit_tiers(self._shelves, self._replicas, self.log, self._road)
