"""The inside of a rack: trays, chips, and the links between them.

Rules where nothing is published: chips are dealt to the trays in order; a GPU hangs
on the CPU of its tray that is its turn; a NIC on the GPU whose turn it is, and on a
CPU as well where the tray has no DPU; every DPU reaches all CPUs of its tray. Where
the catalog does not know a rack's scale-up switches, the devices of a board are joined
pair by pair, and one node stands for the switches of a larger domain.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import networkx as nx

    from factorysim.catalog import Device
    from factorysim.graph.blueprint import Blueprint, Part

PCIE_X16 = {4: 3.15e10, 5: 6.3e10, 6: 1.21e11}
"""B/s per direction of a slot by generation, after encoding: PCI-SIG, 16, 32 and
64 GT/s on 16 lanes."""
NIC_LATENCY_S = 5e-7
"""Of a NIC, each side; 0.3 to 0.8 us (reference: secondary sources)."""
SCALE_UP_LATENCY_S = 1e-6
"""Device to device where the catalog has none (facts:
network.latency_assumptions.scale_up_copper_hop)."""
MESH_MOST = 8
"""Devices of a domain without switches that are joined pair by pair, as on the boards
of AMD; of larger domains (LPX, tori) the wiring is unpublished or not modelled."""
PCIE_LATENCY_S = 7.5e-7
"""Between a chip and its CPU over PCIe: half of a transfer from peer to peer through
the root port (facts: rules.pcie_latency, a guess)."""


class Port(NamedTuple):
    """Where a rack meets the network."""

    node: str
    bandwidth: float
    """B/s per direction."""
    rail: int | None
    """Place of a GPU's NIC in its tray; None: not part of the GPUs' rails."""
    latency_s: float = 0.0
    """Of its side of the link."""


class Slot(NamedTuple):
    """Room for one switch of the network."""

    rack: str
    tray: str


class Opened(NamedTuple):
    """What a rack offers to the fabric."""

    rack: str
    chips: list[str]
    """What can be deployed on."""
    ports: list[Port]
    slots: list[Slot]


class _Tray(NamedTuple):
    """Nodes of one tray."""

    name: str
    devices: list[str]
    hosts: list[str]
    nics: list[str]
    dpus: list[str]
    boxes: list[str]


def add_rack(graph: nx.Graph[str], plan: Blueprint, pool: str, number: int) -> Opened:
    """Add one rack, all that is in it, and the links inside.

    Parameters
    ----------
    pool
        Pool of its main devices; its host CPUs are ``pool.cpu``.
    number
        Its place among the racks of the pool, from 0.
    """
    rack = f"{pool}/{number}"
    graph.add_node(
        rack,
        kind="rack",
        model=plan.id,
        pool=pool,
        power_parent="site",
        failure_domain="site",
        **_known(power_w=plan.power_w),
    )
    trays = [_add_tray(graph, plan, pool, rack, k) for k in range(plan.trays)]
    for tray in trays:
        _wire_tray(graph, plan, tray)
    _wire_scale_up(graph, plan, rack, [device for tray in trays for device in tray.devices])
    slots = [Slot(rack, _add_container(graph, rack, f"n{k:02d}")) for k in range(plan.slots)]
    chips = [chip for tray in trays for chip in tray.devices + tray.hosts]
    return Opened(rack, chips, [port for tray in trays for port in _ports(plan, tray)], slots)


def _add_container(graph: nx.Graph[str], rack: str, name: str) -> str:
    tray = f"{rack}/{name}"
    graph.add_node(tray, kind="tray", rack=rack, power_parent=rack, failure_domain=rack)
    return tray


def _add_tray(graph: nx.Graph[str], plan: Blueprint, pool: str, rack: str, k: int) -> _Tray:
    name = _add_container(graph, rack, f"t{k:02d}")
    place = {"rack": rack, "tray": name, "power_parent": name, "failure_domain": name}
    tray = _Tray(name, [], [], [], [], [])
    if plan.main is not None:
        for n, ordinal in enumerate(_dealt(plan.main_count, plan.trays, k)):
            node = f"{name}/{plan.main_kind}{n}"
            domain = f"{rack}/d{ordinal // plan.scale_up_domain}"
            up = {"scale_up_domain": domain} if plan.scale_up_domain > 1 else {}
            graph.add_node(
                node,
                kind=plan.main_kind,
                pool=pool,
                **_chip(plan.main, plan.main_memory),
                **place,
                **up,
            )
            tray.devices.append(node)
    if plan.host is not None:
        for n in range(len(_dealt(plan.host_count, plan.trays, k))):
            node = f"{name}/cpu{n}"
            chip = _chip(plan.host, plan.host_memory)
            graph.add_node(node, kind="cpu", pool=f"{pool}.cpu", **chip, **place)
            tray.hosts.append(node)
    for kind, part, nodes in (("nic", plan.nic, tray.nics), ("dpu", plan.dpu, tray.dpus)):
        for n in range(len(_dealt(part.number, plan.trays, k)) if part else 0):
            assert part is not None
            graph.add_node(f"{name}/{kind}{n}", kind=kind, **_part(part), **place)
            nodes.append(f"{name}/{kind}{n}")
    for n in range(len(_dealt(plan.boxes, plan.trays, k))):
        flash = None if plan.flash_bytes is None else plan.flash_bytes / plan.boxes
        node = f"{name}/flash{n}"
        graph.add_node(node, kind="storage", pool=pool, **_known(memory_bytes=flash), **place)
        tray.boxes.append(node)
    return tray


def _dealt(count: int, bins: int, k: int) -> range:
    """Ordinals of the things that bin `k` gets when `count` are dealt evenly, in order."""
    return range(-(-count * k // bins), -(-count * (k + 1) // bins))


def _known(**values: float | None) -> dict[str, float]:
    """Leave out what nobody knows."""
    return {key: value for key, value in values.items() if value is not None}


def _chip(device: Device, memory_bytes: float) -> dict[str, str | float]:
    return {
        "device": device.id,
        "memory_bytes": memory_bytes,
        **_known(idle_w=device.idle_w, peak_w=device.tdp_w),
    }


def _part(part: Part) -> dict[str, str | float]:
    return {"device": part.device, **_known(idle_w=part.power_w, peak_w=part.power_w)}


def _wire_tray(graph: nx.Graph[str], plan: Blueprint, tray: _Tray) -> None:
    """Join the chips of a tray: C2C or PCIe between chips, PCIe to NICs and DPUs."""
    cpus = tray.hosts or (tray.devices if plan.main_kind == "cpu" else [])
    chips = tray.devices if plan.main_kind != "cpu" else []
    if plan.main_kind == "lpu":
        _wire_lpus(graph, plan, tray)
        return
    for chip, cpu in _turns(chips, cpus):
        if plan.c2c_bandwidth is not None:
            _link(graph, chip, cpu, "c2c", plan.c2c_bandwidth, _hop(plan))
        else:
            _link(graph, chip, cpu, "pcie", PCIE_X16[5], PCIE_LATENCY_S)
    if plan.nic is not None:
        slot = _slot(plan.nic.bandwidth)
        for nic, chip in _turns(tray.nics, chips):
            _link(graph, nic, chip, "pcie", slot, NIC_LATENCY_S)
        if not tray.dpus:
            for nic, cpu in _turns(tray.nics, cpus):
                _link(graph, nic, cpu, "pcie", slot, NIC_LATENCY_S)
    if plan.dpu is not None:
        for dpu in tray.dpus:
            for cpu in cpus or chips:
                _link(graph, dpu, cpu, "pcie", _slot(plan.dpu.bandwidth), NIC_LATENCY_S)
    for box in tray.boxes:
        for cpu in cpus:
            _link(graph, box, cpu, "pcie", PCIE_X16[6], plan.read_latency_s or NIC_LATENCY_S)


def _wire_lpus(graph: nx.Graph[str], plan: Blueprint, tray: _Tray) -> None:
    """Join LPUs to their tray's expansion logic, which is the tray's way to CPUs and network.

    LPUs have neither NVLink nor PCIe: FPGAs turn their chip-to-chip links into
    Ethernet (SemiAnalysis, "The Inference Kingdom Expands", 2026-03).
    """
    assert plan.nic is not None
    for nic in tray.nics:
        for lpu in tray.devices:
            _link(graph, lpu, nic, "c2c", plan.nic.bandwidth, _hop(plan))
        for cpu in tray.hosts:
            _link(graph, nic, cpu, "pcie", _slot(plan.nic.bandwidth), NIC_LATENCY_S)


def _turns(many: list[str], few: list[str]) -> Iterator[tuple[str, str]]:
    """Pair two lists in order; the shorter one takes turns with blocks of the longer."""
    if len(few) > len(many):
        yield from ((b, a) for a, b in _turns(few, many))
        return
    for k, name in enumerate(many if few else []):
        yield name, few[k * len(few) // len(many)]


def _slot(bandwidth: float) -> float:
    """Bandwidth of the first PCIe generation that carries the port, or of the last."""
    return next((b for b in PCIE_X16.values() if b >= bandwidth), PCIE_X16[6])


def _hop(plan: Blueprint) -> float:
    """Seconds between two devices over links of NVLink's class, C2C to a CPU included."""
    known = plan.main.scale_up_latency_s if plan.main else None
    return SCALE_UP_LATENCY_S if known is None else known


def _wire_scale_up(graph: nx.Graph[str], plan: Blueprint, rack: str, devices: list[str]) -> None:
    """Join every scale-up domain: through switches, or pair by pair on one board."""
    size = plan.scale_up_domain
    if size < 2 or plan.main is None or plan.main.scale_up_bw is None:
        return
    bandwidth = plan.main.scale_up_bw
    latency_s = _hop(plan)
    domains = [devices[k : k + size] for k in range(0, len(devices), size)]
    for n, domain in enumerate(domains):
        if plan.scale_up_switch is None and size <= MESH_MOST:
            for a, b in combinations(domain, 2):
                _link(graph, a, b, "scale_up", bandwidth / (len(domain) - 1), latency_s)
            continue
        switches = _add_switches(graph, plan, rack, n, len(domains))
        for switch in switches:
            for device in domain:
                _link(graph, device, switch, "scale_up", bandwidth / len(switches), latency_s / 2)


def _add_switches(
    graph: nx.Graph[str], plan: Blueprint, rack: str, domain: int, domains: int
) -> list[str]:
    switch = plan.scale_up_switch
    if switch is None:
        node = f"{rack}/scale_up{domain}"
        graph.add_node(
            node, kind="scale_up_switch", rack=rack, power_parent=rack, failure_domain=rack
        )
        return [node]
    count, trays = plan.scale_up_switches, plan.switch_trays
    names: list[str] = []
    for ordinal in _dealt(count, domains, domain):
        place = ordinal * trays // count
        tray = f"{rack}/s{place:02d}"
        if tray not in graph:
            _add_container(graph, rack, f"s{place:02d}")
        node = f"{tray}/switch{ordinal - -(-place * count // trays)}"
        graph.add_node(
            node,
            kind="scale_up_switch",
            device=switch.id,
            rack=rack,
            tray=tray,
            power_parent=tray,
            failure_domain=tray,
            ports=switch.ports,
            port_bandwidth=switch.port_bw,
            bandwidth=switch.bandwidth,
            **_known(idle_w=switch.power_w, peak_w=switch.power_w),
        )
        names.append(node)
    return names


def _link(
    graph: nx.Graph[str], a: str, b: str, kind: str, bandwidth: float, latency_s: float
) -> None:
    graph.add_edge(a, b, kind=kind, bandwidth=bandwidth, latency_s=latency_s, links=1)


def _ports(plan: Blueprint, tray: _Tray) -> Iterator[Port]:
    """Give the ends of the rack's links to the fabric: its NICs and DPUs."""
    if plan.nic is not None:
        rails = plan.main is not None and plan.main_kind == "gpu"
        for k, nic in enumerate(tray.nics):
            yield Port(nic, plan.nic.bandwidth, k if rails else None, plan.nic.latency_s)
    if plan.dpu is not None:
        for dpu in tray.dpus:
            yield Port(dpu, plan.dpu.bandwidth, None, plan.dpu.latency_s)
