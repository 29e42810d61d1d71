"""Sessions drawn from a twin: a chain of calls whose context grows, and what lies between.

All of a session is drawn when it is asked for and kept packed; its nodes are built
stage by stage, as those of other agents are. A session is a function of its
generator alone.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from itertools import accumulate, count
from math import ceil, inf, log, log1p
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.errors import Fault, SpecError
from factorysim.spec.twin import EARLY_CALLS, SESSION_EFFECTS, Dependence
from factorysim.workload.draws import packed
from factorysim.workload.session import GapNode, LlmNode, StagedNodes, ToolNode, side_by_side
from factorysim.workload.twin.tables import Draw

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from factorysim.spec.twin import Growth, Standard, TwinSpec, TwinSubagents
    from factorysim.workload.session import Initiator, Node

    Floats = npt.NDArray[np.float64]

NS = 10**9
ROUNDING = 0.01
"""By which correlations of four digits may miss being those of a distribution."""


class _Score:
    """Normal scores of a quantity: what the session has in common, slopes, and noise."""

    __slots__ = ("_mean", "_noise", "_on", "_session")

    def __init__(self, spec: Dependence, by: dict[str, Standard], room: float) -> None:
        self._mean, self._session = spec.mean, spec.session
        self._on = [
            (name, slope / by[name].sd, -slope * by[name].mean / by[name].sd)
            for name, slope in spec.on.items()
        ]
        self._noise: float = max(0.0, room - spec.session**2) ** 0.5

    def at(self, common: float, noise: float, **covariates: float) -> float:
        """Score of a call with these covariates, as logarithms."""
        score = self._mean + self._session * common + self._noise * noise
        for name, slope, shift in self._on:
            score += slope * covariates[name] + shift
        return score


class _Chain(NamedTuple):
    """A chain of calls as columns."""

    prompts: array[int]
    outputs: array[int]
    prefixes: array[int]
    waits: array[int]
    """After each call, nanoseconds of a gap or a delay; 0 where tools follow."""
    widths: array[int]
    """Tools after each call."""
    cls: array[int]
    """Of each tool."""
    tool_ns: array[int]
    turns: array[int]
    """Calls of each turn."""


class _Sub(NamedTuple):
    context: int
    """Its number in the session, from 1 on."""
    prompts: array[int]
    outputs: array[int]
    delegates: dict[int, list[_Sub]]
    """Those of its own, by the call that they follow."""


def _calls_of(delegates: Mapping[int, Sequence[_Sub]]) -> int:
    """Count the calls of sub-agents, and of theirs."""
    subs = [sub for of_place in delegates.values() for sub in of_place]
    return sum(len(sub.prompts) + _calls_of(sub.delegates) for sub in subs)


class _Subagents:
    """Sub-agents of one level, ready to be drawn; below each, those of the next."""

    def __init__(self, spec: TwinSubagents) -> None:
        self._batch_share = spec.batch_share
        self._at_once, self._calls = Draw(spec.at_once), Draw(spec.calls)
        self._first = Draw(spec.first_prompt_tokens)
        self._growth, self._output = Draw(spec.growth_tokens), Draw(spec.output_tokens)
        self._below = None if spec.subagents is None else _Subagents(spec.subagents)

    def draw(
        self, generator: np.random.Generator, places: Sequence[int], contexts: Iterator[int]
    ) -> dict[int, list[_Sub]]:
        """Draw which calls sub-agents follow, and these."""
        chosen = generator.random(len(places)) < self._batch_share
        made: dict[int, list[_Sub]] = {}
        for place, sub in zip(places, chosen.tolist(), strict=True):
            if sub:
                size = max(1, self._at_once.whole(float(generator.standard_normal())))
                made[place] = [self._one(generator, contexts) for _ in range(size)]
        return made

    def _one(self, generator: np.random.Generator, contexts: Iterator[int]) -> _Sub:
        context = next(contexts)
        first, many = generator.standard_normal(2).tolist()
        calls = max(1, self._calls.whole(many))
        normals = generator.standard_normal((calls, 2)).tolist()
        prompts = [max(1, self._first.whole(first))]
        prompts += [self._growth.whole(normals[place][0]) for place in range(1, calls)]
        outputs = [max(1, self._output.whole(normal[1])) for normal in normals]
        below: dict[int, list[_Sub]] = {}
        if self._below is not None:
            below = self._below.draw(generator, range(calls - 1), contexts)
        return _Sub(context, packed(np.cumsum(prompts).tolist()), packed(outputs), below)


def _root(spec: TwinSpec) -> Floats:
    """Find what turns independent scores into those with the correlations of a twin."""
    values, vectors = np.linalg.eigh(np.array(spec.between))
    if values.min() < -ROUNDING:
        found = f"correlations with an eigenvalue of {values.min():.2g}"
        fault = Fault(
            spec.source.name, "between", found, "those of some distribution: none below 0"
        )
        raise SpecError(fault)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


class TwinModel:
    """A twin, ready to draw sessions.

    Raises
    ------
    SpecError
        If its correlations are those of no distribution.

    Examples
    --------
    >>> from factorysim.rng import stream
    >>> from factorysim.workload.agents import AgentModel, load_agent
    >>> from factorysim.workload.draws import KeyedUniforms
    >>> from factorysim.workload.session import Session
    >>> from factorysim.workload.twin.fit import fit_twin
    >>> chat, keyed = AgentModel(load_agent("chat")), KeyedUniforms(7, 0, "chat")
    >>> source = [Session(f"s{i}", i, chat.nodes(keyed.at(i))) for i in range(40)]
    >>> model = TwinModel(fit_twin(source, "chats", "fstrace"))
    >>> nodes = model.nodes(stream(7, 0, "twin", "session", 0))
    >>> nodes[0].prompt_tokens >= 500 and nodes == model.nodes(stream(7, 0, "twin", "session", 0))
    True
    """

    def __init__(self, spec: TwinSpec) -> None:
        self.spec = spec
        self._root = _root(spec)
        self._turns, self._calls = [Draw(table) for table in spec.turns], Draw(spec.calls_per_turn)
        self._first = Draw(spec.first_prompt_tokens)
        self._growth = {key: Draw(table) for key, table in spec.growth_tokens.items()}
        self._output = {key: Draw(table) for key, table in spec.output_tokens.items()}
        self._gap = None if spec.user_gap_s is None else Draw(spec.user_gap_s)
        self._delay = None if spec.delay_s is None else Draw(spec.delay_s)
        self._batch = None if spec.tools_per_batch is None else Draw(spec.tools_per_batch)
        self._names = list(spec.tools)
        self._tools = [Draw(tool.seconds) for tool in spec.tools.values()]
        self._mix = np.cumsum([tool.share for tool in spec.tools.values()])
        self._subagents = None if spec.subagents is None else _Subagents(spec.subagents)
        rewrites = spec.rewrites
        self._lost, self._to = Draw(rewrites.edited_lost), Draw(rewrites.compacted_to)
        self._compacted_kept = Draw(rewrites.compacted_kept)
        by = {str(key): value for key, value in spec.covariates.items()}
        self._scores = {
            str(name): _Score(dependence, by, self._room(dependence))
            for name, dependence in spec.dependence.items()
        }

    def _room(self, dependence: Dependence) -> float:
        """Variance that slopes leave, were covariates independent."""
        return max(0.0, 1.0 - sum(slope**2 for slope in dependence.on.values()))

    def nodes(self, generator: np.random.Generator) -> list[Node]:
        """Draw one session, and build the whole of it."""
        return self.draw(generator).whole()

    def draw(self, generator: np.random.Generator) -> StagedNodes:
        """Draw one session, whose nodes are built as it gets to them.

        Parameters
        ----------
        generator
            At the start of the session's own stream; nothing else may use it.
        """
        effects = self._root @ generator.standard_normal(len(SESSION_EFFECTS))
        common = dict(zip(SESSION_EFFECTS, effects.tolist(), strict=True))
        first = max(1, self._first.whole(common["first_prompt"]))
        place = bisect_right(self.spec.first_prompt_bounds, first)
        turns = max(1, self._turns[place].whole(common["turns"]))
        noise = generator.standard_normal(turns).tolist()
        calls = [
            max(1, self._calls.whole(self._scores["calls"].at(common["calls"], one)))
            for one in noise
        ]
        chain = self._chain(generator, common, first, calls)
        delegates = self._delegates(generator, chain)
        total = len(chain.prompts) + _calls_of(delegates)
        return StagedNodes(total, partial(self._stages, chain, delegates))

    def _chain(
        self,
        generator: np.random.Generator,
        common: dict[str, float],
        first: int,
        calls: list[int],
    ) -> _Chain:
        """Draw the calls of some turns, one after the other: each context follows the last."""
        total = sum(calls)
        length = log(total)
        normals = generator.standard_normal((total, 4)).tolist()
        uniforms = generator.random((total, 2)).tolist()
        ends = set(accumulate(calls))
        prompts, outputs, prefixes, waits, widths = [], [], [], [], []
        limit = self._limit(first, float(generator.random()))
        prompt, prefix, output = first, 0, 0
        user = True
        for place in range(total):
            last = place + 1 in ends
            if place:
                prompt, prefix = self._next_prompt(
                    limit, place, length, user, prompt, output,
                    common["growth"], normals[place], uniforms[place],
                )  # fmt: skip
            score = self._scores["output"].at(
                common["output"], normals[place][1],
                index=log1p(place), length=length, context=log(prompt),
            )  # fmt: skip
            output = max(1, self._output["last" if last else "within"].whole(score))
            prompts.append(prompt)
            outputs.append(output)
            prefixes.append(prefix)
            wait_ns, width = (
                self._after(last, common, normals[place], uniforms[place][1])
                if place + 1 < total
                else (0, 0)
            )
            waits.append(wait_ns)
            widths.append(width)
            user = last
        cls, tool_ns = self._draw_tools(generator, common["tool"], widths)
        columns = (prompts, outputs, prefixes, waits, widths, cls, tool_ns, calls)
        return _Chain(*map(packed, columns))

    def _next_prompt(
        self,
        limit: float,
        place: int,
        length: float,
        user: bool,
        before: int,
        answered: int,
        common: float,
        normals: list[float],
        uniforms: list[float],
    ) -> tuple[int, int]:
        """Draw a prompt and what it repeats of the one before."""
        spec, kind = self.spec, uniforms[0]
        rewrites = spec.rewrites
        compacted = rewrites.compacted[bisect_right(rewrites.context_tokens, before)]
        if kind < compacted:
            return self._compacted(before, normals)
        change = rewrites.edited_user if user else rewrites.edited_tool
        edited = kind < compacted + (1.0 - compacted) * change
        setter: Growth = "user" if user else "tool"
        if edited:
            setter = "edited"
        elif place <= EARLY_CALLS:
            setter = "begin"
        score = self._scores["growth"].at(
            common, normals[0],
            index=log1p(place), length=length, context=log(before), output=log(answered),
        )  # fmt: skip
        grown = self._growth[setter].whole(score)
        repeated = before + answered if spec.outputs_repeated else before
        if repeated + grown > limit:
            return self._compacted(before, normals)
        prompt = min(repeated + grown, max(spec.prompt_tokens_max, before))
        if edited:
            return prompt, int((1.0 - min(self._lost.value(normals[3]), 1.0)) * before)
        return prompt, min(repeated, prompt)

    def _compacted(self, before: int, normals: list[float]) -> tuple[int, int]:
        """Draw a prompt that is shorter than the one before, and what it repeats."""
        prompt = max(1, ceil(self._to.value(normals[2]) * before))
        return prompt, int(min(self._compacted_kept.value(normals[3]), 1.0) * prompt)

    def _limit(self, first: int, uniform: float) -> float:
        """Draw at what context a session is compacted, of those above its first prompt."""
        rewrites = self.spec.rewrites
        place = bisect_right(rewrites.limit_tokens, first)
        alive = rewrites.unlimited[place - 1] if place else 1.0
        for limit, share in zip(
            rewrites.limit_tokens[place:], rewrites.unlimited[place:], strict=True
        ):
            if share <= uniform * alive:
                return limit
        return inf

    def _after(
        self, last: bool, common: dict[str, float], normals: list[float], uniform: float
    ) -> tuple[int, int]:
        """Draw what comes between a call and the next: a wait, or some tools."""
        if last:
            score = self._scores["gap"].at(common["gap"], normals[2])
            return (0 if self._gap is None else round(self._gap.value(score) * NS)), 0
        if uniform < self.spec.tool_share and self._batch is not None:
            return 0, max(1, self._batch.whole(normals[2]))
        return (0 if self._delay is None else round(self._delay.value(normals[3]) * NS)), 0

    def _draw_tools(
        self, generator: np.random.Generator, common: float, widths: list[int]
    ) -> tuple[list[int], list[int]]:
        """Draw the class of each tool, and how long it takes."""
        total = sum(widths)
        if not total:
            return [], []
        last = len(self._names) - 1
        classes = np.minimum(self._mix.searchsorted(generator.random(total), side="right"), last)
        score = self._scores["tool"]
        cls: list[int] = classes.tolist()
        seconds = [
            self._tools[one].value(score.at(common, noise))
            for one, noise in zip(cls, generator.standard_normal(total).tolist(), strict=True)
        ]
        return cls, [round(value * NS) for value in seconds]

    def _delegates(self, generator: np.random.Generator, chain: _Chain) -> dict[int, list[_Sub]]:
        """Draw the sub-agents that take the place of some batches of tools."""
        if self._subagents is None:
            return {}
        places = [place for place, width in enumerate(chain.widths) if width]
        return self._subagents.draw(generator, places, count(1))

    def _stages(self, chain: _Chain, delegates: dict[int, list[_Sub]]) -> Iterator[list[Node]]:
        """Build the nodes, a stage at a time."""
        place = tool = 0
        for turn in chain.turns:
            initiator: Initiator = "user"
            for step in range(turn):
                delay_ns = 0
                if place and step and not chain.widths[place - 1]:
                    delay_ns = chain.waits[place - 1]
                yield [self._call(chain, place, initiator, delay_ns)]
                initiator = "tool"
                end = tool + chain.widths[place]
                if place in delegates:
                    yield side_by_side(map(self._delegated, delegates[place]))
                elif end > tool:
                    yield [self._tool(chain, job) for job in range(tool, end)]
                tool = end
                place += 1
            if place < len(chain.prompts):
                yield [GapNode(chain.waits[place - 1])]

    def _call(self, chain: _Chain, place: int, initiator: Initiator, delay_ns: int) -> LlmNode:
        prompt = chain.prompts[place]
        return LlmNode(
            prompt,
            chain.outputs[place],
            min(chain.prefixes[place], prompt),
            delay_ns=delay_ns,
            initiator=initiator,
            shared_tokens=min(self.spec.shared_tokens, prompt),
        )

    def _tool(self, chain: _Chain, job: int) -> ToolNode:
        name = self._names[chain.cls[job]]
        tool = self.spec.tools[name]
        lasts_ns = chain.tool_ns[job]
        busy_ns = round(lasts_ns * tool.cpu_share)
        return ToolNode(
            name,
            cpu_s=busy_ns / NS * tool.cores,
            cores=tool.cores,
            memory_bytes=tool.memory_bytes,
            remote_ns=lasts_ns - busy_ns,
        )

    def _delegated(self, sub: _Sub) -> Iterator[list[Node]]:
        """Build a sub-agent's chain; its tools are in the growth of its prompts."""
        before = 0
        for place, (prompt, output) in enumerate(zip(sub.prompts, sub.outputs, strict=True)):
            initiator: Initiator = "tool" if before else "agent"
            prefix = min(before, prompt)
            yield [LlmNode(prompt, output, prefix, initiator=initiator, context=sub.context)]
            if place in sub.delegates:
                yield side_by_side(map(self._delegated, sub.delegates[place]))
            before = prompt
