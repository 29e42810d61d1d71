"""Every device builds, or says which fact it lacks."""

import pickle

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError, SpecError

CATALOG = load_catalog()
LACKING = {"crescent_island"}


@pytest.mark.parametrize("name", CATALOG.ids("devices"))
def test_every_device_builds_or_names_the_missing_fact(name):
    if name in LACKING:
        with pytest.raises(CapacityError) as refused:
            CATALOG.device(name)
        keys = [fault.key for fault in refused.value.faults]
        assert f"accelerators.{name}.memory_bandwidth" in keys
        assert f"accelerators.{name}.flops.bf16" in keys
        return
    device = CATALOG.device(name)
    assert device.id == name
    assert device.memory_bytes > 0
    assert device.memory_bandwidth > 0
    assert device.flops
    assert all(rate > 0 for rate in device.flops.values())
    assert 0 < device.idle_w < device.tdp_w
    assert (device.scale_up_bw is None) == (device.scale_up_latency_s is None)
    assert set(device.facts) <= set(CATALOG.facts)
    assert (device.cores is None) == (device.core_speed is None) == (device.smt_yield is None)


def test_h100_is_its_data_sheet():
    """NVIDIA H100 data sheet: 80 GB, 3.35 TB/s, 989 dense BF16 and 1,979 FP8 TFLOP/s, 700 W."""
    device = CATALOG.device("H100-SXM-80GB")
    assert device.memory_bytes == 80e9
    assert device.memory_bandwidth == 3.35e12
    assert device.flops == {"bf16": 989e12, "fp8": 1979e12}
    assert device.tdp_w == 700.0
    assert device.idle_w == 75.0
    assert device.scale_up_bw == 450e9
    assert device.generation == "hopper"


@pytest.mark.parametrize("name", CATALOG.ids("accelerators"))
def test_a_device_holds_its_gigabytes_in_decimal_or_binary(name):
    """Usable bytes lie between the vendor's figure in GB and in GiB, the band as well."""
    fact = CATALOG.facts.get(f"accelerators.{name}.usable_memory_bytes")
    if name in LACKING:
        return
    device = CATALOG.device(name)
    if fact is None:
        assert device.capacity_bytes == device.memory_bytes
        return
    assert device.capacity_bytes == fact.value
    assert device.memory_bytes <= fact.low <= fact.value <= fact.high
    assert fact.high <= device.memory_bytes / 1e9 * 2**30 * 1.001
    assert fact.id in device.facts
    assert fact.note


def test_an_80_gb_gpu_holds_more_than_80e9_bytes():
    """80 GiB less the driver's; 46,068 MiB of an L40S are printed (hardware.yaml, its note)."""
    assert CATALOG.device("h100_sxm").capacity_bytes == pytest.approx(85.5e9, rel=0.005)
    assert CATALOG.device("l40s").capacity_bytes == 46_068 * 2**20


def test_only_dense_rates_are_taken():
    """Rubin's 50 PFLOP/s are sparse; dense FP4 is 35."""
    assert CATALOG.device("rubin_gpu").flops["fp4"] == 35e15


def test_headline_bandwidth_is_halved():
    """TPU v7 states 1.2 TB/s for both directions together."""
    assert CATALOG.device("tpu_v7_ironwood").scale_up_bw == 0.6e12


def test_idle_power_that_nobody_measured_is_a_share_of_tdp():
    device = CATALOG.device("l40s")
    share = CATALOG.facts["rules.accelerator_idle_share"]
    assert device.idle_w == pytest.approx(350.0 * share.value)
    assert share.id in device.facts
    assert share.kind == "assumed"


def test_the_idle_rule_is_the_median_of_what_is_measured():
    shares = sorted(
        device.idle_w / device.tdp_w
        for name in CATALOG.ids("accelerators")
        if name not in LACKING
        for device in [CATALOG.device(name)]
        if f"accelerators.{name}.idle_power" in device.facts
    )
    rule = CATALOG.facts["rules.accelerator_idle_share"]
    assert len(shares) == 7
    assert rule.value == pytest.approx(shares[3], rel=0.02)
    assert rule.low <= shares[1]
    assert rule.high == pytest.approx(shares[-1], rel=0.01)


def test_a_cpu_without_a_stated_rate_has_cores_times_clock_times_width():
    vera = CATALOG.device("vera")
    assert vera.flops["bf16"] == 88 * 3.0e9 * 96
    assert {"cpus.vera.clock", "cpus.vera.bf16_flop_per_cycle_per_core"} <= set(vera.facts)


def test_cpus_have_cores_speed_and_smt():
    vera, grace = CATALOG.device("vera"), CATALOG.device("grace")
    assert (vera.cores, vera.threads, vera.core_speed, vera.smt_yield) == (88, 176, 1.6, 1.25)
    assert (grace.cores, grace.threads, grace.smt_yield) == (72, 72, 1.0)
    assert CATALOG.device("epyc_9755").core_speed == 1.0


def test_the_maxlps_operating_point_of_rubin():
    """19.2 TB/s of memory, 3.0 TB/s of NVLink both ways, 225 GB/s out."""
    plain, special = CATALOG.device("rubin_gpu"), CATALOG.device("rubin_gpu", "maxlps")
    assert (plain.memory_bandwidth, plain.scale_up_bw) == (22e12, 1.8e12)
    assert (special.memory_bandwidth, special.scale_up_bw) == (19.2e12, 1.5e12)
    assert special.scale_out_bw == 225e9
    assert special.tdp_w == plain.tdp_w


def test_max_q_lowers_power_alone():
    special = CATALOG.device("rubin_gpu", "max_q")
    assert special.tdp_w == 1800.0
    assert special.memory_bandwidth == 22e12
    assert CATALOG.rack("vera_rubin_nvl72", "max_q").power_w == 190e3


def test_a_device_without_that_operating_point_is_as_ever():
    assert CATALOG.device("vera", "maxlps") == CATALOG.device("vera")


def test_an_unknown_operating_point_is_refused():
    with pytest.raises(SpecError, match="max_q, maxlps"):
        CATALOG.device("rubin_gpu", "turbo")
    with pytest.raises(SpecError, match="turbo"):
        CATALOG.rack("h100_sxm", "turbo")


def test_devices_travel_between_processes_and_into_sets():
    device = CATALOG.device("h100_sxm")
    assert pickle.loads(pickle.dumps(device)) == device
    assert {device, CATALOG.device("H100-SXM-80GB")} == {device}
