"""The encoder of images: arithmetic per patch, or one read of its weights."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.catalog import load_catalog
from factorysim.catalog.efficiency import efficiency
from factorysim.catalog.values import Vision
from factorysim.physics.vision import Encoder, encoder_bytes, encoder_of

CATALOG = load_catalog()
H100 = CATALOG.device("h100_sxm")
FACTORS = efficiency(CATALOG, H100, "generic")
VISION = CATALOG.llm("mistral_large_3").vision
SMALL = Vision(params=5e6, patches_per_token=4.0, facts=())


def test_a_token_costs_two_flop_a_weight_and_patch(device, ideal):
    """5e6 weights, 4 patches: 4e7 FLOP of 1e11 a second; 1e7 B of 1e9 a second."""
    alone = encoder_of(SMALL, device, "bf16", 1, ideal)
    assert alone == Encoder(token_fs=400_000_000_000, read_fs=10_000_000_000_000)
    assert encoder_of(SMALL, device, "bf16", 4, ideal) == Encoder(
        100_000_000_000, 2_500_000_000_000
    )
    assert encoder_bytes(SMALL) == 1e7


def test_an_encoder_computes_in_bf16_where_the_llm_does_not(device, ideal):
    assert encoder_of(SMALL, device, "fp8", 1, ideal).token_fs == 400_000_000_000
    only = replace(device, flops={"fp8": 2e11})
    assert encoder_of(SMALL, only, "fp8", 1, ideal).token_fs == 200_000_000_000


@given(tokens=st.integers(1, 10**7), more=st.integers(0, 1000), factor=st.floats(1, 50))
def test_more_images_take_longer_and_more_bandwidth_never_does(tokens, more, factor):
    plain = encoder_of(VISION, H100, "fp8", 8, FACTORS)
    wide = replace(H100, memory_bandwidth=factor * H100.memory_bandwidth)
    assert plain.time_fs(tokens + more) >= plain.time_fs(tokens)
    assert encoder_of(VISION, wide, "fp8", 8, FACTORS).time_fs(tokens) <= plain.time_fs(tokens)
    floor = 2 * 2.5e9 * 4 * tokens / (8 * H100.flops["bf16"])
    assert plain.time_fs(tokens) * 1e-15 >= floor


def test_facts_of_an_encoder_are_its_own():
    """What a scenario without images rests on does not name them."""
    llm = load_catalog().llm("mistral_small_4")
    assert llm.vision.facts == (
        "llms.mistral_small_4.vision.encoder_params",
        "llms.mistral_small_4.vision.patches_per_token",
    )
    assert not set(llm.vision.facts) & set(llm.facts)
    assert load_catalog().llm("llama_3_1_8b").vision is None


@pytest.mark.parametrize("name", ["mistral_small_4", "mistral_large_3", "gemma_4_31b"])
def test_encoders_of_the_catalog_have_sources_and_bands(name):
    facts = load_catalog().facts
    params = facts[f"llms.{name}.vision.encoder_params"]
    assert params.source or params.kind == "assumed"
    patches = facts[f"llms.{name}.vision.patches_per_token"]
    assert (patches.kind, patches.low, patches.high) == ("assumed", 1, 9)
