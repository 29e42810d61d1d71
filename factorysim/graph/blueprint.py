"""What stands in one rack, as the graph needs it: the catalog's rack and its devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from factorysim.errors import CapacityError, Fault

if TYPE_CHECKING:
    from factorysim.catalog import Catalog, Device, Rack, Switch

GRACE_C2C = "accelerators.gh200_144gb.interconnect.c2c_bidir"
"""NVLink-C2C of a Grace CPU: the same port in GH200, GB200 and GB300."""


class Part(NamedTuple):
    """NICs or DPUs of one kind."""

    device: str
    """Id of the catalog."""
    number: int
    """In the rack."""
    bandwidth: float
    """B/s per direction of each."""
    power_w: float | None
    latency_s: float = 0.0
    """Of the link to the fabric, its own side."""


class Blueprint(NamedTuple):
    """One rack."""

    id: str
    trays: int
    main: Device | None = None
    """What it is bought for; None of storage and network racks."""
    main_kind: Literal["gpu", "lpu", "cpu"] = "gpu"
    main_count: int = 0
    main_memory: float = 0.0
    host: Device | None = None
    host_count: int = 0
    host_memory: float = 0.0
    nic: Part | None = None
    dpu: Part | None = None
    scale_up_domain: int = 1
    """Devices that share links of NVLink's class."""
    scale_up_switch: Switch | None = None
    scale_up_switches: int = 0
    switch_trays: int = 1
    c2c_bandwidth: float | None = None
    """Between a GPU and its CPU, B/s per direction; None: PCIe."""
    boxes: int = 0
    """Of flash."""
    flash_bytes: float | None = None
    read_latency_s: float | None = None
    slots: int = 0
    """Of network switches."""
    power_w: float | None = None
    facts: frozenset[str] = frozenset()

    @property
    def nodes(self) -> int:
        """Upper bound on the nodes of the rack."""
        chips = self.main_count + self.host_count + self.boxes + self.slots
        parts = sum(part.number for part in (self.nic, self.dpu) if part)
        return 2 + self.trays + self.switch_trays + self.scale_up_switches + chips + parts


def read_blueprint(catalog: Catalog, name: str, variant: str | None, key: str) -> Blueprint:
    """Gather what the catalog knows of a rack.

    Parameters
    ----------
    variant
        Operating point of its devices.
    key
        Place in the topology, for messages.

    Raises
    ------
    CapacityError
        If it is a pod, or a number that it needs is unknown.
    SpecError
        If there is no such rack or device.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> rack = read_blueprint(load_catalog(), "vera_rubin_nvl72", None, "racks.nvl72")
    >>> rack.main_count, rack.host_count, rack.scale_up_switches, rack.dpu.number
    (72, 36, 36, 18)
    """
    rack = catalog.rack(name, variant)
    if rack.contents:
        racks = ", ".join(f"{count} x {rack_id}" for rack_id, count in rack.contents)
        raise CapacityError(
            Fault("topology", key, f"the pod {rack.id}", "a rack", f"name its racks: {racks}")
        )
    notes = _Notes(catalog)
    blueprint = _parts(notes, rack, variant)
    return blueprint._replace(facts=frozenset({*rack.facts, *blueprint.facts, *notes.facts}))


def _parts(notes: _Notes, rack: Rack, variant: str | None) -> Blueprint:
    blueprint = Blueprint(
        id=rack.id,
        trays=rack.trays,
        nic=notes.part(rack, "nic"),
        dpu=notes.part(rack, "dpu"),
        scale_up_domain=rack.scale_up_domain,
        switch_trays=max(1, rack.switch_trays),
        flash_bytes=rack.flash_bytes,
        read_latency_s=rack.read_latency_s,
        power_w=rack.power_w,
    )
    if rack.kind == "network_rack":
        slots = rack.ethernet_switch.count if rack.ethernet_switch else 0
        return blueprint._replace(trays=0, slots=slots)
    if rack.kind == "kv_storage_rack":
        blueprint = blueprint._replace(boxes=rack.trays)
    host = rack.cpu if rack.accelerator or blueprint.boxes else None
    if rack.main is not None and not blueprint.boxes:
        main = notes.catalog.device(rack.main.id, variant)
        is_cpu = rack.accelerator is None
        blueprint = blueprint._replace(
            main=main,
            main_kind="cpu" if is_cpu else "lpu" if main.kind == "lpu" else "gpu",
            main_count=rack.main.count,
            main_memory=_memory(rack, main) if is_cpu else main.capacity_bytes,
            facts=blueprint.facts | set(main.facts),
        )
    if host is not None:
        device = notes.catalog.device(host.id, variant)
        chips = max(1, blueprint.main_count // host.count)
        blueprint = blueprint._replace(
            host=device,
            host_count=host.count,
            host_memory=_memory(rack, device),
            c2c_bandwidth=notes.c2c(host.id, chips),
            facts=blueprint.facts | set(device.facts),
        )
    if rack.scale_up_switch is not None:
        switch = notes.catalog.switch(rack.scale_up_switch.id)
        blueprint = blueprint._replace(
            scale_up_switch=switch,
            scale_up_switches=rack.scale_up_switch.count,
            facts=blueprint.facts | set(switch.facts),
        )
    return blueprint


def _memory(rack: Rack, cpu: Device) -> float:
    return cpu.memory_bytes if rack.memory_per_cpu is None else rack.memory_per_cpu


class _Notes:
    """Reads single facts, and notes which."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.facts: set[str] = set()

    def read(self, name: str) -> float | None:
        """Read a number; None where it is not known."""
        fact = self.catalog.facts.get(name)
        if fact is None or not isinstance(fact.value, int | float):
            return None
        self.facts.add(name)
        return float(fact.value)

    def part(self, rack: Rack, role: Literal["nic", "dpu"]) -> Part | None:
        """Read NICs or DPUs of a rack; None where it has none."""
        part = rack.nic if role == "nic" else rack.dpu
        if part is None:
            return None
        if role == "nic" and rack.nic_bw is not None:
            bandwidth: float | None = rack.nic_bw
        else:
            speed = "network" if role == "dpu" else "bandwidth_per_direction"
            bandwidth = self.read(f"network.{part.id}.{speed}")
        if bandwidth is None:
            raise CapacityError(
                Fault(
                    "catalog",
                    f"network.{part.id}",
                    "no bandwidth",
                    "one, since a rack has such a part",
                    "give the fact in a catalog file of your own",
                )
            )
        latency_s = rack.link_latency_s if role == "nic" else None
        return Part(
            part.id, part.count, bandwidth, self.read(f"network.{part.id}.power"), latency_s or 0.0
        )

    def c2c(self, cpu: str, chips: int) -> float | None:
        """Read a GPU's share of its CPU's NVLink-C2C, one direction; None: PCIe."""
        both = self.read(GRACE_C2C if cpu == "grace" else f"cpus.{cpu}.c2c_bidir")
        return None if both is None else both / 2 / chips
