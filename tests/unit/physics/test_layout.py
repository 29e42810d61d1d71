"""KV blocks of layouts: what memory leaves on a rank, or on the fullest stage."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError
from factorysim.physics.layout import replica_blocks
from factorysim.physics.memory import kv_blocks, weight_bytes
from factorysim.spec.kv import KvSpec
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec
from tests.unit.physics.conftest import DENSE, DEVICE, WINDOWED

CATALOG = load_catalog()
FP8 = PrecisionSpec(weights="fp8", compute="fp8", kv="fp8")
V3, LLAMA = CATALOG.llm("deepseek_v3"), CATALOG.llm("llama_3_1_405b")
H200 = CATALOG.device("h200_sxm")


def blocks(llm, **widths):
    return replica_blocks(llm, H200, FP8, ParallelSpec(**widths), KvSpec(), 256)


def test_plain_replicas_are_as_before():
    plain = kv_blocks(V3, H200, FP8, ParallelSpec(tp=8), KvSpec(), 256)
    assert blocks(V3, tp=8) == plain


def test_a_rank_holds_all_but_its_share_of_the_experts():
    """DeepSeek-V3: a latent is 61 x 576 bytes, held once a rank and not on each device."""
    weights = weight_bytes(V3, FP8)
    held = weights.total - weights.routed_experts * 7 / 8
    room = 0.9 * H200.capacity_bytes - held - 3e9
    assert blocks(V3, dp=8, ep=8) == 8 * int(room // (16 * 61 * 576))


def test_the_fullest_stage_bounds_a_pipeline():
    """126 layers in two stages: each has half the layers and one of two tables."""
    weights = weight_bytes(LLAMA, FP8)
    assert weights.embeddings == weights.head
    room = 0.9 * H200.capacity_bytes - weights.total / 16 - 3e9
    token = 63 * 2 * 128  # one of the 8 KV heads on each device
    assert blocks(LLAMA, tp=8, pp=2) == pytest.approx(room / (16 * token), abs=1)


@given(dp=st.integers(1, 63))
def test_more_ranks_never_have_fewer_blocks(dp):
    assert blocks(V3, tp=8, dp=dp + 1) >= blocks(V3, tp=8, dp=dp)


@given(pp=st.integers(1, 60))
def test_more_stages_never_have_fewer_blocks_where_they_divide(pp):
    if LLAMA.layers % pp == 0 and LLAMA.layers % (2 * pp) == 0:
        assert blocks(LLAMA, tp=8, pp=2 * pp) >= blocks(LLAMA, tp=8, pp=pp)


def test_what_does_not_fit_is_told_with_its_stage():
    with pytest.raises(CapacityError, match="each device of stage 1 of 2"):
        blocks(LLAMA, pp=2)
    with pytest.raises(CapacityError, match="each device of a rank"):
        blocks(V3, dp=2)


SMALL = replace(DEVICE, memory_bytes=1e6)
BF16 = PrecisionSpec()


def small_blocks(llm, parallel, sequences=0):
    kv = KvSpec(memory_fraction=0.7, workspace="48240 B")
    return replica_blocks(llm, SMALL, BF16, parallel, kv, sequences)


def test_the_last_stage_has_the_head():
    """Both kinds of attention fall to the second layer; a stage has 61,440 weights and a table.

    700,000 - 48,240 - 122,880 - 128,000 B, less ten windows of 10 x 128 B; 16 x 128 B a block.
    """
    left = 700_000 - 48_240 - 122_880 - 128_000 - 10 * 10 * 128
    assert small_blocks(WINDOWED, ParallelSpec(pp=2), 10) == left // (16 * 128)


def test_a_rank_holds_a_tied_table_once():
    """245,760 B of layers, and one or two tables of 128,000; 16 x 256 B a block, on two ranks."""
    tied = replace(DENSE, tied_embeddings=True)
    left = 700_000 - 48_240 - 245_760
    assert small_blocks(tied, ParallelSpec(dp=2)) == 2 * ((left - 128_000) // 4096)
    assert small_blocks(DENSE, ParallelSpec(dp=2)) == 2 * ((left - 256_000) // 4096)


def test_the_last_block_of_a_rank_fits_to_the_byte():
    """501,760 B of weights and 4,096 a block; blocks given outright have all of the memory."""
    for some, fraction in ((None, 1.0), (3, 0.1)):
        kv = KvSpec(blocks=some, memory_fraction=fraction, workspace="0 B")
        needed = 501_760 + 4096 * (some or 1)
        exact = replace(DEVICE, memory_bytes=needed)
        assert replica_blocks(DENSE, exact, BF16, ParallelSpec(dp=2), kv) == 2 * (some or 1)
        short = replace(DEVICE, memory_bytes=needed - 1)
        with pytest.raises(CapacityError, match=r"parallel\.dp"):
            replica_blocks(DENSE, short, BF16, ParallelSpec(dp=2), kv)


def test_a_stage_that_keeps_no_token_must_fit_as_well():
    """Of two layers the first has neither kind of attention: it is bounded by its weights alone."""
    kv = KvSpec(memory_fraction=1.0, workspace="0 B")
    # A stage: half of the projections, 49,152 of FFN, a table; the last has a block besides.
    stage = 2 * (12_288 + 49_152 + 64_000)
    exact = replace(DEVICE, memory_bytes=stage + 16 * 128)
    assert replica_blocks(WINDOWED, exact, BF16, ParallelSpec(pp=2), kv) == 1
    with pytest.raises(CapacityError, match="stage 1 of 2"):
        replica_blocks(
            WINDOWED, replace(DEVICE, memory_bytes=stage - 1), BF16, ParallelSpec(pp=2), kv
        )
