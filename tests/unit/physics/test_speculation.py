"""Speculation: how many tokens a verify makes, how long it lasts, what it needs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError
from factorysim.physics.drafts import drafter, mtp_head
from factorysim.physics.memory import Beside, kv_blocks
from factorysim.physics.power import PowerModel, first_steps, run_energy
from factorysim.physics.shape import llm_shape
from factorysim.physics.speculation import (
    PARTS_MOST,
    Pace,
    pace,
    pace_of,
    sent_drafts,
    speculative_law,
    tokens_a_step,
)
from factorysim.physics.step import StepRuns
from factorysim.spec.deployment import SpeculationSpec
from factorysim.spec.kv import KvSpec
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec
from tests.unit.physics.test_sram import HOPS_US, SENT_US, STAGE_US
from tests.unit.physics.test_sram import make_law as make_pipe

BF16 = PrecisionSpec()
PAIRS = Pace(tokens=5, verifies=2, draft_tokens=3)
"""2.5 tokens a verify of 4."""
FS = 1e15


# How many


@pytest.mark.parametrize(
    ("drafts", "acceptance", "mean"),
    [
        (1, 0.0, "1"),
        (4, 0.0, "1"),
        (4, 1.0, "5"),
        (1, 0.5, "1.5"),
        (3, 0.6, "2.176"),
        (2, 0.8, "2.44"),
    ],
)
def test_mean_tokens_of_a_verify_are_the_geometric_sum(drafts, acceptance, mean):
    """Leviathan, Kalman and Matias, arXiv:2211.17192, equation 1, by hand."""
    at = pace(drafts, acceptance)
    assert Fraction(at.tokens, at.verifies) == Fraction(mean)
    assert at.draft_tokens == drafts


@given(st.integers(1, 16), st.floats(0, 1))
def test_the_mean_is_as_near_as_its_denominator_lets_it_be(drafts, acceptance):
    at = pace(drafts, acceptance)
    exact = sum(acceptance**k for k in range(drafts + 1))
    assert abs(at.tokens / at.verifies - exact) <= 0.5 / PARTS_MOST + 1e-12
    assert 1 <= at.verifies <= PARTS_MOST
    assert at.verifies <= at.tokens <= at.verifies * (drafts + 1)


@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_more_is_made_where_more_is_accepted(drafts, one, other):
    few, many = (pace(drafts, a) for a in sorted((one, other)))
    for k in range(40):
        assert few.made(k) <= many.made(k)


@given(st.integers(1, 12), st.integers(1, 60), st.integers(1, 100))
def test_a_count_of_tokens_is_reached_in_so_many_verifies_and_no_fewer(drafts, tokens, parts):
    at = Pace(max(tokens, parts), parts, drafts)
    for wanted in range(1, 50):
        k = at.until(wanted)
        assert at.made(k) >= wanted > at.made(k - 1)


# How long


def test_a_verify_computes_all_drafts_and_reads_weights_and_context_once(law, runs):
    """By hand: 2 decodes of 4 tokens each; the draft's state, host and collectives are 0.

    Weights of 185 KB at 1 GB/s decide for 8 tokens (2 FLOP a weight at 1e11 FLOP/s).
    """
    plain = law()
    verify = speculative_law(plain, None, PAIRS)
    assert verify.base(2, 0, 0, 2) == plain.base(2, 6, 0, 8)
    assert verify.base(2, 30, 1, 3) == plain.base(2, 36, 1, 9)
    assert verify.base(0, 30, 1, 1) == plain.base(0, 30, 1, 1)
    # A cached token is 2 layers x 2 x 4 heads x 8 x 2 B = 256 B: 256 ns, in halves of a token.
    assert verify.piece(2, 100).slope_fs == 128 * 10**6
    assert verify.piece(2, 100).knot is None


def test_attention_that_arithmetic_binds_takes_as_much_for_each_draft(law):
    plain = law(decode_compute=1e-3)
    assert plain.line.slope_fs == round(plain.full.decode_s * FS)
    verify = speculative_law(plain, None, PAIRS)
    assert verify.piece(2, 100).slope_fs == pytest.approx(4 * plain.line.slope_fs / 2, abs=1)


def test_drafts_are_steps_of_the_draft_llm_the_first_with_the_prompts(law, llms):
    plain, small = law(), law(llms["moe"])
    verify = speculative_law(plain, small, PAIRS)
    alone = speculative_law(plain, None, PAIRS)
    assert verify.base(2, 30, 1, 3) - alone.base(2, 30, 1, 3) == (
        small.base(2, 30, 1, 3) + 2 * small.base(2, 0, 0, 2)
    )
    assert verify.base(0, 30, 1, 1) - alone.base(0, 30, 1, 1) == small.base(0, 30, 1, 1)
    assert verify.chunk(30, 7) == plain.chunk(30, 7) + small.chunk(30, 7)
    assert verify.chunk_slope(30) == plain.chunk_slope(30) + small.chunk_slope(30)


def test_the_host_works_once_a_verify(law):
    busy = {"host_step_s": 1.0, "sequence_s": 0.5, "overlap": "none"}
    verify = speculative_law(law(**busy), law(**busy), PAIRS)
    quick = speculative_law(law(), law(), PAIRS)
    assert verify.base(2, 0, 0, 2) - quick.base(2, 0, 0, 2) == pytest.approx(2 * FS, rel=1e-9)


@given(context=st.integers(1, 5000), decodes=st.integers(1, 50))
def test_drafts_read_what_is_there_before_them(context, decodes, law_of, llms_of):
    """The i-th of 3 drafts reads i tokens more than are cached, the verify 4."""
    plain, small = law_of(), law_of(llms_of["mla"])
    verify = speculative_law(plain, small, PAIRS)
    read = decodes * (context + 4)
    fixed, slope, _ = verify.piece(decodes, 2 * read)
    drafts = sum(decodes * (context + i) for i in (1, 2, 3))
    expected = plain.line.slope_fs * read + small.line.slope_fs * drafts
    assert fixed + slope * 2 * read == pytest.approx(expected, rel=1e-6)


def test_drafting_elsewhere_takes_its_time_and_the_way(law, llms, runs):
    plain, small = law(), law(llms["moe"])
    there = speculative_law(plain, small, PAIRS, exchange_fs=77, beside=True)
    alone = speculative_law(plain, None, PAIRS)
    drafting = 3 * small.base(2, 0, 0, 2)
    # Both take in the prompt at once. The small LLM has 16 experts: it takes longer.
    learning = small.base(0, 30, 1, 1)
    assert learning > alone.base(2, 30, 1, 3)
    assert there.base(2, 30, 1, 3) == learning + 77 + drafting
    assert there.base(2, 0, 0, 2) == alone.base(2, 0, 0, 2) + 77 + drafting
    assert there.base(0, 30, 1, 1) == learning
    hidden = speculative_law(small, plain, PAIRS, beside=True)
    assert hidden.base(0, 30, 1, 1) == small.base(0, 30, 1, 1)
    assert there.chunk(30, 7) == plain.chunk(30, 7)
    assert there.chunk_slope(30) == plain.chunk_slope(30)
    run = runs(decodes=2, emitted_tokens=2, context_tokens=20)
    for mine, theirs in zip(there.activity(run), alone.activity(run), strict=True):
        assert mine == theirs


def test_a_verify_of_drafts_from_a_pipe_of_chips_by_hand(law):
    """1 decode: a verify of 4 tokens, 3 passes of 6 stages over 3 racks, and 20 us of way."""
    pipe = make_pipe()
    alone = speculative_law(law(), None, PAIRS)
    split = speculative_law(law(), pipe, PAIRS, exchange_fs=20 * 10**9, beside=True)
    drafts_us = 3 * (STAGE_US + HOPS_US + SENT_US)
    more = split.base(1, 0, 0, 1) - alone.base(1, 0, 0, 1)
    assert more / 10**9 == pytest.approx(20 + drafts_us, rel=1e-9)
    assert pipe.base(1, 0, 0, 1) / 10**9 == pytest.approx(STAGE_US + HOPS_US + SENT_US)


def test_what_is_sent_takes_its_time_by_sequence(law, runs):
    """2 decodes of 3 drafts: 7 ids of 4 B each, 28 B at 1e6 B/s are 28 us a sequence."""
    plain, small = law(), law()
    sent = sent_drafts(PAIRS, 1000, 1e6, probabilities=False)
    law = speculative_law(plain, small, PAIRS, beside=True, sent=sent)
    free = speculative_law(plain, small, PAIRS, beside=True)
    assert law.base(2, 0, 0, 2) - free.base(2, 0, 0, 2) == 2 * 28 * FS // 10**6
    assert law.base(0, 30, 1, 1) == free.base(0, 30, 1, 1)
    run = runs(steps=5, decodes=2, emitted_tokens=10, context_tokens=100)
    more, less = law.activity(run), free.activity(run)
    assert more.link_bytes[0] - less.link_bytes[0] == pytest.approx(5 * 2 * 28)
    assert more.link_s[0] - less.link_s[0] == pytest.approx(5 * 2 * 28e-6)
    assert law.partner().activity(run).link_s[0] == pytest.approx(5 * 2 * 28e-6)


def test_the_other_side_drafts_and_learns_prompts(law, llms, runs):
    """3 drafts of 2 decodes, which read 2, 3 and 4 fewer tokens than their verify, then a chunk."""
    small = law(llms["mla"])
    side = speculative_law(law(), small, PAIRS, beside=True).partner()
    run = runs(decodes=2, prompts=1, prompt_tokens=30, emitted_tokens=2, context_tokens=108,
               pair_tokens=465)  # fmt: skip
    parts = [runs(decodes=2, emitted_tokens=2, context_tokens=108 - 2 * k) for k in (1, 2, 3)]
    parts.append(runs(prompts=1, prompt_tokens=30, pair_tokens=465))
    for name, whole in side.activity(run)._asdict().items():
        each = sum(getattr(small.activity(part), name)[0] for part in parts)
        assert whole[0] == pytest.approx(each, rel=1e-12), name
    idle = runs(prompts=1, prompt_tokens=30, pair_tokens=465)
    assert side.activity(idle).flops[0] == small.activity(idle).flops[0]


@given(
    decodes=st.integers(1, 40),
    context=st.integers(1, 5000),
    n=st.integers(1, 12),
    drafts=st.integers(1, 5),
    acceptance=st.floats(0, 1),
)
def test_a_run_of_the_other_side_is_its_steps(
    decodes, context, n, drafts, acceptance, law_of, llms_of
):
    at = pace(drafts, acceptance)
    side = speculative_law(law_of(), law_of(llms_of["mla"]), at, beside=True).partner()
    steps = steps_of(decodes, context, n, at)
    whole = side.activity(whole_run(steps))
    for name, total in whole._asdict().items():
        each = getattr(side.activity(steps), name).sum()
        assert total[0] == pytest.approx(each, rel=1e-9), name
    first = side.activity(first_steps(whole_run(steps), tokens_a_step(side)))
    assert first.memory_s[0] == pytest.approx(side.activity(steps).memory_s[0], rel=1e-9)


@given(
    decodes=st.integers(1, 64),
    drafts=st.integers(1, 8),
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    kind=st.sampled_from(["dense", "moe", "mla", "windowed"]),
)
def test_no_verify_is_quicker_than_a_step_and_more_acceptance_never_slows_an_answer(
    decodes, drafts, low, high, kind, law_of, llms_of
):
    plain = law_of(llms_of[kind])
    small = law_of(llms_of["dense"])
    answers = []
    for acceptance in sorted((low, high)):
        law = speculative_law(plain, small, pace(drafts, acceptance))
        assert law.base(decodes, 0, 0, decodes) > plain.base(decodes, 0, 0, decodes)
        made = law.pace.until(60) * law.pace.tokens / law.pace.verifies
        answers.append(_answer_fs(law, decodes, context=500, tokens=60) / made)
    # By token, as the last verify makes more than are wanted. Slopes are rounded to
    # femtoseconds of one part of a token.
    assert answers[1] <= answers[0] * (1 + 1e-4)


def _answer_fs(law, decodes, context, tokens):
    """Time of a batch's answer, step by step."""
    at = law.pace
    spent = 0
    for k in range(at.until(tokens)):
        read = decodes * ((context + at.draft_tokens + 1) * at.verifies + k * at.tokens)
        fixed, slope, _ = law.piece(decodes, read)
        spent += law.base(decodes, 0, 0, decodes) + fixed + slope * read
    return spent


# How much


def steps_of(decodes, context, n, at):
    """Runs of one verify each, from `context` tokens cached over all decodes."""
    rows = []
    for k in range(n):
        read = context + decodes * (at.draft_tokens + 1) + decodes * k * at.tokens / at.verifies
        kept = decodes * (at.made(k + 1) - at.made(k) - 1)
        rows.append((1, decodes, 0, 0, decodes + kept, read, 0, 0, 0, kept))
    return StepRuns(*(np.array(column) for column in zip(*rows, strict=True)))


def whole_run(steps):
    """One run of the steps given."""
    columns = zip(StepRuns._fields, steps, strict=True)
    return StepRuns(
        *(column[:1] if name in {"decodes", "prompts"} else column.sum(keepdims=True)
          for name, column in columns)
    )  # fmt: skip


@given(
    decodes=st.integers(1, 40),
    context=st.integers(1, 5000),
    n=st.integers(1, 12),
    drafts=st.integers(1, 5),
    acceptance=st.floats(0, 1),
    kind=st.sampled_from(["dense", "moe", "mla"]),
    own=st.booleans(),
)
def test_a_run_needs_and_spends_what_its_verifies_do(
    decodes, context, n, drafts, acceptance, kind, own, law_of, llms_of
):
    """Activity and energy of a run in closed form, clipped or not, to 1e-9."""
    at = pace(drafts, acceptance)
    law = speculative_law(law_of(llms_of[kind]), law_of() if own else None, at)
    steps = steps_of(decodes, context, n, at)
    run = whole_run(steps)
    for name, whole in law.activity(run)._asdict().items():
        each = getattr(law.activity(steps), name).sum()
        assert whole[0] == pytest.approx(each, rel=1e-9), name
    spent = np.array(
        [law.base(decodes, 0, 0, decodes) + _attention_fs(law, decodes, c) for c in
         steps.context_tokens]
    ) / FS  # fmt: skip
    model = PowerModel(100.0, 700.0)
    growth = spent[1:2] - spent[:1] if n > 1 else np.zeros(1)
    each = run_energy(model, law, steps, spent, np.zeros(n)).sum()
    assert run_energy(model, law, run, spent[:1], growth)[0] == pytest.approx(each, rel=1e-6)


def _attention_fs(law, decodes, context):
    read = round(context * law.pace.verifies)
    fixed, slope, _ = law.piece(decodes, read)
    return fixed + slope * read


def test_flops_of_a_verify_by_hand(law, runs):
    """2 decodes of 10 cached tokens: 8 tokens in linears and head, 4 queries a cached token."""
    plain = law()
    verify = speculative_law(plain, None, PAIRS)
    run = runs(decodes=2, emitted_tokens=5, accepted_tokens=3, context_tokens=28)
    total = plain.totals
    assert verify.activity(run).flops[0] == pytest.approx(
        8 * (total.token + total.emission) + 28 * 4 * total.context
    )


def test_each_query_of_a_verify_asks_the_window(law, llms, runs):
    """One sliding layer of 8 heads of 8: 256 FLOP a query and token, 4 queries each."""
    verify = speculative_law(law(llms["windowed"]), None, PAIRS)
    fields = {"decodes": 2, "emitted_tokens": 5, "accepted_tokens": 3, "context_tokens": 28}
    less = verify.activity(runs(**fields))
    more = verify.activity(runs(**fields, window_tokens=20))
    assert more.flops[0] - less.flops[0] == pytest.approx(20 * 4 * 256, rel=1e-9)


def test_what_three_drafts_need_by_hand(law, runs):
    """2 decodes of 10 cached tokens: the drafts read 11, 12 and 13 each, the verify 14.

    A cached token is 2 layers x 4 x 8 heads x 8 = 512 FLOP.
    """
    small = law()
    run = runs(decodes=2, emitted_tokens=5, accepted_tokens=3, context_tokens=28)
    alone = speculative_law(small, None, PAIRS).activity(run)
    drafting = speculative_law(small, small, PAIRS).activity(run)
    linear = 6 * (small.totals.token + small.totals.emission)
    assert drafting.flops[0] - alone.flops[0] == pytest.approx(linear + 72 * 512, rel=1e-9)


def test_a_recurrent_state_is_kept_after_each_draft(law, llms, runs):
    """Read and written once without drafts; 3 drafts write it 3 times more."""
    llm = replace(llms["dense"], state_bytes_per_sequence=4096.0)
    plain = law(llm)
    verify = speculative_law(plain, None, PAIRS)
    more = verify.base(2, 0, 0, 2) - plain.base(2, 6, 0, 8)
    assert more == pytest.approx(2 * 3 * 4096 / 1e9 * FS, abs=2)
    run = runs(decodes=2, emitted_tokens=2, context_tokens=20)
    stateless = speculative_law(law(), None, PAIRS).activity(run)
    moved = verify.activity(run).bytes_moved[0] - stateless.bytes_moved[0]
    assert moved == pytest.approx(2 * 5 * 4096)


# Who drafts, and what it holds


def asked(method="mtp", drafts=3, draft=None):
    own = {} if draft is None else {"draft": {"llm": draft}}
    return SpeculationSpec(method=method, draft_tokens=drafts, acceptance=0.5, **own)


def test_a_draft_llm_takes_weights_and_kv(llms, slow_device):
    small = replace(llms["dense"], id="small", layers=1, kv_layers=1, dense_layers=1)
    tp = ParallelSpec(tp=2)
    found = drafter(llms["dense"], BF16, small, asked("draft_model", draft="small"), tp)
    # Attention and FFN of one layer, and two tables of 64,000.
    assert found.beside == Beside((12_288 + 49_152 + 128_000) * 2 / 2, 64, 0)
    kv = KvSpec(workspace="0 B", memory_fraction=1.0)
    device = replace(slow_device, memory_bytes=1e6)
    without = kv_blocks(llms["dense"], device, BF16, tp, kv)
    blocks = kv_blocks(llms["dense"], device, BF16, tp, kv, 0, found.beside)
    assert without == (1_000_000 - 250_880) // (16 * 128)
    assert blocks == (1_000_000 - 250_880 - 189_440) // (16 * 192)
    with pytest.raises(CapacityError, match="of them what drafts"):
        kv_blocks(llms["dense"], replace(device, memory_bytes=4e5), BF16, tp, kv, 0, found.beside)


def test_glm_5_with_its_mtp_head_is_as_large_as_its_pages_say():
    """744e9 without, 753e9 with the head: facts of `glm_5` (total_params, note)."""
    head = llm_shape(mtp_head(load_catalog().llm("glm_5")))
    assert head.total_params - 2 * head.table == pytest.approx(9e9, rel=0.15)


def test_one_head_is_held_however_often_it_runs():
    llm = load_catalog().llm("deepseek_v3")
    few, many = (
        drafter(llm, BF16, None, asked(drafts=n), ParallelSpec(tp=8)).beside for n in (1, 4)
    )
    assert few == many
    three = replace(llm, mtp_layers=3)
    more = drafter(three, BF16, None, asked(drafts=4), ParallelSpec(tp=8)).beside
    assert more.weights == pytest.approx(3 * few.weights)
    assert more.token == 3 * few.token


def test_n_grams_hold_nothing_but_states(llms):
    recurrent = replace(llms["dense"], state_bytes_per_sequence=4096.0)
    found = drafter(recurrent, BF16, None, asked("ngram"), ParallelSpec(tp=2))
    assert found.llm is None
    assert found.beside == Beside(sequence=3 * 2048)


@pytest.mark.parametrize(
    ("llm", "method", "draft", "told"),
    [
        ("llama_3_1_70b", "mtp", None, "MTP heads: unknown"),
        ("kimi_k2", "mtp", None, "MTP heads: none"),
        ("llama_3_1_70b", "draft_model", "qwen3_8b", "a vocabulary of 128,256 tokens"),
    ],
)
def test_who_cannot_draft_is_refused(llm, method, draft, told):
    catalog = load_catalog()
    small = None if draft is None else catalog.llm(draft)
    with pytest.raises(CapacityError, match=told):
        drafter(catalog.llm(llm), BF16, small, asked(method, draft=draft), ParallelSpec(tp=8))


def test_other_sliding_windows_are_refused(llms):
    with pytest.raises(CapacityError, match="whose window is 10 tokens"):
        drafter(
            llms["dense"], BF16, llms["windowed"], asked("draft_model", draft="w"), ParallelSpec()
        )


def test_laws_without_drafts_have_no_pace(law):
    assert pace_of(law()) is None
    assert pace_of(speculative_law(law(), None, PAIRS)) == PAIRS


@pytest.mark.parametrize(("heads", "held"), [(1, 1), (2, 2), (5, 3)])
def test_an_mtp_head_takes_a_layer_and_the_way_into_it(llms, heads, held):
    """12,288 weights of attention, 49,152 of FFN and 2 x 64 x 64 of entry; its tables are shared.

    KV of a layer is 128 B a token; of more heads than drafts (3) the others are not kept.
    """
    llm = replace(llms["dense"], mtp_layers=heads)
    found = drafter(llm, BF16, None, asked(drafts=3), ParallelSpec(tp=2))
    weights = held * (12_288 + 49_152 + 8_192) * 2 / 2
    assert found.beside == Beside(weights, held * 64, 0)


def test_all_drafts_read_the_windows_of_a_draft_llm(law, llms, runs):
    """Two full windows of 10 tokens: 128 B and 256 FLOP a token, in each of three drafts."""
    both = speculative_law(law(), law(llms["windowed"]), PAIRS)
    fields = {"decodes": 2, "emitted_tokens": 2, "context_tokens": 100}
    less = both.activity(runs(**fields))
    more = both.activity(runs(**fields, window_tokens=20))
    assert more.bytes_moved[0] - less.bytes_moved[0] == pytest.approx(3 * 20 * 128)
    assert more.flops[0] - less.flops[0] == pytest.approx(3 * 20 * 4 * 8 * 8)


def test_an_mtp_head_of_a_sliding_llm_sees_everything(llms):
    """DeepSeek-V3's head is a layer of full attention; no window is kept for it."""
    head = mtp_head(replace(llms["windowed"], mtp_layers=1))
    assert (head.layers, head.kv_layers, head.window_layers, head.window) == (1, 1, 0, None)
    found = drafter(head, BF16, None, asked(drafts=1), ParallelSpec())
    assert (found.beside.token, found.beside.sequence) == (128, 0)


def test_windows_of_a_draft_llm_are_kept_for_each_sequence(llms):
    """10 tokens of 128 B over two devices, and 64 B of each token in the other layer."""
    llm = llms["windowed"]
    found = drafter(llm, BF16, llm, asked("draft_model", draft="w"), ParallelSpec(tp=2))
    assert (found.beside.token, found.beside.sequence) == (64, 640)


def test_a_draft_llm_elsewhere_leaves_states_alone_here(llms):
    """Three drafts, each with a state of 4,096 B over two devices."""
    recurrent = replace(llms["dense"], state_bytes_per_sequence=4096.0)
    elsewhere = ParallelSpec(tp=4)
    spec = asked("draft_model", draft="small")
    found = drafter(recurrent, BF16, llms["dense"], spec, ParallelSpec(tp=2), elsewhere)
    assert found.beside == Beside(sequence=3 * 2048)
    assert found.parallel == elsewhere
