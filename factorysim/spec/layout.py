"""How an LLM lies on the devices of a replica: cut, or in stages of SRAM."""

from __future__ import annotations

from math import gcd
from typing import Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.base import Spec, refuse


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
