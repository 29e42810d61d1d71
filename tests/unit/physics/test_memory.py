from dataclasses import replace

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError
from factorysim.physics.drafts import mtp_head
from factorysim.physics.memory import (
    Beside,
    kv_blocks,
    kv_bytes_per_token,
    sequence_bytes,
    weight_bytes,
)
from factorysim.spec.kv import KvSpec
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec

BF16 = PrecisionSpec()


def test_weights_by_class(llms):
    size = weight_bytes(llms["moe"], PrecisionSpec(weights="fp8", compute="fp8"))
    assert size.attention == 24_576
    assert size.shared_experts == 2 * 6144
    assert size.routed_experts == 2 * 16 * 6144
    assert size.router == 2 * 2 * 64 * 16  # BF16
    assert size.embeddings == size.head == 2 * 64_000
    assert size.total == 24_576 + 12_288 + 196_608 + 4096 + 256_000


def test_tied_embeddings_are_held_once(llms):
    size = weight_bytes(replace(llms["dense"], tied_embeddings=True), BF16)
    assert size.head == 0
    assert size.total == 2 * (24_576 + 98_304 + 64_000)


def test_gpt_oss_in_mxfp4_takes_what_its_card_says():
    """60.8 GiB of checkpoint (gpt-oss model card, arXiv:2508.10925, table 1)."""
    size = weight_bytes(load_catalog().llm("gpt_oss_120b"), PrecisionSpec(weights="mxfp4"))
    assert size.total == pytest.approx(60.8 * 2**30, rel=0.01)


@pytest.mark.parametrize(("tp", "size"), [(1, 256), (2, 128), (3, 128), (4, 64), (8, 64)])
def test_kv_is_cut_by_heads_and_copied_beyond_them(llms, tp, size):
    # 2 layers x (key, value) x 4 heads x 8 x 2 B = 256 B.
    assert kv_bytes_per_token(llms["dense"], BF16, ParallelSpec(tp=tp)) == size


def test_latents_are_held_by_every_device(llms):
    for tp in (1, 2, 8):
        assert kv_bytes_per_token(llms["mla"], BF16, ParallelSpec(tp=tp)) == 2 * 36 * 2


def test_window_layers_take_room_per_sequence(llms):
    parallel = ParallelSpec(tp=2)
    assert kv_bytes_per_token(llms["windowed"], BF16, parallel) == 64
    assert sequence_bytes(llms["windowed"], BF16, parallel) == 10 * 64


def test_recurrent_state_is_fp32_and_cut(llms):
    llm = replace(llms["dense"], state_bytes_per_sequence=4096.0)
    assert sequence_bytes(llm, BF16, ParallelSpec(tp=2)) == 2048


def test_blocks_fill_usable_memory(llms, device):
    """Usable bytes bound the cache and the blocks given, whatever the vendor's figure."""
    kv = KvSpec(memory_fraction=0.5, workspace="49120 B")
    other = replace(device, memory_bytes=1.0, usable_memory_bytes=1e6)
    assert kv_blocks(llms["dense"], other, BF16, ParallelSpec(tp=2), kv) == 200_000 // 2048
    given = KvSpec(blocks=(1_000_000 - 250_880) // 2048)
    assert kv_blocks(llms["dense"], other, BF16, ParallelSpec(tp=2), given) == given.blocks
    more = KvSpec(blocks=given.blocks + 1)
    with pytest.raises(CapacityError, match="KV blocks"):
        kv_blocks(llms["dense"], other, BF16, ParallelSpec(tp=2), more)


def test_two_h100_hold_about_13_percent_more_than_their_80_gb():
    """Llama-70B in FP8, `reference/fit_notes.md` 4.7: 70 GB of weights, a workspace of 3 GB."""
    catalog = load_catalog()
    device, fp8 = catalog.device("h100_sxm"), PrecisionSpec(weights="fp8", compute="fp8")
    llm = catalog.llm("llama_3_1_70b")
    found, stated = (
        kv_blocks(llm, one, fp8, ParallelSpec(tp=2), KvSpec())
        for one in (device, replace(device, usable_memory_bytes=None))
    )
    assert found / stated == pytest.approx(1.13, abs=0.03)


def test_blocks_are_what_memory_leaves(llms, device):
    # 0.5 x 1 MB - 501,760 / 2 of weights - 49,120 = 200,000 B; blocks of 16 x 128 B.
    small = replace(device, memory_bytes=1e6)
    kv = KvSpec(memory_fraction=0.5, workspace="49120 B")
    assert kv_blocks(llms["dense"], small, BF16, ParallelSpec(tp=2), kv) == 200_000 // 2048


def test_state_of_running_sequences_is_set_aside(llms, device):
    small = replace(device, memory_bytes=1e6)
    kv = KvSpec(memory_fraction=0.5, workspace="49120 B")
    llm = replace(llms["dense"], state_bytes_per_sequence=2000.0)
    blocks = kv_blocks(llm, small, BF16, ParallelSpec(tp=2), kv, sequences=100)
    assert blocks == 100_000 // 2048
    with pytest.raises(CapacityError, match=r"lower serving\.max_sequences"):
        kv_blocks(llm, small, BF16, ParallelSpec(tp=2), kv, sequences=1000)


def test_weights_that_do_not_fit_are_refused_with_the_arithmetic(llms, device):
    small = replace(device, memory_bytes=5e5)
    with pytest.raises(CapacityError, match=r"0\.0005018 GB of weights") as caught:
        kv_blocks(llms["dense"], small, BF16, ParallelSpec(), KvSpec(workspace="0 B"))
    assert "more tp" in str(caught.value)


def test_blocks_given_outright_are_taken_if_they_fit(llms, device):
    kv = KvSpec(blocks=77)
    assert kv_blocks(llms["dense"], device, BF16, ParallelSpec(), kv) == 77
    with pytest.raises(CapacityError, match="1000000 KV blocks") as refused:
        kv_blocks(llms["dense"], device, BF16, ParallelSpec(), KvSpec(blocks=1_000_000), 8)
    [fault] = refused.value.faults
    assert fault.cure.startswith("fewer serving.kv.blocks, ")
    assert "workspace" not in fault.found  # which blocks given outright do not wait for


def test_what_drafts_keep_for_a_sequence_is_set_aside(llms, device):
    """As above: 200,000 B for blocks, 1,000 of them for each of 100 sequences."""
    small = replace(device, memory_bytes=1e6)
    kv = KvSpec(memory_fraction=0.5, workspace="49120 B")
    beside = Beside(sequence=1000.0)
    blocks = kv_blocks(llms["dense"], small, BF16, ParallelSpec(tp=2), kv, 100, beside)
    assert blocks == (200_000 - 100_000) // 2048


def test_the_way_into_an_mtp_head_is_held(llms):
    """Two hidden states of 64 to one: 8,192 weights beside a layer's FFN of 49,152."""
    head = mtp_head(replace(llms["dense"], mtp_layers=1))
    assert weight_bytes(head, BF16).dense_ffn == 2 * (49_152 + 2 * 64 * 64)


def test_recurrent_layers_weigh_with_attention(llms):
    """Mamba-2 of 4 heads of 16, a group of 8: in 64 x 148, convolution 80 x 4, out 64 x 64."""
    llm = replace(
        llms["dense"], kv_layers=1, mamba_layers=1, mamba_heads=4, mamba_head_dim=16,
        mamba_groups=1, mamba_state_dim=8, mamba_conv_kernel=4,
    )  # fmt: skip
    mixers = 12_288 + 64 * (2 * 64 + 2 * 8 + 4) + 80 * 4 + 64 * 64
    assert weight_bytes(llm, BF16).attention == 2 * mixers


def test_what_is_selected_from_is_kept_by_the_token_not_by_the_sequence(llms):
    assert sequence_bytes(llms["sparse"], BF16, ParallelSpec()) == 0
    # A latent of 36 in BF16 and a key of 5 B, in two layers
    assert kv_bytes_per_token(llms["sparse"], BF16, ParallelSpec()) == 2 * (36 * 2 + 5)


@pytest.mark.parametrize("given", [None, 2])
def test_the_last_block_fits_to_the_byte(llms, device, given):
    """501,760 B of weights and blocks of 4,096; those given outright have all of the memory."""
    fraction = 1.0 if given is None else 0.1
    kv = KvSpec(blocks=given, memory_fraction=fraction, workspace="0 B")
    needed = 501_760 + 4096 * (given or 1)
    exact = replace(device, memory_bytes=needed)
    assert kv_blocks(llms["dense"], exact, BF16, ParallelSpec(), kv) == (given or 1)
    short = replace(device, memory_bytes=needed - 1)
    with pytest.raises(CapacityError, match="KV blocks"):
        kv_blocks(llms["dense"], short, BF16, ParallelSpec(), kv)


def test_nothing_is_beside_unless_said():
    assert Beside() == (0, 0, 0)
