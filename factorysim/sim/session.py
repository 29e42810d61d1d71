"""A session: a process over its DAG of LLM calls, tool calls and gaps.

`Branch.follow` reads as the story of one line of the DAG: node after node. Where
a node has several successors the session forks into more branches; where one
waits for several, the branch that arrives last goes on. So the last branch of a
session to end has walked its critical path, and the time shares that it carries
add up to the session's duration, in femtoseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from factorysim.sim.clock import ARRIVAL, FS_PER_NS
from factorysim.workload.session import GapNode, LlmNode, ToolNode

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.router import Router
    from factorysim.sim.tools import ToolJob
    from factorysim.workload.content import Contents
    from factorysim.workload.demand import Demand
    from factorysim.workload.session import Node, Session

NS_PER_S = 10**9

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


class Stream:
    """Sessions of one stream, as they arrive."""

    __slots__ = ("demand", "draws", "name", "number", "plans", "router")

    def __init__(self, number: int, demand: Demand, router: Router) -> None:
        self.number = number
        self.demand = demand
        self.name = demand.name
        self.router = router
        self.draws = any(replica.law.draws for replica in router.replicas)
        """Whether a law draws time per call, so that each needs a uniform."""
        self.plans: Iterator[Session] = demand.sessions()


class World(Protocol):
    """What a session asks of the factory around it."""

    clock: Clock

    def ask_llm(self, branch: Branch, node: LlmNode) -> Call:
        """Send a call; the branch is resumed when the answer is back."""
        ...

    def ask_tool(self, branch: Branch, node: ToolNode) -> ToolJob | None:
        """Start a tool's CPU work; the branch is resumed at its end. None: no host takes it."""
        ...

    def note_call(self, branch: Branch, call: Call) -> None:
        """Write down a call that is back."""
        ...

    def note_tool(self, branch: Branch, node: ToolNode, job: ToolJob | None, asked_fs: int) -> None:
        """Write down a tool call that has ended."""
        ...

    def session_over(self, live: Live, shares: list[int] | None, outcome: str) -> None:
        """Write down a session that has ended; the shares are those of its critical path."""
        ...


class Live:
    """A session under way."""

    __slots__ = (
        "arrived_fs",
        "awaited",
        "calls",
        "calls_left",
        "contents",
        "dependents",
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

    def __init__(self, number: int, stream: Stream, plan: Session, arrived_fs: int) -> None:
        self.number = number
        self.stream = stream
        self.plan = plan
        self.arrived_fs = arrived_fs
        self.nodes: list[Node | None] = list(plan.nodes)
        """None once done: a long session gives its past back."""
        plan.nodes = []
        self.unfinished = len(self.nodes)
        self.awaited: list[int] = []
        """How many nodes each node still waits for."""
        self.dependents: list[list[int] | None] = [None] * self.unfinished
        self.calls_left = 0
        self._link()
        self.calls = self.tools = self.prompt_tokens = self.output_tokens = 0
        self.turns = 1
        self.turn_fs: int | None = arrived_fs
        """Since when its present turn runs; None in a gap."""
        self.turn_max_fs = 0
        self.failed = False
        self.contents: Contents | None = None
        """What its calls hold; None where nothing can be found again."""

    def _link(self) -> None:
        """Turn what each node waits for into what waits for each node."""
        awaited, dependents = self.awaited, self.dependents
        for index, node in enumerate(self.nodes):
            assert node is not None
            awaited.append(len(node.after))
            for before in node.after:
                others = dependents[before]
                if others is None:
                    dependents[before] = [index]
                else:
                    others.append(index)
            if isinstance(node, LlmNode):
                self.calls_left += 1

    def end_turn(self, now_fs: int) -> None:
        """End the present turn, if there is one; if it is the longest so far remember it."""
        if self.turn_fs is not None:
            self.turn_max_fs = max(self.turn_max_fs, now_fs - self.turn_fs)
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
        while True:
            node = live.nodes[index]
            assert node is not None
            if isinstance(node, GapNode):
                live.end_turn(clock.now_fs)
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
                    live.calls_left -= 1
                    live.calls += 1
                    call = self.world.ask_llm(self, node)
                    yield
                    self._take_answer(call)
                else:
                    yield from self._use_tool(node)
            if live.failed:
                return
            live.nodes[index] = None
            live.unfinished -= 1
            ready = self._ready(index)
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
        clock = self.world.clock
        delay_fs = delay_ns * FS_PER_NS
        self.shares[share] += delay_fs
        clock.at(clock.now_fs + delay_fs, ARRIVAL + self.live.number, self.resume)

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
        shares[NETWORK] += queued - call.asked_fs - call.held_fs + world.clock.now_fs - last
        shares[QUEUE] += scheduled - queued + call.held_fs
        shares[PREFILL] += first - scheduled - call.first_stall_fs
        shares[DECODE] += last - first - (call.stall_fs - call.first_stall_fs)
        shares[STALL] += call.stall_fs
        live.prompt_tokens += call.prompt_tokens
        live.output_tokens += call.output_tokens

    def _use_tool(self, node: ToolNode) -> Generator[None]:
        """Wait for what is remote, then for the cores, then for the work."""
        world, live, shares = self.world, self.live, self.shares
        clock = world.clock
        asked = clock.now_fs
        live.tools += 1
        if node.remote_ns:
            self._pause(node.remote_ns, TOOL)
            yield
        ready = clock.now_fs
        job = world.ask_tool(self, node) if node.cpu_s > 0 else None
        if job is not None:
            yield
            admitted = job.admitted_fs
            if job.outcome == "completed" and admitted is not None:
                shares[TOOL_QUEUE] += admitted - ready
                shares[TOOL] += clock.now_fs - admitted
        elif node.cpu_s > 0:  # no tool hosts: the work is done elsewhere, unqueued
            self._pause(round(node.cpu_s / node.cores * NS_PER_S), TOOL)
            yield
        world.note_tool(self, node, job, asked)
        if job is not None and job.outcome != "completed" and not live.failed:
            live.failed = True
            world.session_over(live, None, "failed")

    def _ready(self, index: int) -> Sequence[int]:
        """Nodes that waited for this one last."""
        live = self.live
        dependents = live.dependents[index]
        if dependents is None:
            return ()
        live.dependents[index] = None
        awaited = live.awaited
        ready = []
        for other in dependents:
            awaited[other] -= 1
            if not awaited[other]:
                ready.append(other)
        return ready


def start_session(world: World, live: Live) -> None:
    """Set out from every node that waits for nothing."""
    for index in [i for i, awaited in enumerate(live.awaited) if not awaited]:
        Branch(world, live, index, [0] * len(SHARES)).resume()
