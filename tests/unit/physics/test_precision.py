import pytest

from factorysim.physics.precision import FORMATS, element_width, weight_width


@pytest.mark.parametrize(
    ("form", "width"),
    [
        ("fp32", 4.0),
        ("bf16", 2.0),
        ("fp8", 1.0),
        ("int8", 1.0),
        ("fp4", 0.5),
        ("mxfp4", 0.53125),
        ("nvfp4", 0.5625),
        ("w4a16", 0.51953125),
        ("q4_k_m", 0.60625),
        ("q8_0", 1.0625),
    ],
)
def test_bytes_per_weight_with_scales(form, width):
    assert weight_width(form, "ffn") == width


def test_gguf_formats_cover_embeddings_and_others_do_not():
    kept = {form for form in FORMATS if weight_width(form, "embeddings") == 2.0}
    assert kept == {"bf16", "fp8", "int8", "fp4", "mxfp4", "nvfp4", "w4a16"}


def test_mxfp4_leaves_attention_in_bf16():
    """65 GB of gpt-oss-120b: 114.7e9 FFN weights in MXFP4, the rest in BF16 (its model card)."""
    assert weight_width("mxfp4", "attention") == 2.0


def test_elements_of_the_cache():
    assert (element_width("bf16"), element_width("fp8")) == (2.0, 1.0)
