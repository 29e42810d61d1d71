"""A session: a process over its DAG of LLM calls, tool calls and gaps.

`Branch.follow` reads as the story of one line of the DAG: node after node. Where
a node has several successors the session forks into more branches; where one
waits for several, the branch that arrives last goes on. So the last branch of a
session to end has walked its critical path, and the time shares that it carries
add up to the session's duration, in femtoseconds.

A session whose nodes come stage by stage holds one stage at a time: the branch
that ends the last node of one goes on into the next.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from factorysim.errors import CapacityError, Fault
from factorysim.sim.clock import ARRIVAL, FS_PER_NS, S_PER_FS
from factorysim.workload.session import GapNode, LlmNode, StagedNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from factorysim.sim.calendar import Calendar
    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.routes import Routes
    from factorysim.sim.tool_world import ToolWorld, Way
    from factorysim.sim.tools import ToolJob
    from factorysim.workload.content import Contents
    from factorysim.workload.demand import Demand
    from factorysim.workload.session import Node, Session, ToolNode

NS_PER_S = 10**9
_FIRST = (0,)
"""The only node of a stage."""

SHARES = (
    "queue",
    "prefill",
    "decode",
    "stall",
    "kv",
    "network",
    "tool_queue",
    "tool",
    "gap",
)
QUEUE, PREFILL, DECODE, STALL, KV, NETWORK, TOOL_QUEUE, TOOL, GAP = range(9)
NO_TIME = [0] * len(SHARES)


TURNED_AWAY_MOST = 10_000
"""Sessions of a closed loop that may fail one after the other while the clock stands still."""


class Stream:
    """Sessions of one stream, as they arrive."""

    __slots__ = (
        "_at_once",
        "_at_once_fs",
        "demand",
        "draws",
        "name",
        "number",
        "plans",
        "router",
        "routes",
        "shares",
    )

    def __init__(self, number: int, demand: Demand, routes: Routes, *, shares: bool) -> None:
        self.number = number
        self.demand = demand
        self.name = demand.name
        self.router = routes.all[0]
        """Of all calls, unless there are routes."""
        self.routes = routes if len(routes.all) > 1 else None
        """Where calls go to several routers."""
        replicas = [replica for router in routes.all for replica in router.replicas]
        self.draws = any(replica.law.draws for replica in replicas)
        """Whether a law draws time per call, so that each needs a uniform."""
        self.shares = shares
        """Whether prompts of different sessions may begin alike."""
        self.plans: Iterator[Session] = demand.sessions()
        self._at_once_fs = -1
        self._at_once = 0
        """Sessions that were turned away at that instant, each followed by the next."""

    def turned_away(self, now_fs: int) -> None:
        """Count a session of a closed loop that failed at an instant; refuse to go on for ever.

        Raises
        ------
        CapacityError
            If so many did at one instant that nothing suggests that time will pass.
        """
        if now_fs != self._at_once_fs:
            self._at_once_fs, self._at_once = now_fs, 0
        self._at_once += 1
        if self._at_once > TURNED_AWAY_MOST:
            found = f"{TURNED_AWAY_MOST:,} sessions in a row that failed at {now_fs * S_PER_FS:g} s"
            expected = "some time between a session and the next, since a new one follows each"
            cure = "give `arrivals.think`, or `serving.admission.retry`, or room for its calls"
            raise CapacityError(Fault("scenario", f"streams.{self.name}", found, expected, cure))

    def forget(self, session: int) -> None:
        """Have the routers forget a session that is over."""
        if self.routes is None:
            self.router.forget(session)
        else:
            for router in self.routes.all:
                router.forget(session)


class Use(NamedTuple):
    """An attempt at a tool, or a check, and whose it is."""

    branch: Branch
    node: ToolNode | None
    """None: it is a check."""
    asked_fs: int
    """When the session turned to the tool."""
    attempt: int
    """The first is 1."""


class World(Protocol):
    """What a session asks of the factory around it."""

    clock: Clock
    calendar: Calendar
    tools: ToolWorld
    on_tool: Callable[[Live, ToolNode], None] | None
    """Told of each tool as it begins; None: nobody wants to know."""

    def ask_llm(self, branch: Branch, node: LlmNode) -> Call:
        """Send a call; the branch is resumed when the answer is back."""
        ...

    def note_call(self, branch: Branch, call: Call) -> None:
        """Write down a call that is back."""
        ...

    def note_tool(self, use: Use, job: ToolJob | None) -> None:
        """Write down a tool call that has ended."""
        ...

    def note_job(self, job: ToolJob) -> None:
        """Count a job that has ended and that no row tells of."""
        ...

    def session_over(self, live: Live, shares: list[int] | None, outcome: str) -> None:
        """Write down a session that has ended; the shares are those of its critical path."""
        ...


class _Links(NamedTuple):
    """Nodes that wait for each other in any way, as recorded sessions do."""

    nodes: list[Node | None]
    """None once done: a long session gives its past back."""
    awaited: list[int]
    """How many nodes each still waits for."""
    dependents: list[list[int]]
    """Which nodes wait for each."""


class Live:
    """A session under way."""

    __slots__ = (
        "_agents",
        "_links",
        "_stages",
        "arrived_fs",
        "calls",
        "calls_left",
        "contents",
        "failed",
        "nodes",
        "number",
        "output_tokens",
        "plan",
        "prompt_tokens",
        "stream",
        "tools",
        "turn_fs",
        "turn_max_fs",
        "turns",
        "unfinished",
    )

    def __init__(
        self, number: int, stream: Stream, plan: Session, arrived_fs: int, *, by_agent: bool = False
    ) -> None:
        self.number = number
        self.stream = stream
        self.plan = plan
        self.arrived_fs = arrived_fs
        nodes = plan.nodes
        plan.nodes = ()
        self._stages: Iterator[Sequence[Node]]
        if isinstance(nodes, StagedNodes):
            self.calls_left = nodes.calls
            self._stages = nodes.stages()
        else:
            self.calls_left = [type(node) for node in nodes].count(LlmNode)
            # One stage, of which the iterator keeps nothing once it has given it.
            self._stages = map(list.pop, [[nodes]])
        self.nodes: Sequence[Node | None] = ()
        """Those of the present stage: all that a long session holds."""
        self.unfinished = 0
        """Of them."""
        self._links: _Links | None = None
        """None where no node of the stage waits for another."""
        self._agents: Counter[int] | None = Counter() if by_agent else None
        """Unfinished nodes of the stage by the sub-agent whose they are; None: nobody asks."""
        self.calls = self.tools = self.prompt_tokens = self.output_tokens = 0
        self.turns = 1
        self.turn_fs: int | None = arrived_fs
        """Since when its present turn runs; None in a gap."""
        self.turn_max_fs = 0
        self.failed = False
        self.contents: Contents | None = None
        """What its calls hold; None where nothing can be found again."""

    def begin(self) -> Sequence[int]:
        """Take up the next stage: which of its nodes wait for nothing. None if all is done."""
        self.nodes = nodes = next(self._stages, ())
        self.unfinished = count = len(nodes)
        if self._agents is not None:
            agents = [node.context for node in nodes if not isinstance(node, GapNode)]
            self._agents = Counter(filter(None, agents))
        if count == 1:
            return _FIRST
        if any(node.after for node in nodes):
            return self._link(nodes)
        return range(count)

    def _link(self, nodes: Sequence[Node]) -> Sequence[int]:
        """Turn what each node waits for into what waits for each node."""
        links = _Links(list(nodes), [len(node.after) for node in nodes], [[] for _ in nodes])
        for index, node in enumerate(nodes):
            for before in node.after:
                links.dependents[before].append(index)
        self.nodes, self._links = links.nodes, links
        return [index for index, awaited in enumerate(links.awaited) if not awaited]

    def finish(self, index: int) -> Sequence[int]:
        """End a node: which others may begin now, since they waited for it last."""
        self.unfinished -= 1
        if not self.unfinished:
            self._links = None
            return self.begin()
        if self._links is None:
            return ()
        nodes, awaited, dependents = self._links
        nodes[index] = None
        ready = []
        for other in dependents[index]:
            awaited[other] -= 1
            if not awaited[other]:
                ready.append(other)
        return ready

    def ends_agent(self, node: Node) -> bool:
        """Count a node that has ended; tell whether it was the last of a sub-agent."""
        agents = self._agents
        if not agents or isinstance(node, GapNode) or not node.context:
            return False
        agents[node.context] -= 1
        return not agents[node.context]

    def end_turn(self, now_fs: int) -> None:
        """End the present turn, if there is one; if it is the longest so far remember it."""
        if self.turn_fs is not None:
            turn_fs = now_fs - self.turn_fs
            if turn_fs > self.turn_max_fs:
                self.turn_max_fs = turn_fs
            self.turn_fs = None


class Branch:
    """One line of a session's DAG, resumed by whatever it waits for."""

    __slots__ = ("_story", "live", "shares", "world")

    def __init__(self, world: World, live: Live, node: int, shares: list[int]) -> None:
        self.world = world
        self.live = live
        self.shares = shares
        """Time on the path so far, by `SHARES`, in femtoseconds."""
        self._story = self.follow(node)

    def resume(self, _value: object = None) -> None:
        """Go on until the next thing to wait for."""
        next(self._story, None)

    def follow(self, index: int) -> Generator[None]:
        """Live through the DAG from a node on that waits for nothing more."""
        live, shares, clock = self.live, self.shares, self.world.clock
        tools = self.world.tools
        holders = tools.holders
        while True:
            node = live.nodes[index]
            assert node is not None
            if isinstance(node, GapNode):
                live.end_turn(clock.now_fs)
                if holders is not None:
                    holders.gap(live.number)
                self._pause(node.delay_ns)
                yield
                live.turns += 1
                live.turn_fs = clock.now_fs
            else:
                delay_ns = node.delay_ns if node.after else node.delay_ns or node.at_ns or 0
                if delay_ns:
                    self._pause(delay_ns)
                    yield
                if isinstance(node, LlmNode):
                    if tools.llm_way is not None:
                        yield from self._pass(tools.llm_way)
                    live.calls_left -= 1
                    live.calls += 1
                    call = self.world.ask_llm(self, node)
                    yield
                    self._take_answer(call)
                    del call  # a gap of an hour may come: hold nothing of what has been
                else:
                    yield from self._use_tool(node)
            if live.failed:
                return
            if holders is not None and live.ends_agent(node):
                assert not isinstance(node, GapNode)
                holders.agent_over(live.number, node.context)
            ready = live.finish(index)
            if not ready:
                if not live.unfinished:
                    live.end_turn(clock.now_fs)
                    self.world.session_over(live, shares, "completed")
                return
            for other in ready[1:]:
                Branch(self.world, live, other, shares.copy()).resume()
            index = ready[0]

    def _pause(self, delay_ns: int, share: int = GAP) -> None:
        """Be resumed after some time of which the factory sees nothing."""
        world = self.world
        delay_fs = delay_ns * FS_PER_NS
        self.shares[share] += delay_fs
        due_fs = world.clock.now_fs + delay_fs
        world.calendar.at(due_fs, ARRIVAL + self.live.number, self.resume)

    def _take_answer(self, call: Call) -> None:
        """Tell where the time of a call went."""
        world, live, shares = self.world, self.live, self.shares
        world.note_call(self, call)
        if live.failed:
            return
        if call.outcome != "completed":
            live.failed = True
            world.session_over(live, None, "failed")
            return
        queued, scheduled = call.queued_fs, call.scheduled_fs
        first, last = call.first_token_fs, call.last_token_fs
        assert queued is not None
        assert scheduled is not None
        assert first is not None
        assert last is not None
        held, stall = call.held_fs, call.stall_fs
        shares[NETWORK] += queued - call.asked_fs - held + world.clock.now_fs - last
        shares[QUEUE] += scheduled - queued + held
        shares[PREFILL] += first - scheduled
        shares[DECODE] += last - first
        if stall:
            shares[PREFILL] -= call.first_stall_fs
            shares[DECODE] -= stall - call.first_stall_fs
            shares[STALL] += stall
        if call.handoff is not None:
            # KV moved after the first token where prefill made it, else before.
            late = DECODE if call.handoff.first_made else PREFILL
            shares[late] -= call.kv_fs
            shares[KV] += call.kv_fs
        if call.fetch_fs:
            shares[KV] += call.fetch_fs
            shares[QUEUE] -= call.fetch_fs - call.fetch_stall_fs
            shares[STALL] -= call.fetch_stall_fs
        live.prompt_tokens += call.prompt_tokens
        live.output_tokens += call.output_tokens

    def _use_tool(self, node: ToolNode) -> Generator[None]:
        """Try until an attempt goes well, or the harness has tried often enough."""
        world, live = self.world, self.live
        asked = world.clock.now_fs
        live.tools += 1
        if world.on_tool is not None:
            world.on_tool(live, node)
        for attempt, (cpu_s, remote_ns, backoff_ns) in enumerate(node.failed, 1):
            use = Use(self, node, asked, attempt)
            job = yield from self._try(use, cpu_s, remote_ns)
            if job is not None:
                if job.outcome != "completed":
                    break
                world.note_job(job)
            if backoff_ns:
                self._pause(backoff_ns, TOOL)
                yield
        else:
            use = Use(self, node, asked, len(node.failed) + 1)
            job = yield from self._try(use, node.cpu_s, node.remote_ns)
        world.note_tool(use, job)
        if job is not None and job.outcome != "completed" and not live.failed:
            live.failed = True
            world.session_over(live, None, "failed")

    def _try(self, use: Use, cpu_s: float, remote_ns: int) -> Generator[None, None, ToolJob | None]:
        """Wait for what is remote, then for the cores, then for the work."""
        world, shares, node = self.world, self.shares, use.node
        assert node is not None
        clock = world.clock
        if world.tools.has_ways:
            way = world.tools.way(node)
            if way is not None:
                yield from self._pass(way)
        if remote_ns:
            self._pause(remote_ns, TOOL)
            yield
        if cpu_s <= 0:
            return None
        ready = clock.now_fs
        job = world.tools.ask(use, cpu_s)
        if job is None:  # no tool hosts: the work is done elsewhere, unqueued
            self._pause(round(cpu_s / node.cores * NS_PER_S), TOOL)
            yield
            return None
        yield
        admitted = job.admitted_fs
        if job.outcome == "completed" and admitted is not None:
            shares[TOOL_QUEUE] += admitted - ready
            shares[TOOL] += clock.now_fs - admitted
        return job

    def _pass(self, way: Way) -> Generator[None]:
        """Pass what a runtime, or the way to a cloud, puts before a call."""
        world, shares, clock = self.world, self.shares, self.world.clock
        if way.latency_fs:
            shares[NETWORK] += way.latency_fs
            due_fs = clock.now_fs + way.latency_fs
            world.calendar.at(due_fs, ARRIVAL + self.live.number, self.resume)
            yield
        if not way.cpu_s:
            return
        asked = clock.now_fs
        job = world.tools.check(self, way)
        if job is None:
            self._pause(round(way.cpu_s * NS_PER_S), TOOL)
            yield
            return
        yield
        world.note_job(job)
        admitted = job.admitted_fs
        assert admitted is not None
        shares[TOOL_QUEUE] += admitted - asked
        shares[TOOL] += clock.now_fs - admitted


def start_session(world: World, live: Live) -> None:
    """Set out from every node that waits for nothing."""
    for index in live.begin():
        Branch(world, live, index, NO_TIME.copy()).resume()
