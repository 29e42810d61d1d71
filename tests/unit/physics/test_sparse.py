"""Indexer, selection and compressed caches of small LLMs, worked out by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.physics.memory import kv_bytes_per_token, sequence_bytes
from factorysim.physics.shape import llm_shape
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec
from tests.unit.physics.test_roofline_properties import REAL, device_with

BF16 = PrecisionSpec()
NAMES = st.sampled_from(["sparse", "compressed", "windowed"])
TOKENS, PRIORS = st.integers(1, 300), st.integers(0, 600)


def test_an_indexer_scores_all_and_latent_attention_reads_what_it_selects(llms):
    index, latent = llm_shape(llms["sparse"]).attention
    (dense,) = llm_shape(llms["mla"]).attention
    assert (index.window, latent.window) == (None, 10)
    assert index.decode_flops == index.pair_flops == 2 * 2 * 2 * 4
    assert latent._replace(window=None, reads="all") == dense
    linears = {one.name: one.params for one in llm_shape(llms["sparse"]).linears}
    plain = {one.name: one.params for one in llm_shape(llms["mla"]).linears}
    # Two layers: queries 16 x 2 x 4, keys 64 x 4, the mix of two heads 64 x 2.
    assert linears["attention"] - plain["attention"] == 2 * (128 + 256 + 128)


def test_the_cache_keeps_every_token_and_its_key(llms):
    for tp in (1, 8):
        parallel = ParallelSpec(tp=tp)
        assert kv_bytes_per_token(llms["sparse"], BF16, parallel) == 2 * 36 * 2 + 2 * 5
        assert sequence_bytes(llms["sparse"], BF16, parallel) == 0


def test_counts_of_compressed_attention(llms):
    """Three layers: one compresses 4 tokens, one 128, one does not."""
    shape = llm_shape(llms["compressed"])
    linears = {one.name: one.params for one in shape.linears}
    query = 16 * (64 + 8 * 32)
    output = 8 * 32 * 4 + 2 * 4 * 64
    indexer = 16 * 2 * 4 + 64 * 2
    few, many = 2 * 2 * 64 * (32 + 4), 2 * 64 * 32
    assert linears["attention"] == 3 * (query + 64 * 32 + output) + few + many + indexer
    by_reads = {group.reads: group for group in shape.attention}
    assert by_reads["index"].elements == 4 / 4
    assert by_reads["all"].elements == 32 / 128
    assert by_reads["selected"].elements == 32 / 4
    assert by_reads["selected"].window == 5 * 4
    assert by_reads["selected"].decode_flops == 4 * 8 * 32 / 4
    assert (by_reads["recent"].window, by_reads["recent"].layers) == (3, 3)


def test_memory_of_compressed_attention(llms):
    parallel = ParallelSpec(tp=4)
    assert kv_bytes_per_token(llms["compressed"], BF16, parallel) == 2 * (1 + 0.25 + 8)
    windows = 3 * 3 * 32 * 2
    pending = 4 * (2 * 4 * 2 * 2 * 36 + 128 * 2 * 32)
    assert sequence_bytes(llms["compressed"], BF16, parallel) == windows + pending


def test_a_decode_reads_at_most_what_is_selected(law, llms):
    """Bandwidth 1e9: 144 B a latent token up to 10, 10 B a key without end."""
    found = law(llms["sparse"])
    assert found.window == 10
    assert found.window_fs == 144 * 10**6
    assert found.slope_fs == 10 * 10**6


def test_every_device_scores_for_itself(law, llms):
    one, two = law(llms["sparse"]), law(llms["sparse"], tp=2)
    assert two.full == one.full
    assert two.local.decode_s == one.local.decode_s / 2


def test_scores_are_computed_in_fp8_where_the_deployment_is(law, llms):
    plain = law(llms["sparse"])
    fp8 = law(llms["sparse"], precision=PrecisionSpec(weights="fp8", compute="fp8"))
    assert fp8.full.pair_s == plain.full.pair_s / 2  # 2e11 FLOP/s of FP8, 1e11 of BF16
    assert fp8.local.pair_s == plain.local.pair_s


def test_a_chunk_expands_or_selects_whatever_is_less(law, llms, slow_device):
    """Arithmetic at 1e11 FLOP/s: 640 FLOP a pair expanded, 2,176 absorbed, 32,768 to expand."""
    found = law(llms["sparse"], device=replace(slow_device, memory_bandwidth=1e15))
    index = 32
    short = 8 * 9 // 2 * (640 + index)
    assert found.chunk(8, 0) == pytest.approx(short * 1e4, rel=1e-6)
    selected = 100 * 10 * 2176 + (100 * 101 // 2 + 100 * 5000) * index
    assert found.chunk(100, 5000) == pytest.approx(selected * 1e4, rel=1e-6)


def test_the_last_tokens_are_read_from_the_first_on(law, llms):
    """Three layers of 32 elements, 3 tokens: 576 B a decode at 1e9 B/s; 9,216 FLOP a token."""
    found = law(llms["compressed"])
    bare = replace(found, recent=None)
    assert found.base(2, 0, 0, 2) - bare.base(2, 0, 0, 2) == 2 * 576 * 10**6
    extra = found.base(0, 10, 1, 1) - bare.base(0, 10, 1, 1)
    assert extra == 10 * 3 * 3 * 4 * 8 * 32 * 10**4


def test_activity_counts_the_last_tokens(law, llms, runs):
    """Two steps of 2 decodes beside a chunk of 10: 14 tokens of 9,216 FLOP, 4 reads of 576 B."""
    found = law(llms["compressed"])
    run = runs(steps=2, decodes=2, prompts=1, prompt_tokens=10, emitted_tokens=4)
    whole = found.activity(run)
    bare = replace(found, recent=None, totals=found.totals._replace(recent=0.0)).activity(run)
    assert whole.flops[0] - bare.flops[0] == pytest.approx(14 * 9216, rel=1e-9)
    assert whole.bytes_moved[0] - bare.bytes_moved[0] == pytest.approx(4 * 576, rel=1e-9)
    assert whole.memory_s[0] - bare.memory_s[0] == pytest.approx(4 * 576e-9, rel=1e-9)
    assert whole.compute_s[0] - bare.compute_s[0] == pytest.approx(14 * 9216e-11, rel=1e-9)


@given(name=NAMES, tokens=TOKENS, prior=PRIORS, more=st.integers(1, 50))
def test_chunks_grow_with_tokens_and_with_what_came_before(
    name, tokens, prior, more, law_of, llms_of
):
    law = law_of(llms_of[name], **REAL)
    chunk = law.chunk(tokens, prior)
    assert law.chunk(tokens + more, prior) >= chunk
    assert law.chunk(tokens, prior + more) >= chunk
    assert law.chunk_slope(tokens) is None


@given(name=NAMES, tokens=TOKENS, prior=PRIORS, factor=st.floats(1.0, 20.0))
def test_more_bandwidth_never_slows_a_sparse_step(
    name, tokens, prior, factor, law_of, llms_of, slow_device
):
    before = law_of(llms_of[name], slow_device, **REAL)
    after = law_of(llms_of[name], device_with(slow_device, bandwidth=factor), **REAL)
    assert after.slope_fs <= before.slope_fs
    assert after.window_fs <= before.window_fs
    assert after.chunk(tokens, prior) <= before.chunk(tokens, prior)
    counts = (tokens, prior, min(prior, 1), tokens)
    assert after.base(*counts) <= before.base(*counts)


@given(
    name=NAMES,
    decodes=st.integers(1, 40),
    context=st.integers(1, 60),
    tokens=st.integers(0, 90),
    prior=PRIORS,
)
def test_no_resource_is_busy_longer_than_a_sparse_step(
    name, decodes, context, tokens, prior, law_of, llms_of, runs_of
):
    law = law_of(llms_of[name], tp=2, **REAL)
    prompts = min(tokens, 1)
    prior *= prompts
    inside = decodes * min(context, law.window)
    run = runs_of(
        decodes=decodes,
        prompts=prompts,
        prompt_tokens=tokens,
        emitted_tokens=decodes,
        context_tokens=decodes * context,
        window_tokens=inside,
        pair_tokens=tokens * prior + tokens * (tokens + 1) // 2,
        prior_tokens=prior,
    )
    busy = law.base(decodes, tokens, prompts, decodes) + law.window_fs * inside
    busy += law.slope_fs * decodes * context
    busy += law.chunk(tokens, prior) if prompts else 0
    activity = law.activity(run)
    limit = busy * 1e-15 * (1 + 1e-9) + 1e-12
    for seconds in (activity.compute_s, activity.memory_s, activity.link_s):
        assert 0 <= seconds[0] <= limit
