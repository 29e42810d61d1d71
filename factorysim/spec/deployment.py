"""Deployments: what runs on which pool, cut in which way, and who drafts for it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.base import Name, Share, Spec, refuse
from factorysim.spec.law import Law, RooflineLaw
from factorysim.spec.layout import ParallelSpec, SramSpec
from factorysim.spec.llm import LlmUse
from factorysim.spec.runtime import CloudSpec, SandboxSpec
from factorysim.spec.split import Split

CLOUD = "cloud"
"""The pool of tools that run outside the factory."""


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


class DeploymentSpec(Spec):
    """An LLM (or the tools) on a pool: how many replicas, cut in which way."""

    role: Literal["serve", "prefill", "decode", "tools"] = "serve"
    """`prefill` and `decode` of one LLM go together: one computes prompts, the other makes
    the tokens after them."""
    pool: str
    """A pool of the topology; `nvl72.cpu` is the host CPUs of `nvl72`. Of tools also `cloud`."""
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
    classes: tuple[Name, ...] = Field(default=(), strict=False)
    """Of tools that run here; without any, all those that no other deployment names."""
    sandbox: SandboxSpec | None = None
    """That tools run in; those of the runtime, if it has some, else none."""
    cloud: CloudSpec | None = None
    """Of the pool `cloud`; its defaults, if not given."""
    runtime: str | None = None
    """Agent runtime of the catalog; that of `serving`, if not given."""
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
    def _tool_keys_fit(self) -> Self:
        if self.role != "tools":
            for key in ("classes", "sandbox", "cloud", "runtime"):
                if getattr(self, key):
                    expected = f"nothing, since the role is {self.role}"
                    raise refuse(key, "a key of tools", expected, "remove it")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise refuse("classes", f'"{twice}" twice', "each tool class once", "remove one")
        if self.pool != CLOUD and self.cloud is not None:
            cure = "remove it, or take `pool: cloud`"
            raise refuse("cloud", "settings", f"nothing, since the pool is {self.pool}", cure)
        if self.pool == CLOUD and self.role != "tools":
            raise refuse("pool", '"cloud"', "a pool of the topology: LLMs run in the factory")
        if self.pool == CLOUD and self.replicas is not None:
            cure = "remove it; `cloud.concurrency` bounds the tools at once"
            raise refuse("replicas", f"{self.replicas}", "nothing, since the pool is cloud", cure)
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
