"""The law against arithmetic by hand; any 5 % change of an equation fails here.

The tiny LLM: 122,880 weights in layers, 64,000 in the head, 256 B of KV and 512
FLOP of attention a token; the slow device: 1e11 FLOP/s and 1e9 B/s.
"""

from dataclasses import replace

import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.efficiency import efficiency
from factorysim.errors import CapacityError
from factorysim.physics.collectives import Links
from factorysim.physics.roofline import roofline_law
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec

STREAM_S = 2 * (10 * 64 + 960) * 2 / 1e9
"""Activations of a token: 10 passes of the stream, and 3 of 256 + 64 inside."""
WRITE_S = 256 / 1e9
EXACT = {"rel": 1e-9}


def seconds(femtoseconds):
    return femtoseconds * 1e-15


def test_a_decode_reads_all_weights_once(law):
    weights_s = (122_880 + 64_000) * 2 / 1e9
    assert seconds(law().base(1, 0, 0, 1)) == pytest.approx(weights_s + STREAM_S + WRITE_S, **EXACT)
    more = law().base(4, 0, 0, 4) - law().base(1, 0, 0, 1)
    assert seconds(more) == pytest.approx(3 * (STREAM_S + WRITE_S), **EXACT)


def test_a_prompt_is_bound_by_arithmetic(law):
    compute_s = 2 * 122_880 * 1000 / 1e11
    head_s = 64_000 * 2 / 1e9
    expected = compute_s + head_s + 1000 * (STREAM_S + WRITE_S)
    assert seconds(law().base(0, 1000, 1, 1)) == pytest.approx(expected, **EXACT)


def test_a_chunk_that_emits_nothing_needs_no_head(law):
    saved = law().base(0, 1000, 1, 1) - law().base(0, 1000, 1, 0)
    assert seconds(saved) == pytest.approx(64_000 * 2 / 1e9, **EXACT)


def test_the_head_is_bound_by_arithmetic_for_many_sequences(law):
    extra = law().base(0, 1000, 1, 1000) - law().base(0, 1000, 1, 0)
    assert seconds(extra) == pytest.approx(2 * 64_000 * 1000 / 1e11, **EXACT)


def test_decode_attention_reads_the_cache(law):
    piece = law().piece(3, 999)
    assert piece == (0, round(256 / 1e9 * 1e15), None)


def test_decode_attention_can_be_bound_by_arithmetic(law, device):
    fast = replace(device, memory_bandwidth=1e15)
    assert law(device=fast).piece(1, 1).slope_fs == round(512 / 1e11 * 1e15)


def test_prompt_attention_counts_causal_pairs(law):
    own = 100 * 101 // 2 * 512 / 1e11
    assert seconds(law().chunk(100, 0)) == pytest.approx(own, **EXACT)
    assert seconds(law().chunk(100, 40)) == pytest.approx(own + 40 * 100 * 512 / 1e11, **EXACT)


def test_a_chunk_reads_its_prior_tokens_at_least(law):
    assert law().chunk_slope(1) == round(256 / 1e9 * 1e15)


def test_window_layers_count_pairs_inside_the_window(law, llms):
    windowed = law(llms["windowed"])
    assert windowed.window == 10
    assert windowed.chunk_slope(100) is None
    full = (50 * 51 // 2 + 50 * 30) * 256 / 1e11
    local = 50 * 10 * 256 / 1e11
    assert seconds(windowed.chunk(50, 30)) == pytest.approx(full + local, **EXACT)
    assert windowed.piece(1, 1).slope_fs == windowed.window_fs == round(128 / 1e9 * 1e15)


def test_efficiencies_derate_their_own_terms(law):
    slow = law(
        linear_compute={"bf16": 0.5},
        weight_bandwidth=0.8,
        kv_bandwidth=0.5,
        attention_compute=0.25,
        decode_compute=0.1,
    )
    expected = 2 * 122_880 * 1000 / 5e10 + 64_000 * 2 / 8e8 + 1000 * (STREAM_S / 0.8 + 2 * WRITE_S)
    assert seconds(slow.base(0, 1000, 1, 1)) == pytest.approx(expected, **EXACT)
    assert slow.slope_fs == round(256 / 5e8 * 1e15)
    assert seconds(slow.chunk(100, 0)) == pytest.approx(5050 * 512 / 2.5e10, **EXACT)


def test_precision_sets_bytes_and_peak(law):
    form = PrecisionSpec(weights="fp8", compute="fp8", kv="fp8")
    fp8 = law(precision=form)
    assert fp8.slope_fs == round(128 / 1e9 * 1e15)
    weights_s = (122_880 + 2 * 64_000) / 1e9  # the head stays BF16
    assert seconds(fp8.base(1, 0, 0, 1)) == pytest.approx(
        weights_s + STREAM_S + WRITE_S / 2, **EXACT
    )
    compute_s = 2 * 122_880 * 1000 / 2e11
    assert seconds(fp8.base(0, 1000, 1, 0)) == pytest.approx(
        compute_s + 1000 * (STREAM_S + WRITE_S / 2), **EXACT
    )


def test_kernels_take_a_fixed_time_per_block(law, llms):
    extra = law(block_s=1e-3).base(1, 0, 0, 1) - law().base(1, 0, 0, 1)
    assert seconds(extra) == pytest.approx(4e-3, **EXACT)
    extra = law(llms["moe"], moe_s=1e-3).base(1, 0, 0, 1) - law(llms["moe"]).base(1, 0, 0, 1)
    assert seconds(extra) == pytest.approx(2e-3, **EXACT)


def test_host_work_is_added_or_hidden(law):
    device = law().base(4, 10, 1, 4)
    host = {"host_step_s": 1e-2, "sequence_s": 1e-3}
    added = law(overlap="none", **host).base(4, 10, 1, 4)
    assert seconds(added - device) == pytest.approx(1e-2 + 5e-3, **EXACT)
    assert seconds(law(**host).base(4, 10, 1, 4)) == pytest.approx(1.5e-2, **EXACT)
    assert law(host_step_s=1e-9).base(4, 10, 1, 4) == device
    waits = law(host_step_s=1e-9, sequence_s=1e-3).base(4, 10, 1, 4)
    assert seconds(waits - device) == pytest.approx(5e-3, **EXACT)


def test_unpacking_weights_is_added_to_either_roof(law, llms):
    """Q4_K_M: two operations a weight of layers and head, at the rate of its own factor."""
    form = PrecisionSpec(weights="q4_k_m", compute="bf16", kv="bf16")
    unpack_s = 2 * (122_880 + 64_000) / (0.5 * 1e11)
    for step in ((4, 0, 0, 4), (1, 2000, 1, 2)):  # bound by memory, by arithmetic
        slow, quick = (law(precision=form, unpack_compute=x).base(*step) for x in (0.5, 1e9))
        assert seconds(slow - quick) == pytest.approx(unpack_s, **EXACT)
    plain, spent = law(unpack_compute=0.5), law(unpack_compute=1.0)
    assert plain.base(4, 0, 0, 4) == spent.base(4, 0, 0, 4)


def test_unpacking_experts_is_added_for_each_that_is_touched(law, llms):
    form = PrecisionSpec(weights="q4_k_m", compute="bf16", kv="bf16")
    slow, quick = (law(llms["moe"], precision=form, unpack_compute=x) for x in (0.5, 1e9))
    assert slow.experts is not None
    assert quick.experts is not None
    more = slow.experts.busiest(3) - quick.experts.busiest(3)
    each_s = 2 * slow.experts.read_s * 1e9 / (4.85 / 8) / (0.5 * 1e11)
    assert more == pytest.approx(slow.experts.touched(3) * each_s, **EXACT)


def test_tp_cuts_the_work_and_sums_over_links(law):
    links = Links(5e8, 1e-4, 8)
    two = law(tp=2, links=links, collective_s=1e-3, collective_hop_s=1e-5, link_bandwidth=0.5)
    weights_s = (122_880 + 64_000) / 1e9
    stream_s = 2 * (10 * 64 + 480) * 2 / 1e9 + WRITE_S / 2
    # Four all-reduces: two phases of one hop, and half of 128 B a token in each.
    latency_s = 4 * (1e-3 + 2 * 1.1e-4)
    wire_s = 4 * 2 * 64 / 2.5e8
    expected = weights_s + stream_s + latency_s + wire_s
    assert seconds(two.base(1, 0, 0, 1)) == pytest.approx(expected, **EXACT)
    assert two.slope_fs == round(128 / 1e9 * 1e15)


def test_one_token_reads_its_active_experts(law, llms):
    """Attention, 2 chosen experts, the shared one, router and head."""
    weights = 24_576 + 2 * 2 * 6144 + 2 * 6144 + 2 * 64 * 16 + 64_000
    inner = 3 * (32 + 2 * 32) + 3 * 64
    stream_s = 2 * (640 + inner) * 2 / 1e9 + WRITE_S
    expected = weights * 2 / 1e9 + stream_s
    assert seconds(law(llms["moe"]).base(1, 0, 0, 1)) == pytest.approx(expected, **EXACT)


def test_more_tokens_touch_more_experts(law, llms):
    """16 x (1 - (7/8)^T) experts of 2 x 6144 weights."""
    moe = law(llms["moe"])
    per_token = moe.stream_s
    extra = seconds(moe.base(3, 0, 0, 3) - moe.base(1, 0, 0, 1)) - 2 * per_token
    touched = 16 * (1 - (7 / 8) ** 3)
    assert extra == pytest.approx((touched - 2) * 2 * 6144 * 2 / 1e9, **EXACT)


def test_a_large_batch_reads_nearly_every_expert(law, llms, device):
    fast = replace(device, flops={"bf16": 1e18})
    moe = law(llms["moe"], fast)
    weights = 24_576 + 2 * 16 * 6144 + 2 * 6144 + 2 * 64 * 16 + 64_000
    tokens_s = 1024 * moe.stream_s
    assert seconds(moe.base(1024, 0, 0, 1024)) - tokens_s == pytest.approx(
        weights * 2 / 1e9, rel=1e-6
    )


def test_experts_pad_their_tiles(law, llms, device):
    quick = replace(device, memory_bandwidth=1e15)
    padded = law(llms["moe"], quick, expert_padding_tokens=100.0, expert_compute={"bf16": 0.5})
    plain = law(llms["moe"], quick, expert_compute={"bf16": 0.5})
    extra = seconds(padded.base(1, 0, 0, 1) - plain.base(1, 0, 0, 1))
    assert extra == pytest.approx(2 * 100 * 2 * 2 * 6144 / 5e10, **EXACT)


def test_ep_replaces_the_sum_of_moe_layers_by_dispatch_and_combine(law, llms):
    links = Links(1e9, 0.0, 8)
    protocol = {"collective_s": 1e-3}
    tp = law(llms["moe"], tp=2, links=links, **protocol).links
    ep = law(llms["moe"], tp=2, ep=2, links=links, **protocol).links
    # 2 of 4 sums stay; 2 layers x (dispatch, combine).
    assert tp.step_s == pytest.approx(4e-3)
    assert ep.step_s == pytest.approx(2e-3 + 4e-3)
    assert tp.token_s == pytest.approx(4 * 128 / 1e9)
    reached = 2 * (1 - (8 / 16) * (7 / 15))
    routed = 2 * reached / 2 * 64 * 4 / 2
    assert ep.token_s == pytest.approx((2 * 128 + routed) / 1e9)


def test_ep_waits_for_the_busiest_device(law, llms):
    """One token's two experts: at least one whole one on a device, not two halves."""
    tp, ep = (law(llms["moe"], tp=2, ep=degree).experts for degree in (1, 2))
    assert tp.busiest(1) == pytest.approx(2 * 6144 * 2 * 2 / 2 / 1e9)
    assert tp.busiest(1) < ep.busiest(1) <= 2 * tp.busiest(1)
    assert ep.busiest(100_000) == pytest.approx(tp.busiest(100_000), rel=0.05)


def test_recurrent_state_is_read_and_written_per_sequence(law, llms):
    llm = replace(llms["dense"], state_bytes_per_sequence=4000.0)
    extra = law(llm).base(5, 100, 2, 5) - law().base(5, 100, 2, 5)
    assert seconds(extra) == pytest.approx(7 * 2 * 4000 / 1e9, **EXACT)


def test_no_step_takes_no_time(law, device):
    instant = replace(device, memory_bandwidth=1e30, flops={"bf16": 1e40})
    assert law(device=instant).base(1, 0, 0, 1) == 1


def test_arithmetic_that_the_device_lacks_is_refused(law):
    with pytest.raises(CapacityError, match="found fp4, expected one of bf16, fp8"):
        law(precision=PrecisionSpec(compute="fp4"))


@pytest.mark.parametrize(("llm", "tp", "ep"), [("dense", 2, 2), ("moe", 3, 3), ("moe", 32, 32)])
def test_layouts_that_cannot_be_cut_are_refused(law, llms, llm, tp, ep):
    with pytest.raises(CapacityError, match=r"parallel\.ep"):
        law(llms[llm], tp=tp, ep=ep)


def test_a_675b_moe_reads_its_active_path_at_batch_1():
    """Mistral Large 3 of the catalog: about 41e9 of 675e9 weights."""
    catalog = load_catalog()
    form = PrecisionSpec(weights="fp8", compute="fp8", kv="fp8")
    law = roofline_law(
        catalog.llm("mistral_large_3"),
        catalog.device("rubin_gpu"),
        form,
        ParallelSpec(tp=8),
        Links(1.8e12, 1e-6, 72),
        efficiency(catalog, catalog.device("rubin_gpu"), "generic"),
        "full",
    )
    assert law.experts is not None
    rest = 8 * 22e12 * 0.82 * (sum(ridge.read_s for ridge in law.linears) + law.head.read_s)
    one, many = (8 * 22e12 * 0.82 * _touched(law.experts, tokens) for tokens in (1, 1024))
    assert one + rest == pytest.approx(41e9, rel=0.08)
    assert many + rest == pytest.approx(675e9, rel=0.01)


def _touched(experts, tokens):
    share = 1 - (1 - experts.active / experts.experts) ** tokens
    return experts.experts * share * experts.read_s
