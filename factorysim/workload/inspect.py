"""What sessions are like: counts, arrivals, lengths, repetition, tools, turns.

The figures are those that the studies of agents publish, so that a trace, or an
agent that draws sessions, can be held against them.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from factorysim.workload.hits import TTL_S, BlockTimes
from factorysim.workload.session import LlmNode, ToolNode
from factorysim.workload.timeline import timeline, tool_ns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.workload.session import Node, Session
    from factorysim.workload.timeline import Service, Timeline

QUANTILES = (0.1, 0.5, 0.9, 0.99)
BIN_S = 10.0
"""Of the counts whose dispersion tells bursts, as in the published figures."""
COMPACTED = 0.5
"""Of the prompt before, at most: what is left after the history was summarised. Copilot's
median is 0.27 (arXiv 2608.00101); smaller drops are edits of the history."""
SHORT_NS, LONG_NS = 10**9, 60 * 10**9
"""Tool calls below and above, of which the studies tell the shares."""


class Lengths(NamedTuple):
    """A distribution of tokens, counts or seconds."""

    total: float
    mean: float
    quantiles: dict[str, float]


class TraceSummary(NamedTuple):
    """Sessions in figures. None: too few of them, or not known."""

    sessions: int
    llm_calls: int
    tool_calls: int
    gaps: int
    duration_s: float
    """From the first arrival to the last."""
    sessions_per_s: float | None
    gap_cv: float | None
    """Standard deviation over mean of the gaps between arrivals; Poisson has 1."""
    count_cv_10s: float | None
    """Standard deviation over mean of arrivals in 10 s."""
    dispersion_10s: float | None
    """Variance over mean of arrivals in 10 s; Poisson has 1."""
    prompt_tokens: Lengths | None
    output_tokens: Lengths | None
    new_tokens: Lengths | None
    """Of a prompt after the first of its session, those that an endless cache does not hold."""
    growth_tokens: Lengths | None
    """By which a prompt is longer than the last of its context; negative where it is shorter."""
    growth_share: float | None
    """Of the calls with one before them in their context, those with a longer prompt."""
    compactions: int
    """Prompts of at most half the tokens of the last in their context."""
    compacted_share: float | None
    """Of the sessions of more than one call, those with a compaction."""
    calls_per_session: Lengths | None
    """By the main agent: context 0."""
    turns_per_session: Lengths | None
    """Calls that a user sets off."""
    not_user_share: float | None
    """Of the LLM calls, those that no user sets off."""
    block_hit_share: float | None
    """Of the prompt tokens, those in blocks seen before: an endless cache in trace order, empty
    for each session whose ids hold in it only."""
    prefix_share: float | None
    """Of the prompt tokens, those that repeat the session's last context."""
    hit_share: float | None
    """Of the prompt tokens, those that an endless cache holds: by blocks where there are ids, else
    what repeats the last context or what all sessions of the agent begin with."""
    cross_session_share: float | None
    """Of the prompt tokens, those held only because another session had them."""
    later_hit_share: float | None
    """The same of calls after the first of their session: what keeping its KV cache can save."""
    ttl_hit_share: dict[str, float] | None
    """The same as `hit_share` if a block is dropped so long after its last use. Only the waits of
    a session pass between its calls, and the service where it is known."""
    tool_seconds: Lengths | None
    tools_below_1s_share: float | None
    """Of tool calls, by their number."""
    tool_time_above_1min_share: float | None
    """Of the time in tool calls, what those spend that last over a minute."""
    tool_active_share: float | None
    """Of the time in tools and LLM calls, summed: the tools'. Needs service times."""
    tool_gap_seconds: Lengths | None
    """Between a call's answer and the next one that a tool's result sets off."""
    user_gap_seconds: Lengths | None


class _Tally:
    """Counts that a pass over sessions leaves: some 50 bytes a call, and of block ids 4 each."""

    def __init__(self, service: Service | None) -> None:
        self.service = service
        self.arrivals = array("q")
        self.prompts, self.outputs, self.new, self.growth = (array("q") for _ in range(4))
        self.calls, self.turns = array("q"), array("q")
        self.tools, self.tool_gaps, self.user_gaps = (array("q") for _ in range(3))
        self.gaps = self.prefix = self.hit = self.own = self.blocks = 0
        self.later = self.later_hit = 0
        self.ttl = [0] * len(TTL_S)
        self.not_user = self.grown = self.compactions = self.compacted = self.several = 0
        self.served_ns = self.served = 0
        self.passed = False
        """Whether any time passes in a session."""
        self.hashed = self.known = False
        self.world, self.local = BlockTimes(), BlockTimes(cleared=True)
        self.shared: dict[tuple[str, bool], int] = {}
        """What all sessions of an agent begin with, and was had by one: of it and its helpers."""

    def add(self, session: Session) -> None:
        """Count one session."""
        self.arrivals.append(session.at_ns)
        if session.hash_scope == "session":
            self.local.clear()
        nodes = list(session.nodes)
        times = timeline(session, nodes, self.service)
        compactions, users, calls = self.compactions, 0, 0
        last: dict[int, tuple[LlmNode, int]] = {}
        for place, node in enumerate(nodes):
            if isinstance(node, LlmNode):
                self._call(session, node, times, place, last)
                users += node.initiator == "user"
                calls += node.context == 0
                last[node.context] = node, times.ends[place]
            elif isinstance(node, ToolNode):
                self.tools.append(tool_ns(node))
            else:
                self.gaps += 1
        self.calls.append(calls)
        self.turns.append(users)
        if len(nodes) > 1:
            self.passed = self.passed or any(times.starts)
            self.several += calls > 1
            self.compacted += self.compactions > compactions
            _waits(nodes, times, self.tool_gaps, self.user_gaps)

    def _call(
        self,
        session: Session,
        call: LlmNode,
        times: Timeline,
        place: int,
        last: dict[int, tuple[LlmNode, int]],
    ) -> None:
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
        begun_ns = times.starts[place]
        if call.hashes:
            hit = self._block_hits(session, call, begun_ns, times.ends[place])
        else:
            hit = self._prefix_hits(session, call, begun_ns - ended_ns)
        if last:
            self.later += call.prompt_tokens
            self.later_hit += hit
            self.new.append(call.prompt_tokens - hit)

    def _step(self, call: LlmNode, before: LlmNode) -> None:
        """Compare a prompt with the one before it in its context."""
        grown = call.prompt_tokens - before.prompt_tokens
        self.growth.append(grown)
        self.grown += grown > 0
        self.compactions += call.prompt_tokens <= COMPACTED * before.prompt_tokens

    def _block_hits(self, session: Session, call: LlmNode, begun_ns: int, ended_ns: int) -> int:
        self.hashed = self.known = True
        alone = session.hash_scope == "session"
        blocks = self.local if alone else self.world
        at_ns, second = session.at_ns, 10**9
        held = blocks.use(call.hashes, (at_ns + begun_ns) // second, (at_ns + ended_ns) // second)
        size, prompt = call.block_tokens or 0, call.prompt_tokens
        hit, *ttl = [min(blocks * size, prompt) for blocks in held]
        own = hit if alone else min(call.prefix_tokens, hit)
        self.blocks += hit
        self._hits(prompt, hit, own, ttl)
        return hit

    def _prefix_hits(self, session: Session, call: LlmNode, idle_ns: int) -> int:
        key = session.agent, call.context > 0
        before = min(call.shared_tokens, self.shared.get(key, 0))
        self.shared[key] = max(call.shared_tokens, self.shared.get(key, 0))
        self.known = self.known or call.prefix_tokens > 0 or before > 0
        own = call.prefix_tokens
        ttl = [own if idle_ns <= ttl_s * 10**9 else 0 for ttl_s in TTL_S]
        hit = max(own, before)
        self._hits(call.prompt_tokens, hit, own, ttl)
        return hit

    def _hits(self, prompt: int, hit: int, own: int, ttl: Sequence[int]) -> None:
        self.hit += hit
        self.own += own
        for place, tokens in enumerate(ttl):
            self.ttl[place] += tokens


def _waits(nodes: Sequence[Node], times: Timeline, tools: array[int], users: array[int]) -> None:
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


def summarize(sessions: Iterable[Session], *, service: Service | None = None) -> TraceSummary:
    """Pass over sessions once: of a trace, or drawn from an agent.

    Parameters
    ----------
    service
        Seconds that serving a call takes, where the trace does not tell.

    Examples
    --------
    >>> from factorysim.workload.session import Session
    >>> calls = [Session("a", 0, [LlmNode(10, 2)]), Session("b", 10**9, [LlmNode(30, 4)])]
    >>> summary = summarize(calls)
    >>> summary.llm_calls, summary.prompt_tokens.mean, summary.sessions_per_s
    (2, 20.0, 1.0)
    """
    tally = _Tally(service)
    for session in sessions:
        tally.add(session)
    told = not (tally.world.full or tally.local.full)
    prompts = sum(tally.prompts) if told else 0
    calls, tool_ns_total = len(tally.prompts), sum(tally.tools)
    duration_s, rate, gap_cv, count_cv, dispersion = _arrivals(tally.arrivals)
    ttl = {
        _minutes(s): tokens / prompts for s, tokens in zip(TTL_S, tally.ttl, strict=True) if prompts
    }
    known = tally.known
    return TraceSummary(
        sessions=len(tally.arrivals),
        llm_calls=calls,
        tool_calls=len(tally.tools),
        gaps=tally.gaps,
        duration_s=duration_s,
        sessions_per_s=rate,
        gap_cv=gap_cv,
        count_cv_10s=count_cv,
        dispersion_10s=dispersion,
        prompt_tokens=_lengths(tally.prompts),
        output_tokens=_lengths(tally.outputs),
        new_tokens=_lengths(tally.new) if known else None,
        growth_tokens=_lengths(tally.growth),
        growth_share=_share(tally.grown, len(tally.growth)),
        compactions=tally.compactions,
        compacted_share=_share(tally.compacted, tally.several),
        calls_per_session=_lengths(tally.calls),
        turns_per_session=_lengths(tally.turns),
        not_user_share=_share(tally.not_user, calls),
        block_hit_share=_share(tally.blocks, prompts) if tally.hashed else None,
        prefix_share=_share(tally.prefix, prompts) if tally.prefix else None,
        hit_share=_share(tally.hit, prompts) if known else None,
        cross_session_share=_share(tally.hit - tally.own, prompts) if known else None,
        later_hit_share=_share(tally.later_hit, tally.later) if known and told else None,
        ttl_hit_share=ttl if known and ttl and (tally.passed or duration_s) else None,
        tool_seconds=_timed(tally.tools),
        tools_below_1s_share=_share(
            sum(ns < SHORT_NS for ns in tally.tools), len(tally.tools) if tool_ns_total else 0
        ),
        tool_time_above_1min_share=_share(
            sum(ns for ns in tally.tools if ns > LONG_NS), tool_ns_total
        ),
        tool_active_share=_tool_share(tally, tool_ns_total),
        tool_gap_seconds=_timed(tally.tool_gaps),
        user_gap_seconds=_timed(tally.user_gaps),
    )


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} min"


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _tool_share(tally: _Tally, tool_ns_total: int) -> float | None:
    """Share of tools in active time, where the mean service stands for calls without one."""
    if not tally.served or not len(tally.tools):
        return None
    llm_ns = tally.served_ns / tally.served * len(tally.prompts)
    return _share(tool_ns_total, tool_ns_total + llm_ns)


def _arrivals(
    times: array[int],
) -> tuple[float, float | None, float | None, float | None, float | None]:
    """Duration, rate, CV of the gaps, CV and dispersion of the counts."""
    import numpy as np

    instants = np.array(times, dtype=np.float64) / 1e9
    duration_s = float(instants[-1] - instants[0]) if len(instants) else 0.0
    rate = (len(instants) - 1) / duration_s if duration_s else None
    if len(instants) < 3 or not duration_s:
        return duration_s, rate, None, None, None
    gaps = np.diff(instants)
    gap_cv = float(gaps.std(ddof=1) / gaps.mean())
    bins = int(duration_s // BIN_S)
    if bins < 2:
        return duration_s, rate, gap_cv, None, None
    counts = np.bincount(((instants - instants[0]) // BIN_S).astype(np.int64))[:bins]
    count_cv = float(counts.std(ddof=1) / counts.mean())
    return duration_s, rate, gap_cv, count_cv, float(counts.var(ddof=1) / counts.mean())


def _timed(values: array[int]) -> Lengths | None:
    """Seconds; None where none is above 0: the trace tells no times."""
    return _lengths(values, 1e9) if any(values) else None


def _lengths(values: array[int], unit: float = 1) -> Lengths | None:
    import numpy as np

    if not len(values):
        return None
    numbers = np.frombuffer(values, dtype=np.int64)
    points = np.quantile(numbers, QUANTILES).tolist()
    named = {f"p{round(100 * q)}": point / unit for q, point in zip(QUANTILES, points, strict=True)}
    total = int(numbers.sum())
    return Lengths(total if unit == 1 else total / unit, float(numbers.mean()) / unit, named)
