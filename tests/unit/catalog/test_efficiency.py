from types import SimpleNamespace

import pytest

from factorysim.catalog import Fact, load_catalog
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
    overlay = SimpleNamespace(facts={key: Fact(key, 0.5, 0.5, 0.5, "ratio", "measured", ())})
    assert efficiency(overlay, "hopper", "generic").kv_bandwidth == 0.5


def test_an_unknown_engine_is_refused_with_a_suggestion():
    with pytest.raises(CapacityError, match='did you mean "vllm"'):
        efficiency(None, "hopper", "vlm")
