"""The serving engine: scheduler, router, KV cache, admission, and the hand-off between roles."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.admission import AdmissionSpec
from factorysim.spec.base import Seconds, Spec, refuse
from factorysim.spec.io_work import IoWorkSpec
from factorysim.spec.kv import KvSpec
from factorysim.spec.router import RouterSpec

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
    runtime: str | None = None
    """Agent runtime of the catalog: what each call of a tool or an LLM passes; none, if not
    given."""
    disaggregation: DisaggregationSpec | None = None
    """The defaults of its keys, where an LLM has a prefill and a decode deployment."""
    io_work: IoWorkSpec | None = None
    """TLS, packets and storage cost no cores, if not given."""

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
