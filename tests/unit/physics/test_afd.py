"""Attention apart from FFN: the law against hand arithmetic; test_afd_turns.py has the recurrence.

The tiny LLM in BF16: a block has 12,288 weights of attention here and 49,152 of FFN there,
and 64,000 of LM head; 256 B of KV a token over two layers.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.errors import CapacityError
from factorysim.physics.afd import Exchange, Side, afd_law, ffn_bytes, ffn_groups
from factorysim.physics.collectives import Links
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec
from factorysim.spec.split import AfdSplit
from tests.unit.physics.conftest import (
    COMPRESSED,
    DENSE,
    DEVICE,
    IDEAL,
    LINKS,
    MLA,
    MOE,
    SPARSE,
    WINDOWED,
    make_runs,
)
from tests.unit.physics.test_sram import CHIP, FP8

BF16 = PrecisionSpec()
OTHER = replace(DEVICE, id="other", memory_bandwidth=1e10)
NEAR = Exchange(1e9, 1e-6)
US = 10**9
EXACT = {"rel": 1e-9}
HERE_US = 12_288 * 2 / 1e9 * 1e6
"""To read a block's projections."""
STREAM_US = (10 * 64 + 3 * 64) * 2 / 1e9 * 1e6 + 128 / 1e9 * 1e6
"""A token's activations in a block, three of 64 inside, and its KV to write."""
THERE_US = 49_152 * 2 / 1e10 * 1e6
OVER_US = (2 * 64 + 960) * 2 / 1e10 * 1e6
"""A token comes and goes, and has 3 x (256 + 64) elements inside."""
HEAD_US = 128.0


def make_law(
    llm=DENSE,
    *,
    micro_batches=2,
    exchange=NEAR,
    there=OTHER,
    precision=BF16,
    tp=1,
    over_tp=1,
    ep=1,
    groups=2,
    skew=0.0,
    overlap="full",
    efficiency=IDEAL,
):
    split = AfdSplit(
        kind="afd", pool="lpx", parallel={"tp": over_tp, "ep": ep}, micro_batches=micro_batches
    )
    return afd_law(
        llm,
        precision,
        Side(DEVICE, ParallelSpec(tp=tp), LINKS, efficiency),
        Side(there, split.parallel, Links(1e9, 0.0, 8), efficiency),
        split,
        groups,
        exchange,
        overlap,
        skew,
    )


def microseconds(femtoseconds):
    return femtoseconds / US


def decode_us(law, decodes, context):
    piece = law.piece(decodes, context)
    assert piece.knot is None or context < piece.knot
    return microseconds(
        law.base(decodes, 0, 0, decodes) + piece.fixed_fs + piece.slope_fs * context
    )


def test_one_token_goes_there_and_back_in_every_block():
    law = make_law()
    way_us = HERE_US + STREAM_US + THERE_US + OVER_US + 2 * 0.128 + 2 * 1.0
    assert microseconds(law.base(1, 0, 0, 1)) == pytest.approx(2 * way_us + HEAD_US, **EXACT)


def test_two_micro_batches_take_turns():
    """Attention of the two binds; the first waits for nothing, the last one's way is drained."""
    law = make_law()
    here_us = HERE_US + STREAM_US
    way_us = here_us + THERE_US + OVER_US + 2 * 0.128 + 2.0
    assert 2 * here_us > way_us
    expected = 2 * 2 * here_us + (way_us - here_us) + HEAD_US
    assert microseconds(law.base(2, 0, 0, 2)) == pytest.approx(expected, **EXACT)
    assert microseconds(make_law(micro_batches=1).base(2, 0, 0, 2)) == pytest.approx(
        2 * (way_us + STREAM_US + OVER_US + 2 * 0.128) + HEAD_US, **EXACT
    )


def test_attention_is_hidden_until_it_binds():
    """A slow FFN and three micro-batches; KV of 128 B a token and block, a third of it each."""
    law = make_law(there=replace(OTHER, memory_bandwidth=1e9), micro_batches=3)
    there_us = (49_152 * 2 + (2 * 64 + 960) * 2) / 1e9 * 1e6
    here_us, rest_us = HERE_US + STREAM_US, there_us + 2 * 0.128 + 2.0
    hidden = law.piece(3, 0)
    assert hidden.knot == pytest.approx((there_us - here_us) / 0.128 * 3, abs=1)
    assert microseconds(law.base(3, 0, 0, 3)) == pytest.approx(
        2 * 3 * there_us + (here_us + rest_us - there_us) + HEAD_US, **EXACT
    )
    # Only the last micro-batch's own attention is seen: of one block.
    assert hidden.slope_fs == pytest.approx(0.128 / 3 * US, rel=1e-6)
    beyond = law.piece(3, hidden.knot)
    assert beyond.knot is None
    assert beyond.slope_fs == pytest.approx(2 * 3 * 0.128 / 3 * US, rel=1e-6)
    bound_us = here_us + 10_000 * 0.128 / 3
    assert decode_us(law, 3, 10_000) == pytest.approx(6 * bound_us + rest_us + HEAD_US, rel=1e-6)


def test_a_far_side_leaves_both_waiting():
    """Between what the FFN binds and what attention binds lies what the way itself takes."""
    law = make_law(there=replace(OTHER, memory_bandwidth=1e9), micro_batches=2)
    first = law.piece(2, 0)
    waiting = law.piece(2, first.knot)
    last = law.piece(2, law.piece(2, waiting.knot).knot)
    assert waiting.slope_fs == pytest.approx(2 * 0.064 * US, rel=1e-6)
    assert last.slope_fs == pytest.approx(4 * 0.064 * US, rel=1e-6)


@pytest.mark.parametrize("llm", [DENSE, MOE, MLA, WINDOWED, SPARSE, COMPRESSED])
@pytest.mark.parametrize("latency_s", [0.0, 6e-5, 1e-3])
def test_pieces_are_the_time_of_a_step(llm, latency_s):
    """At every context, to the rounding of a slope; and they meet at their knots."""
    law = make_law(llm, exchange=Exchange(1e9, latency_s), micro_batches=3, there=DEVICE)
    for decodes in (1, 2, 3, 5, 30):
        turns = law._turns(decodes, 0, 0)
        knots = [0]
        while (piece := law.piece(decodes, knots[-1])).knot is not None:
            after = law.piece(decodes, piece.knot)
            assert piece.fixed_fs + piece.slope_fs * piece.knot == (
                after.fixed_fs + after.slope_fs * piece.knot
            )
            assert piece.knot > knots[-1]
            knots.append(piece.knot)
        for context in [*knots, *[k + 1 for k in knots], *range(0, 30_000, 211), 1_000_000]:
            piece = law.piece(decodes, context)
            told = piece.fixed_fs + piece.slope_fs * context
            exact = (law._seconds(turns, context) - law._seconds(turns, 0.0)) * 1e15
            # A knot is a whole context: where slopes change, by less than a token's worth.
            assert told == pytest.approx(exact, abs=3 * 256 * 10**6 + context)


def test_chunks_of_prompts_are_added():
    law = make_law(there=CHIP, precision=FP8)
    assert law.chunk_slope(10) == round(128 / 1e9 * 1e15)  # FP8: 128 B a token are read
    assert law.chunk(10, 7) - law.chunk(10, 0) == 7 * law.chunk_slope(10)
    assert make_law(WINDOWED).chunk_slope(10) is None


def test_activations_go_in_the_width_of_the_arithmetic_and_come_back_in_16_bits():
    law = make_law(there=CHIP, precision=FP8)
    assert (law.go_bytes, law.back_bytes) == (64.0, 128.0)
    assert law.link_token_bytes == 2 * 192.0
    assert make_law().link_token_bytes == 2 * 256.0


def test_a_narrow_link_binds():
    """128 B a token at 1e6 B/s: 128 us, one way, for 1 of 2 tokens."""
    law = make_law(exchange=Exchange(1e6, 0.0))
    here_us, there_us = HERE_US + STREAM_US, THERE_US + OVER_US
    way_us = here_us + there_us + 2 * 128.0
    assert microseconds(law.base(2, 0, 0, 2)) == pytest.approx(
        2 * max(2 * 128.0, way_us) + min(way_us - 128.0, 128.0) + HEAD_US, **EXACT
    )


def test_layers_of_another_kind_have_a_period_of_their_own():
    windowed = make_law(WINDOWED)
    assert [(mixer.blocks, mixer.law.window) for mixer in windowed.mixers] == [(1, None), (1, 10)]
    recurrent = replace(
        DENSE, kv_layers=1, mamba_layers=1, mamba_heads=4, mamba_head_dim=16, mamba_groups=1,
        mamba_state_dim=8, mamba_conv_kernel=4, state_bytes_per_sequence=4000.0,
    )  # fmt: skip
    law = make_law(recurrent)
    assert [mixer.blocks for mixer in law.mixers] == [1, 1]
    assert law.mixers[1].law.state_s == pytest.approx(8e-6)
    assert law.mixers[0].law.state_s == 0.0


def test_host_work_is_added_or_hidden():
    factors = replace(IDEAL, host_step_s=1e-2, sequence_s=1e-3)
    plain = make_law().base(3, 0, 0, 3)
    assert make_law(efficiency=factors).base(3, 0, 0, 3) == 13 * 10**12
    added = make_law(efficiency=factors, overlap="none").base(3, 0, 0, 3)
    assert added - plain == 13 * 10**12


def test_the_parts_of_an_llm_stay_together():
    """FFN there and the rest here are the whole: FLOP of both sides are those of one device."""
    from factorysim.physics.roofline import roofline_law

    runs = make_runs(
        decodes=4, emitted_tokens=5, context_tokens=99, prompts=1, prompt_tokens=50, pair_tokens=50
    )
    for llm in (DENSE, MOE, MLA, WINDOWED):
        law = make_law(llm, micro_batches=1)
        whole = roofline_law(llm, DEVICE, BF16, ParallelSpec(), LINKS, IDEAL, "full")
        seen = runs._replace(window_tokens=runs.context_tokens.clip(max=40))
        window = seen if llm is WINDOWED else runs
        here, there = law.activity(runs), law.partner.activity(runs)
        assert here.flops[0] + there.flops[0] == pytest.approx(whole.activity(window).flops[0])
        assert there.flops[0] == pytest.approx(
            2 * 54 * (2 * 49_152 if llm is not MOE else 2 * 3 * 6144)
        )


def test_each_group_has_its_blocks_of_the_work():
    runs = make_runs(decodes=4, emitted_tokens=4)
    one, two = (make_law(groups=groups).partner.activity(runs) for groups in (1, 2))
    assert one.memory_s[0] == pytest.approx(2 * two.memory_s[0])
    assert one.memory_s[0] == pytest.approx(2 * 2 * THERE_US / 1e6 + 4 * 2 * OVER_US / 1e6)
    assert one.bytes_moved[0] == two.bytes_moved[0] == pytest.approx(one.memory_s[0] * 1e10)
    assert one.link_s[0] == pytest.approx(4 * 2 * 128 / 1e9)


def test_this_side_is_metered_with_its_links():
    runs = make_runs(decodes=4, emitted_tokens=4)
    done = make_law().activity(runs)
    assert done.link_bytes[0] == pytest.approx(4 * 512)
    assert done.link_s[0] == pytest.approx(4 * 2 * 128e-9)
    memory_us = 2 * 2 * HERE_US + 4 * 2 * STREAM_US + HEAD_US
    assert done.memory_s[0] == pytest.approx(memory_us / 1e6)


def test_ffn_weights_set_the_groups():
    split = AfdSplit(kind="afd", pool="lpx", parallel={"tp": 1})
    assert ffn_bytes(DENSE, FP8) == 2 * 49_152
    assert ffn_bytes(MOE, FP8) == 2 * 6144 * (16 + 1)
    assert ffn_groups(DENSE, CHIP, FP8, split, 0.9) == 3
    assert ffn_groups(MOE, CHIP, FP8, split, 0.9) == 5
    assert ffn_groups(MOE, CHIP, FP8, AfdSplit(kind="afd", pool="x"), 0.9) == 1
    with pytest.raises(CapacityError, match=r"precision\.weights"):
        ffn_groups(DENSE, CHIP, BF16, split, 0.9)


COUNTS = st.integers(0, 40)


@given(
    llm=st.sampled_from([DENSE, MOE, MLA, WINDOWED]),
    micro_batches=st.integers(1, 5),
    decodes=COUNTS,
    tokens=COUNTS,
    context=st.integers(1, 5000),
    faster=st.floats(1.0, 20.0),
)
def test_a_better_link_never_slows_a_step(llm, micro_batches, decodes, tokens, context, faster):
    if not decodes + tokens:
        return
    counts = (decodes, tokens, int(tokens > 0), decodes + 1)
    laws = [
        make_law(llm, exchange=exchange, micro_batches=micro_batches)
        for exchange in (Exchange(1e7, 1e-5), Exchange(1e7 * faster, 1e-5 / faster))
    ]
    times = [law.base(*counts) for law in laws]
    assert times[1] <= times[0]
    if decodes:
        context *= decodes
        for i, law in enumerate(laws):
            piece = law.piece(decodes, context)
            times[i] += piece.fixed_fs + piece.slope_fs * context
        # Pieces round their slopes, and their knots to whole contexts.
        assert times[1] <= times[0] + context + 256 * 10**6


def test_links_of_the_groups_are_metered_for_their_blocks():
    """4 tokens cross 2 blocks of 128 B at 1e9 B/s, and are summed once a block over two devices."""
    runs = make_runs(decodes=4, emitted_tokens=4)
    crossing, sums = 4 * 2 * 128e-9, 4 * 2 * 128e-9
    for groups in (1, 2, 3):
        alone = make_law(groups=groups).partner.activity(runs)
        assert alone.link_s[0] == pytest.approx(crossing / groups)
        cut = make_law(groups=groups, over_tp=2).partner.activity(runs)
        assert cut.link_s[0] == pytest.approx((crossing + sums) / groups)
        assert cut.compute_s[0] == pytest.approx(4 * 2 * 2 * 49_152 / 1e11 / 2 / groups)
