"""KV that moves, by hand from the shapes of the catalog's LLMs."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.physics.handoff import KvState, kv_state
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec

CATALOG = load_catalog()
FP8 = PrecisionSpec(weights="fp8", compute="fp8", kv="fp8")


def state(llm, tp=1):
    return kv_state(load_catalog().llm(llm), FP8, ParallelSpec(tp=tp))


def test_heads_are_cut_over_devices_and_latents_copied():
    """Llama 3.1 70B keeps 2 x 80 layers x 8 heads x 128; DeepSeek-V3 a latent of 576 in 61."""
    assert state("llama_3_1_70b", tp=4).moved(100, 0) == 100 * 2 * 80 * 2 * 128
    assert state("llama_3_1_70b", tp=16).moved(1, 0) == 2 * 80 * 1 * 128
    assert state("deepseek_v3", tp=8).moved(100, 60) == 40 * 61 * 576


def test_windows_and_recurrent_state_come_whole():
    """gpt-oss-120b slides over 128 tokens in 18 of 36 layers; Nemotron 3 Nano keeps a state."""
    oss = state("gpt_oss_120b")
    per_layer = 2 * 8 * 64
    assert oss.moved(1000, 992) == 8 * 18 * per_layer + 128 * 18 * per_layer
    assert oss.moved(50, 0) == 50 * 36 * per_layer
    nano = state("nemotron_3_nano")
    assert nano.state_bytes > 0
    assert nano.moved(10, 0) == round(10 * nano.token_bytes + nano.state_bytes)
    assert nano.moved(10, 10) == 0


def test_what_sparse_attention_selects_from_moves_with_its_keys():
    """DeepSeek-V3.2: a latent of 576 and a key of 132 B in 61 layers, selected or not."""
    sparse = state("deepseek_v3_2", tp=8)
    assert (sparse.window, sparse.state_bytes) == (0, 0)
    assert sparse.moved(5000, 1000) == 4000 * 61 * (576 + 132)


def test_compressed_entries_move_with_the_last_tokens_as_they_are():
    four = state("deepseek_v4_pro")
    assert four.window == 128
    assert four.window_bytes == 61 * 512
    pending = 4 * (30 * 8 * 4 * 640 + 31 * 128 * 2 * 512)
    assert four.moved(10_000, 0) == 10_000 * 4924 + 128 * 61 * 512 + pending


def test_a_stage_has_its_part_of_everything():
    """Of four layers in two stages: half of each kind of byte; windows are as long."""
    whole = KvState(100.0, 10.0, 8, 1000.0, layers=4)
    assert whole.part(2) == KvState(50.0, 5.0, 8, 500.0, layers=4)
    # 4 tokens, 8 in the window, and the state
    assert whole.part(2).moved(20, held=16) == 4 * 50 + 8 * 5 + 500


def test_windows_and_state_are_cut_over_devices():
    """gpt-oss-120b has 8 KV heads of 64; Nemotron 3 Nano's state is that of its Mamba layers."""
    bf16 = PrecisionSpec()
    for tp, heads in ((1, 8), (2, 4), (8, 1), (16, 1)):
        oss = kv_state(CATALOG.llm("gpt_oss_120b"), bf16, ParallelSpec(tp=tp))
        assert oss.window_bytes == 18 * 2 * heads * 64 * 2
        assert oss.window == 128
    nano = CATALOG.llm("nemotron_3_nano")
    mamba = nano.mamba_layers * nano.mamba_heads * nano.mamba_head_dim * nano.mamba_state_dim
    for tp in (1, 2):
        kept = kv_state(nano, bf16, ParallelSpec(tp=tp)).state_bytes
        assert kept == pytest.approx(4 * mamba / tp, rel=0.05)
        assert kept * tp == nano.state_bytes_per_sequence
    assert kv_state(nano, bf16, ParallelSpec()).window == 0
