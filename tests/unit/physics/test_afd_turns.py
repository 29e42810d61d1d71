"""Micro-batches that take turns: the closed form against the recurrence in max and plus.

The recurrence walks every block, micro-batch and resource. It takes the times of single
micro-batches from the rooflines of the two sides, and deals the step itself.
"""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.catalog import load_catalog
from factorysim.graph.planning import plan_factory
from factorysim.load import load
from factorysim.physics.afd import Exchange, Load, Turns
from factorysim.physics.roofline import EngineCost
from tests.unit.physics.conftest import DENSE, MLA, MOE, WINDOWED
from tests.unit.physics.test_afd import OTHER, make_law

FS = 1e-15
LAYERS = 40
DEEP = [
    replace(DENSE, layers=LAYERS, kv_layers=LAYERS, dense_layers=LAYERS),
    replace(MLA, layers=LAYERS, kv_layers=LAYERS, dense_layers=LAYERS),
    replace(MOE, layers=LAYERS, kv_layers=LAYERS, moe_layers=LAYERS),
]
MIXED = replace(WINDOWED, layers=LAYERS, kv_layers=20, window_layers=20, dense_layers=LAYERS)


def recurrence(blocks, latency):
    """End of a step of `blocks`, each a list of micro-batches' (a, w, f, v), served in turn."""
    free, ready = [0.0] * 4, [0.0] * len(blocks[0])
    for block in blocks:
        for i, times in enumerate(block):
            for resource, (seconds, after) in enumerate(
                zip(times, (0.0, latency, 0.0, latency), strict=True)
            ):
                free[resource] = max(ready[i], free[resource]) + seconds
                ready[i] = free[resource] + after
    return max(ready)


def dealt(things, parts):
    return sorted((things + i) // parts for i in range(parts))


def blocks_of(law, decodes, context, chunk=0, prior=0, inside="one"):
    """Times of all micro-batches in all blocks; kinds of mixers come as evenly as may be."""
    tokens = decodes + chunk
    parts = min(law.micro_batches, tokens)
    sizes = list(
        zip(
            dealt(tokens, parts),
            dealt(decodes + bool(chunk), parts),
            dealt(decodes, parts),
            strict=True,
        )
    )
    kinds = []
    for blocks, mixer in law.mixers:
        block = []
        for i, (size, sequences, decoding) in enumerate(sizes):
            short = min(size, sequences)
            attention = mixer.base(short, size - short, 0, 0) * FS
            cached = context * decoding / decodes if decodes else 0.0
            bound = decoding * mixer.window if mixer.window is not None else cached
            attention += cached * mixer.full.slope_s + min(cached, bound) * mixer.local.slope_s
            if chunk:
                own = mixer.chunk(chunk, prior) * FS
                attention += own * (i == parts - 1) if inside == "one" else own * size / tokens
            ffn = law.ffn.base(size, 0, 0, 0) * FS / law.blocks
            way = [size * n / law.exchange.bandwidth for n in (law.go_bytes, law.back_bytes)]
            block.append((attention / blocks, way[0], ffn, way[1]))
        kinds.append(block)
    counts = [mixer.blocks for mixer in law.mixers]
    places = [((n + 0.5) / count, k) for k, count in enumerate(counts) for n in range(round(count))]
    return [kinds[k] for _, k in sorted(places)]


def exact_s(law, decodes, context, *chunk):
    end = recurrence(blocks_of(law, decodes, context, *chunk), law.exchange.latency_s)
    return end + (law.head.base(decodes, 0, 0, decodes) * FS if decodes else 0.0)


def told_s(law, decodes, context, chunk=0, prior=0):
    told = law.base(decodes, chunk, int(chunk > 0), decodes)
    if decodes:
        piece = law.piece(decodes, context)
        told += piece.fixed_fs + piece.slope_fs * context
    return (told + (law.chunk(chunk, prior) if chunk else 0)) * FS


@pytest.mark.parametrize("micro_batches", [1, 2, 3, 5])
def test_the_closed_form_is_the_recurrence(micro_batches):
    """Equal micro-batches, over every order of four times, with and without latency."""
    for go, ffn, back, attention in product((1.0, 3.0, 4.0), repeat=4):
        for latency in (0.0, 2.0, 9.0):
            load = Load(micro_batches, attention, 0.0, max(ffn, go, back))
            turns = Turns(6.0, (load,), ffn + go + back + 2 * latency, 0.0, 0.0, 0.0)
            period, fill = turns.block_s(0.0)
            exact = recurrence([[(attention, go, ffn, back)] * micro_batches] * 6, latency)
            assert 6 * period + fill == pytest.approx(exact), (attention, go, ffn, back, latency)


def test_three_decodes_in_two_micro_batches():
    """By hand: attention binds with 1 and 2 tokens, so a block takes both, not twice the fuller.

    12,288 BF16 weights at 1e9 B/s, read by each micro-batch; a token's 832 elements and
    128 B of KV; the FFN and link of the last one's last block are drained.
    """
    law = make_law()
    here = [24.576 + n * (2 * 832 + 128) / 1e3 for n in (1, 2)]
    there = 98_304 / 1e4 + 2 * (2 * 1088) / 1e4 + 2 * 2 * 0.128 + 2 * 1.0
    expected_us = 2 * sum(here) + there + 128.0
    assert law.base(3, 0, 0, 3) / 1e9 == pytest.approx(expected_us, rel=1e-9)
    # What is cached is read once, by whichever micro-batch has the sequence.
    assert law.piece(3, 99).slope_fs == pytest.approx(2 * 128 / 1e9 / FS, rel=1e-9)


@pytest.mark.parametrize("llm", DEEP, ids=lambda llm: llm.id)
@pytest.mark.parametrize("micro_batches", [2, 3, 4])
def test_a_resource_that_binds_every_size_gives_the_recurrence(llm, micro_batches):
    """Attention of long contexts, or a slow FFN, or a link: all but the way of a first token.

    The first micro-batch has a token less on its way to what binds; the law takes the fullest's.
    """
    slow = replace(OTHER, memory_bandwidth=1e7)
    laws = [make_law(llm, micro_batches=micro_batches, there=t) for t in (OTHER, slow)]
    laws.append(make_law(llm, micro_batches=micro_batches, exchange=Exchange(1e5, 1e-6)))
    for law, context in zip(laws, (9_000, 0, 0), strict=True):
        for decodes in (1, 2, 3, 5, 7, 11):
            exact = exact_s(law, decodes, decodes * context)
            told = told_s(law, decodes, decodes * context)
            assert told == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("llm", DEEP, ids=lambda llm: llm.id)
@pytest.mark.parametrize(("decodes", "chunk"), [(0, 12), (2, 10), (8, 4), (9, 3), (7, 6)])
def test_chunks_where_attention_binds_are_the_recurrence(llm, decodes, chunk):
    """Nothing is hidden then, of three micro-batches with every number of equal ones."""
    law = make_law(llm, micro_batches=3, there=replace(OTHER, memory_bandwidth=1e11))
    exact = exact_s(law, decodes, decodes * 9_000, chunk, 400)
    told = told_s(law, decodes, decodes * 9_000, chunk, 400)
    assert told == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(
    ("llm", "decodes", "chunk"), [(DEEP[0], 2, 150), (DEEP[1], 7, 115), (DEEP[2], 9, 111)]
)
def test_what_a_chunk_makes_visible_of_decodes_is_charged_and_no_more(llm, decodes, chunk):
    """Latency hides the attention of decodes alone, and a chunk's arithmetic takes its place.

    Over contexts the law is never below the recurrence, and somewhere it is the recurrence.
    """
    law = make_law(llm, micro_batches=4, exchange=Exchange(1e9, 1e-4))
    ratios = []
    for context in range(0, 6001, 25):
        exact = exact_s(law, decodes, context, chunk)
        ratios.append(told_s(law, decodes, context, chunk) / exact)
    assert min(ratios) == pytest.approx(1.0, abs=2e-3)
    assert min(ratios) >= 1 - 1e-8


LAWS = {
    "llm": st.sampled_from(DEEP),
    "micro_batches": st.integers(1, 5),
    "rate": st.sampled_from([1e8, 1e9, 1e10]),
    "link": st.sampled_from([1e7, 1e8, 1e9]),
    "latency_s": st.sampled_from([0.0, 1e-5, 1e-4]),
    "decodes": st.integers(1, 40),
    "context": st.integers(0, 5000),
}


def law_of(llm, micro_batches, rate, link, latency_s):
    there = replace(OTHER, memory_bandwidth=rate)
    return make_law(
        llm, micro_batches=micro_batches, there=there, exchange=Exchange(link, latency_s)
    )


@settings(max_examples=60)
@given(**LAWS)
def test_decodes_are_between_the_recurrence_and_a_sixth_more(decodes, context, **fields):
    """Never below, whichever resource is the busiest of each size."""
    law = law_of(**fields)
    exact = exact_s(law, decodes, decodes * context)
    told = told_s(law, decodes, decodes * context)
    assert exact * (1 - 1e-8) <= told <= exact * 7 / 6


@settings(max_examples=60)
@given(
    **LAWS,
    chunk=st.integers(1, 600),
    prior=st.integers(0, 20_000),
    inside=st.sampled_from(["one", "all"]),
)
def test_chunks_are_between_the_recurrence_and_twice_that(
    decodes, context, chunk, prior, inside, **fields
):
    """Whether one micro-batch holds the chunk or each has its part.

    What is cached before chunk and decodes may both be hidden, and is charged: at most all of it.
    """
    law = law_of(**fields)
    exact = exact_s(law, decodes, decodes * context, chunk, prior, inside)
    told = told_s(law, decodes, decodes * context, chunk, prior)
    assert exact * (1 - 1e-8) <= told <= 2 * exact


@settings(max_examples=60)
@given(**LAWS | {"llm": st.just(MIXED)})
def test_kinds_that_alternate_are_near_the_recurrence(decodes, context, **fields):
    """A period of each kind, added up: no bound, so both sides are held."""
    law = law_of(**fields)
    exact = exact_s(law, decodes, decodes * context)
    assert exact * 0.87 <= told_s(law, decodes, decodes * context) <= 1.3 * exact


@pytest.mark.slow
@pytest.mark.parametrize(
    ("llm", "over"), [("kimi_k3", 0.07), ("deepseek_v4_pro", 0.13), ("kimi_k2", 0.18)]
)
def test_the_shipped_split_is_as_near_as_docs_lpx_says(llm, over):
    """On GPUs and LPUs of `lpx-splits-afd`; the host, which nothing here hides, is left out."""
    catalog, name = load_catalog(), f"llms.big.llm={llm}"
    scenario = load("lpx-splits-afd", [name])
    law = plan_factory(scenario, scenario.topology, catalog).serve[0].law
    for parts in (2, 3, 4):
        law = replace(law, micro_batches=parts, engine=EngineCost(0.0, 0.0), _pieces={})
        for decodes, context in product((1, 3, 5, 8, 33, 65, 511), (1000, 100_000, 1_000_000)):
            many = decodes * context
            exact = exact_s(law, decodes, many)
            assert told_s(law, decodes, many) == pytest.approx(exact, rel=1e-4)
            for chunk, prior in product((64, 8192), (0, 400_000)):
                exact = exact_s(law, decodes, many, chunk, prior)
                told = told_s(law, decodes, many, chunk, prior)
                assert exact * (1 - 5e-4) <= told <= exact * (1 + (over if parts == 2 else 1e-4))
