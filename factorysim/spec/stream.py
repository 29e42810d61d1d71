"""Streams: the demand on a factory, and what it is promised."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.arrivals import Arrivals, TraceArrivals
from factorysim.spec.base import Name, PositiveSeconds, Share, Spec, refuse


class LengthSpec(Spec):
    """Tokens of a prompt or an output."""

    kind: Literal["fixed", "uniform", "lognormal"] = "fixed"
    mean: float = Field(gt=0, le=1e8)
    """Of `fixed` the value, of `uniform` the middle, of `lognormal` the median."""
    spread: float = Field(default=0.0, ge=0.0, le=10.0)
    """`uniform`: half width over mean, at most 1; `lognormal`: sigma."""

    @model_validator(mode="after")
    def _uniform_stays_positive(self) -> Self:
        if self.kind == "uniform" and self.spread > 1.0:
            raise refuse("spread", f"{self.spread:g}", "at most 1 for a uniform length")
        return self


class CallsSpec(Spec):
    """Single calls with given lengths: the workload of a benchmark."""

    prompt_tokens: LengthSpec
    output_tokens: LengthSpec


class ImagesSpec(Spec):
    """Images in the prompts of a stream, each so many tokens of the prompt."""

    share: Share = 1.0
    """Of the calls that bring new images."""
    count: LengthSpec = LengthSpec(mean=1)
    """New images of such a call."""
    tokens: int = Field(ge=1, le=1_000_000)
    """Of the prompt, for one image."""


class SloSpec(Spec):
    """Thresholds per call and per session; `attain` is the share that must meet them."""

    ttft: PositiveSeconds | None = None
    tpot: PositiveSeconds | None = None
    turn: PositiveSeconds | None = None
    """Between two gaps: a turn of the user."""
    session: PositiveSeconds | None = None
    """Without the users' gaps."""
    attain: Share = 0.95


_RECORDED = {
    "reasoning_effort": "remove it: outputs were recorded as they are, and later prompts hold them",
    "images": "remove it: a recorded prompt counts the tokens of its images already",
}
"""What a trace has settled, and why it cannot be changed."""
AGENT_STEPS = ("planner", "worker", "user", "tool", "agent")
"""Steps of an agent: its own calls and its sub-agents', and what sets off a call."""


class StreamSpec(Spec):
    """Sessions that arrive: from exactly one of an agent, a trace, or plain calls."""

    llm: str
    """Key of `llms` that the calls go to."""
    llm_by_step: dict[Name, str] = Field(default_factory=dict)
    """Step -> key of `llms` that its calls go to instead. A step is what a call is labelled
    with (`planner` and `worker` of an agent that delegates), or else what sets it off: `user`,
    `tool`, `agent`, `system`."""
    tenant: Name | None = None
    """Whose sessions these are, for admission and for metrics by tenant."""
    agent: str | None = None
    """An agent of the catalog, or a YAML file of one."""
    trace: str | None = None
    calls: CallsSpec | None = None
    format: Literal["auto", "fstrace", "mooncake", "azure", "weka"] = "auto"
    speed: float = Field(default=1.0, gt=0.0, le=1e6)
    """Of a trace's clock: 20 replays an hour in three minutes."""
    reasoning_effort: Literal["none", "low", "medium", "high", "max"] | None = None
    """The agent's own where not given; of `calls` the outputs are those at `low`."""
    images: ImagesSpec | None = None
    """New in a call's prompt, on top of its text; they stay in the history of an agent."""
    arrivals: Arrivals = TraceArrivals()
    limit: int | None = Field(default=None, ge=1)
    """Stop after so many sessions."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Lower goes first, where the scheduler's order is `priority`."""
    slo: SloSpec = SloSpec()
    replicate: Literal["none", "resample_sessions"] = "none"
    """How a trace differs between replications; `none`: conditional on it."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [key for key in ("agent", "trace", "calls") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise refuse("", found, "exactly one of agent, trace and calls")
        if self.llm_by_step and self.calls is not None:
            found = ", ".join(self.llm_by_step)
            expected = "nothing, since calls of given lengths are all alike"
            raise refuse("llm_by_step", found, expected, "take streams with an `llm` each")
        if self.agent is not None:
            for step in self.llm_by_step:
                if step not in AGENT_STEPS:
                    expected = f"a step of an agent: {', '.join(AGENT_STEPS)}"
                    raise refuse(f"llm_by_step.{step}", repr(step), expected)
        if self.replicate != "none" and self.trace is None:
            cure = "remove it: agents and calls differ between replications by themselves"
            raise refuse("replicate", self.replicate, "none, since there is no trace", cure)
        for key, why in _RECORDED.items():
            if self.trace is not None and getattr(self, key) is not None:
                raise refuse(key, "a value", "none on a trace", why)
        if self.arrivals.process == "trace" and self.trace is None:
            found = "the times of a trace" if "arrivals" in self.model_fields_set else "nothing"
            cure = "for example `arrivals: {process: poisson, rate: 2/s}`"
            raise refuse(
                "arrivals", found, f"arrivals of their own, since {given[0]} has no times", cure
            )
        return self
