import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.efficiency import efficiency
from factorysim.errors import CapacityError


def test_rows_go_from_the_particular_to_the_general():
    hopper = efficiency(None, "hopper", "splitwise_2023")
    ampere = efficiency(None, "ampere", "splitwise_2023")
    assert "efficiency.splitwise_2023.ampere.host_step_s" in ampere.facts
    assert "efficiency.splitwise_2023.neutral.host_step_s" in hopper.facts
    assert "efficiency.generic.hopper.kv_bandwidth" in hopper.facts
    assert "efficiency.generic.neutral.sequence_s" in hopper.facts


def test_an_unseen_generation_takes_the_neutral_factors():
    unseen = efficiency(None, "not_yet_built", "generic")
    assert all(".generic.neutral." in fact for fact in unseen.facts)


def test_overhead_is_never_zero():
    for engine in ("generic", "vllm", "sglang", "trtllm", "llama_cpp", "splitwise_2023"):
        for generation in ("ampere", "hopper", "ada", "rubin", "cdna3", "cpu_x86", "apple"):
            factors = efficiency(None, generation, engine)
            assert factors.host_step_s > 1e-4
            assert factors.sequence_s > 1e-6
            assert factors.block_s > 1e-6


def test_facts_read_are_facts_of_the_catalog():
    catalog = load_catalog()
    for fact in efficiency(catalog, "ampere", "vllm").facts:
        assert catalog.facts[fact].value is not None


def test_a_users_facts_go_first():
    key = "efficiency.generic.hopper.kv_bandwidth"
    changed = load_catalog().with_values({key: 0.5})
    assert efficiency(changed, "hopper", "generic").kv_bandwidth == 0.5


def test_a_catalog_left_without_a_fact_has_it_nowhere():
    """Else a generation that is left out of a fit would still know its own factors."""
    key = "efficiency.generic.hopper.kv_bandwidth"
    left = load_catalog().without([key])
    found = efficiency(left, "hopper", "generic")
    assert key not in left.facts
    assert found.kv_bandwidth == left.facts["efficiency.generic.neutral.kv_bandwidth"].value
    assert load_catalog().facts[key].value is not None


def test_an_engine_without_facts_of_its_own_is_an_engine_still():
    catalog = load_catalog()
    own = [name for name in catalog.facts if name.startswith("efficiency.sglang.")]
    facts = efficiency(catalog.without(own), "hopper", "sglang").facts
    assert all(".generic." in fact for fact in facts)


def test_an_unknown_engine_is_refused_with_a_suggestion():
    with pytest.raises(CapacityError, match='did you mean "vllm"'):
        efficiency(None, "hopper", "vlm")
