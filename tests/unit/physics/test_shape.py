from dataclasses import replace

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError, UserError
from factorysim.physics.shape import llm_shape


def shapes():
    """Every LLM of the catalog whose shapes are published and have a law."""
    catalog = load_catalog()
    found = {}
    for name in catalog.ids("llms"):
        try:
            found[name] = llm_shape(catalog.llm(name))
        except UserError:
            continue
    return found


def test_counts_of_a_dense_llm(llms):
    shape = llm_shape(llms["dense"])
    counts = {linear.name: linear.params for linear in shape.linears}
    # 2 layers of 64 x (8 + 4 + 4 + 8) heads x 8, and of 3 x 64 x 256.
    assert counts == {"attention": 24_576, "dense_ffn": 98_304}
    assert shape.total_params == 24_576 + 98_304 + 2 * 64_000
    assert shape.active_params == 24_576 + 98_304 + 64_000
    assert shape.blocks == 4


def test_counts_of_experts(llms):
    shape = llm_shape(llms["moe"])
    counts = {linear.name: linear.params for linear in shape.linears}
    assert shape.expert_params == 3 * 64 * 32
    assert counts["shared_experts"] == 2 * 3 * 64 * 32
    assert counts["router"] == 2 * 64 * 16
    assert shape.total_params - shape.active_params == 2 * 14 * 6144 + 64_000


def test_counts_of_latent_experts_with_two_matrices(llms):
    llm = replace(llms["moe"], latent_size=16, ffn_matrices=2)
    shape = llm_shape(llm)
    counts = {linear.name: linear.params for linear in shape.linears}
    assert shape.expert_params == 2 * 16 * 32
    assert counts["latent"] == 2 * 2 * 64 * 16
    assert shape.expert_width == 16


def test_counts_of_latent_attention(llms):
    shape = llm_shape(llms["mla"])
    counts = {linear.name: linear.params for linear in shape.linears}
    query = 16 * (64 + 8 * 12)
    latent = 64 * 36 + 32 * 8 * 16
    assert counts["attention"] == 2 * (query + latent + 8 * 8 * 64)
    (attention,) = shape.attention
    assert attention.elements == 2 * 36
    assert attention.decode_flops == 2 * 2 * 8 * (32 + 32 + 4)
    assert attention.pair_flops == 2 * 2 * 8 * (8 + 4 + 8)
    assert attention.expand_flops == 2 * 2 * 32 * 8 * 16


def test_window_layers_are_apart(llms):
    full, local = llm_shape(llms["windowed"]).attention
    assert (full.window, local.window) == (None, 10)
    assert full.elements == local.elements == 2 * 4 * 8
    assert full.pair_flops == 4 * 8 * 8


def test_an_attention_without_a_law_is_refused(llms):
    with pytest.raises(CapacityError, match="differential"):
        llm_shape(replace(llms["dense"], attention="differential"))


def test_windows_in_every_layer_are_refused(llms):
    """No KV grows then, so blocks of it cannot be counted: it was a division by zero."""
    llm = replace(llms["dense"], kv_layers=0, window_layers=2, window=16)
    with pytest.raises(CapacityError, match="no layer keeps the whole context"):
        llm_shape(llm)


def test_a_dense_llm_may_have_layers_without_a_network(llms):
    """Hybrids without experts: of 2 layers one has it."""
    whole, half = (llm_shape(replace(llms["dense"], dense_layers=count)) for count in (2, 1))
    assert whole.total_params - half.total_params == 3 * 64 * 256
    assert (whole.blocks, half.blocks) == (4, 3)
