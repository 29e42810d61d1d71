"""Agent and tool files: what a session is made of, every number with its evidence."""

from __future__ import annotations

from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from factorysim.spec.base import Bytes, PositiveSeconds, Ratio, Seconds, Spec, refuse
from factorysim.spec.shape import either, nearest

Kind = Literal[
    "measured",
    "vendor_spec",
    "vendor_claim",
    "analyst_estimate",
    "derived",
    "assumed",
    "unknown",
]

Effort = Literal["none", "low", "medium", "high", "max"]

Share = Annotated[Ratio, Field(le=1.0)]

DEEPEST = 3
"""Levels of sub-agents: nobody publishes more than two."""


class Evidence(Spec):
    """Where the numbers beside it come from."""

    kind: Kind
    source: str
    """Key of the file's `sources`."""
    note: str = ""


class LognormalSeconds(Evidence):
    """A lognormal duration: `p50` is the median, `sigma` that of its logarithm."""

    p50: PositiveSeconds
    sigma: float = Field(gt=0.0, le=5.0)
    max: PositiveSeconds = 3600.0
    """Longer draws last this long."""


class LognormalTokens(Evidence):
    """A lognormal count of tokens, rounded, at least 1."""

    p50: float = Field(gt=0.0, le=1e7)
    sigma: float = Field(gt=0.0, le=5.0)
    max: int = Field(default=32_768, ge=1, le=10_000_000)
    """Larger draws count this many."""


class Tokens(Evidence):
    """A fixed count of tokens."""

    value: int = Field(ge=0, le=10_000_000)


class Number(Evidence):
    """A share or a factor."""

    value: float = Field(ge=0.0, le=1e6)


class Count(Evidence):
    """A whole number of at least 1, with this mean.

    `lognormal`: a lognormal of that `sigma`, rounded and cut to 1..`max`, its
    median such that the mean comes out. `geometric`: of mean `mean`, cut likewise.
    """

    shape: Literal["lognormal", "geometric"] = "lognormal"
    mean: float = Field(ge=1.0, le=1e4)
    sigma: float = Field(default=1.0, ge=0.05, le=3.0)
    max: int = Field(default=500, ge=2, le=10_000)

    @model_validator(mode="after")
    def _mean_below_max(self) -> Count:
        if self.mean > self.max / 2:
            raise ValueError("a mean of at most half of max")
        return self


class Mix(Evidence):
    """Shares of named things; they sum to 1."""

    shares: dict[str, Share] = Field(min_length=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Mix:
        total = sum(self.shares.values())
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"shares that sum to 1, not {total:.6g}")
        return self


class Widths(Evidence):
    """How many tools an LLM calls at once: width -> share, and which of them run so."""

    shares: dict[Annotated[int, Field(strict=False)], Share]
    tools: tuple[str, ...] = Field(default=(), strict=False)
    """Classes that come in batches wider than 1."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Widths:
        total = sum(self.shares.values())
        if abs(total - 1.0) > 1e-9 or any(not 1 <= width <= 64 for width in self.shares):
            raise ValueError(f"widths of 1 to 64 whose shares sum to 1, not {total:.6g}")
        if any(width > 1 and share for width, share in self.shares.items()) and not self.tools:
            raise ValueError("the tools that are called in parallel")
        return self


class ParetoTail(Evidence):
    """With probability `share`, a draw from a Pareto law cut to `low`..`high` instead."""

    share: Share
    low: PositiveSeconds
    high: PositiveSeconds = 3600.0
    alpha: float = Field(gt=0.0, le=10.0)

    @model_validator(mode="after")
    def _ordered(self) -> ParetoTail:
        if self.low >= self.high:
            raise ValueError("low below high")
        return self


class ToolWork(Evidence):
    """What a tool asks of a host while it runs."""

    cores: float = Field(gt=0.0, le=1024.0)
    """That it keeps busy on an idle reference host."""
    remote_share: Share = 0.0
    """Of its duration that it waits for a service outside the factory."""
    memory: Bytes = 0.0


class ToolFailure(Evidence):
    """How often attempts at a tool fail, and how long those last."""

    share: Share
    """Of attempts that fail."""
    median_factor: float = Field(default=1.0, gt=0.0, le=1000.0)
    """Median duration of an attempt that fails over that of one that does not."""
    p95_factor: float = Field(default=1.0, gt=0.0, le=1000.0)
    """The same of their 95th percentiles: where it is larger, failures spread wider."""

    @model_validator(mode="after")
    def _spread_is_wider(self) -> ToolFailure:
        if self.p95_factor < self.median_factor:
            raise ValueError("a p95_factor of at least the median_factor")
        return self


class ToolRetry(Evidence):
    """What the harness does by itself, before the LLM hears of a failure."""

    attempts: int = Field(default=1, ge=1, le=16)
    """At most, the first included."""
    backoff: Seconds = 0.0
    """Between the first attempt and the second."""
    growth: float = Field(default=2.0, ge=1.0, le=10.0)
    """Factor on it from one attempt to the next."""
    timeout: PositiveSeconds | None = None
    """An attempt that would last longer, on an idle reference host, is cut here and has failed."""


class ToolClassSpec(Spec):
    """One class of tools.

    A call that lasts `d` waits `remote_share * d` elsewhere and then needs
    `(1 - remote_share) * d * cores` core-seconds of the reference core, so an
    idle reference host gives back the duration that was drawn.
    """

    about: str
    duration: LognormalSeconds
    tail: ParetoTail | None = None
    work: ToolWork
    result_tokens: LognormalTokens
    failure: ToolFailure | None = None
    """Of agents that say what they do then (`failures`)."""
    retry: ToolRetry | None = None
    """Of the same agents; one attempt without a limit, if not given."""
    failed_tokens: LognormalTokens | None = None
    """What the LLM gets to read of a failure; as of a success, if not given."""


class Sourced(Spec):
    """A file whose numbers name their sources."""

    sources: dict[str, str]
    """Key -> citation."""

    @model_validator(mode="after")
    def _known_sources(self) -> Sourced:
        used = {evidence.source: path for path, evidence in reversed(evidence_of(self))}
        if missing := sorted(used.keys() - set(self.sources)):
            told = ", ".join(f"{source} is (in {used[source]})" for source in missing)
            raise ValueError(f"`sources` that say what {told}")
        return self


class ToolsSpec(Sourced):
    """The tool classes that agents draw from."""

    schema_: Literal["factorysim.tools/1"] = Field(alias="schema")
    tools: dict[str, ToolClassSpec]


class CompactionSpec(Evidence):
    """What happens when the context grows too long: a summary replaces the history.

    The next prompt is the system prompt, the tool schemas and the summary; only
    the first two repeat what went before (`reset`).
    """

    at_tokens: int = Field(ge=1000, le=10_000_000)
    """A prompt that would be longer is compacted."""
    keep: Share
    """Length of the new prompt over that of the old."""


class SubAgentSpec(Evidence):
    """Sub-agents: blocking calls that run a chain of LLM and tool calls of their own.

    The step of their calls is `worker`, that of the agent's own is `planner`.
    """

    session_share: Share
    """Of the sessions that call tools at all; of a sub-agent's own, of such sub-agents."""
    per_session: int = Field(ge=1, le=64)
    """Times that the agent delegates, one after the other."""
    at_once: Count | None = None
    """Sub-agents each time, side by side: the agent waits for all; 1 if not given."""
    calls: Count
    prompt_tokens: LognormalTokens
    """First prompt of a sub-agent: it starts without the parent's context."""
    shared_tokens: Tokens | None = None
    """Of it, what all sub-agents of a role begin with; nothing if not given."""
    roles: int = Field(default=1, ge=1, le=64)
    """Kinds of sub-agents, each with beginnings of its own. Of those side by side the
    first has the first role, the second the second, and so on, round and round."""
    summary_tokens: LognormalTokens
    """What it hands back."""
    subagents: SubAgentSpec | None = None
    """Sub-agents of its own, a level deeper."""

    @model_validator(mode="after")
    def _not_too_deep(self) -> Self:
        if depth_of(self) > DEEPEST:
            found, expected = f"{depth_of(self)} levels", f"at most {DEEPEST} levels"
            raise refuse("subagents", found, expected)
        return self


def depth_of(spec: SubAgentSpec | None) -> int:
    """Levels of sub-agents below an agent.

    Examples
    --------
    >>> depth_of(None)
    0
    """
    return 0 if spec is None else 1 + depth_of(spec.subagents)


class ApprovalSpec(Evidence):
    """Turns that end with something to approve: the agent waits, and no user thinks."""

    share: Share
    """Of the gaps between turns; the others are the user's."""
    wait: LognormalSeconds
    answer_tokens: LognormalTokens
    """What comes back with the approval, instead of a message of the user."""


class ResumedSpec(Evidence):
    """Sessions that take up an old one: nothing of its history is in a cache."""

    share: Share
    """Of the sessions."""
    tokens: LognormalTokens
    """Of the first prompt beyond system prompt and schemas, instead of `first_tokens`."""


class HandOffSpec(Evidence):
    """Sessions that end with a person taking over: a tool call, and a last word."""

    share: Share
    """Of the sessions."""
    tool: str
    """The class of the tool; a class of `tools`, where its share may be 0."""


class StepSpec(Evidence):
    """Calls at a certain place of a session, where they differ from the others."""

    output_tokens: LognormalTokens | None = None
    """At effort `low`; the agent's if not given."""
    effort: Effort | None = None
    """How hard they think where the agent thinks at its default effort; at another
    one they think as much more, or less, than the agent's other calls."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.output_tokens is None and self.effort is None:
            raise refuse("", "neither of them", "output_tokens, effort or both")
        return self


class DiagnosisSpec(Evidence):
    """What an agent does when a tool fails and the harness has given up: it looks for the cause.

    A loop of LLM calls, each with tools of the agent's mix, follows the failure. Failures
    inside a loop are part of its length and not drawn.
    """

    share: Share = 1.0
    """Of failures that begin such a loop; the LLM goes on after the others."""
    calls: Count
    """LLM calls of the loop."""
    append: float = Field(default=1.0, gt=0.0, le=100.0)
    """Factor on the tokens that the tools of the loop answer."""


class EffortSpec(Evidence):
    """What a reasoning effort does, relative to `low`."""

    output: float = Field(gt=0.0, le=100.0)
    """Factor on the output tokens of a call."""
    calls: float = Field(gt=0.0, le=100.0)
    """Factor on the calls of a turn."""
    output_band: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """The lowest and the highest factor on the output that anybody has published."""
    calls_band: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """The same of the calls."""

    @model_validator(mode="after")
    def _within_bands(self) -> Self:
        for key in ("output", "calls"):
            band, value = getattr(self, f"{key}_band"), getattr(self, key)
            if band is not None and not 0.0 < band[0] <= value <= band[1]:
                found = f"{band[0]:g} to {band[1]:g}"
                raise refuse(f"{key}_band", found, f"a low and a high around {value:g}")
        return self


StepName = Literal["plan", "answer", "worker"]


class AgentSpec(Sourced):
    """An agent: its sessions are drawn from these distributions."""

    schema_: Literal["factorysim.agent/1"] = Field(alias="schema")
    about: str
    system_tokens: Tokens
    """Shared by every session."""
    tool_schema_tokens: Tokens
    """Shared by every session."""
    first_tokens: LognormalTokens
    """Of the first message, with what the harness adds to it."""
    user_tokens: LognormalTokens | None = None
    """Of each later message of the user; may be left out where none comes."""
    output_tokens: LognormalTokens
    """Of a call at effort `low`."""
    turns: Count
    """Per session."""
    calls_per_turn: Count
    """At effort `low`; all but a turn's last are followed by tools."""
    user_gap: LognormalSeconds | None = None
    """Between the end of a turn and the next; may be left out where no user comes back."""
    approvals: ApprovalSpec | None = None
    resumed: ResumedSpec | None = None
    handoff: HandOffSpec | None = None
    steps: dict[StepName, StepSpec] = Field(default_factory=dict[StepName, StepSpec])
    """Calls that differ: `plan`, the first of a session that goes on after it; `answer`,
    the last of each turn; `worker`, all of sub-agents."""
    tools: Mix
    """Shares of all tool calls."""
    parallel: Widths
    history: Literal["full", "visible"] = "full"
    """Whether reasoning stays in the context after its call. With `visible` it is
    dropped, so that the next prompt repeats the last prompt only, not the output."""
    compaction: CompactionSpec | None = None
    subagents: SubAgentSpec | None = None
    failures: DiagnosisSpec | None = None
    """What it does when a tool fails; its tools never do, if not given."""
    effort: Effort
    """Default reasoning effort."""
    efforts: dict[Effort, EffortSpec]

    @model_validator(mode="after")
    def _default_effort_exists(self) -> AgentSpec:
        asked = (self.effort, *(step.effort for step in self.steps.values()))
        for effort in asked:
            if effort is not None and effort not in self.efforts:
                raise ValueError(f"an entry of efforts for {effort!r}")
        return self

    @model_validator(mode="after")
    def _users_who_come_back_are_told(self) -> AgentSpec:
        approved = self.approvals is not None and self.approvals.share == 1.0
        if self.turns.mean > 1.0 and not approved:
            for key in ("user_gap", "user_tokens"):
                if getattr(self, key) is None:
                    why = "given, since turns come after gaps of the user"
                    raise refuse(key, "nothing", why, "or approvals for all gaps")
        return self

    @model_validator(mode="after")
    def _handoff_in_mix(self) -> AgentSpec:
        if self.handoff is not None and self.handoff.tool not in self.tools.shares:
            cure = f"add it with a share of 0: {self.handoff.tool}: 0.0"
            expected = "a class of tools.shares"
            raise refuse("handoff.tool", f'"{self.handoff.tool}"', expected, cure)
        return self

    @model_validator(mode="after")
    def _parallel_tools_in_mix(self) -> AgentSpec:
        width = sum(w * share for w, share in self.parallel.shares.items())
        wide = sum(w * share for w, share in self.parallel.shares.items() if w > 1)
        shares = self.tools.shares
        if strange := [name for name in self.parallel.tools if name not in shares]:
            cure = nearest(strange[0], tuple(shares)) or "add it to tools.shares, or leave it out"
            found = ", ".join(f'"{name}"' for name in strange)
            expected = f"classes of tools.shares ({either(tuple(shares))})"
            raise refuse("parallel.tools", found, expected, cure)
        together = sum(shares[name] for name in self.parallel.tools)
        if together < wide / width - 1e-12:
            found = f"{wide / width:.3g} of the calls in batches, of tools with {together:.3g}"
            cure = "name more tools in parallel.tools, or give batches of one a larger share"
            raise refuse("parallel", found, "no more than the tools' share of the mix", cure)
        return self


def evidence_of(spec: Spec, path: str = "") -> list[tuple[str, Evidence]]:
    """List every sourced entry below a spec with its dotted path.

    Examples
    --------
    >>> tokens = Tokens(value=3, kind="assumed", source="us")
    >>> evidence_of(tokens, "system_tokens")[0][0]
    'system_tokens'
    """
    found = [(path, spec)] if isinstance(spec, Evidence) else []
    for name in type(spec).model_fields:
        value: object = getattr(spec, name)
        below = cast("dict[object, object]", value) if isinstance(value, dict) else {"": value}
        for key, child in below.items():
            if isinstance(child, Spec):
                found += evidence_of(child, ".".join(p for p in (path, name, str(key)) if p))
    return found


def assumed_parameters(spec: Spec) -> tuple[str, ...]:
    """Dotted paths of the entries of a file that nobody has measured or published.

    Examples
    --------
    >>> assumed_parameters(Tokens(value=3, kind="measured", source="us"))
    ()
    """
    return tuple(path for path, entry in evidence_of(spec) if entry.kind in ("assumed", "unknown"))
