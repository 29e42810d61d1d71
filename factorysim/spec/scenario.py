"""Scenario files: a factory, what it serves, the demand on it, and how to run it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_serializer, model_validator

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
    """How a replica is cut: `tp` devices, its experts over `ep` of them."""

    tp: int = Field(default=1, ge=1, le=4096)
    ep: int = Field(default=1, ge=1, le=4096)
    """Divides `tp`, adds no devices."""

    @model_validator(mode="after")
    def _experts_share_devices(self) -> Self:
        if self.tp % self.ep:
            raise refuse("ep", f"{self.ep}", f"a divisor of tp, which is {self.tp}")
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
    split: AfdSplit | None = None
    """Over two pools; none: all of the LLM is on `pool`."""
    sram: SramSpec | None = None
    """How the LLM lies on LPUs; only where the pool's memory is SRAM."""
    expert_skew: float = Field(default=0.0, ge=0.0, le=4.0)
    """Zipf's exponent of the experts' popularity; 0: tokens choose all alike."""
    discipline: Literal["ps", "fcfs"] = "ps"
    """Of tools on a host: processor sharing, or first come first served."""

    @model_validator(mode="after")
    def _llm_fits_role(self) -> Self:
        if self.role == "tools" and self.llm is not None:
            raise refuse("llm", repr(self.llm), "none, since the role is tools", "remove it")
        if self.role != "tools" and self.llm is None:
            expected = f"a key of llms, since the role is {self.role}"
            raise refuse("llm", "nothing", expected, "add `llm:`")
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
        if self.sram is not None:
            cure = "remove it: what the FFN takes decides how many devices there are"
            raise refuse("sram", "a layout", "nothing, since the pool holds attention only", cure)
        if self.parallel.ep > 1:
            cure = "give `split.parallel.ep`: the experts are over there"
            raise refuse("parallel.ep", f"{self.parallel.ep}", "1, since there is a split", cure)
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


class StreamSpec(Spec):
    """Sessions that arrive: from exactly one of an agent, a trace, or plain calls."""

    llm: str
    """Key of `llms` that the calls go to."""
    agent: str | None = None
    """An agent of the catalog, or a YAML file of one."""
    trace: str | None = None
    calls: CallsSpec | None = None
    format: Literal["auto", "fstrace", "mooncake", "azure"] = "auto"
    speed: float = Field(default=1.0, gt=0.0, le=1e6)
    """Of a trace's clock: 20 replays an hour in three minutes."""
    reasoning_effort: Literal["none", "low", "medium", "high"] | None = None
    """The agent's own where not given."""
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
        if self.replicate != "none" and self.trace is None:
            cure = "remove it: agents and calls differ between replications by themselves"
            raise refuse("replicate", self.replicate, "none, since there is no trace", cure)
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
    scheduler: Literal["vllm", "prefill_first"] = "vllm"
    """Chunked prefill beside decodes, or whole prompts before any decode."""
    order: Literal["fcfs", "priority"] = "fcfs"
    token_budget: int = Field(default=8192, ge=1, le=10_000_000)
    """Tokens of a step, at most."""
    max_sequences: int = Field(default=1024, ge=1, le=1_000_000)
    """Sequences of a step, at most."""
    overlap: Literal["none", "full"] = "full"
    """Whether host work hides behind the device's."""
    router: RouterSpec = RouterSpec()
    kv: KvSpec = KvSpec()
    disaggregation: DisaggregationSpec | None = None
    """The defaults of its keys, where an LLM has a prefill and a decode deployment."""

    @model_validator(mode="after")
    def _a_token_each(self) -> Self:
        if self.token_budget < self.max_sequences:
            expected = f"at least max_sequences, which is {self.max_sequences}"
            cure = "each sequence of a step decodes one token: raise it, or lower max_sequences"
            raise refuse("token_budget", f"{self.token_budget}", expected, cure)
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
