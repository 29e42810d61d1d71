"""The factory in motion: streams of sessions over replicas, tool hosts and fabric.

`run_replication` builds the world from a plan, lets sessions arrive, and stops
the clock at the horizon. What it saw goes to the sink as rows, chunk by chunk,
so memory follows what is in flight; what it counted comes back as a `Closing`.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from factorysim.policies.routing import routing
from factorysim.records import Closing
from factorysim.rng import uniform
from factorysim.sim.audit import InFlight, Ledgers, Metered, audit
from factorysim.sim.book import Book
from factorysim.sim.calendar import Calendar
from factorysim.sim.call import GONE, MOVING, UNNAMED, Call, Limits
from factorysim.sim.clock import ARRIVAL, FS_PER_NS, FS_PER_S, S_PER_FS, Clock
from factorysim.sim.costs import StepCosts
from factorysim.sim.deployment import Deployment
from factorysim.sim.fabric import Fabric
from factorysim.sim.garbage import rare_collections
from factorysim.sim.handoff import Gate, HandOff, LegWay, Pairing
from factorysim.sim.power import PowerMeter
from factorysim.sim.prefix_index import index_of
from factorysim.sim.replica import Replica
from factorysim.sim.router import Router
from factorysim.sim.series import Series
from factorysim.sim.session import Branch, Live, Stream, start_session
from factorysim.sim.tools import ToolJob, ToolStation
from factorysim.sim.ways import FabricWay
from factorysim.spec.scenario import DisaggregationSpec
from factorysim.workload.content import Contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from factorysim.graph.plan import FactoryPlan, ReplicaPlan, ServePlan
    from factorysim.policies.routing import Routing
    from factorysim.records import RecordSink, StationLine
    from factorysim.sim.router import Way
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.workload.demand import Demand
    from factorysim.workload.session import LlmNode, Session, ToolNode

    Progress = Callable[[float, int], None]

CALLS_A_WORD = 256
"""Calls between two words of progress."""


def run_replication(
    scenario: ScenarioSpec,
    plan: FactoryPlan,
    demands: Sequence[Demand],
    *,
    replication: int,
    horizon_s: float,
    arrivals_end_s: float,
    sink: RecordSink,
    progress: Progress | None = None,
    policies: Mapping[str, Routing] | None = None,
) -> Closing:
    """Simulate one replication of a scenario.

    Parameters
    ----------
    demands
        One per stream of the scenario, in its order.
    horizon_s
        The clock stops here; what is in flight becomes a censored row.
    arrivals_end_s
        No session arrives at or after this instant.
    sink
        Takes the rows of `records`, many at a time.
    progress
        Called now and then with simulated seconds and sessions that have arrived.
    policies
        A user's own, by what they decide: ``{"router": f}``.

    Returns
    -------
    Totals and audit. A law that was broken is a line that is not `ok`; to raise is
    the caller's business, who has the rows to show.
    """
    with rare_collections():
        world = FactoryWorld(
            scenario, plan, replication, horizon_s, arrivals_end_s, sink, progress, policies or {}
        )
        for number, demand in enumerate(demands):
            world.open_stream(number, demand)
        world.clock.run_until(round(horizon_s * FS_PER_S))
        return world.close()


class FactoryWorld:
    """Everything that lives during one replication."""

    def __init__(
        self,
        scenario: ScenarioSpec,
        plan: FactoryPlan,
        replication: int,
        horizon_s: float,
        arrivals_end_s: float,
        sink: RecordSink,
        progress: Progress | None,
        policies: Mapping[str, Routing],
    ) -> None:
        self.clock = Clock()
        self.calendar = Calendar(self.clock)
        self._scenario = scenario
        self._plan = plan
        self._seed_parts = (scenario.run.seed, "service", replication)
        self._routing_parts = (scenario.run.seed, "routing", replication)
        self._horizon_s = horizon_s
        self._arrivals_end_fs = round(arrivals_end_s * FS_PER_S)
        self._progress = progress
        self._calls_sent = self._tools_used = self._sessions_arrived = 0
        self._flying: dict[int, Call] = {}
        """Calls in flight by number; the tag of each is its branch."""
        self._using: dict[int, tuple[Branch, ToolNode, int]] = {}
        """Tools at work on hosts by number, and when the cores were asked for."""
        self._live: dict[int, Live] = {}
        self._agents: dict[str, int] = {}
        """Whose sessions share a system prompt: numbered as they come up."""
        self._ledgers = Ledgers()
        tools = plan.tools[0].name if plan.tools else ""
        self._book = Book(sink, self._ledgers, tools)
        self._meter = PowerMeter(plan, horizon_s, scenario.run.bins)
        self._fabric = Fabric(self.clock, plan, self._book)
        self._routers: dict[str, Router] = {}
        """Where calls go, by LLM."""
        self._pairings: dict[str, Pairing] = {}
        """Of LLMs whose prompts are computed apart."""
        self._places: dict[int, ReplicaPlan] = {}
        """Of replicas, by index."""
        self._deployments: list[Deployment] = []
        self._replicas: list[Replica] = []
        apart = dict.fromkeys(serve.llm for serve in plan.serve if serve.role == "prefill")
        how = scenario.serving.disaggregation or DisaggregationSpec()
        for llm in apart:
            self._pairings[llm] = Pairing(
                how, self._fabric, self._router(policies), self._places, self._book.write_handoff
            )
        for serve in plan.serve:
            self._build_deployment(serve, policies)
        self._busy_cores = Series("busy_cores", tools, horizon_s, scenario.run.bins)
        self._tool_station = self._build_tools()

    # Building.

    def _build_deployment(self, serve: ServePlan, policies: Mapping[str, Routing]) -> None:
        serving = self._scenario.serving
        if serve.role == "prefill":
            router = self._pairings[serve.llm].prefill
        elif serve.llm in self._routers:
            router = self._routers[serve.llm]
        else:
            router = self._routers[serve.llm] = self._router(policies)
        deployment = Deployment(
            len(self._deployments), serve, router, self.clock, self._write_steps
        )
        self._deployments.append(deployment)
        limits = Limits(
            serving.kv.block_tokens,
            serve.kv_blocks,
            serving.token_budget,
            serving.max_sequences,
            serving.scheduler,
            serving.order,
            serving.kv.retain,
            role=serve.role,
            stepwise=self._scenario.run.clock == "stepwise",
            watched=serving.router.index == "exact",
        )
        costs = StepCosts(serve.law)
        landed = deployment.take
        if serve.kv_state is not None:
            landed = Gate(self._pairings[serve.llm], deployment, serve.kv_state).take
        for placed in serve.replicas:
            index = len(self._replicas)
            replica = Replica(
                self.clock,
                index,
                serve.law,
                limits,
                deployment.give,
                deployment.rows,
                self._book.gaps,
                owner=deployment,
                costs=costs,
            )
            if (placed.straddles or placed.ways) and serve.law.link_token_bytes:
                after = (*placed.devices[1:], placed.devices[0])
                ring = list(placed.ways or zip(placed.devices, after, strict=True))
                replica.standing = self._fabric.standing(ring, replica.feel_network)
            self._places[index] = placed
            way: Way
            if serve.role == "prefill":
                way = LegWay(self.clock, self._fabric, self._plan, self._places)
                if self._pairings[serve.llm].early:
                    replica.on_start = _start_leg
            else:
                way = FabricWay(self.clock, self._fabric, self._plan, placed, serve.door_fs)
            router.add(replica, way, landed)
            deployment.replicas.append(replica)
            self._replicas.append(replica)

    def _router(self, policies: Mapping[str, Routing]) -> Router:
        serving = self._scenario.serving
        spec = serving.router
        return Router(
            self.clock,
            policies.get("router") or routing(spec),
            spec.snapshot,
            shared_queue=spec.policy == "shared_queue",
            max_sequences=serving.max_sequences,
            draws=spec.policy == "power_of_two",
            prefixes=index_of(serving, self.clock),
        )

    def _build_tools(self) -> ToolStation | None:
        if not self._plan.tools:
            return None
        return ToolStation(
            self.clock,
            self._plan.tools[0],
            self._tool_left,
            entity=len(self._replicas),
            on_busy=self._note_busy,
        )

    def _note_busy(self, rows: npt.NDArray[np.float64]) -> None:
        self._meter.add_busy(0, rows)
        _, start_s, stop_s, cores = rows.T
        self._busy_cores.add(start_s, stop_s, cores)

    # Arrivals.

    def open_stream(self, number: int, demand: Demand) -> None:
        """Let a stream's sessions arrive: by their times, or as others end."""
        spec = self._scenario.streams[demand.name]
        serving = self._scenario.serving
        shares = serving.kv.retain == "shared" and spec.calls is None
        stream = Stream(number, demand, self._routers[spec.llm], shares=shares)
        if demand.concurrency is None:
            self._await_next(stream)
        else:
            for _ in range(demand.concurrency):
                self.clock.at(0, ARRIVAL + number, self._arrive_in_turn, stream)

    def _await_next(self, stream: Stream) -> None:
        plan = next(stream.plans, None)
        if plan is not None:
            when = plan.at_ns * FS_PER_NS
            if when < self._arrivals_end_fs:
                self.clock.at(when, ARRIVAL + stream.number, self._arrive_by_clock, (stream, plan))

    def _arrive_by_clock(self, arrival: tuple[Stream, Session]) -> None:
        stream, plan = arrival
        self._await_next(stream)
        self._arrive(stream, plan)

    def _arrive_in_turn(self, stream: Stream) -> None:
        if self.clock.now_fs < self._arrivals_end_fs:
            plan = next(stream.plans, None)
            if plan is not None:
                self._arrive(stream, plan)

    def _arrive(self, stream: Stream, plan: Session) -> None:
        number = self._sessions_arrived
        self._sessions_arrived += 1
        live = Live(number, stream, plan, self.clock.now_fs)
        if stream.shares or live.calls_left > 1:  # else nobody but itself repeats its call
            live.contents = self._contents(live)
        self._live[number] = live
        start_session(self, live)

    def _contents(self, live: Live) -> Contents:
        """Name what a session's calls hold, as far as others may hold the same."""
        size, stream, plan = self._scenario.serving.kv.block_tokens, live.stream, live.plan
        if not stream.shares:
            return Contents(live.number, size)
        agent = self._agents.setdefault(plan.agent, len(self._agents)) if plan.agent else None
        trace = stream.number if plan.hash_scope == "global" else None
        return Contents(live.number, size, agent, trace)

    # What sessions ask (`session.World`).

    def ask_llm(self, branch: Branch, node: LlmNode) -> Call:
        """Send a call; the branch is resumed when the answer is back."""
        live = branch.live
        number = self._calls_sent
        self._calls_sent += 1
        stream = live.stream
        call = Call(
            number,
            live.number,
            node.prompt_tokens,
            node.output_tokens,
            node.prefix_tokens,
            live.plan.priority,
            not live.calls_left,
            tag=branch,
        )
        if live.contents is not None:
            call.content = live.contents.next_call(node)
        else:
            call.run = UNNAMED
        if stream.draws:
            call.u = uniform(*self._seed_parts, stream.name, live.plan.sid, live.calls)
        call.asked_fs = self.clock.now_fs
        self._flying[number] = call
        router = stream.router
        if router.draws:
            call.route_u = u = uniform(*self._routing_parts, stream.name, live.plan.sid, live.calls)
            router.send(call, u)
        else:
            router.send(call)
        return call

    def note_call(self, branch: Branch, call: Call) -> None:
        """Write down a call that is back."""
        del self._flying[call.number]
        now = self.clock.now_fs
        self._book.write_call(branch, call, call.outcome, now, now)
        if self._progress is not None and not call.number % CALLS_A_WORD:
            self._progress(now * S_PER_FS, self._sessions_arrived)

    def ask_tool(self, branch: Branch, node: ToolNode) -> ToolJob | None:
        """Start a tool's CPU work; the branch is resumed at its end."""
        station = self._tool_station
        if station is None:
            return None
        number = self._tools_used
        self._tools_used += 1
        now = self.clock.now_fs
        job = ToolJob(number, branch.live.number, node.cpu_s, node.cores, node.memory_bytes)
        self._using[number] = (branch, node, now)
        station.submit(job)
        return job

    def _tool_left(self, job: ToolJob) -> None:
        branch, _, _ = self._using.pop(job.number)
        clock, station = self.clock, self._tool_station
        assert station is not None
        # What the session does next sees every completion of this instant.
        if not station.leaving and clock.alone():
            branch.resume()
        else:
            clock.at(clock.now_fs, ARRIVAL + branch.live.number, branch.resume)

    def note_tool(self, branch: Branch, node: ToolNode, job: ToolJob | None, asked_fs: int) -> None:
        """Write down a tool call that has ended."""
        outcome = "completed" if job is None else job.outcome
        self._book.write_tool(branch, node, job, asked_fs, outcome, self.clock.now_fs)

    def session_over(self, live: Live, shares: list[int] | None, outcome: str) -> None:
        """Write down a session that has ended."""
        now = self.clock.now_fs
        del self._live[live.number]
        if shares is not None:
            self._ledgers.share_errors_fs += abs(sum(shares) - (now - live.arrived_fs))
        self._book.write_session(live, shares, outcome, now)
        stream = live.stream
        if outcome != "completed":
            stream.router.forget(live.number)
        demand = stream.demand
        if demand.concurrency is not None:
            think = demand.think_ns * FS_PER_NS
            self.clock.at(now + think, ARRIVAL + live.number, self._arrive_in_turn, stream)

    def _write_steps(self, deployment: Deployment) -> None:
        self._meter.add_steps(deployment.number, self._book.write_steps(deployment.rows))

    # The end.

    def close(self) -> Closing:
        """Write down what is in flight, hand on every row, and draw the balance."""
        now = self.clock.now_fs
        for replica in self._replicas:
            replica.settle()
        flying = self._in_flight()
        self._close_handoffs()
        for call in self._flying.values():
            self._book.write_call(call.tag, call, "censored", None, now)
        for job in self._station_jobs():
            branch, node, asked = self._using[job.number]
            self._book.write_tool(branch, node, job, asked, "censored", None)
        for live in self._live.values():
            live.end_turn(now)
            self._book.write_session(live, None, "censored", now)
        for deployment in self._deployments:
            self._write_steps(deployment)
        self._fabric.flush()
        self._ledgers.rows["transfers"] = self._fabric.landed
        self._book.rows("timeseries", self._samples())
        self._book.close()
        stations = self._stations()
        lines = audit(
            self._ledgers,
            flying,
            self._replicas,
            stations,
            self._fabric.books(),
            self._meter.audit(),
            self._horizon_s,
            self._metered(),
            self._book.handed,
        )
        return Closing(
            end_s=self._horizon_s,
            events=self.clock.events,
            audit=lines,
            stations=stations,
            energy=self._meter.energy(),
            steps=sum(replica.steps for replica in self._replicas),
            rows=tuple(self._book.handed.items()),
        )

    def _close_handoffs(self) -> None:
        """Credit what prefill replicas did: to calls in flight, or to nobody."""
        for pairing in self._pairings.values():
            for handoff in pairing.legs.values():
                if handoff.call.state == GONE:
                    pairing.orphans.append(handoff.leg)
                else:
                    handoff.settle()
            for leg in pairing.orphans:
                self._ledgers.computed_tokens += leg.computed_tokens
                self._ledgers.recomputed_tokens += leg.recomputed_tokens
                pairing.discarded += leg.output_made
            self._ledgers.discarded_tokens += pairing.discarded
            self._ledgers.handoffs += pairing.begun
            for handoff in pairing.unwritten():
                self._book.write_handoff(handoff)

    def _samples(self) -> list[tuple[Any, ...]]:
        """Draw what was measured over time."""
        samples: list[tuple[Any, ...]] = list(self._meter.samples())
        if self._tool_station is not None:
            samples += self._busy_cores.samples()
        return samples

    def _station_jobs(self) -> Iterator[ToolJob]:
        """Flush the tool station, and go through what is still there."""
        if self._tool_station is not None:
            self._tool_station.flush()
            yield from self._tool_station.in_flight()

    def _in_flight(self) -> InFlight:
        """Count what is under way, and look for what will end it."""
        found = sum(router.held for router in self._routers.values())
        for pairing in self._pairings.values():
            found += pairing.prefill.held - pairing.not_alone()
        for replica in self._replicas:
            found += replica.waiting + len(replica.running)
        awake = {call.tag.live.number for call in self._flying.values()}
        awake.update(branch.live.number for branch, _, _ in self._using.values())
        for callback, value in chain(self.clock.pending(), self.calendar.pending()):
            owner = getattr(callback, "__self__", None)
            if isinstance(value, Call):
                found += 1
            elif isinstance(owner, Branch):
                awake.add(owner.live.number)
        found += sum(flow.kind == "prompt" for flow in self._fabric.found())
        return InFlight(
            calls_sent=self._calls_sent,
            calls=len(self._flying),
            calls_found=found,
            sessions_arrived=self._sessions_arrived,
            asleep=len(self._live.keys() - awake),
            tools_used=self._tools_used,
            stranded=self._stranded(),
        )

    def _stranded(self) -> int:
        """Count the calls that have blocks for KV which is neither computed nor on its way."""
        coming: set[object] = set()
        for pairing in self._pairings.values():
            coming.update(pairing.legs.values())
        coming.update(getattr(flow.on_landed, "__self__", None) for flow in self._fabric.found())
        return sum(
            call.state == MOVING and call.handoff not in coming and call not in replica.landed
            for replica in self._replicas
            for call in replica.running.values()
        )

    def _metered(self) -> Metered:
        """Compare what the meter was told of with what the stations say that they did."""
        station = self._tool_station
        core_s = 0.0 if station is None else station.line().busy_s
        served_s, done_s = (0.0, 0.0) if station is None else station.work()
        return Metered(
            step_s=sum(replica.busy_fs for replica in self._replicas) / FS_PER_S,
            metered_step_s=self._meter.step_s(),
            core_s=core_s,
            metered_core_s=self._meter.core_s(),
            steps=sum(replica.steps + replica.steps_lost for replica in self._replicas),
            served_s=served_s,
            done_s=done_s,
            hosts_astray=0 if station is None else len(station.astray()),
            partner_s=sum(
                len(replica_plan.partners) * replica.busy_fs
                for deployment in self._deployments
                for replica_plan, replica in zip(
                    deployment.plan.replicas, deployment.replicas, strict=True
                )
            )
            / FS_PER_S,
            metered_partner_s=self._meter.partner_s(),
        )

    def _stations(self) -> tuple[StationLine, ...]:
        """Balance every station, with what is in it."""
        now = self.clock.now_fs
        present: dict[int, list[Call]] = {d.number: [] for d in self._deployments}
        for call in self._flying.values():
            if call.server is not None and call.queued_fs is not None and not call.outcome:
                present[call.server.owner.number].append(call)
        for pairing in self._pairings.values():
            for handoff in pairing.legs.values():
                leg = handoff.leg
                if leg.server is not None and leg.queued_fs is not None and not leg.outcome:
                    present[leg.server.owner.number].append(leg)
        lines = [d.line(now, present[d.number]) for d in self._deployments]
        if self._tool_station is not None:
            lines.append(self._tool_station.line())
        return tuple(lines)


def _start_leg(leg: Call) -> None:
    """Tell a hand-off that its prompt is about to be computed."""
    handoff: HandOff = leg.tag
    handoff.starts()
