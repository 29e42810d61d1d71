"""Synthetic agents: whole sessions drawn from an agent's file.

A turn begins with a message of the user. All calls of a turn but its last are
followed by tools, whose answers lengthen the next prompt, as does what the LLM
wrote; so the growth of the context is an outcome, not a parameter. A session is
a function of its generator alone: of who it is, not of when it is drawn.

Draws are arrays, a row a call, so that another reasoning effort lengthens a
session without changing what its calls have in common. They are drawn whole and
kept packed; nodes are made of them stage by stage, when the session gets there.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtri

from factorysim.errors import Fault, SpecError
from factorysim.marked import shown
from factorysim.spec.agent import AgentSpec
from factorysim.spec.shape import either, nearest
from factorysim.workload.draws import (
    count_table,
    draw_counts,
    image_tokens,
    lognormal_tokens,
    packed,
)
from factorysim.workload.failures import (
    Chain,
    FailureTable,
    Loops,
    Outcome,
    put_in,
    steps_that_fail,
)
from factorysim.workload.files import CATALOG, read_spec
from factorysim.workload.places import Outputs
from factorysim.workload.session import GapNode, LlmNode, StagedNodes, ToolNode, side_by_side
from factorysim.workload.teams import Team, build_team
from factorysim.workload.tools import ToolDraws, ToolTable, load_tools

if TYPE_CHECKING:
    from array import array
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from factorysim.spec.agent import (
        Count,
        Effort,
        LognormalSeconds,
        LognormalTokens,
        SubAgentSpec,
        ToolClassSpec,
        ToolsSpec,
        Widths,
    )
    from factorysim.spec.stream import ImagesSpec
    from factorysim.workload.places import Whose
    from factorysim.workload.session import Initiator, Node

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


def agent_names() -> tuple[str, ...]:
    """Names of the shipped agents, sorted.

    Examples
    --------
    >>> agent_names()[:4]
    ('batch', 'chat', 'code_analysis', 'customer_service')
    """
    return tuple(sorted(path.stem for path in (CATALOG / "agents").glob("*.yaml")))


@cache
def load_agent(name: str) -> AgentSpec:
    """Read a shipped agent.

    Raises
    ------
    SpecError
        If nothing of that name ships; tells the nearest name.

    Examples
    --------
    >>> load_agent("code_analysis").effort
    'medium'
    """
    if name in agent_names():
        return read_spec(CATALOG / "agents" / f"{name}.yaml", AgentSpec)
    from difflib import get_close_matches

    near = get_close_matches(name, agent_names(), n=1)
    cure = f'did you mean "{near[0]}"? ' if near else ""
    cure += f"shipped: {', '.join(agent_names())}"
    raise SpecError(Fault(name, "agent", f'"{name}"', "an agent of the catalog", cure))


def find_agent(name: str) -> AgentSpec:
    """Read an agent by its name in the catalog, or from a user's YAML file.

    Raises
    ------
    SpecError
        If there is none, or with every fault of the file.
    """
    path = Path(name)
    return read_spec(path, AgentSpec) if path.suffix in (".yaml", ".yml") else load_agent(name)


class _Delegate(NamedTuple):
    """A sub-agent's work, drawn."""

    context: int
    """Its number in the session, from 1 on."""
    calls: int
    prompt_tokens: int
    summary_tokens: int
    steps: _Steps
    shared_tokens: int
    """That its role begins with."""
    role: int


class _Steps(NamedTuple):
    """A chain of calls as columns: a call each, and the tools that follow them."""

    outputs: array[int]
    widths: array[int]
    """Tools after each call; 0 after the last of a turn."""
    tools: ToolDraws
    delegates: Mapping[int, Sequence[_Delegate]]
    """Calls whose tools sub-agents replace."""
    images: Sequence[int] = ()
    """Tokens of each call's new images; empty where no call has any."""
    outcomes: Mapping[int, Outcome] | None = None
    """Of tools whose first attempt fails, by their place; None: none does."""


_NO_DELEGATES: Mapping[int, Sequence[_Delegate]] = {}
"""Of nearly all sessions, which share it."""


def _calls_of(delegates: Mapping[int, Sequence[_Delegate]]) -> int:
    """Count the calls of sub-agents, and of theirs."""
    works = [work for of_place in delegates.values() for work in of_place]
    return sum(work.calls + _calls_of(work.steps.delegates) for work in works)


class _Place(NamedTuple):
    """Where the building of a session stands."""

    call: int
    tool: int
    context: int
    """Tokens that the next prompt begins with."""
    prefix: int
    """Those of them that the last call has left in the cache."""


class AgentModel:
    """An agent at one reasoning effort, ready to draw sessions.

    Raises
    ------
    SpecError
        If the agent names a tool class or an effort that there is not, or a
        count whose mean the effort lifts beyond what its maximum allows.

    Examples
    --------
    >>> from factorysim.rng import stream
    >>> model = AgentModel(load_agent("customer_service"))
    >>> nodes = model.nodes(stream(7, 0, "desk", "session", 0))
    >>> nodes[0].prompt_tokens > 4000 and nodes == model.nodes(stream(7, 0, "desk", "session", 0))
    True
    """

    def __init__(
        self,
        spec: AgentSpec,
        effort: Effort | None = None,
        *,
        tools: ToolsSpec | None = None,
        name: str = "agent",
        images: ImagesSpec | None = None,
    ) -> None:
        self.spec = spec
        self._images = images
        self.effort: Effort = spec.effort if effort is None else effort
        classes = (load_tools() if tools is None else tools).tools
        _check(spec, self.effort, classes, name)
        factors = spec.efforts[self.effort]
        self._outputs = Outputs(spec, self.effort)
        self._kept_share = self._outputs.kept_share()
        self._kept_at_ends = self._outputs.kept_share("plan"), self._outputs.kept_share("answer")
        self._kept_by_workers = self._outputs.kept_share("worker")
        self._turns: list[float] = count_table(spec.turns).tolist()
        self._calls = count_table(spec.calls_per_turn, factors.calls)
        self._base = spec.system_tokens.value + spec.tool_schema_tokens.value
        self._varies = any((spec.approvals, spec.resumed, spec.handoff))
        """Whether sessions differ in more than any agent's do, which takes draws of its own."""
        self._limit = spec.compaction.at_tokens if spec.compaction else 1 << 62
        self._tools = ToolTable(
            list(spec.tools.shares), [classes[name] for name in spec.tools.shares]
        )
        self._failures = None
        if spec.failures is not None:
            self._failures = FailureTable([classes[name] for name in spec.tools.shares])
            self._loops: Floats = count_table(spec.failures.calls)
        self._costs = list(
            zip(self._tools.names, self._tools.cores, self._tools.memory_bytes, strict=True)
        )
        self._single, self._wide = _mixes(spec.tools.shares, spec.parallel)
        widths = sorted(spec.parallel.shares)
        self._widths = np.array(widths)
        self._width_cdf = _cdf([spec.parallel.shares[width] for width in widths])
        self._team = build_team(spec.subagents, factors.calls)
        self._handoff = 0
        """Place in the table of the tool that hands over."""
        if spec.handoff is not None:
            self._handoff = list(spec.tools.shares).index(spec.handoff.tool)

    def nodes(self, generator: np.random.Generator) -> list[Node]:
        """Draw one session, and build the whole of it."""
        return self.draw(generator).whole()

    def draw(self, generator: np.random.Generator) -> StagedNodes:
        """Draw one session, whose nodes are built as it gets to them.

        Parameters
        ----------
        generator
            At the start of the session's own stream; nothing else may use it.
            All is drawn now, and the generator not kept.
        """
        head = generator.random(3)
        turns = bisect_right(self._turns, head[0]) + 1
        rows = generator.random((turns, 3))
        calls = draw_counts(self._calls, rows[:, 0])
        extra: Floats = generator.random(turns + 2) if self._varies else np.ones(turns + 2)
        handed = self.spec.handoff is not None and extra[0] < self.spec.handoff.share
        if handed:
            calls[-1] += 1  # it calls the tool that hands over, and then says so
        told = self._told(head[1], ndtri(rows[:, 1:]), extra)
        steps = self._steps(generator, calls, "agent", handed=handed)
        free = steps.widths[:-2] if handed else steps.widths
        steps = self._delegating(generator, head[2], steps, free, self._team, count(1))
        if self._failures is not None:  # drawn when all else is: without them it is the same
            steps, calls = self._failing(generator, steps, calls)
            steps = self._failing_works(generator, steps)
        if self._images is not None:  # drawn last: without them all else is the same
            shown = image_tokens(self._images, generator.random((len(steps.outputs), 2)))
            steps = steps._replace(images=packed(shown))
        total = len(steps.outputs) + _calls_of(steps.delegates)
        each = np.column_stack((calls, *told)).ravel().tolist()
        return StagedNodes(total, partial(self._stages, steps, packed(each)))

    def _told(self, first: float, normals: Floats, extra: Floats) -> tuple[list[int], Ints, Ints]:
        """Draw what each turn begins with, the gap after it, and whether that is an approval."""
        spec = self.spec
        turns = len(normals)
        messages, gaps = [1] * turns, np.zeros(turns)
        if spec.user_tokens is not None:
            messages = lognormal_tokens(spec.user_tokens, normals[:, 1])
        if spec.user_gap is not None:
            gaps = _seconds(spec.user_gap, normals[:, 0])
        approved = np.zeros(turns, dtype=np.int64)
        if spec.approvals is not None:
            approved[extra[2:] < spec.approvals.share] = 1
            gaps = np.where(approved, _seconds(spec.approvals.wait, normals[:, 0]), gaps)
            answers = lognormal_tokens(spec.approvals.answer_tokens, normals[:, 1])
            for turn in np.flatnonzero(approved[:-1]).tolist():
                messages[turn + 1] = answers[turn + 1]
        resumed = spec.resumed is not None and extra[1] < spec.resumed.share
        begins = spec.resumed.tokens if spec.resumed and resumed else spec.first_tokens
        messages[0] = _tokens(begins, first)
        return messages, np.rint(gaps * 1e9).astype(np.int64), approved

    def _steps(
        self,
        generator: np.random.Generator,
        calls: Ints,
        whose: Whose = "loop",
        *,
        handed: bool = False,
    ) -> _Steps:
        """Draw the calls of some turns and the tools between them.

        Parameters
        ----------
        handed
            Whether the last tool hands over to a person.
        """
        total = int(calls.sum())
        rows = generator.random((total, 6))
        outputs = self._outputs.draw(ndtri(rows[:, 0]), calls, whose)
        widths = self._widths[self._width_cdf.searchsorted(rows[:, 1], side="right")]
        widths[np.cumsum(calls) - 1] = 0
        if handed:
            widths[-2] = 1
        caller = np.repeat(np.arange(total), widths)
        tools = rows[caller, 2:]
        if len(caller) > 1:
            # A batch's first tool has its call's row, the others rows of their own.
            (others,) = np.nonzero(caller[1:] == caller[:-1])
            if len(others):
                tools[others + 1] = generator.random((len(others), 4))
        cls = self._single.searchsorted(tools[:, 0], side="right")
        if self._wide is not None:
            wide = widths[caller] > 1
            cls[wide] = self._wide.searchsorted(tools[wide, 0], side="right")
        if handed:
            cls[-1] = self._handoff
        normals = ndtri(tools[:, 1:3])
        drawn = self._tools.draw(cls, normals[:, 0], tools[:, 3], normals[:, 1])
        return _Steps(packed(outputs), packed(widths.tolist()), drawn, _NO_DELEGATES)

    def _delegating(
        self,
        generator: np.random.Generator,
        uniform: float,
        steps: _Steps,
        free: Sequence[int],
        team: Team | None,
        contexts: Iterator[int],
    ) -> _Steps:
        """Let sub-agents replace the tools of some calls.

        Parameters
        ----------
        free
            Widths of the batches that may be replaced.
        contexts
            Gives the number of the next sub-agent.
        """
        if team is None or uniform >= team.spec.session_share:
            return steps
        batches = [place for place, width in enumerate(free) if width]
        order = generator.random(len(batches)).argsort()
        places = [batches[i] for i in order[: team.spec.per_session]]
        delegates = {place: self._subagents(generator, team, contexts) for place in places}
        return steps._replace(delegates=delegates) if delegates else steps

    def _subagents(
        self, generator: np.random.Generator, team: Team, contexts: Iterator[int]
    ) -> list[_Delegate]:
        """Draw those that work side by side."""
        size = 1
        if team.at_once:
            size += bisect_right(team.at_once, generator.random())
        return [self._subagent(generator, team, place, contexts) for place in range(size)]

    def _subagent(
        self, generator: np.random.Generator, team: Team, place: int, contexts: Iterator[int]
    ) -> _Delegate:
        """Draw a sub-agent: a chain of its own, what it hands back, and who works for it."""
        context = next(contexts)
        head = generator.random(3)
        calls = bisect_right(team.calls, head[0]) + 1
        steps = self._steps(generator, np.array([calls]), "worker")
        if team.below is not None:
            uniform, widths = generator.random(), steps.widths
            steps = self._delegating(generator, uniform, steps, widths, team.below, contexts)
        return _Delegate(
            context,
            calls,
            _tokens(team.spec.prompt_tokens, head[1]),
            _tokens(team.spec.summary_tokens, head[2]),
            steps,
            team.shared_tokens,
            team.first_role + place % team.spec.roles,
        )

    def _failing(
        self, generator: np.random.Generator, steps: _Steps, calls: Ints
    ) -> tuple[_Steps, Ints]:
        """Draw which tools fail, and put the loops of calls behind them; returns calls by turn."""
        spec, table = self.spec.failures, self._failures
        assert spec is not None
        assert table is not None
        outcomes = table.draw(steps.tools, generator)
        bad = steps_that_fail(outcomes, steps.widths, steps.delegates)
        rows = generator.random((len(bad), 2))
        begins: Ints = np.array(bad, dtype=np.int64)[rows[:, 0] < spec.share]
        if not len(begins):
            return steps._replace(outcomes=outcomes), calls
        sizes = draw_counts(self._loops, rows[rows[:, 0] < spec.share, 1])
        extra = self._steps(generator, sizes + 1)
        loops = Loops(begins.tolist(), sizes.tolist(), spec.append)
        chain, tools = put_in(Chain(*steps[:3]), loops, Chain(*extra[:3]))
        places: list[int] = tools.tolist()
        longer = calls.copy()
        np.add.at(longer, np.cumsum(calls).searchsorted(begins, side="right"), sizes)
        return _Steps(
            *chain,
            {loops.moved(step): works for step, works in steps.delegates.items()},
            outcomes={places[place]: outcome for place, outcome in outcomes.items()},
        ), longer

    def _failing_works(self, generator: np.random.Generator, steps: _Steps) -> _Steps:
        """Draw which tools of sub-agents fail, and of theirs."""
        works = {
            place: [self._failing_work(generator, work) for work in of_place]
            for place, of_place in steps.delegates.items()
        }
        return steps._replace(delegates=works)

    def _failing_work(self, generator: np.random.Generator, work: _Delegate) -> _Delegate:
        """Draw which tools of a sub-agent fail."""
        steps, calls = self._failing(generator, work.steps, np.array([work.calls]))
        steps = self._failing_works(generator, steps)
        return work._replace(steps=steps, calls=int(calls[0]))

    def _stages(self, steps: _Steps, turns: array[int]) -> Iterator[list[Node]]:
        """Build all turns, with the user's gaps between them.

        Parameters
        ----------
        turns
            Calls, tokens of the message, the gap that follows, and 1 if that is an
            approval, turn by turn.
        """
        at = _Place(0, 0, self._base, 0)
        step = "planner" if self.spec.subagents is not None else ""
        for turn in range(0, len(turns), 4):
            if turn:
                yield [GapNode(turns[turn - 2], "approval" if turns[turn - 1] else "user")]
            at = at._replace(context=at.context + turns[turn + 1])
            at = yield from self._turn(steps, turns[turn], at, "user", step)

    def _work(self, work: _Delegate) -> Iterator[list[Node]]:
        """Build a sub-agent's chain, in a context of its own."""
        at = _Place(0, 0, work.prompt_tokens, 0)
        return self._turn(work.steps, work.calls, at, "agent", "worker", work)

    def _turn(
        self,
        steps: _Steps,
        calls: int,
        at: _Place,
        initiator: Initiator,
        label: str,
        work: _Delegate | None = None,
    ) -> Generator[list[Node], None, _Place]:
        """Build one turn: calls, each but the last followed by its tools.

        Parameters
        ----------
        work
            What a sub-agent does; None: the turn is the agent's own.
        """
        outputs, widths, (cls, cpu_s, remote_ns, result_tokens), delegates, images, bad = steps
        costs, limit = self._costs, self._limit
        first, tool, prompt, prefix = at
        common, context, role = self._base, 0, 0
        if work is not None:
            common, context, role = work.shared_tokens, work.context, work.role
        for step in range(first, first + calls):
            if prompt > limit:
                prompt, prefix = self._compacted(prompt, prefix)
            output = outputs[step]
            shared = common if common < prompt else prompt
            node = LlmNode(
                prompt,
                output,
                prefix,
                (),
                0,
                None,
                initiator,
                (),
                None,
                shared,
                context,
                label,
                role,
            )
            if images:
                node.image_tokens = images[step]
                node.prompt_tokens = prompt = prompt + images[step]
            yield [node]
            del node  # a gap of an hour may come
            initiator = "tool"
            kept_share = self._kept(step, first + calls - 1, context)
            if kept_share == 1.0:
                prompt = prefix = prompt + output
            else:
                prefix = prompt
                prompt += max(1, round(output * kept_share))
            end = tool + widths[step]
            if step in delegates:
                works = delegates[step]
                if len(works) == 1:
                    yield from self._work(works[0])
                else:
                    yield side_by_side(map(self._work, works))
                prompt += sum(work.summary_tokens for work in works)
            elif end > tool:
                tools: list[Node] = []
                for job in range(tool, end):
                    name, cores, memory_bytes = costs[cls[job]]
                    tokens = result_tokens[job]
                    used = ToolNode(name, cpu_s[job], cores, memory_bytes, remote_ns[job], tokens)
                    if context:
                        used.context = context
                    if bad and job in bad:
                        outcome = bad[job]
                        used.failed, used.status, used.cpu_s, used.remote_ns, tokens = outcome
                        used.result_tokens = tokens
                    prompt += tokens
                    tools.append(used)
                yield tools
            tool = end
        return _Place(first + calls, tool, prompt, prefix)

    def _kept(self, step: int, last: int, context: int) -> float:
        """Give the share of a call's output that the next prompt holds."""
        if context:
            return self._kept_by_workers
        plan, answer = self._kept_at_ends
        return answer if step == last else plan if step == 0 else self._kept_share

    def _compacted(self, prompt: int, prefix: int) -> tuple[int, int]:
        """Replace the history by a summary: the new prompt, and what it repeats."""
        assert self.spec.compaction is not None
        shorter = max(self._base + 1, round(self.spec.compaction.keep * prompt))
        return shorter, min(self._base, prefix)


def _tokens(spec: LognormalTokens, uniform: float) -> int:
    """One draw by inverse CDF."""
    return lognormal_tokens(spec, ndtri(np.array([uniform])))[0]


def _seconds(spec: LognormalSeconds, normals: Floats) -> Floats:
    """Durations from standard normals, cut at the longest."""
    return np.minimum(np.exp(float(np.log(spec.p50)) + spec.sigma * normals), spec.max)


def _cdf(shares: Iterable[float]) -> Floats:
    """Cumulate shares; what rounding leaves goes to the last that has any."""
    values = np.array(list(shares))
    cdf = np.cumsum(values)
    cdf[int(np.nonzero(values)[0][-1]) :] = 1.0
    return cdf


def _mixes(shares: dict[str, float], parallel: Widths) -> tuple[Floats, Floats | None]:
    """CDFs of the classes in single and in wide batches, which together give `shares`.

    Wide batches hold parallel tools only, in their proportions, so single ones
    have that much less of them.
    """
    calls = sum(width * share for width, share in parallel.shares.items())
    wide = sum(width * share for width, share in parallel.shares.items() if width > 1) / calls
    if not wide:
        return _cdf(shares.values()), None
    total = sum(shares[name] for name in parallel.tools)
    in_wide = [share / total if name in parallel.tools else 0.0 for name, share in shares.items()]
    rest = [max(0.0, s - wide * w) for s, w in zip(shares.values(), in_wide, strict=True)]
    left = sum(rest)
    if not left:
        return _cdf(in_wide), _cdf(in_wide)
    return _cdf(share / left for share in rest), _cdf(in_wide)


def _check(
    spec: AgentSpec, effort: Effort, classes: Mapping[str, ToolClassSpec], where: str
) -> None:
    """Refuse what the agent's file alone could not tell."""
    faults = [
        Fault(
            *(where, f"tools.shares.{name}", shown(name)),
            *(f"a tool class ({either(tuple(classes))})", nearest(name, tuple(classes))),
        )
        for name in spec.tools.shares
        if name not in classes
    ]
    if effort not in spec.efforts:
        expected = f"one of {', '.join(spec.efforts)}"
        faults.append(Fault(where, "reasoning_effort", f'"{effort}"', expected))
    else:
        faults += _count_faults(spec, effort, where)
    if faults:
        raise SpecError(*faults)


def _count_faults(spec: AgentSpec, effort: Effort, where: str) -> list[Fault]:
    """Find counts whose mean at this effort is beyond half of their maximum."""
    counts: dict[str, Count] = {"calls_per_turn": spec.calls_per_turn}
    level: SubAgentSpec | None = spec.subagents
    key = "subagents"
    while level is not None:
        counts[f"{key}.calls"] = level.calls
        level, key = level.subagents, f"{key}.subagents"
    factor = spec.efforts[effort].calls
    return [
        Fault(
            where,
            key,
            f"a mean of {count.mean * factor:g} at effort {effort}",
            f"at most half of max, {count.max / 2:g}",
        )
        for key, count in counts.items()
        if count.mean * factor > count.max / 2
    ]
