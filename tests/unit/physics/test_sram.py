"""The pipeline of chips against arithmetic by hand; any 5 % change of an equation fails here.

The tiny LLM in FP8: 122,880 B of weights in layers, 128,000 B each of embeddings and LM head
(BF16), 128 B of KV and 512 FLOP of attention a token; chips of 50 kB at 1e9 B/s, 4 a rack.
"""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.catalog.values import Sram
from factorysim.errors import CapacityError
from factorysim.physics.collectives import Links
from factorysim.physics.sram import Chips, round_s, sram_blocks, sram_law, sram_stages
from factorysim.spec.kv import KvSpec
from factorysim.spec.layout import ParallelSpec, SramSpec
from factorysim.spec.llm import PrecisionSpec
from tests.unit.physics.conftest import DENSE, DEVICE, IDEAL, MOE, WINDOWED, make_runs

FP8 = PrecisionSpec(weights="fp8", compute="fp8", kv="fp8")
CHIP = replace(
    DEVICE,
    kind="lpu",
    memory_bytes=50_000.0,
    flops={"fp8": 2e11},
    sram=Sram(1e-6, 4, 5e-6, 1e6, 20_000.0, 1e7),
)
LINKS = Links(1e9, 1e-6, 4)
US = 10**9
EXACT = {"rel": 1e-9}
STAGE_US = 61.44 + 64.0 + 4.48 + 0.064 + 4 * 2 * 1.0 + 0.512
"""Of two chips and one token: weights, head, activations, KV to write; four sums of two hops,
half of 128 B each way."""
HOPS_US = 6 * 1.0 + 2 * 2 * 1.0
"""Six stages over three racks: a hop each, and two racks further there and back."""
SENT_US = 6 * 128 / 2e9 * 1e6


def make_law(llm=DENSE, *, stages=6, tp=2, device=CHIP, kv="sram", skew=0.0, ep=1, **factors):
    return sram_law(
        llm,
        device,
        FP8,
        ParallelSpec(tp=tp, ep=ep),
        SramSpec(kv=kv),
        Chips(stages, tp, 4),
        LINKS,
        replace(IDEAL, **factors),
        "full",
        skew,
    )


def microseconds(femtoseconds):
    return femtoseconds / US


def test_bytes_set_the_number_of_stages():
    """(378,880 / 2 + 1,008 x 64) / 45,000 = 5.64."""
    spec = SramSpec(kv_tokens=1000)
    assert sram_stages(DENSE, CHIP, FP8, ParallelSpec(tp=2), spec, KvSpec(), 8) == 6
    assert sram_stages(DENSE, CHIP, FP8, ParallelSpec(tp=2), SramSpec(), KvSpec(), 8) == 11
    one = sram_stages(DENSE, CHIP, FP8, ParallelSpec(tp=1), spec, KvSpec(), 8)
    assert one == 12  # (378,880 + 1,008 x 128) / 45,000 = 11.3
    assert sram_stages(DENSE, CHIP, FP8, ParallelSpec(), SramSpec(kv="dram"), KvSpec(), 8) == 9
    assert sram_stages(DENSE, CHIP, FP8, ParallelSpec(), SramSpec(stages=20), KvSpec(), 8) == 20


def test_state_of_sequences_is_set_aside():
    llm = replace(DENSE, state_bytes_per_sequence=4000.0)
    spec = SramSpec(kv_tokens=16)
    few, many = (sram_stages(llm, CHIP, FP8, ParallelSpec(), spec, KvSpec(), n) for n in (1, 100))
    assert (few, many) == (9, 18)  # 384,928 and 780,928 B


def test_state_counts_to_the_sequence():
    """378,880 + 16 x 128 + 4,000 each: 808,928 B of 107 fit 18 x 45,000, those of 108 do not."""
    llm = replace(DENSE, state_bytes_per_sequence=4000.0)
    spec = SramSpec(kv_tokens=16)
    stages = [sram_stages(llm, CHIP, FP8, ParallelSpec(), spec, KvSpec(), n) for n in (107, 108)]
    assert stages == [18, 19]


def test_what_is_left_are_blocks():
    """6 x 45,000 - 189,440 = 80,560 B; 16 tokens of 64 B a block."""
    parallel = ParallelSpec(tp=2)
    spec = SramSpec(stages=6)
    assert sram_blocks(DENSE, CHIP, FP8, parallel, spec, 6, KvSpec(), 8) == 78
    in_dram = SramSpec(kv="dram", stages=6)
    assert sram_blocks(DENSE, CHIP, FP8, parallel, in_dram, 6, KvSpec(), 8) == 105
    with pytest.raises(CapacityError, match=r"0\.0003789 GB of weights"):
        sram_blocks(DENSE, CHIP, FP8, parallel, SramSpec(stages=4), 4, KvSpec(), 8)
    with pytest.raises(CapacityError, match="100 KV blocks"):
        sram_blocks(DENSE, CHIP, FP8, parallel, spec, 6, KvSpec(blocks=100), 8)


@pytest.mark.parametrize("part", ["weights", "compute", "kv"])
def test_other_formats_than_the_chips_are_refused(part):
    form = FP8.model_copy(update={part: "bf16"})
    with pytest.raises(CapacityError, match=rf"precision\.{part}: found bf16, expected one of fp8"):
        sram_stages(DENSE, CHIP, form, ParallelSpec(), SramSpec(), KvSpec(), 8)


def test_a_token_goes_through_all_stages():
    law = make_law()
    expected = STAGE_US + HOPS_US + SENT_US
    assert microseconds(law.base(1, 0, 0, 1)) == pytest.approx(expected, **EXACT)


def test_links_at_half_their_rate_take_twice_as_long_for_sums_and_for_what_is_sent_on():
    law = make_law(link_bandwidth=0.5)
    expected = STAGE_US + 0.512 + HOPS_US + 2 * SENT_US
    assert microseconds(law.base(1, 0, 0, 1)) == pytest.approx(expected, **EXACT)
    assert law.hop_token_s == pytest.approx(128 / (2 * 0.5e9), **EXACT)


def test_depth_takes_sequences_for_nothing_until_the_pipe_is_full():
    law = make_law()
    assert law.base(6, 0, 0, 6) == law.base(1, 0, 0, 1)
    more = microseconds(law.base(7, 0, 0, 7) - law.base(6, 0, 0, 6))
    assert more == pytest.approx(4.48 + 0.064 + 0.512 + SENT_US, **EXACT)
    assert law.base(12, 0, 0, 12) == law.base(7, 0, 0, 7)


def test_one_stage_has_no_hops():
    law = make_law(stages=1)
    assert microseconds(law.base(1, 0, 0, 1)) == pytest.approx(STAGE_US, **EXACT)


def test_a_prompt_that_ends_drains_the_pipe():
    """60 tokens, ten a micro-batch; five sixths of the round again."""
    law = make_law()
    on = law.base(0, 60, 1, 0)
    without_head = STAGE_US - 64.0 + 9 * (4.48 + 0.064 + 0.512) + HOPS_US + 10 * SENT_US
    assert microseconds(on) == pytest.approx(without_head, **EXACT)
    ended = law.base(0, 60, 1, 1)
    whole = without_head + 64.0
    assert microseconds(ended) == pytest.approx(whole * (1 + 5 / 6), rel=1e-9)


def test_racks_further_away_take_longer():
    assert round_s(CHIP, Chips(6, 2, 4)) == pytest.approx(1e-5)
    assert round_s(CHIP, Chips(2, 2, 4)) == pytest.approx(2e-6)
    assert round_s(CHIP, Chips(1, 2, 4)) == 0.0


def test_decodes_read_the_cache_of_their_micro_batch():
    law = make_law()
    assert law.piece(1, 500) == (0, 64 * 10**6, None)  # 64 B at 1e9 B/s
    assert law.piece(6, 500) == (0, round(64e6 / 6), None)
    assert law.piece(8, 500) == (0, round(64e6 * 2 / 8), None)


def test_kv_in_dram_is_read_at_its_bandwidth():
    law = make_law(kv="dram")
    assert law.piece(1, 500).slope_fs == 100 * 64 * 10**6
    extra = law.base(1, 0, 0, 1) - make_law().base(1, 0, 0, 1)
    assert microseconds(extra) == pytest.approx(99 * 0.064, **EXACT)  # KV to write


def test_windows_count_by_the_mean_context():
    law = make_law(WINDOWED)
    assert law.window is None
    assert law.piece(3, 29) == (0, round(32e6 / 3) * 2, 30)
    assert law.piece(3, 30) == (round(32e6 / 3) * 30, round(32e6 / 3), None)
    inside, outside = law.piece(3, 29), law.piece(3, 30)
    meets = inside.fixed_fs + inside.slope_fs * 30
    assert meets == outside.fixed_fs + outside.slope_fs * 30


def test_the_last_micro_batch_of_a_chunk_sees_the_most():
    """A sixth of 60 tokens after 100 + 50: 512 / 2 FLOP a pair at 2e11, or 64 B a token."""
    law = make_law(attention_compute=1e-3)
    pair_s = 256 / 2e8
    own = 10 * 11 / 2 * pair_s
    assert microseconds(law.chunk(60, 100)) == pytest.approx(
        (own + 150 * 10 * pair_s) * 1e6, rel=1e-6
    )
    assert law.chunk_slope(60) == round(10 * pair_s * 1e15)
    assert law.chunk(60, 100) - law.chunk(60, 0) == 100 * law.chunk_slope(60)


def test_host_work_is_counted_once_a_round():
    law = make_law(host_step_s=1e-3, sequence_s=1e-5)
    assert microseconds(law.base(6, 0, 0, 6)) == pytest.approx(1060.0)


def test_all_chips_are_busy_with_their_stage():
    """Six sequences, one a stage: each reads the weights; a chip is at it for a sixth of each."""
    law = make_law()
    done = law.activity(make_runs(decodes=6, emitted_tokens=6, context_tokens=600))
    one = law.stage.activity(make_runs(decodes=1, emitted_tokens=1, context_tokens=100))
    assert done.flops[0] == pytest.approx(6 * one.flops[0])
    assert done.bytes_moved[0] == pytest.approx(6 * one.bytes_moved[0])
    assert done.memory_s[0] == pytest.approx(one.memory_s[0])
    assert done.compute_s[0] == pytest.approx(one.compute_s[0])
    sent = 6 * 6 * 128
    assert done.link_bytes[0] == pytest.approx(6 * one.link_bytes[0] + sent)
    assert done.link_s[0] == pytest.approx(one.link_s[0] + 6 * 128 / 2e9)


def test_activity_takes_windows_by_the_mean_context():
    law = make_law(WINDOWED)
    short = law.activity(make_runs(decodes=2, emitted_tokens=2, context_tokens=10))
    full = law.activity(make_runs(decodes=2, emitted_tokens=2, context_tokens=20))
    more = law.activity(make_runs(decodes=2, emitted_tokens=2, context_tokens=30))
    assert full.bytes_moved[0] - short.bytes_moved[0] == pytest.approx(10 * 128)
    assert more.bytes_moved[0] - full.bytes_moved[0] == pytest.approx(10 * 64)


def test_experts_are_read_for_each_micro_batch():
    law = make_law(MOE, skew=0.0)
    runs = make_runs(decodes=12, emitted_tokens=12)
    moved = law.activity(runs).bytes_moved[0]
    one = law.stage.activity(make_runs(decodes=2, emitted_tokens=2)).bytes_moved[0]
    assert moved == pytest.approx(6 * one)


@given(
    stages=st.integers(1, 20),
    tp=st.sampled_from([1, 2, 4]),
    decodes=st.integers(0, 60),
    tokens=st.integers(0, 60),
    faster=st.floats(1.0, 10.0),
)
def test_more_of_anything_never_slows_a_round(stages, tp, decodes, tokens, faster):
    prompts = int(tokens > 0)
    if not decodes + tokens:
        return
    counts = (decodes, tokens, prompts, decodes + prompts)
    slow = make_law(stages=stages, tp=tp)
    wide = replace(CHIP, memory_bandwidth=CHIP.memory_bandwidth * faster)
    near = replace(CHIP, sram=replace(CHIP.sram, hop_s=CHIP.sram.hop_s / faster))
    for device in (wide, near):
        assert make_law(stages=stages, tp=tp, device=device).base(*counts) <= slow.base(*counts)
    assert slow.base(*counts) <= slow.base(decodes + 1, *counts[1:3], counts[3] + 1)


def test_a_small_dense_llm_drafts_by_the_same_law():
    """Sixteen steps of a draft, or one of anything else: the seam is the same."""
    from factorysim.catalog import load_catalog
    from factorysim.catalog.efficiency import efficiency

    catalog = load_catalog()
    llm, lpu = catalog.llm("llama_3_1_8b"), catalog.device("groq3_lpu")
    parallel, spec = ParallelSpec(tp=8), SramSpec(kv_tokens=16_384)
    stages = sram_stages(llm, lpu, FP8, parallel, spec, KvSpec(), 16)
    law = sram_law(
        llm, lpu, FP8, parallel, spec, Chips(stages, 8, 256), Links(1.25e12, 3.5e-7, 256),
        efficiency(catalog, "lpu", "generic"), "full",
    )  # fmt: skip
    assert stages == 3  # 9.1 GB of weights, 1.1 GB of KV, 3.6 GB a stage
    assert 5e-5 < law.base(1, 0, 0, 1) / 1e15 < 2e-4
    assert np.all(law.activity(make_runs(decodes=1)).flops > 0)


@given(tokens=st.integers(1, 50_000), tp=st.sampled_from([1, 2, 4]), sequences=st.integers(1, 9))
def test_the_stages_hold_what_they_were_counted_for_and_one_less_does_not(tokens, tp, sequences):
    llm, parallel, spec = WINDOWED, ParallelSpec(tp=tp), SramSpec(kv_tokens=tokens)
    stages = sram_stages(llm, CHIP, FP8, parallel, spec, KvSpec(), sequences)
    wanted = -(-tokens // 16)

    def held(count):
        return sram_blocks(llm, CHIP, FP8, parallel, spec, count, KvSpec(), sequences)

    assert held(stages) >= wanted
    with contextlib.suppress(CapacityError):  # of not even the weights
        assert held(stages - 1) < wanted


def test_windows_lie_with_the_cache():
    """8 sequences of 10 tokens of 32 B a chip: in 6 x 18,000 B of DRAM, or 6 x 45,000 of SRAM."""
    parallel = ParallelSpec(tp=2)
    in_dram = SramSpec(kv="dram", stages=6)
    blocks = sram_blocks(WINDOWED, CHIP, FP8, parallel, in_dram, 6, KvSpec(), 8)
    assert blocks == (108_000 - 2_560) // (16 * 32)
    in_sram = sram_blocks(WINDOWED, CHIP, FP8, parallel, SramSpec(stages=6), 6, KvSpec(), 8)
    assert in_sram == (270_000 - 189_440 - 2_560) // (16 * 32)
    # (189,440 + 320,000 of 1,000 windows + 512 of 16 tokens) / 45,000 = 11.3, or 4.2 for weights
    spec = SramSpec(kv_tokens=16)
    assert sram_stages(WINDOWED, CHIP, FP8, parallel, spec, KvSpec(), 1000) == 12
    assert sram_stages(WINDOWED, CHIP, FP8, parallel, SramSpec(kv="dram"), KvSpec(), 1000) == 5


def test_state_stays_in_sram_where_the_cache_is_in_dram():
    """4,000 B of 100 sequences beside 378,880 of weights: 778,880 / 45,000 = 17.3."""
    llm = replace(DENSE, state_bytes_per_sequence=4000.0)
    assert sram_stages(llm, CHIP, FP8, ParallelSpec(), SramSpec(kv="dram"), KvSpec(), 100) == 18


def test_micro_batches_of_a_run_are_those_of_its_steps():
    """Two steps of three tokens read the weights six times; one token reads them once."""
    law = make_law()
    one = law.activity(make_runs(steps=1, prompts=1, prompt_tokens=3))
    two = law.activity(make_runs(steps=2, prompts=1, prompt_tokens=6))
    token = 2 * (4.48 + 0.064) * 1e3  # activations and KV, 4.48 and 0.064 us on each chip
    assert one.bytes_moved[0] == pytest.approx(3 * (122_880 + token))
    assert two.bytes_moved[0] == pytest.approx(6 * (122_880 + token))
    single = law.activity(make_runs(decodes=1, emitted_tokens=1))
    assert single.bytes_moved[0] == pytest.approx(122_880 + 128_000 + token)


def test_a_reach_of_one_rack_is_a_rack_away():
    """Published only beyond a hop: 5 us for what one rack holds."""
    near = replace(CHIP, sram=replace(CHIP.sram, reach_bytes=200_000.0))
    assert round_s(near, Chips(6, 2, 4)) == pytest.approx(6e-6 + 2 * 2 * 4e-6)
