"""Twin files: the statistics of a trace, from which sessions like its own are drawn."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from factorysim.spec.base import Name, Share, Spec, refuse

SESSION_EFFECTS = ("turns", "calls", "first_prompt", "growth", "output", "tool", "gap")
"""What the sessions of a trace differ in, in the order of `TwinSpec.between`."""

Covariate = Literal["index", "length", "context", "output"]
"""Position of the call in its session; calls of the session; tokens of its prompt (for
growth: of the call before); output of the call before. All as logarithms."""


Dependent = Literal["calls", "growth", "output", "tool", "gap"]
"""Calls of a turn; growth and output of a call; durations of tools and of users' gaps."""


Growth = Literal["begin", "user", "tool", "edited"]
"""Calls by how their prompt grows: those early in a session, those that a user or a tool
sets off, and those that change something in the middle."""
EARLY_CALLS = 4
"""After the first: an agent reads itself in."""


Row = Annotated[tuple[float, ...], Field(strict=False)]


class Table(Spec):
    """A distribution: the share of all values that are at most this large.

    Between two values the distribution is even on a logarithmic scale; at the first
    one it has an atom. Values in between are rounded up to `step`.
    """

    values: tuple[float, ...] = Field(min_length=1, max_length=200, strict=False)
    cdf: tuple[float, ...] = Field(min_length=1, max_length=200, strict=False)
    step: float = Field(default=0.0, ge=0.0, le=1e6)
    """Of which all values are multiples: 1 of tokens, or how finely a time was recorded."""

    @model_validator(mode="after")
    def _is_a_distribution(self) -> Self:
        if len(self.values) != len(self.cdf):
            expected = f"as many as values, {len(self.values)}"
            raise refuse("cdf", f"{len(self.cdf)} shares", expected)
        pairs = list(zip(self.values, self.values[1:], strict=False))
        if self.values[0] < 0 or any(b <= a for a, b in pairs) or self.values[-1] > 1e12:
            raise refuse("values", "something else", "ascending numbers from 0 to 1e12")
        rising = all(b > a for a, b in zip(self.cdf, self.cdf[1:], strict=False))
        if not rising or self.cdf[0] < 0 or self.cdf[-1] != 1.0:
            raise refuse("cdf", "something else", "ascending shares of which the last is 1")
        return self


class Dependence(Spec):
    """What moves a quantity, in standard deviations of its normal score."""

    mean: float = Field(default=0.0, ge=-3.0, le=3.0)
    """Over sessions: long ones may be unlike the others, which they outnumber in calls."""
    session: float = Field(default=0.0, ge=0.0, le=1.0)
    """Of what all calls of a session have in common."""
    on: dict[Covariate, float] = Field(default_factory=dict)
    """Slope on each covariate, that in standard deviations too."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        for name, slope in self.on.items():
            if not -1.0 <= slope <= 1.0:
                raise refuse(f"on.{name}", f"{slope:g}", "a slope from -1 to 1")
        return self


class Standard(Spec):
    """Mean and standard deviation by which a covariate is measured."""

    mean: float = Field(ge=-50.0, le=50.0)
    sd: float = Field(gt=0.0, le=50.0)


class Rewrites(Spec):
    """Calls whose prompt is not the one before and what came since."""

    edited_user: Share
    edited_tool: Share
    """Of the calls that a user or a tool sets off, those that change something in the middle."""
    edited_lost: Table
    """Of the prompt before, from the change on; a share."""
    context_tokens: tuple[int, ...] = Field(strict=False)
    """Bounds between the classes of context of `compacted`."""
    compacted: tuple[Share, ...] = Field(min_length=1, max_length=20, strict=False)
    """Share of the calls with a shorter prompt than the one before, by its length."""
    limit_tokens: tuple[int, ...] = Field(default=(), max_length=1000, strict=False)
    """Contexts at which sessions are compacted whenever they reach them."""
    unlimited: tuple[Share, ...] = Field(default=(), max_length=1000, strict=False)
    """Share of the sessions whose limit is above each."""
    compacted_to: Table
    """Length of such a prompt over the one before."""
    compacted_kept: Table
    """Of such a prompt, what it begins with of the one before; a share."""

    @model_validator(mode="after")
    def _one_class_more(self) -> Self:
        wanted = len(self.context_tokens) + 1
        if len(self.compacted) != wanted:
            found = f"{len(self.compacted)} shares"
            raise refuse("compacted", found, f"one more than bounds, {wanted}")
        if len(self.unlimited) != len(self.limit_tokens):
            found = f"{len(self.unlimited)} shares"
            raise refuse("unlimited", found, f"as many as limit_tokens, {len(self.limit_tokens)}")
        if list(self.limit_tokens) != sorted(self.limit_tokens):
            raise refuse("limit_tokens", "something else", "ascending tokens")
        if list(self.unlimited) != sorted(self.unlimited, reverse=True):
            raise refuse("unlimited", "something else", "falling shares")
        return self


class TwinTool(Spec):
    """A class of tools as the trace has it."""

    share: Share
    """Of all tool calls."""
    seconds: Table
    cpu_share: Share = 0.0
    """Of its duration that it keeps its cores busy; the rest is a wait elsewhere."""
    cores: float = Field(default=1.0, gt=0.0, le=1024.0)
    memory_bytes: float = Field(default=0.0, ge=0.0, le=1e15)


class TwinSubagents(Spec):
    """Chains of calls that run beside the session's own, each in a context of its own."""

    batch_share: Share
    """Of the batches of tools, those that are sub-agents instead; below sub-agents, whose tools
    are not told, of what follows a call and is not the end."""
    at_once: Table
    calls: Table
    first_prompt_tokens: Table
    growth_tokens: Table
    output_tokens: Table
    subagents: TwinSubagents | None = None
    """Those that these have."""


class TwinArrivals(Spec):
    """How the sessions of the trace arrived: what to write below `arrivals` of a stream."""

    rate_per_s: float = Field(gt=0.0, le=1e12)
    cv: float = Field(ge=0.01, le=100.0)


class TwinSource(Spec):
    """What was fitted."""

    name: str
    format: str
    sessions: int = Field(ge=1)
    llm_calls: int = Field(ge=1)
    joined: bool = False
    """Whether its single calls were joined to sessions by the blocks that they repeat."""


class TwinSpec(Spec):
    """A synthetic agent with the statistics of a trace, and none of its rows.

    Quantities are drawn through a Gaussian copula: every one has a normal score that
    is the sum of what its session has in common, of slopes on covariates, and of
    noise; its table turns the score into a value.
    """

    schema_: Literal["factorysim.twin/1"] = Field(alias="schema")
    about: str
    source: TwinSource
    arrivals: TwinArrivals | None = None
    """None: the trace has no clock."""
    block_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    """Of the trace's hashes: how exactly it is known what prompts repeat."""
    shared_tokens: int = Field(default=0, ge=0, le=10_000_000)
    """Leading tokens of a prompt that all sessions begin with."""
    outputs_repeated: bool = False
    """Whether a prompt repeats the output of the call before as the LLM wrote it."""
    prompt_tokens_max: int = Field(ge=1, le=100_000_000)
    first_prompt_bounds: tuple[int, ...] = Field(default=(), strict=False)
    """Between the classes of first prompts that `turns` has a table of each."""
    turns: tuple[Table, ...] = Field(min_length=1, max_length=20, strict=False)
    """Per session, by the class of its first prompt."""
    calls_per_turn: Table
    first_prompt_tokens: Table
    growth_tokens: dict[Growth, Table]
    """Of a prompt beyond the one before, and beyond its output where outputs are repeated."""
    output_tokens: dict[Literal["last", "within"], Table]
    """Of the last call of a turn, and of the others."""
    user_gap_s: Table | None = None
    tool_share: Share = 0.0
    """Of the transitions within a turn, those with tools; the others are delays."""
    tools: dict[Name, TwinTool] = Field(default_factory=dict)
    tools_per_batch: Table | None = None
    delay_s: Table | None = None
    rewrites: Rewrites
    subagents: TwinSubagents | None = None
    between: tuple[Row, ...] = Field(strict=False)
    """Correlations between what sessions have in common, by `SESSION_EFFECTS`."""
    covariates: dict[Covariate, Standard]
    dependence: dict[Dependent, Dependence]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        size = len(SESSION_EFFECTS)
        if len(self.between) != size or any(len(row) != size for row in self.between):
            raise refuse("between", "something else", f"{size} rows of {size} correlations")
        for i, row in enumerate(self.between):
            for j, value in enumerate(row):
                if (
                    not -1.0 <= value <= 1.0
                    or value != self.between[j][i]
                    or (i == j) != (value == 1.0 and i == j)
                ):
                    expected = "symmetric correlations from -1 to 1, with 1 on the diagonal"
                    raise refuse(f"between.{i}.{j}", f"{value:g}", expected)
        if self.tool_share and (not self.tools or self.tools_per_batch is None):
            raise refuse("tools", "nothing", "classes and tools_per_batch, since tool_share > 0")
        total = sum(tool.share for tool in self.tools.values())
        if self.tools and abs(total - 1.0) > 1e-6:
            raise refuse("tools", f"shares that sum to {total:.6g}", "shares that sum to 1")
        if missing := set(get_args(Growth)) - set(self.growth_tokens):
            raise refuse("growth_tokens", "nothing", f"a table of {' and '.join(sorted(missing))}")
        if len(self.turns) != len(self.first_prompt_bounds) + 1:
            expected = f"one more than first_prompt_bounds, {len(self.first_prompt_bounds) + 1}"
            raise refuse("turns", f"{len(self.turns)} tables", expected)
        if missing := {"last", "within"} - set(self.output_tokens):
            raise refuse("output_tokens", "nothing", f"a table of {' and '.join(sorted(missing))}")
        return self
