"""Devices of the catalog: accelerators and CPUs, ready to compute with."""

from __future__ import annotations

from factorysim.catalog.reading import Reading
from factorysim.catalog.values import Device, Sram

RATES = ("fp32", "bf16", "fp8", "fp4", "int8")


def build_device(reading: Reading, identity: str, *, is_cpu: bool) -> Device:
    """Build a device from the facts of its record.

    Raises
    ------
    CapacityError
        If a number that nothing can do without is unknown: memory, its
        bandwidth, any arithmetic rate, power.
    """
    tdp = reading.need("tdp", "power")
    link, latency = _scale_up(reading)
    flops = _rates(reading)
    cores = reading.count("cores")
    threads = reading.count("threads") or cores
    memory, bandwidth = reading.need("memory_bytes"), reading.need("memory_bandwidth")
    usable = reading.number("usable_memory_bytes")
    idle = _idle(reading, tdp, "cpu_idle_share" if is_cpu else "accelerator_idle_share")
    sram = _sram(reading) if reading.text("memory_kind") == "sram" else None
    speed = reading.fact(f"{reading.path}.core_speed", f"cpus.core_speed.{identity}")
    if is_cpu:
        cores = int(reading.need("cores"))
        threads = threads or cores
    reading.check()
    return Device(
        id=identity,
        name=reading.text("name", identity),
        vendor=reading.text("vendor"),
        kind=reading.text("kind", "cpu" if is_cpu else "accelerator"),
        generation=reading.text("generation", "generic"),
        memory_bytes=memory,
        memory_bandwidth=bandwidth,
        flops=flops,
        tdp_w=tdp,
        idle_w=idle,
        scale_up_bw=link,
        scale_out_bw=reading.number("interconnect.scale_out_per_direction"),
        scale_up_latency_s=latency,
        cores=cores,
        threads=threads,
        core_speed=None if cores is None else (1.0 if speed is None else speed),
        smt_yield=_smt_yield(reading, cores, threads),
        sram=sram,
        usable_memory_bytes=usable,
        facts=reading.used(),
    )


def _sram(reading: Reading) -> Sram:
    """Neighbours and DRAM of a chip whose memory is SRAM; a tray's DRAM is shared evenly."""
    tray = 8  # LPUs: so the facts are named
    return Sram(
        hop_s=reading.need("interconnect.c2c_latency"),
        one_hop_chips=max(2, int(reading.need("interconnect.one_hop_chips"))),
        reach_s=reading.need("interconnect.max_reach_latency"),
        reach_bytes=reading.need("interconnect.max_reach_bytes"),
        dram_bytes=reading.need("dram.per_8lpu_tray_fabric") / tray,
        dram_bandwidth=reading.need("dram.bandwidth_per_8lpu_tray") / tray,
    )


def _rates(reading: Reading) -> dict[str, float]:
    """Dense rates by format; of a CPU without one, cores x clock x FLOP per cycle."""
    rates = {rate: reading.number(f"flops.{rate}") for rate in RATES}
    if rates["bf16"] is None:
        parts = [reading.number(key) for key in ("cores", "clock", "bf16_flop_per_cycle_per_core")]
        if None not in parts:
            cores, clock, per_cycle = (part or 0.0 for part in parts)
            rates["bf16"] = cores * clock * per_cycle
    known = {rate: value for rate, value in rates.items() if value is not None}
    if not known:
        reading.miss("flops.bf16")
    return known


def _idle(reading: Reading, tdp: float, rule: str) -> float:
    """Idle draw as measured, else the catalog's share of TDP."""
    idle = reading.number("idle_power")
    return tdp * (reading.fact(f"rules.{rule}") or 0.0) if idle is None else idle


def _scale_up(reading: Reading) -> tuple[float | None, float | None]:
    """Bandwidth per direction and one-way latency inside the scale-up domain.

    Vendors' headlines add both directions; an operating point may state only those.
    """
    both = reading.variant_of("interconnect.scale_up_bidir")
    one_way = None if both is not None else reading.number("interconnect.scale_up_per_direction")
    if one_way is None:
        both = reading.number("interconnect.scale_up_bidir") if both is None else both
        one_way = None if both is None else both / 2
    if one_way is None:
        return None, None
    rule = "pcie_latency" if reading.text("scale_up_link") == "pcie" else "scale_up_latency"
    own = (f"{reading.path}.interconnect.{key}" for key in ("scale_up_latency", "c2c_latency"))
    return one_way, reading.fact(*own, f"rules.{rule}")


def _smt_yield(reading: Reading, cores: int | None, threads: int | None) -> float | None:
    if cores is None:
        return None
    if threads is None or threads <= cores:
        return 1.0
    yielded = reading.number("smt_yield")
    return yielded if yielded is not None else reading.fact("cpus.smt_yield")
