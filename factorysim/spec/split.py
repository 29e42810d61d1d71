"""Replicas over two pools: which part of the work runs on the other one, and how it lies there."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.base import BytesPerSecond, Seconds, Spec, refuse
from factorysim.spec.layout import ParallelSpec, SramSpec


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
    """That take turns (ping-pong), as even as whole tokens allow; each starts its own kernels."""
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
