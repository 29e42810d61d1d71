"""The serving side of a factory: routers, the replicas behind them, pairs of prefill and decode."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from factorysim.physics.speculation import pace_of
from factorysim.policies.routing import routing
from factorysim.sim.call import GONE, MOVING, Call, Limits, Tuning
from factorysim.sim.clock import FS_PER_S
from factorysim.sim.deployment import Deployment
from factorysim.sim.engines import replica_kind, step_costs, ways_of
from factorysim.sim.handoff import Gate, HandOff, LegWay, Pairing
from factorysim.sim.prefix_index import index_of
from factorysim.sim.ranks import parts_of
from factorysim.sim.router import Router
from factorysim.sim.turns import Turns, tenants_of
from factorysim.sim.ways import FabricWay
from factorysim.spec.serving import DisaggregationSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from factorysim.graph.plan import FactoryPlan, ReplicaPlan, ServePlan
    from factorysim.policies.routing import Routing
    from factorysim.records import StationLine
    from factorysim.sim.audit import Ledgers
    from factorysim.sim.book import Book
    from factorysim.sim.clock import Clock
    from factorysim.sim.costs import StepCosts
    from factorysim.sim.fabric import Fabric
    from factorysim.sim.incidents import Incidents
    from factorysim.sim.io_work import IoWork
    from factorysim.sim.replica import Replica
    from factorysim.sim.router import Way
    from factorysim.sim.tier_world import TierWorld
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.serving import ServingSpec


class ServingWorld:
    """All serving deployments of a factory.

    Parameters
    ----------
    flush
        Takes the runs of steps of a deployment, once they fill a chunk.
    policies
        A user's own, by what they decide.
    """

    def __init__(
        self,
        clock: Clock,
        scenario: ScenarioSpec,
        plan: FactoryPlan,
        book: Book,
        incidents: Incidents,
        fabric: Fabric,
        io: IoWork | None,
        tiers: TierWorld | None,
        flush: Callable[[Deployment], None],
        policies: Mapping[str, Routing],
    ) -> None:
        self._clock = clock
        self._serving = scenario.serving
        self._stepwise = scenario.run.clock == "stepwise"
        self._streams = scenario.streams
        self._plan = plan
        self._book = book
        self._incidents = incidents
        self._fabric = fabric
        self._io = io
        self._tiers = tiers
        self._write_steps = flush
        self.routers: dict[tuple[str, int], Router] = {}
        """Where calls go: by LLM, and by the tokens that prompts are longer than."""
        self.pairings: dict[tuple[str, int], Pairing] = {}
        """The same, of prompts that are computed apart."""
        self._places: dict[int, ReplicaPlan] = {}
        """Of replicas, by index."""
        self.deployments: list[Deployment] = []
        self.replicas: list[Replica] = []
        apart = dict.fromkeys(
            (serve.llm, serve.prompts_above) for serve in plan.serve if serve.role == "prefill"
        )
        how = scenario.serving.disaggregation or DisaggregationSpec()
        for name in apart:
            self.pairings[name] = Pairing(
                how, fabric, self._router(policies), self._places, book.write_handoff
            )
        for serve in plan.serve:
            self._build(serve, policies)

    # Building.

    def _build(self, serve: ServePlan, policies: Mapping[str, Routing]) -> None:
        name = serve.llm, serve.prompts_above
        if serve.role == "prefill":
            router = self.pairings[name].prefill
        elif name in self.routers:
            router = self.routers[name]
        else:
            same = [one for one in self._plan.serve if (one.llm, one.prompts_above) == name]
            ranks = min(one.ranks for one in same)
            router = self.routers[name] = self._router(policies, ranks)
        deployment = Deployment(
            len(self.deployments), serve, router, self._clock, self._write_steps
        )
        self.deployments.append(deployment)
        limits = self._limits(serve)
        costs, kind = step_costs(serve), replica_kind(serve, limits)
        landed = deployment.take
        if serve.kv_state is not None:
            landed = Gate(self.pairings[name], deployment, serve.kv_state).take
        for placed in serve.replicas:
            replica = self._replica(deployment, placed, kind, limits, costs)
            self._places[replica.index] = placed
            router.add(replica, self._way(serve, replica, placed), landed)
            deployment.replicas.append(replica)
            self.replicas.append(replica)

    def _limits(self, serve: ServePlan) -> Limits:
        """Say what a replica of a deployment may do."""
        # Whoever asks what a replica holds while a run is under way must not see what it will
        # evict by then: the exact index, tiers, and the gate that computes short prompts here.
        serving = self._serving
        apart = serving.disaggregation
        return Limits(
            serving.kv.block_tokens,
            serve.kv_blocks,
            serving.token_budget,
            serving.max_sequences,
            serving.scheduler,
            serving.order,
            serving.kv.retain,
            role=serve.role,
            stepwise=self._stepwise,
            watched=serving.router.index == "exact"
            or self._tiers is not None
            or bool(apart and apart.local_prefill_below),
            tuning=_tuning(serving),
            context_tokens=serve.context_tokens,
            encoder=serve.encoder,
            cache_outputs=serving.kv.cache_outputs,
            pace=pace_of(serve.law),
        )

    def _replica(
        self,
        deployment: Deployment,
        placed: ReplicaPlan,
        kind: type[Replica],
        limits: Limits,
        costs: StepCosts,
    ) -> Replica:
        """Build the next replica of a deployment."""
        serve, number = deployment.plan, len(deployment.replicas)
        replica = kind(
            self._clock,
            len(self.replicas),
            serve.law,
            limits,
            deployment.give,
            deployment.rows,
            self._book.gaps,
            owner=deployment,
            costs=costs,
            tiers=None
            if self._tiers is None
            else self._tiers.replica(serve, number, limits, costs),
        )
        if (placed.straddles or placed.ways) and serve.law.link_token_bytes:
            ways = list(placed.ways) or ways_of(serve, placed)
            replica.standing = self._fabric.standing(ways, replica.feel_network)
        for part in parts_of(replica):
            part.on_preempted = partial(self._incidents.preempted, f"{serve.name}/{number}")
        return replica

    def _way(self, serve: ServePlan, replica: Replica, placed: ReplicaPlan) -> Way:
        """Say how calls come to a replica; `placed` is among the places already."""
        if serve.role == "prefill":
            if self.pairings[serve.llm, serve.prompts_above].early:
                replica.on_start = _start_leg
            return LegWay(self._clock, self._fabric, self._plan, self._places)
        way: Way = FabricWay(self._clock, self._fabric, self._plan, placed, serve.door_fs)
        return way if self._io is None else self._io.way(way, placed.devices[0])

    def _router(self, policies: Mapping[str, Routing], ranks: int = 1) -> Router:
        serving = self._serving
        spec = serving.router
        router = Router(
            self._clock,
            policies.get("router") or routing(spec),
            spec.snapshot,
            shared_queue=spec.policy == "shared_queue",
            max_sequences=ranks * serving.max_sequences,
            draws=spec.policy == "power_of_two",
            prefixes=index_of(serving, self._clock),
        )
        if spec.share is not None:
            tenants = tenants_of(spec.share, self._streams)
            router.take_turns(Turns(spec.share.weights), tenants)
        return router

    # While it goes on, and at the end.

    def forget(self, session: int) -> None:
        """Let the routers of prefill forget a session that is over."""
        for pairing in self.pairings.values():
            pairing.prefill.forget(session)

    def settle(self) -> None:
        """Credit what the runs of steps in progress have done."""
        for replica in self.replicas:
            replica.settle()

    def close_handoffs(self, ledgers: Ledgers) -> None:
        """Credit what prefill replicas did: to calls in flight, or to nobody."""
        for pairing in self.pairings.values():
            for handoff in pairing.legs.values():
                if handoff.call.state == GONE:
                    pairing.orphans.append(handoff.leg)
                else:
                    handoff.settle()
            for leg in pairing.orphans:
                ledgers.computed_tokens += leg.computed_tokens
                ledgers.recomputed_tokens += leg.recomputed_tokens
                pairing.discarded += leg.output_made
            ledgers.discarded_tokens += pairing.discarded
            ledgers.handoffs += pairing.begun
            for handoff in pairing.unwritten():
                self._book.write_handoff(handoff)

    # What the audit asks.

    def parts(self) -> list[Replica]:
        """Name all that have a queue, a batch and a KV cache of their own."""
        return [part for replica in self.replicas for part in parts_of(replica)]

    def held(self) -> int:
        """Count the calls in routers, queues and batches; one that is in two of them once."""
        found = sum(router.held for router in self.routers.values())
        for pairing in self.pairings.values():
            found += pairing.prefill.held - pairing.not_alone()
        return found + sum(part.waiting + len(part.running) for part in self.parts())

    def stranded(self) -> int:
        """Count the calls that have blocks for KV which is neither computed nor on its way."""
        coming: set[object] = set()
        for pairing in self.pairings.values():
            coming.update(pairing.legs.values())
        coming.update(getattr(flow.on_landed, "__self__", None) for flow in self._fabric.found())
        return sum(
            call.state == MOVING and call.handoff not in coming and call not in replica.dock.landed
            for replica in self.replicas
            for call in replica.running.values()
        )

    def step_s(self) -> float:
        """Replica-seconds in steps."""
        return sum(replica.busy_fs for replica in self.replicas) / FS_PER_S

    def partner_s(self) -> float:
        """Device-seconds in steps of the other sides of splits."""
        return (
            sum(
                len(placed.partners) * replica.busy_fs
                for deployment in self.deployments
                for placed, replica in zip(
                    deployment.plan.replicas, deployment.replicas, strict=True
                )
            )
            / FS_PER_S
        )

    def steps(self, *, lost: bool = False) -> int:
        """Count the steps that ended, or also those that were lost."""
        return sum(replica.steps + lost * replica.steps_lost for replica in self.replicas)

    def lines(self, flying: Iterable[Call]) -> list[StationLine]:
        """Balance every deployment, with the calls that are in it."""
        now = self._clock.now_fs
        present: dict[int, list[Call]] = {d.number: [] for d in self.deployments}
        for call in flying:
            if call.server is not None and call.queued_fs is not None and not call.outcome:
                present[call.server.owner.number].append(call)
        for pairing in self.pairings.values():
            for handoff in pairing.legs.values():
                leg = handoff.leg
                if leg.server is not None and leg.queued_fs is not None and not leg.outcome:
                    present[leg.server.owner.number].append(leg)
        return [d.line(now, present[d.number]) for d in self.deployments]


def _tuning(serving: ServingSpec) -> Tuning:
    """Rules that the scheduler reads, and the others' as if they were not there."""
    tuning = Tuning()
    if serving.prefill_every is not None:
        tuning = tuning._replace(prefill_every=serving.prefill_every)
    if serving.mixed_chunk is not None:
        tuning = tuning._replace(mixed_chunk=serving.mixed_chunk)
    if serving.schedule_conservativeness is not None:
        tuning = tuning._replace(conservativeness=serving.schedule_conservativeness)
    if serving.max_model_len is not None:
        tuning = tuning._replace(reserve=serving.max_model_len)
    elif serving.reserve == "pow2":
        tuning = tuning._replace(reserve=serving.reserve)
    if serving.max_queue_delay is not None:
        delay_fs = round(serving.max_queue_delay * FS_PER_S)
        tuning = tuning._replace(max_queue_delay_fs=delay_fs)
    return tuning


def _start_leg(leg: Call) -> None:
    """Tell a hand-off that its prompt is about to be computed."""
    handoff: HandOff = leg.tag
    handoff.starts()
