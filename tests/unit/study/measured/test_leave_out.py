"""Leaving out: nothing of what is left out may be known to the fit that foretells it."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.study.measured.compare import read_experiments
from factorysim.study.measured.fit import Factor
from factorysim.study.measured.leave_out import (
    Refit,
    fold_catalog,
    leave_out,
    prior,
    without_generation,
)

HEAD = (
    "id,source_title,model,hardware,n_gpus,parallelism,engine,precision,scenario,isl,osl,"
    "concurrency_or_batch,metric,value\n"
)
ROWS = (
    "h100,A,Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,bf16,static,128,16,2,tpot_ms,5",
    "h200,A,Llama-3.1-8B-Instruct,H200-SXM-141GB,1,TP1,vLLM,bf16,static,128,16,2,tpot_ms,4",
    "a100,B,Llama-3.1-8B-Instruct,A100-SXM-80GB,1,TP1,vLLM,bf16,static,128,16,2,tpot_ms,9",
    "two,B,Llama-2-70B-chat,A100-SXM-80GB,4,TP4,vLLM,bf16,static,128,16,2,tpot_ms,20",
    "three,B,Llama-3.3-70B-Instruct,H100-SXM-80GB,4,TP4,vLLM,bf16,static,128,16,2,tpot_ms,15",
)


def factor(generation, name="host_step_s", value=3e-3):
    return Factor("vllm", generation, name, value, value, value, 2e-3, "s", 12, ("A",))


class Spy:
    """A fit that remembers what it was shown, and finds one factor."""

    def __init__(self):
        self.shown = []

    def __call__(self, group, catalog):
        self.shown.append(
            (group.generation, {row.row.id for one in group.experiments for row in one.rows})
        )
        return [factor(group.generation)]


@pytest.fixture
def experiments(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + "".join(f"{row}\n" for row in ROWS), encoding="utf-8")
    return read_experiments(path, load_catalog())[0]


def held(experiments, catalog, by):
    spy = Spy()
    found = leave_out(experiments, catalog, by, refit=Refit(prior(catalog), spy))
    return {one.left_out: one for one in found}, spy


def test_a_generation_leaves_whole_and_every_row_is_foretold_once(experiments):
    folds, _ = held(experiments, load_catalog(), "generation")
    ids = {name: {row.id for row in one.rows} for name, one in folds.items()}
    assert ids == {"ampere": {"a100", "two"}, "hopper": {"h100", "h200", "three"}}
    assert {one.generation for one in folds["hopper"].factors} == {"ampere"}


def test_a_family_leaves_by_its_shape(experiments):
    folds, spy = held(experiments, load_catalog(), "family")
    assert {row.id for row in folds["dense.80x8192"].rows} == {"two", "three"}
    assert {row.id for row in folds["dense.32x4096"].rows} == {"h100", "h200", "a100"}
    assert ("hopper", {"h100", "h200"}) in spy.shown
    assert ("hopper", {"three"}) in spy.shown


def test_no_fold_learns_from_facts_of_what_it_leaves_out(experiments):
    """A leak would show: with absurd facts of Hopper, what is foretold of it stays the same."""
    facts = load_catalog()
    absurd = facts.with_values(
        {
            "efficiency.generic.hopper.weight_bandwidth": 0.01,
            "efficiency.vllm.hopper.host_step_s": 1.0,
        }
    )
    plain, _ = held(experiments, facts, "generation")
    spoiled, _ = held(experiments, absurd, "generation")
    assert plain["hopper"].rows == spoiled["hopper"].rows
    shown = next(row for row in held(experiments, absurd, "family")[0]["dense.32x4096"].rows)
    assert shown.got > 5 * next(row for row in plain["hopper"].rows if row.id == "h100").got


def test_a_factor_of_what_was_left_out_is_refused():
    with pytest.raises(AssertionError, match="hopper was left out, but fitted"):
        fold_catalog(load_catalog(), [factor("ampere"), factor("hopper")], "hopper")


def test_the_catalog_of_a_fold_has_the_factors_and_no_fact_of_its_generation():
    known = fold_catalog(load_catalog(), [factor("ampere")], "hopper")
    assert known.facts["efficiency.vllm.ampere.host_step_s"].value == 3e-3
    own = [name for name in known.facts if name.split(".")[0::2][:2] == ["efficiency", "hopper"]]
    assert own == []
    left = without_generation(load_catalog(), "ampere")
    assert not any(".ampere." in name for name in left.facts if name.startswith("efficiency."))


def test_a_fit_begins_from_what_no_fit_has_written(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "schema: factorysim.catalog/1\n"
        "efficiency:\n"
        "  vllm:\n"
        "    hopper:\n"
        "      host_step_s: {value: 0.5 s, kind: derived, note: fitted to 12 rows}\n"
        "      kv_bandwidth: {value: 0.5, unit: ratio, kind: measured, note: by hand}\n",
        encoding="utf-8",
    )
    found = prior(load_catalog(path)).facts
    assert "efficiency.vllm.hopper.host_step_s" not in found
    assert found["efficiency.vllm.hopper.kv_bandwidth"].value == 0.5


def test_a_group_that_two_folds_share_is_fitted_once(experiments):
    spy = Spy()
    refit = Refit(prior(load_catalog()), spy)
    leave_out(experiments, load_catalog(), "generation", refit=refit)
    leave_out(experiments, load_catalog(), "generation", refit=refit)
    assert [generation for generation, _ in spy.shown] == ["hopper", "ampere"]


def test_the_number_of_workers_changes_nothing(experiments):
    """Workers are sent the catalog of the fold, not the one that ships."""
    known = [leave_out(experiments, load_catalog(), "generation", n, refit=Refit(load_catalog(), Spy()))
             for n in (1, 2)]  # fmt: skip
    assert known[0] == known[1]
