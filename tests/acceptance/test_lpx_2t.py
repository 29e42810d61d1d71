"""The 2T LLM with its expert shape swept: guesses of equal size, refusals, and the sweep itself."""

import re

import pytest

from analysis.lpx_2t import CATALOGS, LLM, SHAPES, SPLITS, sweep, table
from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError
from factorysim.load import load_scenario
from factorysim.physics.shape import llm_shape
from factorysim.run.prepare import prepare

TOTAL = 2.0e12
"""Parameters, as NVIDIA names it."""


def overlaid(shape):
    return load_catalog(CATALOGS / f"gpt-2t-{shape}.yaml")


def test_every_guess_that_ships_is_swept():
    shipped = {path.stem.removeprefix("gpt-2t-") for path in CATALOGS.glob("gpt-2t-*.yaml")}
    assert shipped == set(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_guess_is_of_two_trillion_parameters_and_named_for_its_experts(shape):
    llm = overlaid(shape).llm(LLM)
    counted = llm_shape(llm)
    assert (counted.experts, counted.active) == tuple(map(int, shape.split("x")))
    assert counted.total_params == pytest.approx(TOTAL, rel=0.002)
    assert counted.active_params == pytest.approx(llm.active_params, rel=0.002)


def test_guesses_of_one_axis_differ_in_nothing_else():
    counted = {shape: llm_shape(overlaid(shape).llm(LLM)) for shape in SHAPES}
    small = counted["128x4"].total_params
    assert all(one.total_params == pytest.approx(small, rel=2e-4) for one in counted.values())
    fine = [counted[shape].active_params for shape in ("32x1", "128x4", "512x16")]
    assert fine == pytest.approx([fine[1]] * 3, rel=0.006)  # routers grow with experts


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_guessed_is_flagged_with_a_reason(shape):
    before, catalog = load_catalog().facts, overlaid(shape)
    used = [catalog.facts[name] for name in catalog.llm(LLM).facts]
    guessed = {
        fact.id.removeprefix(f"llms.{LLM}."): fact for fact in used if fact.kind == "assumed"
    }
    assert guessed.keys() >= {"ffn.experts", "ffn.experts_active", "ffn.expert_intermediate"}
    assert {"active_params", "vocab_size", "tied_embeddings"} <= guessed.keys()
    for fact in guessed.values():
        assert fact.note
        assert fact.id not in before or before[fact.id].kind == "unknown"  # no fact is overridden


def refused(name, *overrides):
    """Racks wanted and racks there, as the refusal says them."""
    given = [f"catalog={CATALOGS}/gpt-2t-128x4.yaml", "serving.kv.memory_fraction=1.0", *overrides]
    with pytest.raises(CapacityError) as error:
        prepare(load_scenario(name, overrides=given).scenario)
    [fault] = error.value.faults
    wanted = re.search(r"([\d.]+) racks$", fault.found)
    there = re.search(r"at most ([\d.]+) racks", fault.expected)
    return float(wanted[1]), float(there[1]), fault.found


@pytest.mark.slow
def test_two_trillion_parameters_want_15_6_racks_and_the_experts_fewer():
    """2e12 bytes on racks of 256 x 0.5 GB, all of it used: 2e12 / 128e9 = 15.6."""
    few = "topology.racks.lpx.count=15"
    no_kv = ("deployments.decode.sram.kv=dram", "deployments.decode.sram.kv_tokens=null")
    whole, there, said = refused("lpx-splits-2t-decode", few, *no_kv)
    assert (whole, there) == (15.6, 15.0)
    assert said.startswith("lpx: 1.999 TB of weights: 4,000 groq3_lpu of 500 MB (100% of 500 MB)")
    # In groups of as many chips as the whole is cut into.
    experts, _, said = refused(
        "lpx-splits-2t-afd", few, "deployments.serve.split.parallel={tp: 8, ep: 8}"
    )
    assert experts == 15.5
    assert said.startswith("lpx: 1.987 TB of FFN and experts: 3,976 groq3_lpu of 500 MB")


def test_a_shape_that_is_not_guessed_is_refused_by_the_facts_it_lacks():
    with pytest.raises(CapacityError, match=r"ffn\.experts"):
        prepare(load_scenario("lpx-splits-2t", overrides=["catalog=null"]).scenario)


@pytest.mark.slow
def test_the_sweep_runs_and_tells_what_decides():
    tiny = ("run.window=4 min", "run.warmup=30 s", "run.replications=1")
    points = sweep(("32x1", "128x2", "128x16"), ("alone", "decode"), tiny)
    speed = {(one.shape, one.split): one.tokens_per_s for one in points}
    for split in ("alone", "decode"):
        assert speed["128x2", split] > 1.1 * speed["128x16", split]  # fewer weights are read
        assert speed["32x1", "decode"] > 5 * speed["32x1", "alone"]
    lines = table(points).splitlines()
    assert [line.split(" |")[0] for line in lines[2:]] == ["| 32x1", "| 128x2", "| 128x16"]
    assert set(SPLITS) >= {"alone", "decode"}
