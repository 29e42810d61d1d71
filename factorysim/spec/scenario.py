"""Scenario files: a factory, what it serves, the demand on it, and how to run it."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_serializer, model_validator

from factorysim.spec.admission import AdmissionSpec
from factorysim.spec.base import (
    Bytes,
    BytesPerSecond,
    GramsPerKwh,
    MoneyPerKwh,
    Name,
    PerSecond,
    PositiveSeconds,
    Seconds,
    SecondsOrAuto,
    Share,
    Spec,
    refuse,
)
from factorysim.spec.tiers import StoreSpec, Tier, check_tiers
from factorysim.spec.topology import TopologySpec

Precision = Literal[
    "fp32", "bf16", "fp8", "int8", "fp4", "mxfp4", "nvfp4", "w4a16", "q4_k_m", "q8_0"
]
"""Formats of the field; `w4a16`, `q4_k_m` and `q8_0` are weight-only."""


class PrecisionSpec(Spec):
    """In which format weights are held, products taken and the KV cache kept."""

    weights: Precision = "bf16"
    compute: Literal["fp32", "bf16", "fp8", "int8", "fp4"] = "bf16"
    kv: Literal["fp32", "bf16", "fp8", "int8", "fp4"] = "bf16"


class LlmUse(Spec):
    """An LLM of the catalog in one precision."""

    llm: str
    precision: PrecisionSpec = PrecisionSpec()


class ParallelSpec(Spec):
    """How a replica is cut: it takes tp * pp * dp devices, its experts over `ep` of them."""

    tp: int = Field(default=1, ge=1, le=4096)
    ep: int = Field(default=1, ge=1, le=4096)
    """Divides tp * dp, adds no devices."""
    pp: int = Field(default=1, ge=1, le=1024)
    """Stages of layers, each on devices of its own."""
    dp: int = Field(default=1, ge=1, le=4096)
    """Attention-DP: ranks of one engine, each with its own KV cache, that share the experts."""

    @property
    def devices(self) -> int:
        """Of a replica."""
        return self.tp * self.pp * self.dp

    @model_validator(mode="after")
    def _experts_share_devices(self) -> Self:
        width = self.tp * self.dp
        if width % self.ep:
            product = "tp" if self.dp == 1 else "tp * dp"
            cure = f"for example {gcd(self.ep, width)}"
            raise refuse("ep", f"{self.ep}", f"a divisor of {product}, which is {width}", cure)
        return self

    @model_validator(mode="after")
    def _stages_or_ranks(self) -> Self:
        if self.pp > 1 and self.dp > 1:
            cure = "stages of one rank (dp: 1), or ranks of one stage (pp: 1)"
            raise refuse("pp", f"{self.pp}, and dp {self.dp}", "one of them to be 1", cure)
        return self


class RooflineLaw(Spec):
    """Step times from the data sheet, derated by the catalog's efficiencies."""

    kind: Literal["roofline"] = "roofline"


class Distribution(Spec):
    """A named distribution of times: for teaching, and for users' own tools."""

    kind: Literal["deterministic", "exponential", "lognormal", "gamma", "uniform"]
    mean: Seconds
    cv: float = Field(default=1.0, ge=0.0, le=100.0)
    """Standard deviation over mean. Of `exponential` always 1; unused by
    `deterministic`; `uniform` takes at most 0.577, where it reaches down to 0."""

    @model_validator(mode="after")
    def _uniform_stays_positive(self) -> Self:
        if self.kind == "uniform" and self.cv > 3**-0.5:
            raise refuse("cv", f"{self.cv:g}", "at most 0.577, else a uniform time may be negative")
        if self.kind == "exponential" and self.cv != 1.0:
            raise refuse("cv", f"{self.cv:g}", "none: of an exponential time it is 1", "remove it")
        return self


class FixedLaw(Spec):
    """A step lasts what is written here, whatever is in it."""

    kind: Literal["fixed"]
    prompt: Distribution | None = None
    """Drawn per call, spent in the step that ends its prompt."""
    decode: Seconds = 0.0
    """Of each step with at least one decode."""

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if not self.decode and (self.prompt is None or not self.prompt.mean):
            cure = "give `prompt` a mean, or `decode` a time"
            raise refuse("decode", "no time for prompts or decodes", "a time above zero", cure)
        return self


class TableLaw(Spec):
    """Step times from a user's profile, a CSV file."""

    kind: Literal["table"]
    file: str
    """Columns `phase,tokens,context_tokens,step_s`; `physics.table` tells more."""


Law = Annotated[RooflineLaw | FixedLaw | TableLaw, Field(discriminator="kind")]


class SpeculationSpec(Spec):
    """Speculative decoding: drafts that a step of the LLM verifies together.

    `draft_tokens` is vLLM's `num_speculative_tokens`; `method` says who drafts, as there.
    """

    method: Literal["draft_model", "mtp", "ngram"]
    """A draft LLM; the LLM's own head for multi-token prediction; n-grams of the context."""
    draft_tokens: int = Field(ge=0, le=64)
    """Proposed for each sequence before each verify; 0: none, and nothing is held for them."""
    acceptance: Share
    """Probability that a draft is accepted if those before it were."""
    draft: LlmUse | None = None
    """The draft LLM and its precision."""

    @model_validator(mode="after")
    def _draft_fits_method(self) -> Self:
        if self.method == "draft_model" and self.draft is None:
            cure = "for example `draft: {llm: llama_3_1_8b}`"
            raise refuse("draft", "nothing", "an LLM, since the method is draft_model", cure)
        if self.method != "draft_model" and self.draft is not None:
            expected = f"nothing, since the method is {self.method}"
            cure = "remove it, or take `method: draft_model`"
            raise refuse("draft", f'"{self.draft.llm}"', expected, cure)
        return self


class SramSpec(Spec):
    """An LLM on chips whose memory is SRAM: stages of `parallel.tp` chips, one after the other."""

    stages: int | None = Field(default=None, ge=1, le=100_000)
    """As few as hold weights, state and `kv_tokens`, if not given."""
    kv: Literal["sram", "dram"] = "sram"
    """Where the KV cache is: beside the weights, or in the DRAM behind the chips."""
    kv_tokens: int | None = Field(default=None, ge=1, le=10**12)
    """That must fit beside the weights; the LLM's context (one long sequence), if not given."""

    @model_validator(mode="after")
    def _tokens_size_the_stages(self) -> Self:
        if self.kv_tokens is not None and (self.stages is not None or self.kv == "dram"):
            why = "the stages are given" if self.stages is not None else "KV is in DRAM"
            cure = "remove it: it says how many stages there must be to hold KV in SRAM"
            raise refuse("kv_tokens", f"{self.kv_tokens:,}", f"nothing, since {why}", cure)
        return self


class AfdSplit(Spec):
    """Attention-FFN disaggregation: FFN and experts on the devices of another pool.

    What is left (attention, KV, recurrent layers, router, embeddings, LM head) runs on the
    deployment's own pool, in `parallel` of the deployment.
    """

    kind: Literal["afd"]
    pool: str
    """Whose devices hold the FFN and the experts: as many as it takes."""
    parallel: ParallelSpec = ParallelSpec(tp=8)
    """Cut of a layer over the devices that hold it; the layers are dealt over groups of these."""
    micro_batches: int = Field(default=2, ge=1, le=64)
    """That take turns (ping-pong), of equal size; each starts its own kernels."""
    link_bandwidth: BytesPerSecond | None = Field(default=None, gt=0.0)
    """Between the two sides of a replica, B/s a direction; what the topology's links carry,
    if not given."""
    link_latency: Seconds | None = None
    """One way; that of the topology, if not given."""

    @model_validator(mode="after")
    def _bytes_set_the_depth(self) -> Self:
        _refuse_depth(self.parallel)
        return self


class DraftSplit(Spec):
    """Drafts of `speculation` are made on LPUs, and verified on the deployment's own pool."""

    kind: Literal["draft"]
    pool: str
    """Whose LPUs hold the draft LLM and its KV: as many as it takes."""
    parallel: ParallelSpec = ParallelSpec(tp=8)
    """Cut of a layer of the draft LLM over the LPUs of a stage."""
    sram: SramSpec = SramSpec()
    """How it lies on them; `kv_tokens`, if not given, is all that the LLM's own KV cache holds."""
    sends: Literal["tokens", "probabilities"] = "tokens"
    """Beside each draft: nothing (drafts are its likeliest tokens), or what it was drawn from."""
    link_bandwidth: BytesPerSecond | None = Field(default=None, gt=0.0)
    """Between the two sides of a replica, B/s a direction; what the topology's links carry,
    if not given."""
    link_latency: Seconds | None = None
    """One way; that of the topology, if not given."""

    @model_validator(mode="after")
    def _long_messages_have_a_link(self) -> Self:
        if self.sends == "probabilities" and self.link_bandwidth is None:
            expected = "tokens, since no link is given: bursts of probabilities are no standing"
            expected += " traffic of the fabric"
            raise refuse("sends", "probabilities", expected, "give `link_bandwidth`")
        return self

    @model_validator(mode="after")
    def _bytes_set_the_depth(self) -> Self:
        _refuse_depth(self.parallel)
        return self


def _refuse_depth(parallel: ParallelSpec) -> None:
    """Refuse stages and ranks on the other side of a split, which has as many as it takes."""
    for key in ("pp", "dp"):
        if (width := getattr(parallel, key)) > 1:
            expected = "1: bytes decide how many groups follow each other"
            raise refuse(f"parallel.{key}", f"{width}", expected, "remove it")


Split = Annotated[AfdSplit | DraftSplit, Field(discriminator="kind")]


class DeploymentSpec(Spec):
    """An LLM (or the tools) on a pool: how many replicas, cut in which way."""

    role: Literal["serve", "prefill", "decode", "tools"] = "serve"
    """`prefill` and `decode` of one LLM go together: one computes prompts, the other makes
    the tokens after them."""
    pool: str
    """A pool of the topology; `nvl72.cpu` is the host CPUs of `nvl72`."""
    llm: str | None = None
    """Key of `llms`; none for tools."""
    replicas: int | None = Field(default=None, ge=1, le=1_000_000)
    """As many as fit, if not given."""
    parallel: ParallelSpec = ParallelSpec()
    law: Law = RooflineLaw()
    speculation: SpeculationSpec | None = None
    """Drafts that its steps verify; none: a step makes one token of each sequence."""
    split: Split | None = None
    """Over two pools; none: all of it is on `pool`."""
    sram: SramSpec | None = None
    """How the LLM lies on LPUs; only where the pool's memory is SRAM."""
    expert_skew: float = Field(default=0.0, ge=0.0, le=4.0)
    """Zipf's exponent of the experts' popularity; 0: tokens choose all alike."""
    discipline: Literal["ps", "fcfs"] = "ps"
    """Of tools on a host: processor sharing, or first come first served."""
    prompts_above: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Takes prompts of its LLM that are longer than so many tokens, and no others."""

    @model_validator(mode="after")
    def _llm_fits_role(self) -> Self:
        if self.role == "tools" and self.llm is not None:
            raise refuse("llm", repr(self.llm), "none, since the role is tools", "remove it")
        if self.role != "tools" and self.llm is None:
            expected = f"a key of llms, since the role is {self.role}"
            raise refuse("llm", "nothing", expected, "add `llm:`")
        if self.role == "tools" and self.prompts_above is not None:
            expected = "nothing, since the role is tools"
            raise refuse("prompts_above", f"{self.prompts_above}", expected, "remove it")
        return self

    @model_validator(mode="after")
    def _speculation_fits(self) -> Self:
        if self.speculation is None:
            return self
        if self.role in {"tools", "prefill"}:
            cure = "remove it" if self.role == "tools" else "give it to the decode deployment"
            raise refuse("speculation", "drafts", f"none, since the role is {self.role}", cure)
        if self.sram is not None:
            cure = "remove `speculation`, or `sram`"
            raise refuse("speculation", "drafts", "none beside `sram`", cure)
        if self.split is not None and self.split.kind == "afd":
            cure = "remove `speculation`, or `split`; `kind: draft` splits drafts from verifies"
            raise refuse("speculation", "drafts", "none beside a `split` of the kind afd", cure)
        if self.law.kind == "table":
            expected = "no table, since its steps were measured without drafts"
            cure = "remove `speculation`, or take `law: {kind: roofline}`"
            raise refuse("law.kind", "table", expected, cure)
        return self

    @model_validator(mode="after")
    def _skew_is_felt(self) -> Self:
        if self.expert_skew and (self.role == "tools" or self.law.kind != "roofline"):
            expected = "0: only the roofline law of an LLM knows experts"
            raise refuse("expert_skew", f"{self.expert_skew:g}", expected, "remove it")
        return self

    @model_validator(mode="after")
    def _split_fits(self) -> Self:
        for key in ("split", "sram"):
            if self.role == "tools" and getattr(self, key) is not None:
                raise refuse(key, "a key of LLMs", "nothing, since the role is tools", "remove it")
        if self.split is None:
            return self
        if self.law.kind != "roofline":
            cure = "remove `split` or `law`"
            raise refuse("law.kind", self.law.kind, "roofline, since there is a split", cure)
        if self.split.kind == "draft":
            return self._drafts_are_split()
        if self.sram is not None:
            cure = "remove it: what the FFN takes decides how many devices there are"
            raise refuse("sram", "a layout", "nothing, since the pool holds attention only", cure)
        if self.parallel.ep > 1:
            cure = "give `split.parallel.ep`: the experts are over there"
            raise refuse("parallel.ep", f"{self.parallel.ep}", "1, since there is a split", cure)
        return self

    def _drafts_are_split(self) -> Self:
        """Refuse a split of drafts where no LLM makes any."""
        why = "since drafts are split from verifies"
        if self.sram is not None:
            cure = "remove it; the draft LLM's is `split.sram`"
            raise refuse("sram", "a layout", f"nothing, {why}: GPUs verify", cure)
        if self.speculation is None:
            cure = "add `speculation`, or remove `split`"
            raise refuse("speculation", "nothing", f"a draft LLM, {why}", cure)
        if self.speculation.method != "draft_model":
            cure = "remove `split`, or take `method: draft_model`"
            expected = f"draft_model, {why}: LPUs run an LLM of their own"
            raise refuse("speculation.method", self.speculation.method, expected, cure)
        if not self.speculation.draft_tokens:
            cure = "draft some, or remove `split`"
            raise refuse("speculation.draft_tokens", "0", f"1 or more, {why}", cure)
        return self


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


class PoissonArrivals(Spec):
    """Independent sessions at a mean rate."""

    process: Literal["poisson"]
    rate: PerSecond


class GammaArrivals(Spec):
    """A gamma renewal process: `cv` above 1 is burstier than Poisson."""

    process: Literal["gamma"]
    rate: PerSecond
    cv: float = Field(default=2.0, ge=0.01, le=20.0)


class TraceArrivals(Spec):
    """The times that a trace recorded."""

    process: Literal["trace"] = "trace"


class FixedConcurrency(Spec):
    """So many sessions at any time: the next starts when one ends."""

    process: Literal["fixed_concurrency"]
    concurrency: int = Field(ge=1, le=10_000_000)
    think: Seconds = 0.0
    """Pause before the next session starts."""


Arrivals = Annotated[
    PoissonArrivals | GammaArrivals | TraceArrivals | FixedConcurrency,
    Field(discriminator="process"),
]


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
    reasoning_effort: Literal["none", "low", "medium", "high"] | None = None
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


class KvSpec(Spec):
    """The KV cache of a replica."""

    block_tokens: int = Field(default=16, ge=1, le=4096)
    blocks: int | None = Field(default=None, ge=1)
    """Given outright, or what memory leaves."""
    memory_fraction: float = Field(default=0.9, gt=0.0, le=1.0)
    """Of device memory that weights, workspace and KV may take."""
    workspace: Bytes = 3e9
    """Per device, for activations and the collectives' buffers."""
    retain: Literal["shared", "session", "none"] = "shared"
    """Cached until evicted (LRU): what any call has computed, for all that begin alike;
    for later calls of the same session only; nothing."""
    cache_outputs: bool = True
    """Whether what a call answers is cached as well, as engines do; if not, its blocks are
    cached once they come in a later prompt."""
    tiers: Annotated[tuple[Tier, ...], Field(strict=False)] = ("hbm",)
    """Where blocks may wait, from the fastest to the slowest: what a tier has no room for
    goes to the next one."""
    offload: Literal["evict", "tool_call"] = "evict"
    """Blocks are copied out of HBM as they are evicted, or as a tool begins on which their
    session waits (others are lost)."""
    fetch: Literal["cheaper", "always", "never"] = "cheaper"
    """Whether a call loads what the tiers have of its prompt, or computes it."""
    eviction: Literal["lru", "ttl", "tool_ttl"] = "lru"
    """Of the tiers below HBM: the least recently used first; that, and whatever was not used
    for `ttl`; first what no tool is expected back for."""
    ttl: PositiveSeconds | None = None
    stores: dict[Tier, StoreSpec] = Field(default_factory=dict)
    """What the catalog does not know of a tier, or is not meant."""

    @model_validator(mode="after")
    def _tiers_make_sense(self) -> Self:
        check_tiers(self)
        return self


RoutingPolicy = Literal[
    "round_robin",
    "least_outstanding",
    "power_of_two",
    "least_kv",
    "sticky",
    "affinity",
    "prefix_aware",
    "score",
    "shared_queue",
]

_ROUTER_KEYS: dict[str, tuple[RoutingPolicy, ...]] = {
    "spill": ("affinity", "prefix_aware"),
    "threshold": ("prefix_aware",),
    "index": ("prefix_aware", "score"),
    "index_blocks": ("prefix_aware", "score"),
    "weights": ("score",),
    "share": ("shared_queue",),
}
"""Which policies read a key of the router that not all of them do."""


class WeightsSpec(Spec):
    """What counts for `score`: each term is 1 at best and 0 at worst.

    The defaults are assumed, after llm-d's: prefix 3, queue 2, KV cache 2.
    """

    prefix: float = Field(default=3.0, ge=0.0, le=1e6)
    """Share of the prompt that the replica is thought to hold."""
    calls: float = Field(default=2.0, ge=0.0, le=1e6)
    """Fewest in flight 1, most 0."""
    kv: float = Field(default=2.0, ge=0.0, le=1e6)
    """Share of the KV cache that prompts in flight leave."""

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not self.prefix and not self.calls and not self.kv:
            cure = "give one, or choose `policy: round_robin`"
            raise refuse("", "weights that are all 0", "at least one above 0", cure)
        return self


class ShareSpec(Spec):
    """Turns in the router's own queue: tokens let go of each, by its weight."""

    per: Literal["tenant", "stream"] = "tenant"
    """Who takes turns; a stream without a tenant is one of its own."""
    weights: dict[Name, Annotated[int, Field(ge=1, le=1000)]] = Field(default_factory=dict)
    """Of a tenant (or a stream); 1 where not given."""


class RouterSpec(Spec):
    """Which replica a call goes to."""

    policy: RoutingPolicy = "least_outstanding"
    """`shared_queue`: replicas pull from one queue when they have room."""
    snapshot: Seconds = 0.0
    """Age of the load that it sees: refreshed at multiples of this; 0 is live."""
    spill: int | None = Field(default=None, ge=0, le=1_000_000)
    """Calls that a preferred replica may have more than the least loaded; 64 where not given."""

    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    """Share of a prompt that must be held for it to count; 0.3 where not given."""
    index: Literal["exact", "approximate"] | None = None
    """How prefixes are known: what replicas hold, copied with the snapshot; or what was sent
    where (the default)."""
    index_blocks: int | None = Field(default=None, ge=1)
    """Of what was sent to each replica, so many are remembered; as its KV cache, if not given."""
    weights: WeightsSpec | None = None
    share: ShareSpec | None = None
    """Turns between tenants in the router's own queue, instead of priorities."""

    @model_validator(mode="after")
    def _keys_fit_policy(self) -> Self:
        for key, policies in _ROUTER_KEYS.items():
            value = getattr(self, key)
            if value is not None and self.policy not in policies:
                expected = f"nothing, since the policy is {self.policy}"
                cure = f"remove it: only {' and '.join(policies)} read it"
                raise refuse(key, f"{value}", expected, cure)
        if self.index == "exact" and self.index_blocks is not None:
            cure = "remove it, or take `index: approximate`"
            expected = "nothing, since the index is exact"
            raise refuse("index_blocks", f"{self.index_blocks}", expected, cure)
        return self


SchedulerName = Literal["vllm", "sglang", "sarathi", "orca", "static", "trtllm", "prefill_first"]

_SCHEDULER_KEYS: dict[str, tuple[SchedulerName, ...]] = {
    "prefill_every": ("vllm",),
    "mixed_chunk": ("sglang",),
    "schedule_conservativeness": ("sglang",),
    "reserve": ("orca",),
    "max_model_len": ("orca",),
    "max_queue_delay": ("static",),
}
"""Which schedulers read a key of `serving` that not all of them do."""
_APART = ("prefill", "decode")
"""Roles that hand KV over: not every scheduler's admission knows calls whose KV is on its way."""
_UNLIMITED_TOKENS = 1 << 62
"""Tokens of a step where the scheduler sets no bound to them: more than there can be."""


class DisaggregationSpec(Spec):
    """How prefill and decode work together where they are apart."""

    overlap: Literal["none", "layers"] = "none"
    """When KV moves: once the prompt is computed; or layer by layer while it is, into
    blocks that the decode replica has set aside before."""
    local_prefill_below: int = Field(default=0, ge=0, le=100_000_000)
    """Prompts of fewer tokens, cached ones not counted, are computed where they decode."""
    first_token_from: Literal["prefill", "decode"] = "prefill"
    """Who makes the first output token, with which TTFT ends: prefill as it is done with
    the prompt (SGLang, Dynamo), or decode in its first step (vLLM's connectors)."""


class ServingSpec(Spec):
    """The serving engine: how a replica forms its steps."""

    engine: str = "generic"
    """Whose efficiencies and host overheads the catalog gives."""
    scheduler: SchedulerName = "vllm"
    """Whose rules form the steps of a replica: docs/schedulers.md tells them apart."""
    prefill_every: int | None = Field(default=None, ge=1, le=1_000_000)
    """`vllm`: of so many steps in a row one may hold prompts, while there are decodes; 1 (all)
    where not given."""
    mixed_chunk: bool | None = None
    """`sglang`: decodes go on beside prompts; they pause where not given."""
    schedule_conservativeness: float | None = Field(default=None, ge=0.0, le=10.0)
    """`sglang`: scales the share of their longest outputs that running calls are thought to
    make yet (0.7 at first, for 1, which holds where not given)."""
    reserve: Literal["oracle", "pow2", "max"] | None = None
    """`orca`: tokens that a call sets KV aside for: what it will have (where not given), that
    with its output rounded up to a power of two, or `max_model_len` for each."""
    max_model_len: int | None = Field(default=None, ge=1, le=100_000_000)
    """`orca` with `reserve: max`: tokens of a sequence at most; longer ones are rejected."""
    max_queue_delay: Seconds | None = None
    """`static`: an idle replica waits so long for a batch to fill; 0 where not given."""
    order: Literal["fcfs", "priority"] = "fcfs"
    token_budget: int = Field(default=8192, ge=1, le=10_000_000)
    """Tokens of a step, at most; `orca` and `static` have no such bound."""
    max_sequences: int = Field(default=1024, ge=1, le=1_000_000)
    """Sequences of a step, at most."""
    overlap: Literal["none", "full"] = "full"
    """Whether host work hides behind the device's."""
    router: RouterSpec = RouterSpec()
    kv: KvSpec = KvSpec()
    admission: AdmissionSpec | None = None
    """Every call is let in, if not given."""
    disaggregation: DisaggregationSpec | None = None
    """The defaults of its keys, where an LLM has a prefill and a decode deployment."""

    @property
    def step_tokens(self) -> int:
        """Tokens of a step at most, by the scheduler that is chosen."""
        unlimited = self.scheduler in ("orca", "static")
        return _UNLIMITED_TOKENS if unlimited else self.token_budget

    @property
    def retained(self) -> Literal["shared", "session", "none"]:
        """For whom prefixes stay cached, by the scheduler that is chosen."""
        return "none" if self.scheduler in ("orca", "static") else self.kv.retain

    @model_validator(mode="after")
    def _keys_fit_scheduler(self) -> Self:
        for key, schedulers in _SCHEDULER_KEYS.items():
            value = getattr(self, key)
            if value is not None and self.scheduler not in schedulers:
                expected = f"nothing, since the scheduler is {self.scheduler}"
                cure = f"remove it: only {' and '.join(schedulers)} reads it"
                raise refuse(key, f"{value}", expected, cure)
        if (self.reserve == "max") != (self.max_model_len is not None):
            found = "nothing" if self.max_model_len is None else f"{self.max_model_len}"
            expected = "tokens of a sequence at most, if and only if `reserve` is max"
            raise refuse("max_model_len", found, expected, "give both or neither")
        if self.scheduler in ("orca", "static"):
            # Their defaults are in every resolved scenario, and say nothing.
            for key, value, usual in (
                ("token_budget", self.token_budget, 8192),
                ("kv.retain", self.kv.retain, "shared"),
            ):
                if value not in (usual, "none"):
                    expected = f"nothing, since the scheduler is {self.scheduler}"
                    cure = f"remove it: {self.scheduler} " + (
                        "keeps no prefixes" if key == "kv.retain" else "bounds sequences only"
                    )
                    raise refuse(key, f"{value}", expected, cure)
        return self

    @model_validator(mode="after")
    def _a_token_each(self) -> Self:
        if self.token_budget < self.max_sequences and self.scheduler not in ("orca", "static"):
            expected = f"at least max_sequences, which is {self.max_sequences}"
            cure = "each sequence of a step decodes one token: raise it, or lower max_sequences"
            raise refuse("token_budget", f"{self.token_budget}", expected, cure)
        return self

    @model_validator(mode="after")
    def _limit_of_a_choice(self) -> Self:
        limit = None if self.admission is None else self.admission.queue_limit
        if limit is not None and limit.per == "replica" and self.router.policy == "shared_queue":
            expected = "router, since the policy is shared_queue and chooses no replica"
            raise refuse("admission.queue_limit.per", "'replica'", expected)
        return self


class SiteSpec(Spec):
    """Where the factory stands."""

    schema_: Literal["factorysim.site/1"] = Field(default="factorysim.site/1", alias="schema")
    energy_price: MoneyPerKwh | None = None
    carbon_intensity: GramsPerKwh | None = None
    pue: float = Field(default=1.10, ge=1.0, le=5.0)
    currency: Literal["USD", "EUR"] = "USD"
    """Of `energy_price`; follows from its unit."""

    @model_validator(mode="before")
    @classmethod
    def _currency_of_price(cls, data: Any) -> Any:  # noqa: ANN401 - as pydantic hands it over
        price = data.get("energy_price") if isinstance(data, dict) else None
        if not isinstance(price, str) or not price.strip().endswith("EUR/kWh"):
            return data
        if data.get("currency", "EUR") != "EUR":
            raise refuse("currency", repr(data["currency"]), "that of energy_price, 'EUR'")
        return {**data, "currency": "EUR"}

    @field_serializer("energy_price")
    def _price_with_currency(self, price: float | None) -> str | None:
        return None if price is None else f"{price!r} {self.currency}/kWh"


class RunSpec(Spec):
    """How to run: window, warm-up, replications, seed."""

    kind: Literal["steady_state", "terminating"] = "steady_state"
    window: PositiveSeconds = 600.0
    warmup: SecondsOrAuto = "auto"
    drain: Seconds = 300.0
    replications: int = Field(default=5, ge=1, le=10_000)
    seed: int = Field(default=1, ge=0, lt=2**63)
    clock: Literal["run_length", "stepwise"] = "run_length"
    bins: int = Field(default=200, ge=1, le=100_000)
    """Of the time series over the whole run."""


def _kind_of_reference(value: object) -> str:
    """Tell a name from a spec written in place."""
    return "name" if isinstance(value, str) else "inline"


class ScenarioSpec(Spec):
    """A factory, its demand, and how to run it: everything that a result depends on."""

    schema_: Literal["factorysim.scenario/1"] = Field(
        default="factorysim.scenario/1", alias="schema"
    )
    question: str
    description: str | None = None
    """What the scenario answers, in a sentence."""
    topology: Annotated[
        Annotated[str, Tag("name")] | Annotated[TopologySpec, Tag("inline")],
        Discriminator(_kind_of_reference),
    ]
    """A shipped topology, a file, or one written here."""
    llms: dict[Name, LlmUse] = Field(default_factory=dict)
    """LLMs in use, by names of your own."""
    deployments: dict[Name, DeploymentSpec] = Field(min_length=1)
    streams: dict[Name, StreamSpec] = Field(min_length=1)
    serving: ServingSpec = ServingSpec()
    site: Annotated[
        Annotated[str, Tag("name")] | Annotated[SiteSpec, Tag("inline")],
        Discriminator(_kind_of_reference),
    ] = "us_texas"
    """A site of the catalog, a file, or one written here."""
    catalog: str | None = None
    """A user's file of facts, over the shipped ones."""
    run: RunSpec = RunSpec()

    @model_validator(mode="after")
    def _scheduler_hands_off(self) -> Self:
        serving = self.serving
        apart = [name for name, spec in self.deployments.items() if spec.role in _APART]
        if not apart:
            return self
        expected = f"vllm or prefill_first, since {apart[0]} computes prompts or decodes alone"
        if serving.scheduler not in ("vllm", "prefill_first"):
            cure = "choose one of them, or deploy with `role: serve`"
            raise refuse("serving.scheduler", serving.scheduler, expected, cure)
        if serving.prefill_every is not None:
            expected = f"nothing, since {apart[0]} computes prompts or decodes alone"
            raise refuse("serving.prefill_every", f"{serving.prefill_every}", expected, "remove it")
        return self

    @model_validator(mode="after")
    def _scheduler_knows_tiers(self) -> Self:
        serving = self.serving
        if len(serving.kv.tiers) > 1:
            expected = "vllm or prefill_first, since KV waits in tiers below HBM"
            if serving.scheduler not in ("vllm", "prefill_first"):
                cure = "choose one of them, or remove serving.kv.tiers"
                raise refuse("serving.scheduler", serving.scheduler, expected, cure)
            if serving.prefill_every is not None:
                expected = "nothing, since KV waits in tiers below HBM"
                found = f"{serving.prefill_every}"
                raise refuse("serving.prefill_every", found, expected, "remove it")
            for name, deployment in self.deployments.items():
                if deployment.split is not None and deployment.split.kind == "draft":
                    expected = f"hbm alone, since {name} drafts on LPUs, whose KV has no tier below"
                    cure = "remove serving.kv.tiers, or `split`"
                    raise refuse("serving.kv.tiers", ", ".join(serving.kv.tiers), expected, cure)
        return self

    @model_validator(mode="after")
    def _limits_are_of_somebody(self) -> Self:
        admission, share = self.serving.admission, self.serving.router.share
        bucket = None if admission is None else admission.token_bucket
        if bucket is not None:
            self._known(bucket.per, bucket.limits, "serving.admission.token_bucket.limits")
        if share is not None:
            self._known(share.per, share.weights, "serving.router.share.weights")
        return self

    def _known(self, per: Literal["tenant", "stream"], names: Iterable[str], path: str) -> None:
        """Refuse names of tenants, or of streams, that there are not."""
        known = [
            stream.tenant or name if per == "tenant" else name
            for name, stream in self.streams.items()
        ]
        for name in names:
            if name not in known:
                expected = f"a {per}: {', '.join(dict.fromkeys(known))}"
                raise refuse(f"{path}.{name}", repr(name), expected)

    @model_validator(mode="after")
    def _verifies_fit_the_budget(self) -> Self:
        serving = self.serving
        for name, deployment in self.deployments.items():
            if deployment.speculation is None:
                continue
            if serving.scheduler not in ("vllm", "prefill_first"):
                expected = f"vllm or prefill_first, since {name} speculates"
                cure = "choose one of them, or remove `speculation`"
                raise refuse("serving.scheduler", serving.scheduler, expected, cure)
            if serving.prefill_every is not None:
                expected = f"nothing, since {name} speculates"
                raise refuse(
                    "serving.prefill_every", f"{serving.prefill_every}", expected, "remove it"
                )
            width = deployment.speculation.draft_tokens + 1
            if serving.token_budget < serving.max_sequences * width:
                key = f"deployments.{name}.speculation.draft_tokens"
                most = serving.token_budget // serving.max_sequences - 1
                expected = (
                    f"at most {most}: {serving.max_sequences} sequences verify "
                    f"{serving.max_sequences * width} tokens, the budget is {serving.token_budget}"
                )
                cure = "raise serving.token_budget, or lower serving.max_sequences"
                raise refuse(key, f"{width - 1}", expected, cure)
        return self
