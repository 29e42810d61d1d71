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
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtri

from factorysim.errors import Fault, SpecError
from factorysim.spec.agent import AgentSpec
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
from factorysim.workload.session import GapNode, LlmNode, StagedNodes, ToolNode, side_by_side
from factorysim.workload.tools import ToolDraws, ToolTable, load_tools

if TYPE_CHECKING:
    from array import array
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from factorysim.spec.agent import Effort, LognormalTokens, ToolClassSpec, ToolsSpec, Widths
    from factorysim.spec.stream import ImagesSpec
    from factorysim.workload.session import Initiator, Node

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


def agent_names() -> tuple[str, ...]:
    """Names of the shipped agents, sorted.

    Examples
    --------
    >>> agent_names()
    ('chat', 'code_analysis', 'customer_service', 'supply_chain')
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
        self._output_factor = factors.output
        self._kept_share = 1.0 if spec.history == "full" else min(1.0, 1.0 / factors.output)
        self._turns: list[float] = count_table(spec.turns).tolist()
        self._calls = count_table(spec.calls_per_turn, factors.calls)
        self._base = spec.system_tokens.value + spec.tool_schema_tokens.value
        self._gap_mu = float(np.log(spec.user_gap.p50))
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
        self._shared = {"planner": self._base, "worker": 0}
        """Tokens that all contexts of a kind begin with."""
        if spec.subagents is not None:
            self._sub_calls: list[float] = count_table(spec.subagents.calls, factors.calls).tolist()
            if spec.subagents.at_once is not None:
                self._at_once: list[float] = count_table(spec.subagents.at_once).tolist()
            if spec.subagents.shared_tokens is not None:
                self._shared["worker"] = spec.subagents.shared_tokens.value

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
        spec = self.spec
        head = generator.random(3)
        turns = bisect_right(self._turns, head[0]) + 1
        rows = generator.random((turns, 3))
        normals = ndtri(rows[:, 1:])
        calls = draw_counts(self._calls, rows[:, 0])
        gaps = np.exp(self._gap_mu + spec.user_gap.sigma * normals[:, 0])
        gaps_ns = np.rint(np.minimum(gaps, spec.user_gap.max) * 1e9).astype(np.int64)
        messages = lognormal_tokens(spec.user_tokens, normals[:, 1])
        messages[0] = _tokens(spec.first_tokens, head[1])
        steps = self._steps(generator, calls)
        places = self._places(generator, head[2], steps.widths)
        if places:
            delegates: dict[int, list[_Delegate]] = {}
            context = 1
            for place in places:
                delegates[place] = self._subagents(generator, context)
                context += len(delegates[place])
            steps = steps._replace(delegates=delegates)
        if self._failures is not None:  # drawn when all else is: without them it is the same
            steps, calls = self._failing(generator, steps, calls)
            works = {
                place: [self._failing_work(generator, work) for work in of_place]
                for place, of_place in steps.delegates.items()
            }
            steps = steps._replace(delegates=works)
        if self._images is not None:  # drawn last: without them all else is the same
            shown = image_tokens(self._images, generator.random((len(steps.outputs), 2)))
            steps = steps._replace(images=packed(shown))
        total = len(steps.outputs)
        total += sum(work.calls for works in steps.delegates.values() for work in works)
        each = np.column_stack((calls, messages, gaps_ns)).ravel().tolist()
        return StagedNodes(total, partial(self._stages, steps, packed(each)))

    def _steps(self, generator: np.random.Generator, calls: Ints) -> _Steps:
        """Draw the calls of some turns and the tools between them."""
        total = int(calls.sum())
        rows = generator.random((total, 6))
        outputs = lognormal_tokens(self.spec.output_tokens, ndtri(rows[:, 0]), self._output_factor)
        widths = self._widths[self._width_cdf.searchsorted(rows[:, 1], side="right")]
        widths[np.cumsum(calls) - 1] = 0
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
        normals = ndtri(tools[:, 1:3])
        drawn = self._tools.draw(cls, normals[:, 0], tools[:, 3], normals[:, 1])
        return _Steps(packed(outputs), packed(widths.tolist()), drawn, _NO_DELEGATES)

    def _places(
        self, generator: np.random.Generator, uniform: float, widths: Sequence[int]
    ) -> list[int]:
        """Choose the calls whose tools a sub-agent replaces."""
        spec = self.spec.subagents
        if spec is None or uniform >= spec.session_share:
            return []
        batches = [place for place, width in enumerate(widths) if width]
        order = generator.random(len(batches)).argsort()
        return [batches[i] for i in order[: spec.per_session]]

    def _subagents(self, generator: np.random.Generator, context: int) -> list[_Delegate]:
        """Draw those that work side by side."""
        spec = self.spec.subagents
        assert spec is not None
        count = 1
        if spec.at_once is not None:
            count += bisect_right(self._at_once, generator.random())
        return [self._subagent(generator, context + place) for place in range(count)]

    def _subagent(self, generator: np.random.Generator, context: int) -> _Delegate:
        """Draw a sub-agent: a chain of its own and what it hands back."""
        spec = self.spec.subagents
        assert spec is not None
        head = generator.random(3)
        calls = bisect_right(self._sub_calls, head[0]) + 1
        steps = self._steps(generator, np.array([calls]))
        return _Delegate(
            context,
            calls,
            _tokens(spec.prompt_tokens, head[1]),
            _tokens(spec.summary_tokens, head[2]),
            steps,
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

    def _failing_work(self, generator: np.random.Generator, work: _Delegate) -> _Delegate:
        """Draw which tools of a sub-agent fail."""
        steps, calls = self._failing(generator, work.steps, np.array([work.calls]))
        return work._replace(steps=steps, calls=int(calls[0]))

    def _stages(self, steps: _Steps, turns: array[int]) -> Iterator[list[Node]]:
        """Build all turns, with the user's gaps between them.

        Parameters
        ----------
        turns
            Calls, tokens of the message, and the gap that follows, turn by turn.
        """
        at = _Place(0, 0, self._base, 0)
        step = "planner" if self.spec.subagents is not None else ""
        for turn in range(0, len(turns), 3):
            if turn:
                yield [GapNode(turns[turn - 1])]
            at = at._replace(context=at.context + turns[turn + 1])
            at = yield from self._turn(steps, turns[turn], at, "user", step)

    def _work(self, work: _Delegate) -> Iterator[list[Node]]:
        """Build a sub-agent's chain, in a context of its own."""
        at = _Place(0, 0, work.prompt_tokens, 0)
        return self._turn(work.steps, work.calls, at, "agent", "worker", work.context)

    def _turn(
        self,
        steps: _Steps,
        calls: int,
        at: _Place,
        initiator: Initiator,
        role: str,
        context: int = 0,
    ) -> Generator[list[Node], None, _Place]:
        """Build one turn: calls, each but the last followed by its tools."""
        outputs, widths, (cls, cpu_s, remote_ns, result_tokens), delegates, images, bad = steps
        costs, limit, kept_share = self._costs, self._limit, self._kept_share
        first, tool, prompt, prefix = at
        common = self._shared[role or "planner"]
        for step in range(first, first + calls):
            if prompt > limit:
                prompt, prefix = self._compacted(prompt, prefix)
            output = outputs[step]
            shared = common if common < prompt else prompt
            node = LlmNode(
                prompt, output, prefix, (), 0, None, initiator, (), None, shared, context, role
            )
            if images:
                node.image_tokens = images[step]
                node.prompt_tokens = prompt = prompt + images[step]
            yield [node]
            del node  # a gap of an hour may come
            initiator = "tool"
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

    def _compacted(self, prompt: int, prefix: int) -> tuple[int, int]:
        """Replace the history by a summary: the new prompt, and what it repeats."""
        assert self.spec.compaction is not None
        shorter = max(self._base + 1, round(self.spec.compaction.keep * prompt))
        return shorter, min(self._base, prefix)


def _tokens(spec: LognormalTokens, uniform: float) -> int:
    """One draw by inverse CDF."""
    return lognormal_tokens(spec, ndtri(np.array([uniform])))[0]


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
        Fault(where, f"tools.shares.{name}", f'"{name}"', "a tool class", _classes(classes))
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


def _classes(classes: Mapping[str, ToolClassSpec]) -> str:
    return f"classes: {', '.join(classes)}"


def _count_faults(spec: AgentSpec, effort: Effort, where: str) -> list[Fault]:
    """Find counts whose mean at this effort is beyond half of their maximum."""
    counts = {"calls_per_turn": spec.calls_per_turn}
    if spec.subagents is not None:
        counts["subagents.calls"] = spec.subagents.calls
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
