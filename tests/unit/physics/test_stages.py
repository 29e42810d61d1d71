"""Pipelines: stages add up to the LLM, and a hop is its bytes over the link."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError
from factorysim.physics.collectives import Links
from factorysim.physics.shape import llm_shape
from factorysim.physics.stages import stage_layers, stage_shapes, staged_law
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec
from tests.unit.physics.conftest import (
    DENSE,
    DEVICE,
    IDEAL,
    LINKS,
    MOE,
    WINDOWED,
    make_law,
    make_runs,
)

CATALOG = load_catalog()
WHOLE = ("llama_3_1_405b", "deepseek_v3", "gpt_oss_120b")


def staged(pp, llm=DENSE, overlap="full", **factors):
    return staged_law(
        llm,
        DEVICE,
        PrecisionSpec(),
        ParallelSpec(pp=pp),
        (LINKS, Links(1e9, 2e-6, 2)),
        replace(IDEAL, **factors),
        overlap,
    )


@given(layers=st.integers(1, 200), stages=st.integers(1, 200))
def test_layers_are_cut_evenly_and_the_last_stage_has_no_more_than_others(layers, stages):
    if stages > layers:
        return
    cut = stage_layers(layers, stages)
    assert sum(cut) == layers
    assert max(cut) - min(cut) <= 1
    assert cut[-1] == min(cut)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("pp", [1, 2, 3, 4, 8])
def test_stages_add_up_to_the_llm(name, pp):
    shape = llm_shape(CATALOG.llm(name))
    parts = stage_shapes(shape, pp)
    assert len(parts) == pp
    for key in ("layers", "blocks", "moe_layers", "table", "state_elements"):
        assert sum(getattr(part, key) for part in parts) == getattr(shape, key), key
    for key in ("layers", "elements", "decode_flops", "pair_flops", "expand_flops"):
        whole = sum(getattr(group, key) for group in shape.attention)
        cut = sum(getattr(group, key) for part in parts for group in part.attention)
        assert cut == whole, key
    params = sum(linear.params for linear in shape.linears)
    assert sum(linear.params for part in parts for linear in part.linears) == params


def test_one_stage_is_the_plain_law():
    for llm in (DENSE, MOE):
        plain, law = make_law(llm), staged(1, llm)
        assert law.stages[0].base(7, 90, 2, 8) == plain.base(7, 90, 2, 8)
        assert law.stages[0].chunk(90, 40) == plain.chunk(90, 40)


def test_stages_take_as_long_as_the_whole_without_hops():
    """Ideal hardware has no fixed times: two stages are the law in two parts, but for rounding."""
    plain, law = make_law(), staged(2)
    for counts in ((4, 0, 0, 4), (0, 512, 1, 0), (8, 256, 2, 9)):
        assert law.base(*counts) == pytest.approx(plain.base(*counts), rel=1e-9)
    assert law.chunk(300, 64) == pytest.approx(plain.chunk(300, 64), rel=1e-9)
    whole, cut = (
        plain.activity(make_runs(steps=3, decodes=4, emitted_tokens=12)),
        law.activity(make_runs(steps=3, decodes=4, emitted_tokens=12)),
    )
    np.testing.assert_allclose(cut.flops, whole.flops)
    np.testing.assert_allclose(cut.bytes_moved, whole.bytes_moved)
    np.testing.assert_allclose(2 * cut.memory_s, whole.memory_s)


def test_a_hop_is_latency_and_bytes():
    """64 elements of 2 bytes a token over 1 GB/s: 0.128 us each; 2 + 3 + 1 us for the rest."""
    law = staged(2, collective_s=3e-6, collective_hop_s=1e-6)
    assert law.hop_fs(100, 1.0) == round((6e-6 + 100 * 128e-9) * 1e15)
    assert law.hop_fs(100, 0.5) == round((6e-6 + 200 * 128e-9) * 1e15)


def test_a_token_crosses_one_hop_between_two_stages():
    law = staged(2)
    stages = sum(stage.link_token_bytes for stage in law.stages)
    hops = 2 * DENSE.hidden
    assert law.link_token_bytes == stages + hops
    runs = make_runs(steps=1, decodes=3, emitted_tokens=3, context_tokens=30)
    assert law.activity(runs).link_bytes[0] == pytest.approx(3 * (stages + hops))


def test_only_the_first_stage_pays_the_host():
    law = staged(2, overlap="none", host_step_s=1.0)
    assert law.stages[0].base(1, 0, 0, 1) > 10**15 > law.stages[1].base(1, 0, 0, 1)


def test_more_stages_than_layers_are_refused():
    with pytest.raises(CapacityError, match="at most 2, its layers"):
        staged(3)


def test_each_stage_has_the_layers_that_are_said():
    """126 layers of Llama 3.1 405B in four stages: the ends have one less, for their tables."""
    shape = llm_shape(CATALOG.llm("llama_3_1_405b"))
    parts = stage_shapes(shape, 4)
    assert [part.layers for part in parts] == [31, 32, 32, 31]
    assert [part.attention[0].layers for part in parts] == [31, 32, 32, 31]
    assert [part.table for part in parts] == [0, 0, 0, shape.table]


def test_tokens_of_prompts_cross_hops_as_those_of_decodes_do():
    """Two steps of 3 decodes and 5 prompt tokens: 16 tokens, 128 bytes each."""
    runs = make_runs(steps=2, decodes=3, prompts=1, prompt_tokens=10, emitted_tokens=6)
    assert staged(2).activity(runs).link_bytes[0] == pytest.approx(16 * 128)


def test_windows_of_any_stage_are_those_of_the_pipeline():
    assert staged(2, WINDOWED).window == 10
    assert staged(2).window is None
    assert staged(2, WINDOWED).window_fs == make_law(WINDOWED).window_fs == 128 * 10**6


def test_two_stages_are_half_as_busy_each_as_one():
    """Of two devices each: all that they do adds up, seconds are means over the stages."""
    runs = make_runs(steps=3, decodes=4, emitted_tokens=12, context_tokens=600)
    parallel = ParallelSpec(pp=2, tp=2)
    law = staged_law(DENSE, DEVICE, PrecisionSpec(), parallel, (LINKS, LINKS), IDEAL, "full")
    cut, whole = law.activity(runs), make_law(tp=2).activity(runs)
    for name in ("compute_s", "memory_s", "link_s"):
        np.testing.assert_allclose(2 * getattr(cut, name), getattr(whole, name), err_msg=name)
    np.testing.assert_allclose(cut.link_bytes, whole.link_bytes + 12 * 128)
    # Of a token: four sums of 128 B, half of it each way, at 1e9 B/s
    assert whole.link_s[0] == pytest.approx(12 * 4 * 128e-9)
    assert law.prompt(0.5) == 0
