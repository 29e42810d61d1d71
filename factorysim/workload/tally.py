"""Counts that one pass over sessions leaves: what `inspect` tells is made of them.

Sessions come in order of their arrival, and their calls are looked up in caches in
order of time: a call of an earlier session that begins after a later one has come
waits its turn. What waits is bounded.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from factorysim.workload.hits import TTL_S, BlockTimes
from factorysim.workload.pace import Pace
from factorysim.workload.samples import Sample
from factorysim.workload.session import LlmNode, ToolNode
from factorysim.workload.timeline import lone_call_at_once, timeline, tool_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.workload.session import Node, Session
    from factorysim.workload.timeline import Service, Timeline

COMPACTED = 0.5
"""Of the prompt before, at most: what is left after the history was summarised. Copilot's
median is 0.27 (arXiv 2608.00101); smaller drops are edits of the history."""
SHORT_NS, LONG_NS = 10**9, 60 * 10**9
"""Tool calls below and above, of which the studies tell the shares."""
FOLDED = 2**16
"""Nodes after which what was counted is put together."""
WAITING_MOST = 2**20
"""Calls, and runs of their blocks, that wait until it is their time: some 150 MB. Beyond, the
earliest of them is looked up before its time."""
NS = 10**9


class _Use(NamedTuple):
    """A call that looks up its prompt in a cache; they sort by time, ties as they came."""

    begun_ns: int
    ordinal: int
    ended_ns: int
    call: LlmNode
    agent: str
    alone: bool
    """Whether its ids hold in its session only."""
    idle_ns: int
    """Since its context's last call ended."""
    later: bool
    """Whether a call of its session was before it."""


class Tally:
    """What is counted of sessions, some 20 MB in all, and four bytes an id of blocks.

    Parameters
    ----------
    service
        Seconds that serving a call takes, where the trace does not tell.
    """

    def __init__(self, service: Service | None) -> None:
        self.service = service
        self.pace = Pace()
        self.prompts, self.outputs, self.new, self.growth = (Sample() for _ in range(4))
        self.calls, self.turns = Sample(), Sample()
        self.tools, self.tool_gaps, self.user_gaps = (Sample() for _ in range(3))
        self.gaps = self.prefix = self.hit = self.own = self.blocks = 0
        self.later = self.later_hit = 0
        self.ttl = [0] * len(TTL_S)
        self.not_user = self.grown = self.compactions = self.compacted = self.several = 0
        self.short_tools = self.long_tool_ns = 0
        self.served_ns = self.served = 0
        self.passed = False
        """Whether any time passes in a session."""
        self.hashed = self.known = False
        self.early = 0
        """Calls that were looked up before their time."""
        self._world, self._local = BlockTimes(), BlockTimes(cleared=True)
        self._shared: dict[tuple[str, bool], int] = {}
        """What all sessions of an agent begin with, and was had by one: of it and its helpers."""
        self._waiting: list[_Use] = []
        self._weight = self._ordinal = self._unfolded = 0

    @property
    def full(self) -> bool:
        """Whether there were too many ids of blocks to go on."""
        return self._world.full or self._local.full

    @property
    def beyond(self) -> bool:
        """Whether a session lasts beyond the times that caches tell apart."""
        return self._world.beyond or self._local.beyond

    def add(self, session: Session) -> None:
        """Count one session, which is not before the last."""
        at_ns = session.at_ns
        while self._waiting and self._waiting[0].begun_ns <= at_ns:
            self._look(self._next())
        self.pace.add(at_ns)
        nodes = list(session.nodes)
        if self.service is None and (call := lone_call_at_once(session, nodes)) is not None:
            self._lone(session, call)
            return
        times = timeline(session, nodes, self.service)
        compactions, users, calls = self.compactions, 0, 0
        last: dict[int, tuple[LlmNode, int]] = {}
        uses: list[_Use] = []
        for place, node in enumerate(nodes):
            if isinstance(node, LlmNode):
                uses.append(self._call(session, node, times, place, last))
                users += node.initiator == "user"
                calls += node.context == 0
                last[node.context] = node, times.ends[place]
            elif isinstance(node, ToolNode):
                self._tool(tool_ns(node))
            else:
                self.gaps += 1
        self.calls.append(calls)
        self.turns.append(users)
        if len(nodes) > 1:
            self.passed = self.passed or any(times.starts)
            self.several += calls > 1
            self.compacted += self.compactions > compactions
            _waits(nodes, times, self.tool_gaps, self.user_gaps)
        self._take(uses, at_ns)
        self._grow(len(nodes))

    def close(self) -> None:
        """Look up what still waits."""
        while self._waiting:
            self._look(self._next())
        self._fold()

    def _lone(self, session: Session, call: LlmNode) -> None:
        """Count a session that is one call and over at once, as the rows of most traces are.

        It does not wait: nothing of its own comes before it, and what others left has been
        looked up.
        """
        from_user = call.initiator == "user"
        self.prompts.append(call.prompt_tokens)
        self.outputs.append(call.output_tokens)
        self.not_user += not from_user
        self.prefix += call.prefix_tokens
        self.calls.append(call.context == 0)
        self.turns.append(from_user)
        if not call.hashes:
            self._prefix_hits(call, session.agent, 0)
        elif session.hash_scope == "session":
            self._local.clear()
            self._block_hits(call, session.at_ns, session.at_ns, alone=True)
        else:
            self._block_hits(call, session.at_ns, session.at_ns, alone=False)
        self._grow(1)

    def _grow(self, nodes: int) -> None:
        self._unfolded += nodes
        if self._unfolded > FOLDED:
            self._fold()

    def _fold(self) -> None:
        for sample in (
            *(self.prompts, self.outputs, self.new, self.growth, self.calls, self.turns),
            *(self.tools, self.tool_gaps, self.user_gaps),
        ):
            sample.fold()
        self._unfolded = 0

    def _tool(self, took_ns: int) -> None:
        self.tools.append(took_ns)
        self.short_tools += took_ns < SHORT_NS
        if took_ns > LONG_NS:
            self.long_tool_ns += took_ns

    def _call(
        self,
        session: Session,
        call: LlmNode,
        times: Timeline,
        place: int,
        last: dict[int, tuple[LlmNode, int]],
    ) -> _Use:
        self.prompts.append(call.prompt_tokens)
        self.outputs.append(call.output_tokens)
        self.not_user += call.initiator != "user"
        self.prefix += call.prefix_tokens
        if (took := times.served[place]) is not None:
            self.served_ns += took
            self.served += 1
        before, ended_ns = last.get(call.context, (None, 0))
        if before is not None:
            self._step(call, before)
        begun_ns, at_ns = times.starts[place], session.at_ns
        self._ordinal += 1
        return _Use(
            *(at_ns + begun_ns, self._ordinal, at_ns + times.ends[place], call, session.agent),
            *(session.hash_scope == "session", begun_ns - ended_ns, bool(last)),
        )

    def _step(self, call: LlmNode, before: LlmNode) -> None:
        """Compare a prompt with the one before it in its context."""
        grown = call.prompt_tokens - before.prompt_tokens
        self.growth.append(grown)
        self.grown += grown > 0
        self.compactions += call.prompt_tokens <= COMPACTED * before.prompt_tokens

    def _take(self, uses: list[_Use], now_ns: int) -> None:
        """Look up the calls of a session that are due; let the others wait."""
        if len(uses) > 1:
            uses.sort()
        local = bool(uses) and uses[0].alone
        if local:
            self._local.clear()
        for use in uses:
            if use.begun_ns <= now_ns or (local and use.call.hashes):
                self._look(use)
                continue
            heappush(self._waiting, use)
            self._weight += _weight(use)
            while self._weight > WAITING_MOST:
                self._look(self._next())
                self.early += 1

    def _next(self) -> _Use:
        use = heappop(self._waiting)
        self._weight -= _weight(use)
        return use

    def _look(self, use: _Use) -> None:
        call = use.call
        if call.hashes:
            hit = self._block_hits(call, use.begun_ns, use.ended_ns, alone=use.alone)
        else:
            hit = self._prefix_hits(call, use.agent, use.idle_ns)
        if use.later:
            prompt = call.prompt_tokens
            self.later += prompt
            self.later_hit += hit
            self.new.append(prompt - hit)

    def _block_hits(self, call: LlmNode, begun_ns: int, ended_ns: int, *, alone: bool) -> int:
        self.hashed = self.known = True
        blocks = self._local if alone else self._world
        held, *kept = blocks.use(call.hashes, begun_ns // NS, ended_ns // NS)
        if not held:
            return 0
        size, prompt = call.block_tokens or 0, call.prompt_tokens
        hit = min(held * size, prompt)
        self.blocks += hit
        self.hit += hit
        self.own += hit if alone else min(call.prefix_tokens, hit)
        for place, count in enumerate(kept):
            self.ttl[place] += min(count * size, prompt)
        return hit

    def _prefix_hits(self, call: LlmNode, agent: str, idle_ns: int) -> int:
        own, shared = call.prefix_tokens, call.shared_tokens
        before = 0
        if shared:
            key = agent, call.context > 0
            most = self._shared.get(key, 0)
            self._shared[key] = max(shared, most)
            before = min(shared, most)
        hit = max(own, before)
        if not hit:
            return 0
        self.known = True
        self.hit += hit
        self.own += own
        for place, ttl_s in enumerate(TTL_S):
            if idle_ns <= ttl_s * NS:
                self.ttl[place] += own
        return hit


def _weight(use: _Use) -> int:
    return 4 + len(use.call.hashes)


def _waits(nodes: Sequence[Node], times: Timeline, tools: Sample, users: Sample) -> None:
    """Note how long after the answer before it each call comes."""
    answered: list[int | None] = []  # when the last call before a node was answered
    for place, node in enumerate(nodes):
        ends = [end for before in node.after if (end := answered[before]) is not None]
        last = max(ends, default=None)
        if isinstance(node, LlmNode):
            if last is not None and node.initiator in ("tool", "user"):
                waits = tools if node.initiator == "tool" else users
                waits.append(times.starts[place] - last)
            last = times.ends[place]
        answered.append(last)
