"""Bands come from the fact, its alternatives, or the rule of its kind, in that order."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.fact import BandRules, build_fact
from factorysim.catalog.loading import FILES
from factorysim.catalog.shipped import read_shipped
from factorysim.catalog.trees import leaves

RULES = BandRules(
    {"measured": (0.95, 1.05), "vendor_claim": (0.5, 1.0)},
    {"a.b": "fast", "a.c=5": "slow"},
    frozenset({"a.c=7"}),
)


def leaf(value, kind="measured", **more):
    return {"value": value, "unit": "W", "kind": kind, **more}


def test_a_fact_without_alternatives_takes_the_factors_of_its_kind():
    fact = build_fact("x", leaf(200.0), RULES)
    assert (fact.low, fact.high) == (190.0, 210.0)
    claim = build_fact("x", leaf(10.0, "vendor_claim"), RULES)
    assert (claim.low, claim.high) == (5.0, 10.0)


def test_alternatives_span_the_band():
    fact = build_fact("x", leaf(200.0, alternatives=[leaf(150.0), leaf(180.0)]), RULES)
    assert (fact.low, fact.high) == (150.0, 200.0)


def test_a_stated_band_goes_before_all_rules():
    fact = build_fact("x", leaf(200.0, low=1.0, high=900.0, alternatives=[leaf(150.0)]), RULES)
    assert (fact.low, fact.high) == (1.0, 900.0)


def test_variants_and_notes_widen_no_band():
    others = [leaf(5), leaf(7.0), leaf(8.0)]
    fact = build_fact("a.c", leaf(10.0, alternatives=others), RULES)
    roles = [(other.role, other.variant) for other in fact.alternatives]
    assert roles == [("variant", "slow"), ("note", ""), ("band", "")]
    assert (fact.low, fact.high) == (8.0, 10.0)
    whole = build_fact("a.b", leaf(10.0, alternatives=[leaf(1.0)]), RULES)
    assert whole.alternatives[0].variant == "fast"
    assert (whole.low, whole.high) == (9.5, 10.5)


def test_an_unknown_has_no_band():
    fact = build_fact("x", leaf(None, "unknown", alternatives=[leaf(3.0)]), RULES)
    assert (fact.value, fact.low, fact.high) == (None, None, None)


def test_truth_values_and_words_have_no_band():
    for value in (True, "text"):
        assert build_fact("x", leaf(value), RULES).low is None


def test_a_fact_without_spread_is_a_point():
    assert build_fact("x", leaf(3.0, "vendor_spec"), RULES).dist == "point"
    assert build_fact("x", leaf(3.0), RULES).dist == "split_normal"


def test_bands_of_all_shipped_facts_hold_their_value():
    for fact in load_catalog().facts.values():
        if isinstance(fact.value, int | float) and not isinstance(fact.value, bool):
            assert fact.low <= fact.value <= fact.high, fact.id


def _with_bands_of_their_own():
    for file in ("assumed.yaml", *FILES.values()):
        for section, tree in read_shipped(file).items():
            if isinstance(tree, dict):
                yield from (name for name, leaf in leaves(tree, section) if "low" in leaf)


def test_shipped_bands_follow_the_rules_of_their_kind():
    factors = read_shipped("assumed.yaml")["band_by_kind"]
    own = set(_with_bands_of_their_own())
    stated = {"measured": 0, "derived": 0, "vendor_claim": 0, "analyst_estimate": 0}
    facts = load_catalog().facts
    for name, raw in ((f.id, f) for f in facts.values()):
        plain = not raw.alternatives and raw.low is not None and raw.kind in stated
        plain = plain and name not in own
        if plain and name.startswith(("accelerators.", "llms.")):
            low, high = factors[raw.kind]["low"], factors[raw.kind]["high"]
            assert raw.low == pytest.approx(raw.value * low), name
            assert raw.high == pytest.approx(raw.value * high), name
            stated[raw.kind] += 1
    assert min(stated.values()) > 5


@pytest.mark.parametrize(
    ("fact", "low", "high"),
    [
        ("accelerators.rubin_gpu.memory_bandwidth", 2.2e13, 2.2e13),
        ("accelerators.rubin_gpu.tdp", 2300.0, 2300.0),
        ("racks.vera_rubin_nvl72.power", 220000.0, 230000.0),
        ("racks.gb200_nvl72.power", 120000.0, 130000.0),
        ("racks.groq3_lpx.trays", 16, 32),
        ("accelerators.h200_sxm.idle_power", 73.65, 80.3),
    ],
)
def test_bands_of_facts_with_alternatives(fact, low, high):
    told = load_catalog().facts[fact]
    assert (told.low, told.high) == (low, high)
