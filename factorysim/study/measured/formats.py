"""Formats of numbers, from the words of the field: ``NVFP4``, ``AWQ-INT4``, ``FP8 KV``."""

from __future__ import annotations

import re
from typing import NamedTuple

from factorysim.study.measured.rows import NotUnderstoodError


class Formats(NamedTuple):
    """What a text says of formats."""

    weights: str
    compute: str
    stands_for: str = ""
    """The word that was meant, where the nearest format is taken."""


_KNOWN = {
    "fp8": ("fp8", "fp8"), "fp8e4m3": ("fp8", "fp8"), "w8a8": ("int8", "int8"),
    "mxfp8": ("fp8", "fp8"),
    "bf16": ("bf16", "bf16"), "bfloat16": ("bf16", "bf16"), "fp16": ("bf16", "bf16"),
    "f16": ("bf16", "bf16"), "float16": ("bf16", "bf16"), "fp32": ("fp32", "fp32"),
    "fp4": ("nvfp4", "fp4"), "nvfp4": ("nvfp4", "fp4"), "mxfp4": ("mxfp4", "fp4"),
    "int8": ("int8", "int8"), "int4": ("w4a16", "bf16"), "w4a16": ("w4a16", "bf16"),
    "awq": ("w4a16", "bf16"), "gptq": ("w4a16", "bf16"), "q4km": ("q4_k_m", "bf16"),
    "q4": ("q4_k_m", "bf16"), "q80": ("q8_0", "bf16"), "4bit": ("w4a16", "bf16"),
}  # fmt: skip
_TOGETHER = (
    (frozenset(("awq", "gptq", "int4", "w4a16", "4bit", "marlin")), "w4a16"),
    (frozenset(("fp8", "w8a8", "e4m3")), "fp8"),
    (frozenset(("int8", "w8a8")), "int8"),
)
"""Words that tell one format between them, and that format."""
_IDLE = frozenset(
    ("dynamic", "static", "block", "blockwise", "weights", "quantized", "quantization", "precision")
)
_KV = re.compile(
    r"kv[ _-]*(?:cache)?[ _-]*(?:dtype)?[ =:]*(fp8|bf16|fp16)"
    r"|(fp8|bf16|fp16)(?:[ _-]e4m3)?[ _-]kv(?:[ _-]?cache)?\b"
)
_IN_NAME = re.compile(
    r"(?<![a-z0-9])(?:(?:nv|mx)?fp4|(?:mx)?fp8|awq|gptq|int[48]|w4a16|w8a8|w8a16|[48]bit"
    r"|bf16|fp16|q4_k_m|q8_0)(?![a-z0-9])"
)


def read_formats(text: str) -> Formats:
    """Read formats of weights and arithmetic.

    Raises
    ------
    NotUnderstoodError
        If it names none, or several.

    Examples
    --------
    >>> read_formats("Q4_K_M")[:2], read_formats("fp16")[:2], read_formats("nvfp4")[:2]
    (('q4_k_m', 'bf16'), ('bf16', 'bf16'), ('nvfp4', 'fp4'))
    >>> read_formats("INT4 AWQ").weights, read_formats("NVFP4 + FP8 KV").weights
    ('w4a16', 'nvfp4')
    """
    low = re.sub(r"\b([48])[ -]bit\b", r"\1bit", _KV.sub(" ", text.lower()))
    joined = re.sub(r"[^a-z0-9]", "", low)
    words = frozenset(re.findall(r"[a-z0-9]+", low)) - _IDLE
    for one in (joined, *(words if len(words) == 1 else ())):
        if one in _KNOWN:
            return Formats(*_KNOWN[one], "mxfp8" if one == "mxfp8" else "")
    for together, one in _TOGETHER:
        if words and words <= together:
            return Formats(*_KNOWN[one])
    raise NotUnderstoodError(f'precision "{text}"')


def kv_format(text: str) -> str | None:
    """Read the format of the KV cache; None: it says nothing.

    Examples
    --------
    >>> kv_format("kv_cache_dtype=fp8"), kv_format("FP8 KV cache"), kv_format("fp8")
    ('fp8', 'fp8', None)
    """
    told = _KV.search(text.lower())
    if not told:
        return None
    return "fp8" if "fp8" in (told[1], told[2]) else "bf16"


def formats_in_name(name: str) -> str:
    """Words for a format in the name of an LLM; blank: none.

    Examples
    --------
    >>> formats_in_name("Qwen3-32B-GPTQ-Int4"), formats_in_name("Llama-3.1-8B-Instruct")
    ('gptq int4', '')
    """
    return " ".join(_IN_NAME.findall(name.lower()))
