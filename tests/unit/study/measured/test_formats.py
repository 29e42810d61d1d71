"""Words for formats of numbers."""

import pytest

from factorysim.study.measured.formats import formats_in_name, kv_format, read_formats
from factorysim.study.measured.rows import NotUnderstoodError


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("fp8", ("fp8", "fp8")),
        ("FP8-dynamic", ("fp8", "fp8")),
        ("fp8_e4m3", ("fp8", "fp8")),
        ("W8A8-FP8", ("fp8", "fp8")),
        ("MXFP8", ("fp8", "fp8")),
        ("INT4 AWQ", ("w4a16", "bf16")),
        ("AWQ 4-bit", ("w4a16", "bf16")),
        ("AWQ-INT4", ("w4a16", "bf16")),
        ("GPTQ-Int4", ("w4a16", "bf16")),
        ("W8A8 (INT8)", ("int8", "int8")),
        ("NVFP4 + FP8 KV", ("nvfp4", "fp4")),
        ("NVFP4, KV cache FP8", ("nvfp4", "fp4")),
        ("Q4_K_M", ("q4_k_m", "bf16")),
        ("Q8_0", ("q8_0", "bf16")),
    ],
)
def test_words_for_formats(text, formats):
    assert read_formats(text)[:2] == formats


@pytest.mark.parametrize("text", ["fp3", "GPTQ-Int8", "FP8 + BF16", "FP8 KV", "dynamic"])
def test_words_for_none_or_several(text):
    with pytest.raises(NotUnderstoodError, match="precision"):
        read_formats(text)


@pytest.mark.parametrize(
    ("text", "kv"),
    [
        ("kv cache dtype bf16", "bf16"),
        ("kv_cache_dtype=fp8", "fp8"),
        ("FP8 KV cache", "fp8"),
        ("fp8 kv", "fp8"),
        ("fp8, 40 kv heads", None),
        ("", None),
    ],
)
def test_words_for_the_kv_cache(text, kv):
    assert kv_format(text) == kv


def test_a_name_tells_a_format_in_words_of_its_own():
    assert formats_in_name("unsloth/Qwen3-32B-Q4_K_M") == "q4_k_m"
    assert formats_in_name("Qwen3-32B_FP8") == "fp8"
    assert formats_in_name("Llama-3.1-8B-Instruct") == ""
