"""Cross-validation: bands are tested on rows that they were not made from, and written whole."""

import json
import math

import numpy as np
import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.residuals import model_error
from factorysim.catalog.shipped import parse_shipped
from factorysim.study.cross_validation import (
    LOAD_ROWS,
    SEEN,
    CrossValidation,
    Residual,
    Scored,
    _residual,
    as_json,
    bands_of,
    catalog_text,
    cells_of,
    honest_bounds,
)
from factorysim.study.measured.compare import Compared


def residual(k, log, *, quantity="tpot", load="closed", source="A", fold="hopper"):
    return Residual(f"r{k}", quantity, load, source, fold, log, math.exp(-log) - 1)


def world(folds=6, sources=3, rows=8, spread=0.2, seed=5):
    """Residuals of several folds, whose sources differ as much as their rows do."""
    rng = np.random.default_rng(seed)
    found = []
    for fold in range(folds):
        for source in range(sources):
            own = rng.normal(0, spread)
            found += [
                residual(
                    len(found) + row, own + rng.normal(0, spread),
                    source=f"S{fold}.{source}", fold=f"F{fold}",
                )
                for row in range(rows)
            ]  # fmt: skip
    return found


def test_bands_hold_eight_rows_of_ten_that_were_left_out():
    [cell] = cells_of(world(folds=30), {})
    assert cell.banded == cell.rows == 30 * 3 * 8
    assert 0.7 < cell.coverage < 0.9
    assert cell.width == pytest.approx(math.exp(2 * 1.2816 * 0.2 * math.sqrt(2)), rel=0.2)


def test_a_fold_that_is_unlike_the_others_is_not_held_by_its_own_rows():
    """Else a band could be made wide by the very rows that it is tested on."""
    usual = world()
    odd = [residual(1000 + k, 2.0, source="odd", fold="odd") for k in range(24)]
    held = honest_bounds([*usual, *odd])
    assert all(held[one.id].high < 2.5 for one in odd)
    assert all(held[one.id].high > 2.5 for one in usual)


def test_a_load_that_only_one_fold_has_is_tested_by_other_loads_then_by_other_sources():
    rows = [residual(k, 0.01 * k, source=f"S{k % 2}") for k in range(12)]
    other = [residual(100 + k, 0.3, load="static", fold="ampere", source="P") for k in range(5)]
    held = honest_bounds([*rows, *other])
    [band] = {held[one.id] for one in rows}
    assert band == next(one.bounds for one in bands_of(other) if one.load == "all")
    alone = honest_bounds(rows)
    [of_first] = {alone[one.id] for one in rows if one.source == "S0"}
    assert of_first == bands_of([one for one in rows if one.source == "S1"])[-1].bounds


def test_few_rows_make_no_band_of_a_load_and_waits_at_the_limit_none_of_all_loads():
    few = [residual(k, 0.0) for k in range(LOAD_ROWS - 1)]
    assert [one.load for one in bands_of(few)] == ["all"]
    limit = [
        residual(100 + k, 3.0 + k, load="offered", source=f"S{k}", fold=f"F{k % 2}")
        for k in range(LOAD_ROWS)
    ]
    found = {one.load: one for one in bands_of([*few, *limit])}
    assert found.keys() == {"all", "offered"}
    assert (found["all"].rows, found["offered"].rows) == (LOAD_ROWS - 1, LOAD_ROWS)


@pytest.mark.parametrize(("sources", "folds", "made"), [(3, 2, True), (2, 2, False), (3, 1, False)])
def test_a_load_takes_three_sources_and_of_rows_left_out_two_folds(sources, folds, made):
    rows = [
        residual(k, 0.01 * k, source=f"S{k % sources}", fold=f"F{k % folds}") for k in range(12)
    ]
    assert ("closed" in {one.load for one in bands_of(rows)}) == made
    seen = [one._replace(fold=SEEN) for one in rows]
    assert ("closed" in {one.load for one in bands_of(seen)}) == (sources >= 3)


def test_a_row_that_was_not_predicted_counts_as_wholly_off():
    rows = [residual(k, 0.0) for k in range(3)]
    [cell] = cells_of(rows, {("tpot", "closed"): 1})
    assert (cell.rows, cell.predicted, cell.median, cell.mean) == (4, 3, 0.0, 0.25)


@pytest.fixture
def found():
    rows = world(folds=2)
    scored = [
        Scored(name, ("F0", "F1"), tuple(rows), (), tuple(cells_of(rows, {})),
               tuple(bands_of(rows)), ())
        for name in ("seen", "generation", "family")
    ]  # fmt: skip
    urls = {one.source: "https://example.org/a" for one in rows}
    return CrossValidation(
        "mine.csv", tuple(scored), {("vllm", "hopper"): 12, ("vllm", "ada"): 7},
        {"dense.80x8192": 12, "moe.32x4096": 3}, urls,
    )  # fmt: skip


def test_the_file_is_a_catalog_that_gives_the_bands_back(found, tmp_path):
    text = catalog_text(found)
    assert parse_shipped(text)["residuals"]["seen"]["tpot"]["closed"]["rows"]["value"] == 48
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    catalog = load_catalog(path)
    llm = catalog.llm("llama_3_1_70b")
    error = model_error(catalog, catalog.device("h100_sxm"), "vllm", llm)
    band = error.band("tpot", "closed")
    [made] = [one for one in found.classes[0].bands if one.load == "closed"]
    assert band.low == pytest.approx(made.bounds.low, rel=1e-3)
    assert (band.rows, band.sources) == (48, 6)
    fact = catalog.facts["residuals.seen.tpot.closed.ratio"]
    assert fact.kind == "derived"
    assert catalog.sources[fact.source[0]].title == "S0.0"


def test_a_group_too_small_to_fit_is_not_told_as_fitted(found):
    fitted = parse_shipped(catalog_text(found))["residuals"]["fitted"]
    assert fitted == {"vllm": {"hopper": {"rows": fitted["vllm"]["hopper"]["rows"]}}}


def test_json_holds_every_residual(found):
    told = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert len(told["classes"]["generation"]["residuals"]) == 48
    assert told["fitted"]["vllm.hopper"] == 12


def compared(quantity, expected, got):
    error = got / expected - 1
    return Compared("r", 1, quantity, expected, got, error, "", (), quantity, load="closed")


def test_a_residual_is_of_measured_over_predicted():
    """A time half as long as predicted lies at minus ln 2; a rate of tokens as itself."""
    assert _residual("f", compared("tpot", 10.0, 20.0)).log == pytest.approx(-math.log(2))
    assert _residual("f", compared("throughput", 30.0, 10.0)).log == pytest.approx(math.log(3))


def test_a_rate_per_user_is_a_time_upside_down():
    """Measured 30 tokens a second for 10 predicted: a third of the time that was predicted."""
    found = _residual("f", compared("tokens_per_s_per_user", 30.0, 10.0))
    assert found.quantity == "tpot"
    assert found.log == pytest.approx(-math.log(3))
