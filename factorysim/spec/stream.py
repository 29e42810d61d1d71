"""Streams: the demand on a factory, and what it is promised."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.arrivals import Arrivals, TraceArrivals
from factorysim.spec.base import Name, PositiveSeconds, Seconds, Share, Spec, refuse
from factorysim.spec.trace_format import FormatChoice


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


class ClientsSpec(Spec):
    """Clients as ServeGen publishes them: calls at the rates and lengths of each, by window."""

    folder: str
    """Of `chunk-N-trace.csv` and `chunk-N-dataset.json`, plain or gzip."""
    most: int | None = Field(default=None, ge=1)
    """Take only so many clients, those with the most calls."""
    start: Seconds = 0.0
    """Where in the folder's clock the run begins; after its end it begins again."""
    times: float = Field(default=1.0, gt=0.0, le=1e6)
    """On all rates."""


class LoopSpec(Spec):
    """A trace again and again."""

    times: int | None = Field(default=None, ge=1, le=1_000_000)
    """Passes in all; not given: for ever."""
    period: PositiveSeconds | None = None
    """From the start of a pass to that of the next, on the trace's clock; not given: until the
    last arrival, and an average gap."""
    hashes: Literal["fresh", "same"] = "fresh"
    """Whether a pass asks for other prompts that are alike among each other as recorded, or for
    those of the pass before, which caches may still hold."""


ReplayMode = Literal["open", "closed", "think_only"]

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
    clients: ClientsSpec | None = None
    format: FormatChoice = "auto"
    repair: bool = False
    """Drop or mend what is bad in the trace, and say so with the results; else it is refused."""
    mode: ReplayMode | None = None
    """What of a trace is replayed: its recorded starts; what waits for what, with recorded
    times; or that, with the users' times alone. `closed` where not given."""
    speed: float = Field(default=1.0, gt=0.0, le=1e6)
    """Of a trace's clock: 20 replays an hour in three minutes."""
    loop: LoopSpec | None = None
    """Of a trace that is shorter than the run."""
    reasoning_effort: Literal["none", "low", "medium", "high", "max"] | None = None
    """The agent's own where not given; of `calls` the outputs are those at `low`."""
    images: ImagesSpec | None = None
    """New in a call's prompt, on top of its text; they stay in the history of an agent."""
    arrivals: Arrivals = TraceArrivals()
    limit: int | None = Field(default=None, ge=1)
    """Stop after so many sessions; of a trace, in each pass of a `loop`."""
    share: Annotated[Share, Field(gt=0.0)] = 1.0
    """Of the sessions that come at all, each by a draw of its own: those of 30 % are among those
    of 60 %."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Lower goes first, where the scheduler's order is `priority`."""
    slo: SloSpec = SloSpec()
    replicate: Literal["none", "resample_sessions", "block_bootstrap"] = "none"
    """How a trace differs between replications; `none`: conditional on it."""
    block_length: PositiveSeconds | None = None
    """Of `block_bootstrap`, on the trace's clock: longer than a burst."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = ("agent", "trace", "calls", "clients")
        given = [key for key in sources if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise refuse("", found, "exactly one of agent, trace, calls and clients")
        plain = self.calls is not None or self.clients is not None
        if self.llm_by_step and plain:
            found = ", ".join(self.llm_by_step)
            expected = "nothing, since calls of given lengths are all alike"
            raise refuse("llm_by_step", found, expected, "take streams with an `llm` each")
        if self.agent is not None:
            for step in self.llm_by_step:
                if step not in AGENT_STEPS:
                    expected = f"a step of an agent: {', '.join(AGENT_STEPS)}"
                    raise refuse(f"llm_by_step.{step}", repr(step), expected)
        if self.repair and self.trace is None:
            raise refuse("repair", "true", "nothing, since there is no trace", "remove it")
        for key, why in _RECORDED.items():
            if self.trace is not None and getattr(self, key) is not None:
                raise refuse(key, "a value", "none on a trace", why)
        self._arrivals_of(given[0])
        return self

    def _arrivals_of(self, source: str) -> None:
        """Refuse arrivals that the source cannot give."""
        process = self.arrivals.process
        if process == "trace" and source in ("agent", "calls"):
            found = "the times of a trace" if "arrivals" in self.model_fields_set else "nothing"
            cure = "for example `arrivals: {process: poisson, rate: 2/s}`"
            expected = f"arrivals of their own, since {source} has no times"
            raise refuse("arrivals", found, expected, cure)
        if process == "fitted" and source != "trace":
            expected = "a process of its own, since there is no trace to fit one to"
            cure = "for example `arrivals: {process: gamma, rate: 2/s}`"
            raise refuse("arrivals.process", "fitted", expected, cure)
        if source == "clients" and process not in ("trace", "fixed_concurrency"):
            expected = "nothing, since the clients come at rates of their own"
            raise refuse("arrivals", process, expected, "remove it; `clients.times` scales them")

    @model_validator(mode="after")
    def _replay_is_of_a_trace(self) -> Self:
        if self.trace is None:
            for key in ("mode", "loop", "block_length"):
                if getattr(self, key) is not None:
                    raise refuse(key, "a value", "none, since there is no trace", "remove it")
            if self.replicate != "none":
                cure = "remove it: agents and calls differ between replications by themselves"
                raise refuse("replicate", self.replicate, "none, since there is no trace", cure)
        if self.replicate == "block_bootstrap" and self.block_length is None:
            cure = "for example `block_length: 5 min`"
            raise refuse("block_length", "nothing", "how long the blocks of time are", cure)
        if self.replicate != "block_bootstrap" and self.block_length is not None:
            expected = f"nothing, since replicate is {self.replicate}"
            cure = "remove it, or take `replicate: block_bootstrap`"
            raise refuse("block_length", f"{self.block_length:g} s", expected, cure)
        if self.arrivals.process != "trace":
            self._keeps_no_clock()
        return self

    def _keeps_no_clock(self) -> None:
        """Refuse what needs the trace's clock where the sessions get arrivals of their own."""
        process = self.arrivals.process
        if self.replicate == "block_bootstrap":
            cure = "take `replicate: resample_sessions`, or the trace's own arrivals"
            expected = f"another, since {process} arrivals leave no blocks of the trace's time"
            raise refuse("replicate", self.replicate, expected, cure)
        if self.loop is not None and self.loop.period is not None:
            expected = f"nothing, since the sessions come by {process} arrivals"
            raise refuse("loop.period", f"{self.loop.period:g} s", expected, "remove it")

    @model_validator(mode="after")
    def _open_replay_has_no_turns(self) -> Self:
        """Refuse promises about turns: calls that start when they did wait for nobody."""
        for key in ("turn", "session"):
            if self.mode == "open" and getattr(self.slo, key) is not None:
                expected = "none in open replay, which waits for no answer and no user"
                cure = "take ttft and tpot, or `mode: closed`"
                raise refuse(f"slo.{key}", f"{getattr(self.slo, key):g} s", expected, cure)
        return self

    @property
    def varies(self) -> bool:
        """Whether the mean rate of arrivals is known to change in the course of time."""
        if self.clients is not None:
            return self.arrivals.process == "trace"
        return getattr(self.arrivals, "varies", False)
