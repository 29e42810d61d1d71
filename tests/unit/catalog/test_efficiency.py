from dataclasses import replace

import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.efficiency import Efficiency, efficiency
from factorysim.errors import CapacityError

CATALOG = load_catalog(fitted=False)


def of(device: str, engine: str, values: dict[str, float] | None = None) -> Efficiency:
    catalog = CATALOG.with_values(values) if values else CATALOG
    return efficiency(catalog, catalog.device(device), engine)


def test_rows_go_from_the_particular_to_the_general():
    hopper, ampere = of("h100_sxm", "splitwise_2023"), of("a100_sxm_80gb", "splitwise_2023")
    assert "efficiency.splitwise_2023.ampere.host_step_s" in ampere.facts
    assert "efficiency.splitwise_2023.neutral.host_step_s" in hopper.facts
    assert "efficiency.generic.hopper.kv_bandwidth" in hopper.facts
    assert "efficiency.generic.neutral.sequence_s" in hopper.facts


def test_an_unseen_generation_takes_the_neutral_factors():
    unseen = efficiency(
        CATALOG, replace(CATALOG.device("h100_sxm"), generation="not_yet_built"), "generic"
    )
    assert all(".generic.neutral." in fact for fact in unseen.facts)


def test_products_lose_where_arithmetic_outgrew_memory():
    """H100 in FP8 has twice the balance of the knee; a device below the knee loses nothing."""
    device = replace(
        CATALOG.device("h100_sxm"), generation="not_yet_built", memory_bandwidth=1e12,
        flops={"bf16": 295e12, "fp8": 590e12, "fp4": 100e12},
    )  # fmt: skip
    found = efficiency(CATALOG, device, "generic").linear_compute
    assert found["bf16"] == found["fp4"] == pytest.approx(0.80)
    assert found["fp8"] == pytest.approx(0.80 * 0.5**0.55)


def test_what_an_engine_makes_of_kernels_goes_with_it_to_other_generations():
    ratio = {"efficiency.vllm.neutral.expert_compute_ratio": 2.0}
    for device in ("h100_sxm", "b200_sxm"):
        plain, tuned = of(device, "vllm"), of(device, "vllm", ratio)
        assert tuned.expert_compute["fp8"] == pytest.approx(2 * plain.expert_compute["fp8"])
        assert of(device, "sglang", ratio).expert_compute == of(device, "sglang").expert_compute
    own = ratio | {"efficiency.vllm.hopper.expert_compute_fp8": 0.3}
    assert of("h100_sxm", "vllm", own).expert_compute["fp8"] == 0.3
    assert of("h100_sxm", "vllm", {"efficiency.vllm.neutral.expert_compute_ratio": 99}
              ).expert_compute["fp8"] == 1.0  # fmt: skip


def test_no_engine_tunes_what_a_compiler_schedules():
    ratio = {"efficiency.generic.neutral.expert_compute_ratio": 2.0}
    assert of("groq3_lpu", "generic", ratio) == of("groq3_lpu", "generic")


def test_overhead_is_never_zero():
    catalog = load_catalog()
    for engine in catalog.ids("engines"):
        for device in ("a100_sxm_80gb", "h100_sxm", "l40s", "rubin_gpu", "mi300x", "apple_m1_max"):
            factors = efficiency(catalog, catalog.device(device), engine)
            assert factors.host_step_s > 1e-4
            assert factors.sequence_s > 1e-7
            assert factors.block_s > 1e-6


def test_facts_read_are_facts_of_the_catalog():
    catalog = load_catalog()
    for fact in efficiency(catalog, catalog.device("a100_sxm_80gb"), "vllm").facts:
        assert catalog.facts[fact].value is not None


def test_a_users_facts_go_first():
    values = {"efficiency.generic.hopper.kv_bandwidth": 0.5}
    assert of("h100_sxm", "generic", values).kv_bandwidth == 0.5


def test_an_unknown_engine_is_refused_with_a_suggestion():
    with pytest.raises(CapacityError, match='did you mean "vllm"'):
        of("h100_sxm", "vlm")
