"""What must hold of every roofline law, whatever the LLM, device and step."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.physics.collectives import Links
from factorysim.physics.power import first_steps

REAL = {
    "linear_compute": {"bf16": 0.7, "fp8": 0.5},
    "expert_compute": {"bf16": 0.3, "fp8": 0.2},
    "expert_padding_tokens": 40.0,
    "weight_bandwidth": 0.8,
    "kv_bandwidth": 0.75,
    "attention_compute": 0.4,
    "decode_compute": 0.3,
    "block_s": 1e-5,
    "moe_s": 3e-5,
    "link_bandwidth": 0.7,
    "collective_s": 3e-6,
    "collective_hop_s": 2e-6,
    "host_step_s": 1e-5,
    "sequence_s": 1e-6,
}
LAYOUTS = st.sampled_from(
    [("dense", 1, 1), ("dense", 4, 1), ("moe", 1, 1), ("moe", 4, 2), ("moe", 4, 4), ("mla", 2, 1)]
)
COUNTS = st.integers(0, 300)


def device_with(device, bandwidth=1.0, flops=1.0):
    rates = {form: flops * rate for form, rate in device.flops.items()}
    return replace(device, memory_bandwidth=bandwidth * device.memory_bandwidth, flops=rates)


@given(
    layout=LAYOUTS,
    decodes=COUNTS,
    tokens=COUNTS,
    factor=st.floats(1.0, 20.0),
    kind=st.integers(0, 2),
)
def test_more_of_anything_never_slows_a_step(
    layout, decodes, tokens, factor, kind, law_of, llms_of, slow_device
):
    name, tp, ep = layout
    prompts = min(tokens, 2)
    plain = {"bandwidth": 1.0, "flops": 1.0}
    faster = [{"bandwidth": factor, "flops": 1.0}, {"bandwidth": 1.0, "flops": factor}, plain]
    links = [Links(1e9, 1e-6, 8), Links(1e9 * factor, 1e-6, 8)]
    before = law_of(llms_of[name], slow_device, tp=tp, ep=ep, links=links[0], **REAL)
    after = law_of(
        llms_of[name],
        device_with(slow_device, **faster[kind]),
        tp=tp,
        ep=ep,
        links=links[kind == 2],
        **REAL,
    )
    counts = (decodes, tokens, prompts, decodes + prompts)
    assert after.base(*counts) <= before.base(*counts)
    assert after.slope_fs <= before.slope_fs
    assert after.chunk(tokens, decodes) <= before.chunk(tokens, decodes)


@given(layout=LAYOUTS, decodes=COUNTS, tokens=COUNTS, more=st.integers(1, 50))
def test_more_work_never_takes_less_time(layout, decodes, tokens, more, law_of, llms_of):
    name, tp, ep = layout
    law = law_of(llms_of[name], tp=tp, ep=ep, **REAL)
    prompts = min(tokens, 2)
    less = law.base(decodes, tokens, prompts, decodes)
    assert less >= 1
    assert law.base(decodes + more, tokens, prompts, decodes) >= less
    assert law.base(decodes, tokens + more, prompts, decodes) >= less
    assert law.base(decodes, tokens, prompts, decodes + more) >= less


@given(
    layout=LAYOUTS,
    tokens=st.integers(1, 500),
    prior=st.integers(0, 2000),
    more=st.integers(1, 100),
)
def test_a_chunk_is_linear_in_its_prior_tokens(layout, tokens, prior, more, law_of, llms_of):
    name, tp, ep = layout
    law = law_of(llms_of[name], tp=tp, ep=ep, **REAL)
    slope = law.chunk_slope(tokens)
    assert law.chunk(tokens, prior + more) - law.chunk(tokens, prior) == slope * more
    assert isinstance(law.chunk(tokens, prior), int)


@given(tokens=st.integers(1, 500), prior=st.integers(0, 500))
def test_a_window_never_costs_more_than_full_attention(tokens, prior, law_of, llms_of):
    windowed, full = law_of(llms_of["windowed"], **REAL), law_of(llms_of["dense"], **REAL)
    rounding = 2 + prior
    assert windowed.chunk(tokens, prior) <= full.chunk(tokens, prior) + rounding


@pytest.mark.parametrize("name", ["dense", "mla"])
def test_tp_shortens_steps_over_ideal_links(name, law_of, llms_of):
    times = []
    for tp in (1, 2, 4, 8):
        law = law_of(llms_of[name], tp=tp, links=Links(1e30, 0.0, 8))
        times.append((law.base(8, 0, 0, 8), law.slope_fs))
    assert times == sorted(times, reverse=True)


@given(
    layout=LAYOUTS,
    decodes=st.integers(0, 100),
    prompts=st.integers(0, 1),
    tokens=st.integers(1, 400),
    prior=st.integers(0, 3000),
    steps=st.integers(1, 20),
    overlap=st.sampled_from(["none", "full"]),
)
def test_no_resource_is_busy_longer_than_the_step(
    layout, decodes, prompts, tokens, prior, steps, overlap, law_of, llms_of, runs_of
):
    if not decodes + prompts:
        return
    name, tp, ep = layout
    law = law_of(llms_of[name], tp=tp, ep=ep, overlap=overlap, **REAL)
    tokens, prior = tokens * prompts, prior * prompts
    context = decodes * 100
    growth = steps * (steps - 1) // 2
    chunks = [prior + k * tokens for k in range(steps)]
    run = runs_of(
        steps=steps,
        decodes=decodes,
        prompts=prompts,
        prompt_tokens=steps * tokens,
        emitted_tokens=steps * decodes,
        context_tokens=steps * context + decodes * growth,
        pair_tokens=sum(tokens * at + tokens * (tokens + 1) // 2 for at in chunks),
        prior_tokens=sum(chunks) * prompts,
    )
    busy = steps * law.base(decodes, tokens, prompts, decodes)
    busy += law.slope_fs * int(run.context_tokens[0])
    busy += sum(law.chunk(tokens, at) for at in chunks) if prompts else 0
    activity = law.activity(run)
    limit = busy * 1e-15 * (1 + 1e-9) + 1e-12
    for seconds in (activity.compute_s, activity.memory_s, activity.link_s):
        assert 0 <= seconds[0] <= limit
    assert activity.flops[0] > 0
    assert activity.bytes_moved[0] > 0


def test_flops_and_bytes_of_a_run_by_hand(law_of, llms_of, runs_of):
    law = law_of(llms_of["dense"], tp=2, **REAL)
    run = runs_of(
        steps=3, decodes=4, emitted_tokens=12, context_tokens=1212, prompts=1, prompt_tokens=30,
        pair_tokens=455, prior_tokens=30,
    )  # fmt: skip
    activity = law.activity(run)
    tokens = 3 * 4 + 30
    flops = tokens * 2 * 122_880 + 12 * 2 * 64_000 + (1212 + 455) * 512
    assert activity.flops[0] == pytest.approx(flops)
    weights = 3 * (122_880 + 64_000) * 2
    stream = tokens * 2 * 2 * (2 * 640 + 960)
    cache = tokens * 256 + (1212 + 30) * 256
    assert activity.bytes_moved[0] == pytest.approx(weights + stream + cache)
    assert activity.link_bytes[0] == pytest.approx(tokens * 4 * 2 * 128)


def test_windowed_activity_counts_pairs_inside_windows(law_of, llms_of, runs_of):
    """Three chunks of 8 tokens of one prompt from 4 on; windows of 10."""
    law = law_of(llms_of["windowed"])
    chunks = [4, 12, 20]
    pairs = sum(8 * at + 36 for at in chunks)
    run = runs_of(steps=3, prompts=1, prompt_tokens=24, pair_tokens=pairs, prior_tokens=36)
    seen = sum(min(at + i, 10) for at in chunks for i in range(1, 9))
    flops = 24 * 2 * 122_880 + (pairs + seen) * 256
    assert law.activity(run).flops[0] == pytest.approx(flops)
    assert first_steps(run).pair_tokens[0] == 8 * 4 + 36
