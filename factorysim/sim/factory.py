"""The factory in motion: streams of sessions over replicas, tool hosts and fabric.

`run_replication` builds the world from a plan, lets sessions arrive, and stops
the clock at the horizon. What it saw goes to the sink as rows, chunk by chunk,
so memory follows what is in flight; what it counted comes back as a `Closing`.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from factorysim.physics.speculation import pace_of
from factorysim.records import Closing
from factorysim.rng import uniform
from factorysim.sim.audit import InFlight, Ledgers, Metered, admission_laws, audit
from factorysim.sim.book import Book
from factorysim.sim.calendar import Calendar
from factorysim.sim.call import UNNAMED, Call
from factorysim.sim.clock import ARRIVAL, FS_PER_NS, FS_PER_S, S_PER_FS, Clock
from factorysim.sim.deployment import Deployment
from factorysim.sim.fabric import Fabric
from factorysim.sim.garbage import rare_collections
from factorysim.sim.gateway import Gateway, Visit
from factorysim.sim.incidents import Incidents
from factorysim.sim.io_cores import IoCores
from factorysim.sim.io_work import IoWork, metered
from factorysim.sim.power import PowerMeter
from factorysim.sim.router import Router
from factorysim.sim.routes import routes_of
from factorysim.sim.serving_world import ServingWorld
from factorysim.sim.session import Branch, Live, Stream, Use, start_session
from factorysim.sim.tier_world import TierWorld
from factorysim.sim.tool_world import ToolWorld
from factorysim.workload.content import Contents, PromptContents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from factorysim.graph.plan import FactoryPlan
    from factorysim.policies.routing import Routing
    from factorysim.records import RecordSink
    from factorysim.sim.tools import ToolJob
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
    window_s: tuple[float, float] | None = None,
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
    window_s
        Begin and end of what is measured: bytes on links are written down of it; None: of all.
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
        links = [
            world.carried_until(round(instant_s * FS_PER_S))
            for instant_s in window_s or (0.0, horizon_s)
        ]
        world.clock.run_until(round(horizon_s * FS_PER_S))
        world.write_links(*links)
        closing = world.close()
        del world  # or it would outlive the collection that ends the block
        return closing


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
        self._retry_parts = (scenario.run.seed, "retry", replication)
        self._horizon_s = horizon_s
        self._arrivals_end_fs = round(arrivals_end_s * FS_PER_S)
        self._progress = progress
        self._calls_sent = self._sessions_arrived = 0
        self._flying: dict[int, Call] = {}
        """Calls in flight by number; the tag of each is its branch."""
        self._live: dict[int, Live] = {}
        self._agents: dict[str, int] = {}
        """Whose sessions share a system prompt: numbered as they come up."""
        self._ledgers = Ledgers()
        self._book = Book(sink, self._ledgers, [tools.name for tools in plan.tools])
        self._incidents = Incidents(self.clock, self._book)
        self._meter = PowerMeter(metered(plan), horizon_s, scenario.run.bins)
        self._fabric = Fabric(self.clock, plan, self._book)
        self._io = self._build_io()
        self._tiers = (
            TierWorld(self.clock, scenario.serving, plan, self._fabric, self._book.tiers, self._io)
            if plan.stores
            else None
        )
        self.on_tool: Callable[[Live, ToolNode], None] | None = (
            None if self._tiers is None else self._tiers.tool_begins
        )
        self.serving = ServingWorld(
            self.clock,
            scenario,
            plan,
            self._book,
            self._incidents,
            self._fabric,
            self._io,
            self._tiers,
            self._write_steps,
            policies,
        )
        self._gateway = self._build_gateway(scenario)
        self.tools = ToolWorld(
            self.clock,
            self.calendar,
            plan.tools,
            plan.llm_check,
            self._book,
            self._meter,
            self._incidents,
            io=self._io,
            entity=len(self.serving.replicas),
            key=(scenario.run.seed, "sandbox", replication),
            horizon_s=horizon_s,
            bins=scenario.run.bins,
        )

    # Building.

    def _build_gateway(self, scenario: ScenarioSpec) -> Gateway | None:
        spec = scenario.serving.admission
        if spec is None:
            return None
        bucket = spec.token_bucket
        self._ledgers.weigh(prompts_only=bucket is not None and bucket.counts == "prompt")
        return Gateway(
            spec,
            scenario.streams,
            self.serving.routers.values(),
            self.clock,
            self.calendar,
            self._flying,
            self._retry_parts,
            self._incidents,
        )

    def _build_io(self) -> IoWork | None:
        plan, serving, run = self._plan, self._scenario.serving, self._scenario.run
        if plan.io is None or serving.io_work is None:
            return None
        spare = len(plan.tools)
        cores = IoCores(
            self.clock,
            plan,
            plan.io,
            serving.io_work,
            lambda rows: self._meter.add_busy(spare, rows),
            self._horizon_s,
            run.bins,
        )
        return IoWork(self.clock, plan, serving.io_work, cores)

    # Arrivals.

    def open_stream(self, number: int, demand: Demand) -> None:
        """Let a stream's sessions arrive: by their times, or as others end."""
        spec = self._scenario.streams[demand.name]
        serving = self._scenario.serving
        shares = serving.retained == "shared" and spec.calls is None
        stream = Stream(number, demand, routes_of(spec, self.serving.routers), shares=shares)
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
        now_fs, by_agent = self.clock.now_fs, self.tools.boxed_by_agent
        live = Live(number, stream, plan, now_fs, by_agent=by_agent)
        if stream.shares or live.calls_left > 1:  # else nobody but itself repeats its call
            live.contents = self._contents(live)
        self._live[number] = live
        start_session(self, live)

    def _contents(self, live: Live) -> Contents:
        """Name what a session's calls hold, as far as others may hold the same."""
        kv, stream, plan = self._scenario.serving.kv, live.stream, live.plan
        size, named = kv.block_tokens, Contents if kv.cache_outputs else PromptContents
        if not stream.shares:
            return named(live.number, size)
        agent = self._agents.setdefault(plan.agent, len(self._agents)) if plan.agent else None
        trace = stream.number if plan.hash_scope == "global" else None
        return named(live.number, size, agent, trace)

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
        if node.image_tokens:
            call.image_tokens = node.image_tokens
        if live.contents is not None:
            call.content = live.contents.next_call(node)
        else:
            call.run = UNNAMED
        if stream.draws:
            call.u = uniform(*self._seed_parts, stream.name, live.plan.sid, live.calls)
        call.asked_fs = self.clock.now_fs
        routes = stream.routes
        if routes is None:
            router = stream.router
        else:
            call.router = router = routes.of(node)
        if self._gateway is not None:
            self._ask_gateway(self._gateway, call, router, branch)
            return call
        self._flying[number] = call
        if router.draws:
            call.route_u = u = uniform(*self._routing_parts, stream.name, live.plan.sid, live.calls)
            router.send(call, u)
        else:
            router.send(call)
        return call

    def _ask_gateway(self, gateway: Gateway, call: Call, router: Router, branch: Branch) -> None:
        """Send a call by way of the gateway, which may turn it away."""
        live = branch.live
        name, who = live.stream.name, (live.plan.sid, live.calls)
        u = uniform(*self._routing_parts, name, *who) if router.draws else 0.5
        call.router, call.route_u = router, u
        gateway.ask(call, Visit(name, who, u))

    def note_call(self, branch: Branch, call: Call) -> None:
        """Write down a call that is back."""
        del self._flying[call.number]
        now = self.clock.now_fs
        attempts = 1 if self._gateway is None else self._gateway.back(call)
        self._book.write_call(branch, call, call.outcome, now, now, attempts)
        if self._tiers is not None:
            self._tiers.answered(call)
        if self._progress is not None and not call.number % CALLS_A_WORD:
            self._progress(now * S_PER_FS, self._sessions_arrived)

    def note_tool(self, use: Use, job: ToolJob | None) -> None:
        """Write down a tool call that has ended."""
        node = use.node
        assert node is not None
        outcome = "completed" if job is None else job.outcome
        if outcome == "completed":
            if self._tiers is not None:
                self._tiers.tool_ended(node, self.clock.now_fs - use.asked_fs)
            if node.status != "ok":
                outcome = node.status
        self._book.write_tool(use, job, outcome, self.clock.now_fs)

    def note_job(self, job: ToolJob) -> None:
        """Count a job that has ended and that no row tells of."""
        self._book.count_job(job.outcome)

    def session_over(self, live: Live, shares: list[int] | None, outcome: str) -> None:
        """Write down a session that has ended."""
        now = self.clock.now_fs
        del self._live[live.number]
        if self._tiers is not None:
            self._tiers.session_over(live.number)
        if self.tools.holders is not None:
            self.tools.holders.over(live.number)
        if shares is not None:
            self._ledgers.share_errors_fs += abs(sum(shares) - (now - live.arrived_fs))
        self._book.write_session(live, shares, outcome, now)
        stream = live.stream
        if outcome != "completed" or stream.routes is not None:
            stream.forget(live.number)
            self.serving.forget(live.number)
        demand = stream.demand
        if demand.concurrency is not None:
            own = live.plan.think_ns
            think = (demand.think_ns if own is None else own) * FS_PER_NS
            if not think and outcome != "completed":
                stream.turned_away(now)
            self.clock.at(now + think, ARRIVAL + live.number, self._arrive_in_turn, stream)

    def _write_steps(self, deployment: Deployment) -> None:
        rows = self._book.write_steps(deployment.rows, pace_of(deployment.plan.law))
        self._meter.add_steps(deployment.number, rows)

    # The end.

    def carried_until(self, end_fs: int) -> dict[int, float]:
        """Go on until an instant; tell what every link has carried by then."""
        self.clock.run_until(end_fs)
        return self._fabric.carried_bytes()

    def write_links(self, before: Mapping[int, float], after: Mapping[int, float]) -> None:
        """Write down what every link carried between two instants."""
        links = self._plan.links
        bandwidths = links.bandwidth.tolist()
        rows = [
            (links.names[index], bandwidths[index], bytes_)
            for index, total in sorted(after.items())
            if (bytes_ := total - before.get(index, 0.0)) > 0.0
        ]
        self._ledgers.rows["links"] = len(rows)
        self._book.rows("links", rows)

    def close(self) -> Closing:
        """Write down what is in flight, hand on every row, and draw the balance."""
        now = self.clock.now_fs
        self.serving.settle()
        gateway = self._gateway
        if gateway is not None:
            gateway.close()
        flying = self._in_flight()
        self.serving.close_handoffs(self._ledgers)
        for call in self._flying.values():
            attempts = 1 if gateway is None else gateway.attempts(call)
            self._book.write_call(call.tag, call, "censored", None, now, attempts)
        self.tools.close()
        for live in self._live.values():
            live.end_turn(now)
            self._book.write_session(live, None, "censored", now)
        for deployment in self.serving.deployments:
            self._write_steps(deployment)
        self._fabric.flush()
        self._ledgers.rows["transfers"] = self._fabric.landed
        self._incidents.close()
        self._ledgers.rows["events"] = self._incidents.count
        self._book.rows("timeseries", self._samples())
        self._book.close()
        if self._tiers is not None:
            self._ledgers.rows["tiers"] = self._tiers.log.count
        stations = (*self.serving.lines(self._flying.values()), *self.tools.lines())
        present = sum(call.server is not None for call in self._flying.values())
        lines = audit(
            self._ledgers,
            flying,
            self.serving.parts(),
            stations,
            self._fabric.books(),
            self._meter.audit(),
            self._horizon_s,
            self._metered(),
            self._book.handed,
        )
        if gateway is not None:
            lines += admission_laws(
                gateway.tally(), self._ledgers, self.serving.routers.values(), present
            )
        if self._tiers is not None:
            lines += self._tiers.audit(self._flying.values())
        if self._io is not None:
            lines += self._io.cores.audit()
        return Closing(
            end_s=self._horizon_s,
            events=self.clock.events,
            audit=lines,
            stations=stations,
            energy=self._meter.energy(),
            steps=self.serving.steps(),
            rows=tuple(self._book.handed.items()),
        )

    def _samples(self) -> list[tuple[Any, ...]]:
        """Draw what was measured over time."""
        samples: list[tuple[Any, ...]] = list(self._meter.samples())
        samples += self.tools.samples()
        if self._io is not None:
            samples += self._io.cores.samples()
        return samples

    def _in_flight(self) -> InFlight:
        """Count what is under way, and look for what will end it."""
        found = self.serving.held()
        if self._tiers is not None:
            found += self._tiers.fetching
        if self._io is not None:
            found += sum(isinstance(one, Call) for one in self._io.cores.waiting())
        awake = {call.tag.live.number for call in self._flying.values()}
        awake.update(use.branch.live.number for use in self.tools.using.values())
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
            tools_used=self.tools.used,
            stranded=self.serving.stranded(),
        )

    def _metered(self) -> Metered:
        """Compare what the meter was told of with what the stations say that they did."""
        work = self.tools.work()
        return Metered(
            step_s=self.serving.step_s(),
            metered_step_s=self._meter.step_s(),
            core_s=work.core_s,
            metered_core_s=self._meter.core_s(),
            steps=self.serving.steps(lost=True),
            served_s=work.served_s,
            done_s=work.done_s,
            hosts_astray=work.hosts_astray,
            boxes_astray=work.boxes_astray,
            boxes_begun=work.boxes_begun,
            partner_s=self.serving.partner_s(),
            metered_partner_s=self._meter.partner_s(),
        )
