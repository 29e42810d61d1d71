"""Every LLM builds with shapes that close on its parameter count, or says what it lacks."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError

CATALOG = load_catalog()
LACKING = {
    "nemotron_4_coalition": {"layers", "hidden_size", "vocab_size", "total_params"},
    "gpt_moe_2t_nvidia": {"ffn.experts", "ffn.experts_active", "vocab_size"},
}
BUILT = [name for name in CATALOG.ids("llms") if name not in LACKING]


def attention_parameters(llm):
    """Of one attention layer by kind, then of all; Vaswani 2017, DeepSeek-V2 section 2.1."""
    hidden, heads = llm.hidden, llm.heads

    def grouped(kv_heads, head_dim, tensors=2):
        return hidden * head_dim * (2 * heads + tensors * kv_heads)

    def latent():
        query = llm.qk_nope_head_dim + llm.qk_rope_head_dim
        keys = llm.qk_nope_head_dim + llm.v_head_dim
        return (
            hidden * llm.q_lora_rank
            + llm.q_lora_rank * heads * query
            + hidden * (llm.kv_lora_rank + llm.qk_rope_head_dim)
            + llm.kv_lora_rank * heads * keys
            + heads * llm.v_head_dim * hidden
        )

    if llm.attention == "compressed_sparse_mqa":
        # The grouped output projection and the indexer, under 1 % of the total, are left out.
        query = hidden * llm.q_lora_rank + llm.q_lora_rank * heads * llm.head_dim
        return llm.layers * (query + hidden * llm.head_dim)
    full = latent() if llm.kv_lora_rank else grouped(llm.kv_heads, llm.head_dim)
    window = full
    if llm.global_head_dim:
        tensors = 1 if llm.k_eq_v_global else 2
        full = grouped(llm.global_kv_heads, llm.global_head_dim, tensors)
    return llm.kv_layers * full + llm.window_layers * window + recurrent_parameters(llm)


def recurrent_parameters(llm):
    """Mamba-2 (Dao and Gu 2024, section 7) and linear attention layers."""
    total = 0
    if llm.mamba_layers:
        inner = llm.mamba_heads * llm.mamba_head_dim
        states = 2 * llm.mamba_groups * llm.mamba_state_dim
        total += llm.mamba_layers * llm.hidden * (3 * inner + states + llm.mamba_heads)
    if llm.linear_attention_layers:
        # Five full-rank projections, as the record's own count says.
        total += llm.linear_attention_layers * 5 * llm.hidden * llm.heads * llm.v_head_dim
    return total


def parameters(llm):
    """Total from the shapes; norms and biases left out."""
    matrices, hidden = llm.ffn_matrices, llm.hidden
    width = llm.latent_size or hidden
    ffn = llm.dense_layers * matrices * hidden * (llm.dense_intermediate or 0)
    if llm.ffn_kind == "moe":
        routed = llm.experts * matrices * width * llm.expert_intermediate + hidden * llm.experts
        shared = llm.shared_experts * matrices * hidden * (llm.shared_intermediate or 0)
        into_latent = 2 * hidden * width if llm.latent_size else 0
        ffn += llm.moe_layers * (routed + shared + into_latent)
    embeddings = llm.vocab * hidden * (1 if llm.tied_embeddings else 2)
    return embeddings + ffn + attention_parameters(llm)


@pytest.mark.parametrize("name", BUILT)
def test_shapes_close_on_the_parameter_count(name):
    """Within 2 % of the count that the record gives; a shape off by 5 % would show."""
    llm = CATALOG.llm(name)
    check = CATALOG.facts[f"llms.{name}.param_check"].value
    assert parameters(llm) == pytest.approx(check, rel=0.02)


@pytest.mark.parametrize("name", BUILT)
def test_every_llm_is_whole(name):
    llm = CATALOG.llm(name)
    assert llm.id == name
    assert 0 < llm.active_params <= llm.total_params
    assert llm.kv_layers + llm.window_layers <= llm.layers
    assert llm.dense_layers + llm.moe_layers <= llm.layers
    assert (llm.window is None) or llm.window_layers or llm.attention != "gqa"
    if llm.attention == "gqa":
        assert llm.heads % llm.kv_heads == 0
    if llm.attention == "mla":
        assert llm.kv_lora_rank
        assert llm.kv_heads is None
    if llm.ffn_kind == "dense":
        assert llm.dense_intermediate == llm.intermediate
        assert llm.experts is None
    else:
        assert 0 < llm.experts_active < llm.experts
        assert llm.intermediate is None
    assert set(llm.facts) <= set(CATALOG.facts)


@pytest.mark.parametrize("name", LACKING)
def test_an_llm_without_shapes_lists_but_does_not_build(name):
    assert CATALOG.record("llms", name)["name"]
    with pytest.raises(CapacityError) as refused:
        CATALOG.llm(name)
    keys = {fault.key.removeprefix(f"llms.{name}.") for fault in refused.value.faults}
    assert keys >= LACKING[name]


@pytest.mark.parametrize("name", [name for name in BUILT if CATALOG.llm(name).attention == "gqa"])
def test_kv_of_full_layers_is_what_the_record_counts(name):
    """Keys and values of the full layers: layers x heads x head size x 2."""
    llm = CATALOG.llm(name)
    heads, size = llm.global_kv_heads or llm.kv_heads, llm.global_head_dim or llm.head_dim
    assert llm.kv_elements_per_token == llm.kv_layers * heads * size * 2


def test_mistral_large_3_has_the_shapes_of_its_card():
    llm = CATALOG.llm("mistral_large_3")
    assert (llm.layers, llm.hidden, llm.heads) == (61, 7168, 128)
    assert (llm.experts, llm.experts_active, llm.shared_experts) == (128, 4, 1)
    assert (llm.dense_layers, llm.moe_layers) == (3, 58)
    assert (llm.total_params, llm.active_params) == (675e9, 41e9)
    assert llm.native_precision == "fp8"


def test_ffns_without_a_gate_have_two_matrices():
    names = ("nemotron_3_nano", "nemotron_3_super", "nemotron_3_ultra", "bloom_176b", "phi_2")
    two = {name for name in BUILT if CATALOG.llm(name).ffn_matrices == 2}
    assert two == set(names)
