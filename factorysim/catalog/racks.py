"""Racks, switches and sites of the catalog, ready to expand into a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from factorysim.catalog.reading import Reading
from factorysim.catalog.shipped import Tree
from factorysim.catalog.values import Device, Part, Rack, Site, Switch

_DESKS = frozenset({"laptop_soc", "desktop_soc"})
"""Chips that are their own host."""

PartKind = Literal["accelerators", "cpus", "network", "racks"]
Find: TypeAlias = Callable[[PartKind, str], str]
"""``(kind, name) -> id``: a record may name its parts by any usual spelling."""


def build_rack(reading: Reading, identity: str, record: Tree, find: Find) -> Rack:
    """Build a rack, a server or a pod from the facts of its record.

    Raises
    ------
    CapacityError
        If a part is named and its count is unknown.
    """
    kind = reading.text("kind", "server")
    trays = reading.count("compute_trays", "trays", "boxes") or 1
    switch_trays = reading.count("switch_trays") or 0

    def part(key: str, kind: PartKind, per: int, *counts: str) -> Part | None:
        name = reading.text(key)
        if not name:
            return None
        count = int(reading.need(*counts))
        return Part(find(kind, name), count, count / max(per, 1))

    accelerator = part("accelerator", "accelerators", trays, "gpus", "lpus", "accelerators")
    cpu = part("cpu", "cpus", trays, "cpus", "host_cpus")
    nic = part("nic", "network", trays, "nics", "connectx9")
    nic_bw = _nic_bandwidth(reading, nic)
    scale_up = part(
        "scale_up_switch", "network", switch_trays or trays, "scale_up_switches", "switches"
    )
    ethernet = part("ethernet_switch", "network", trays, "ethernet_switches", "switches")
    dpu = part("dpu", "network", trays, "dpus", "bluefield4")
    rack = Rack(
        id=identity,
        name=reading.text("name", identity),
        kind=kind,
        accelerator=accelerator,
        cpu=cpu,
        nic=nic,
        nic_bw=nic_bw,
        dpu=dpu,
        scale_up_switch=scale_up,
        ethernet_switch=ethernet,
        trays=trays,
        switch_trays=switch_trays,
        scale_up_domain=reading.count("scale_up_domain") or 1,
        power_w=reading.number("power"),
        memory_per_cpu=_memory_per_cpu(reading, cpu, is_cpu_rack=accelerator is None),
        flash_bytes=reading.number("flash_bytes"),
        read_latency_s=reading.number("read_latency"),
        network_bw=_network_bandwidth(reading, nic, nic_bw),
        link_latency_s=reading.number("gpu_link_latency"),
        contents=_contents(reading, record, find),
        facts=reading.used(),
    )
    reading.check()
    return rack


def _nic_bandwidth(reading: Reading, nic: Part | None) -> float | None:
    own = reading.number("nic_bandwidth_per_direction", "gpu_link_per_tray")
    if own is not None or nic is None:
        return own
    return reading.fact(f"network.{nic.id}.bandwidth_per_direction")


def _network_bandwidth(reading: Reading, nic: Part | None, nic_bw: float | None) -> float | None:
    stated = reading.number("network_per_direction")
    if stated is not None or nic is None or nic_bw is None:
        return stated
    return nic.count * nic_bw


def _memory_per_cpu(reading: Reading, cpu: Part | None, *, is_cpu_rack: bool) -> float | None:
    """Memory of one CPU: as stated for the rack, else as the CPU's own record says."""
    if cpu is None:
        return None
    stated = reading.number("memory_per_cpu")
    if stated is not None:
        return stated
    whole = reading.number("cpu_memory_bytes", *(("memory_bytes",) if is_cpu_rack else ()))
    return reading.fact(f"cpus.{cpu.id}.memory_bytes") if whole is None else whole / cpu.count


def _contents(reading: Reading, record: Tree, find: Find) -> tuple[tuple[str, int], ...]:
    """Racks of a pod and their counts."""
    inner = record.get("contents", {})
    return tuple((find("racks", rack), int(reading.need(f"contents.{rack}"))) for rack in inner)


def build_single(device: Device, reading: Reading, rules: Mapping[str, str]) -> Rack:
    """Build a server of one device; a laptop's chip and a CPU are their own host."""
    desk = device.kind in _DESKS or reading.text("host_cpu").startswith("desktop")
    own_host = device.kind in _DESKS or device.kind == "cpu"
    host = device.id if own_host else reading.text("host_cpu", rules["single_server_host"])
    nic = rules["single_desktop_nic" if desk else "single_server_nic"]
    bandwidth = device.scale_out_bw
    if bandwidth is None:
        bandwidth = reading.fact(f"network.{nic}.bandwidth_per_direction")
    memory = device.capacity_bytes if own_host else reading.fact(f"cpus.{host}.memory_bytes")
    return Rack(
        id=device.id,
        name=device.name,
        kind="server",
        accelerator=None if device.kind == "cpu" else Part(device.id, 1, 1),
        cpu=Part(host, 1, 1),
        nic=Part(nic, 1, 1),
        nic_bw=bandwidth,
        dpu=None,
        scale_up_switch=None,
        ethernet_switch=None,
        trays=1,
        switch_trays=0,
        scale_up_domain=1,
        power_w=None,
        memory_per_cpu=memory,
        flash_bytes=None,
        read_latency_s=None,
        network_bw=bandwidth,
        link_latency_s=None,
        contents=(),
        facts=tuple(dict.fromkeys((*device.facts, *reading.used()))),
    )


def build_switch(reading: Reading, identity: str) -> Switch:
    """Build a switch from the facts of its record.

    Raises
    ------
    CapacityError
        If its ports, bandwidth or latency are unknown.
    """
    both = reading.number("chip_bandwidth_bidir")
    bandwidth = both / 2 if both is not None else reading.need("bandwidth")
    ports = int(reading.need("ports"))
    latency = reading.need("latency_per_hop", "hop_latency")
    power = reading.number("power")
    reading.check()
    return Switch(
        id=identity,
        name=reading.text("name", identity),
        kind=reading.text("kind"),
        ports=ports,
        port_bw=bandwidth / ports,
        bandwidth=bandwidth,
        hop_latency_s=latency,
        power_w=power,
        facts=reading.used(),
    )


def build_site(reading: Reading, identity: str, currency: str) -> Site:
    """Build a site; its price is in the currency that the fact states.

    Raises
    ------
    CapacityError
        If its price, carbon intensity or PUE is unknown.
    """
    price, carbon = reading.need("energy_price"), reading.need("carbon_intensity")
    pue = reading.need("pue")
    reading.check()
    return Site(
        id=identity,
        name=reading.text("name", identity),
        energy_price=price,
        currency=currency,
        carbon_intensity=carbon,
        pue=pue,
        facts=reading.used(),
    )
