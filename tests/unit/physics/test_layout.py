"""KV blocks of layouts: what memory leaves on a rank, or on the fullest stage."""

from __future__ import annotations

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
    room = 0.9 * H200.memory_bytes - held - 3e9
    assert blocks(V3, dp=8, ep=8) == 8 * int(room // (16 * 61 * 576))


def test_the_fullest_stage_bounds_a_pipeline():
    """126 layers in two stages: each has half the layers and one of two tables."""
    weights = weight_bytes(LLAMA, FP8)
    assert weights.embeddings == weights.head
    room = 0.9 * H200.memory_bytes - weights.total / 16 - 3e9
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
