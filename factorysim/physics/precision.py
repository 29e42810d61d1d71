"""Bytes per weight and per KV element of the formats that engines serve.

A format tells which parts of an LLM it covers: published checkpoints keep
embeddings, LM head and router in 16 bits, except the GGUF formats, which cover
all (their bits per weight are means over a file), and MXFP4, which was published
for the experts and FFN alone (gpt-oss model card, arXiv:2508.10925).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from factorysim.spec.llm import Precision

Part = Literal["attention", "ffn", "router", "embeddings"]


class Format(NamedTuple):
    """A storage format: mean bits an element, scales included, and what it covers."""

    bits: float
    covers: tuple[Part, ...]


_BLOCK: tuple[Part, ...] = ("attention", "ffn")
_ALL: tuple[Part, ...] = ("attention", "ffn", "router", "embeddings")

FORMATS: dict[Precision, Format] = {
    "fp32": Format(32.0, _ALL),
    "bf16": Format(16.0, _ALL),
    "fp8": Format(8.0, _BLOCK),
    "int8": Format(8.0, _BLOCK),
    "fp4": Format(4.0, _BLOCK),
    # OCP MX specification 1.0, section 5.3: 32 elements share an 8-bit scale.
    "mxfp4": Format(4.0 + 8 / 32, ("ffn",)),
    # NVIDIA, "Introducing NVFP4" (2025): 16 elements share an FP8 scale.
    "nvfp4": Format(4.0 + 8 / 16, _BLOCK),
    # GPTQ and AWQ files of group 128: a 16-bit scale and a 4-bit zero a group.
    "w4a16": Format(4.0 + 20 / 128, _BLOCK),
    # llama.cpp, tools/quantize: mean bits per weight of Llama-class files; nested scales.
    "q4_k_m": Format(4.85, _ALL),
    # llama.cpp, ggml-common.h: 32 int8 and a 16-bit scale a block.
    "q8_0": Format(8.5, _ALL),
}

UNPACKED: frozenset[str] = frozenset({"q4_k_m"})
"""Formats of which reading a weight costs arithmetic that reading it from memory does not hide."""

_PLAIN = 2.0
"""Bytes of what a format does not cover: BF16."""


def weight_width(precision: Precision, part: Part) -> float:
    """Bytes per weight of a part of the LLM, scales included.

    Examples
    --------
    >>> weight_width("nvfp4", "ffn"), weight_width("nvfp4", "embeddings")
    (0.5625, 2.0)
    """
    form = FORMATS[precision]
    return form.bits / 8 if part in form.covers else _PLAIN


def element_width(precision: Precision) -> float:
    """Bytes per element of the KV cache, or of activations on a link; scales not counted.

    Examples
    --------
    >>> element_width("fp8")
    1.0
    """
    return FORMATS[precision].bits / 8
