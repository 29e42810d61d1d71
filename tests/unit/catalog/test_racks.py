"""Racks hold what their vendors state, or what is assumed and flagged."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError, SpecError

CATALOG = load_catalog()


@pytest.mark.parametrize("name", CATALOG.ids("racks"))
def test_every_rack_builds_from_parts_that_exist(name):
    rack = CATALOG.rack(name)
    assert rack.id == name
    for part in (rack.accelerator, rack.cpu):
        if part is not None:
            assert CATALOG.device(part.id).id == part.id
            assert part.count >= 1
    for part in (rack.nic, rack.dpu, rack.scale_up_switch, rack.ethernet_switch):
        assert part is None or part.id in CATALOG.ids("network")
    for part in (rack.scale_up_switch, rack.ethernet_switch):
        assert part is None or CATALOG.switch(part.id).bandwidth > 0
    assert rack.main is not None or rack.kind in ("network_rack", "pod")
    if rack.accelerator is not None:
        assert 1 <= rack.scale_up_domain <= rack.accelerator.count
        assert rack.power_w > rack.accelerator.count * 0.9 * CATALOG.device(rack.main.id).idle_w
    assert set(rack.facts) <= set(CATALOG.facts)


def test_vera_rubin_nvl72():
    """18 trays of 4 GPUs, 2 CPUs, 8 ConnectX-9 and 1 BlueField-4; 9 trays of 4 switch chips."""
    rack = CATALOG.rack("Vera Rubin NVL72")
    parts = [rack.accelerator, rack.cpu, rack.nic, rack.dpu, rack.scale_up_switch]
    assert [(part.count, part.per_tray) for part in parts] == [
        (72, 4),
        (36, 2),
        (144, 8),
        (18, 1),
        (36, 4),
    ]
    assert (rack.trays, rack.switch_trays, rack.scale_up_domain) == (18, 9, 72)
    assert rack.nic_bw == 100e9
    assert rack.memory_per_cpu == 1.5e12


def test_groq_lpx():
    rack = CATALOG.rack("groq3_lpx")
    assert (rack.accelerator.id, rack.accelerator.count) == ("groq3_lpu", 256)
    assert (rack.accelerator.per_tray, rack.trays, rack.scale_up_domain) == (8, 32, 256)
    assert rack.nic_bw == 1e11
    assert rack.link_latency_s == 5e-6


def test_cpu_storage_and_network_racks():
    cpus, storage, network = map(CATALOG.rack, ("vera_cpu_rack", "STX", "spectrum6_spx"))
    assert (cpus.main.id, cpus.main.count, cpus.main.per_tray) == ("vera", 256, 8)
    assert (storage.cpu.count, storage.nic.count, storage.trays) == (32, 64, 16)
    assert storage.flash_bytes == 1e16
    assert storage.read_latency_s == 2e-4
    assert storage.network_bw == 6.4e12
    assert (network.ethernet_switch.id, network.ethernet_switch.count) == ("spectrum6", 16)


def test_the_scale_up_switches_carry_what_the_devices_ask():
    """All chips together carry at least each GPU's link, per direction."""
    for name in CATALOG.ids("racks"):
        rack = CATALOG.rack(name)
        if rack.scale_up_switch is not None:
            switches = (
                rack.scale_up_switch.count * CATALOG.switch(rack.scale_up_switch.id).bandwidth
            )
            devices = rack.accelerator.count * CATALOG.device(rack.accelerator.id).scale_up_bw
            assert switches >= devices * 0.999, name


def test_the_pod_has_forty_racks_and_1152_gpus():
    """NVIDIA, Vera Rubin POD, 2026-03-16."""
    contents = dict(CATALOG.rack("vera_rubin_pod").contents)
    assert sum(contents.values()) == 40
    assert contents["vera_rubin_nvl72"] * CATALOG.rack("vera_rubin_nvl72").accelerator.count == 1152


def test_a_device_is_also_a_server_of_one():
    gpu, laptop, cpu = map(CATALOG.rack, ("H100-SXM-80GB", "M4 Max", "epyc_9965"))
    assert (gpu.accelerator.id, gpu.accelerator.count, gpu.cpu.id) == ("h100_sxm", 1, "epyc_9755")
    assert gpu.nic_bw == 50e9
    assert (laptop.accelerator.id, laptop.cpu.id) == ("apple_m4_max", "apple_m4_max")
    assert laptop.memory_per_cpu == 128e9
    assert (cpu.accelerator, cpu.main.id) == (None, "epyc_9965")
    assert {gpu.scale_up_domain, laptop.scale_up_domain, cpu.scale_up_domain} == {1}


def test_switches():
    """Spectrum-6: 102.4 Tb/s over 64 ports; NVLink 6: 36 chips carry 72 x 3.6 TB/s."""
    spectrum, nvlink = CATALOG.switch("Spectrum-6"), CATALOG.switch("nvlink6_switch")
    assert (spectrum.bandwidth, spectrum.ports, spectrum.port_bw) == (12.8e12, 64, 200e9)
    assert 36 * nvlink.bandwidth == 72 * CATALOG.device("rubin_gpu").scale_up_bw
    assert nvlink.hop_latency_s == 3e-7


def test_a_nic_is_no_switch_and_an_unpublished_switch_says_so():
    with pytest.raises(SpecError, match="of kind nic"):
        CATALOG.switch("connectx9")
    with pytest.raises(CapacityError, match=r"network\.quantum_x800\.bandwidth"):
        CATALOG.switch("quantum_x800")


def test_sites():
    texas, europe = CATALOG.site("us_texas"), CATALOG.site("eu_west")
    assert (texas.energy_price, texas.currency, texas.pue) == (0.0672, "USD", 1.10)
    assert (europe.energy_price, europe.currency) == (0.19, "EUR")
    assert texas.carbon_intensity == 369.5
