"""Scenario files: a factory, what it serves, the demand on it, and how to run it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from factorysim.spec.base import Name, Spec, refuse
from factorysim.spec.deployment import DeploymentSpec
from factorysim.spec.llm import LlmUse
from factorysim.spec.run import RunSpec
from factorysim.spec.serving import ServingSpec
from factorysim.spec.site import SiteSpec
from factorysim.spec.stream import StreamSpec
from factorysim.spec.topology import TopologySpec

_APART = ("prefill", "decode")
"""Roles that hand KV over: not every scheduler's admission knows calls whose KV is on its way."""


def _kind_of_reference(value: object) -> str:
    """Tell a name from a spec written in place."""
    return "name" if isinstance(value, str) else "inline"


class ScenarioSpec(Spec):
    """A factory, its demand, and how to run it: everything that a result depends on."""

    schema_: Literal["factorysim.scenario/1"] = Field(
        default="factorysim.scenario/1", alias="schema"
    )
    question: str
    """What the scenario answers, in a sentence."""
    description: str | None = None
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
    def _steady_state_has_steady_rates(self) -> Self:
        if self.run.kind == "steady_state":
            for name, stream in self.streams.items():
                if stream.varies:
                    expected = (
                        f"terminating, since the rate of {name} changes in the course of time"
                    )
                    cure = "take it, with a window as long as what you ask about"
                    raise refuse("run.kind", "steady_state", expected, cure)
        return self

    @model_validator(mode="after")
    def _scheduler_hands_off(self) -> Self:
        apart = [name for name, spec in self.deployments.items() if spec.role in _APART]
        if apart:
            why = f"{apart[0]} computes prompts or decodes alone"
            self._plain_scheduler(why, "deploy with `role: serve`")
        return self

    @model_validator(mode="after")
    def _scheduler_knows_tiers(self) -> Self:
        tiers = self.serving.kv.tiers
        if len(tiers) == 1:
            return self
        self._plain_scheduler("KV waits in tiers below HBM", "remove serving.kv.tiers")
        for name, deployment in self.deployments.items():
            if deployment.split is not None and deployment.split.kind == "draft":
                expected = f"hbm alone, since {name} drafts on LPUs, whose KV has no tier below"
                cure = "remove serving.kv.tiers, or `split`"
                raise refuse("serving.kv.tiers", ", ".join(tiers), expected, cure)
        return self

    def _plain_scheduler(self, why: str, otherwise: str) -> None:
        """Refuse schedulers, and a cadence, that do not know what the scenario asks for."""
        serving = self.serving
        if serving.scheduler not in ("vllm", "prefill_first"):
            cure = f"choose one of them, or {otherwise}"
            expected = f"vllm or prefill_first, since {why}"
            raise refuse("serving.scheduler", serving.scheduler, expected, cure)
        if serving.prefill_every is not None:
            found, expected = f"{serving.prefill_every}", f"nothing, since {why}"
            raise refuse("serving.prefill_every", found, expected, "remove it")

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
            self._plain_scheduler(f"{name} speculates", "remove `speculation`")
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
