"""The model's own error: which class a prediction is of, and what band it gets."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.residuals import family_of, model_error

TEXT = """
schema: factorysim.catalog/1
sources: {mine: {title: "Ours"}, theirs: {title: "Theirs"}}
residuals:
  seen:
    tpot:
      closed:
        ratio: {value: 1.0, low: 0.9, high: 1.1, unit: ratio, kind: derived, source: [mine]}
        rows: {value: 40, unit: count, kind: derived}
      all:
        ratio: {value: 1.0, low: 0.5, high: 2.0, unit: ratio, kind: derived, source: [mine, theirs]}
        rows: {value: 80, unit: count, kind: derived}
  generation:
    tpot:
      closed:
        ratio: {value: 1.1, low: 0.8, high: 1.6, unit: ratio, kind: derived, source: [mine]}
        rows: {value: 30, unit: count, kind: derived}
  family:
    tpot:
      closed:
        ratio: {value: 1.0, low: 0.7, high: 1.3, unit: ratio, kind: derived, source: [mine]}
        rows: {value: 30, unit: count, kind: derived}
  fitted:
    vllm:
      hopper:
        rows: {value: 12, unit: count, kind: derived}
      ampere:
        rows: {value: 7, unit: count, kind: derived}
  families:
    dense:
      80x8192:
        rows: {value: 12, unit: count, kind: derived}
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """A catalog that holds the residuals above and no others."""
    path = tmp_path_factory.mktemp("catalog") / "mine.yaml"
    path.write_text(TEXT, encoding="utf-8")
    given, shipped = load_catalog(path), load_catalog().facts
    return given.without(
        [
            name
            for name, fact in given.facts.items()
            if name.startswith("residuals.") and fact == shipped.get(name)
        ]
    )


def error(catalog, device, llm="llama_3_1_70b", engine="vllm"):
    return model_error(catalog, catalog.device(device), engine, catalog.llm(llm))


def test_what_the_fit_has_seen_gets_its_band(catalog):
    found = error(catalog, "h100_sxm")
    assert (found.title, found.reason) == ("seen", "")
    band = found.band("tpot", "closed")
    assert (band.low, band.high, band.rows, band.sources, band.load) == (0.9, 1.1, 40, 1, "closed")


def test_a_load_of_few_rows_gets_that_of_all_loads(catalog):
    band = error(catalog, "h100_sxm").band("tpot", "steady")
    assert (band.low, band.high, band.sources, band.load) == (0.5, 2.0, 2, "all")


def test_siblings_of_a_generation_are_seen_together(catalog):
    assert error(catalog, "h200_sxm").title == "seen"


@pytest.mark.parametrize(("device", "engine"), [("rubin_gpu", "vllm"), ("a100_sxm_80gb", "vllm"),
                                                ("h100_sxm", "sglang")])  # fmt: skip
def test_what_no_fit_has_seen_is_told_apart(catalog, device, engine):
    """A group of seven rows carries no factor; one engine's rows say nothing of another's."""
    found = error(catalog, device, engine=engine)
    assert found.title == "unseen generation"
    assert found.band("tpot", "closed").high == 1.6


def test_an_unseen_family_has_its_own_band_and_both_the_wider(catalog):
    assert error(catalog, "h100_sxm", "qwen3_32b").title == "unseen family of LLMs"
    assert error(catalog, "h100_sxm", "qwen3_32b").band("tpot", "closed").low == 0.7
    both = error(catalog, "rubin_gpu", "qwen3_32b")
    assert both.title == "unseen generation and family of LLMs"
    band = both.band("tpot", "closed")
    assert (band.low, band.high) == (0.7, 1.6)


@pytest.mark.parametrize(("device", "word"), [("epyc_9965", "CPUs"), ("groq3_lpu", "LPUs")])
def test_where_nothing_like_it_was_measured_there_is_no_band(catalog, device, word):
    found = error(catalog, device)
    assert word in found.reason
    assert found.title == "none"
    assert found.band("tpot", "closed") is None


def test_a_quantity_without_residuals_has_no_band(catalog):
    assert error(catalog, "h100_sxm").band("latency", "closed") is None


def test_without_residuals_there_are_no_bands():
    shipped = load_catalog()
    bare = shipped.without([name for name in shipped.facts if name.startswith("residuals.")])
    assert error(bare, "h100_sxm").reason == "the catalog holds no residuals"


def test_a_band_of_rates_is_that_of_times_upside_down(catalog):
    band = error(catalog, "rubin_gpu").band("tpot", "closed")
    low, high = band.inverse.around(100.0)
    assert (low, high) == (pytest.approx(100 / 1.6), pytest.approx(100 / 0.8))


def test_families_are_told_by_shape_and_not_by_name():
    catalog = load_catalog()
    same = ("llama_2_70b", "llama_3_70b", "llama_3_1_70b", "llama_3_3_70b")
    assert len({family_of(catalog.llm(name)) for name in same}) == 1
    assert family_of(catalog.llm("llama_3_1_8b")) != family_of(catalog.llm("mixtral_8x7b"))
