"""An LLM of the catalog, and the formats that it is held and computed in."""

from __future__ import annotations

from typing import Literal

from factorysim.spec.base import Spec

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
