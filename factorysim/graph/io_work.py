"""I/O work on a factory's graph: which cores do it for each server, and at what cost.

A server is a tray: what lands at a device, a tool host or a store of a tray is worked on
there, by its DPU or by the CPU next to the device. A CPU that runs tools does it among
them; one that runs nothing does nothing else. Where a tray has several DPUs its devices
take turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.catalog.reading import Reading
from factorysim.errors import CapacityError, Fault, SpecError
from factorysim.graph.plan import DPUS, SPARE, HostPlan, IoPlan, Server, ToolPlan
from factorysim.graph.rest import draw_of
from factorysim.physics.io_work import IoCost, cost_of_cycles
from factorysim.spec.io_work import IO_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from factorysim.catalog import Device
    from factorysim.graph.ground import Ground
    from factorysim.graph.plan import Costs, FactoryPlan
    from factorysim.spec.io_work import IoKind, IoWorkSpec

_KEY = "serving.io_work"


def plan_io(ground: Ground, plan: FactoryPlan, spec: IoWorkSpec) -> IoPlan:
    """Find the cores for every kind of work that is on some.

    Raises
    ------
    SpecError
        If a kind is on DPUs and no server has one, or on a host that a server does not have.
    CapacityError
        If the catalog lacks a number of a DPU.
    """
    draft = _Draft(ground, plan)
    wanted = {kind: spec.where(kind) for kind in IO_KINDS}
    on_dpu = [kind for kind in IO_KINDS if wanted[kind] == "dpu"]
    on_host = [kind for kind in IO_KINDS if wanted[kind] == "host"]
    places = draft.places()
    if on_dpu and not any(place.dpu is not None for place in places.values()):
        raise _lacking(on_dpu, "no DPU beside any deployment", "a DPU in its trays", "host")
    bare = {node: place for node, place in places.items() if on_host or place.dpu is None}
    for node, place in bare.items():
        if place.cpu is None:
            found = f"no host CPU for {ground.factory.names[node]}, or it serves an LLM itself"
            raise _lacking(on_host or on_dpu, found, "cores for it", "none")
    _tell(ground, plan, spec, [node for node in bare if on_dpu and places[node].dpu is None])
    return draft.build(places, bare, with_dpus=bool(on_dpu))


def _lacking(kinds: Iterable[IoKind], found: str, expected: str, instead: str) -> SpecError:
    cure = f"take `{instead}`, or another topology"
    return SpecError(
        *(Fault("scenario", f"{_KEY}.{kind}", found, expected, cure) for kind in kinds)
    )


def _tell(ground: Ground, plan: FactoryPlan, spec: IoWorkSpec, fallen: list[int]) -> None:
    """Note what a reader of the results would not expect."""
    if fallen:
        names = [ground.factory.names[node] for node in fallen]
        pools = sorted({str(ground.graph.nodes[name].get("pool", name)) for name in names})
        ground.notes.append(
            f"no DPU beside {', '.join(pools)}: I/O work of {_KEY} that is on DPUs is done by "
            "the host cores there"
        )
    stores = any(store.tier != "host" for store in plan.stores)
    if spec.storage != "none" and not stores and not spec.tool_bytes:
        ground.notes.append(
            f"{_KEY}.storage works on nothing: no KV tier is behind a driver (nvme, cmx, storage), "
            f"and {_KEY}.tool_bytes is not given"
        )


class _Place(NamedTuple):
    """What is beside a node."""

    cpu: int | None
    dpu: int | None
    """Nodes."""


class _Draft:
    """Servers in the making."""

    def __init__(self, ground: Ground, plan: FactoryPlan) -> None:
        factory = ground.factory
        self._ground = ground
        self._plan = plan
        self._trays: list[int] = factory.trays.tolist()
        self._busy = {
            node
            for one in plan.serve
            for placed in one.replicas
            for node in (*placed.devices, *placed.partners)
        }
        self._cpus = self._by_tray(node for node in factory.of_kind("cpu"))
        self._dpus = self._by_tray(node for node in factory.of_kind("dpu"))
        self._turns: dict[int, int] = {}
        """Devices of a tray that have a DPU so far."""

    def _by_tray(self, nodes: Iterable[int]) -> dict[int, list[int]]:
        trays: dict[int, list[int]] = {}
        for node in nodes:
            if self._trays[node] >= 0:  # a graph of a user's own may have none
                trays.setdefault(self._trays[node], []).append(node)
        return trays

    def places(self) -> dict[int, _Place]:
        """Find what is beside every device, tool host and store of a server."""
        found: dict[int, _Place] = {}
        for tools in self._plan.tools:
            for host in () if tools.elastic else tools.hosts:  # a cloud's cores are its own
                found[host.node] = _Place(host.node, self._dpu_of(host.node))
        for one in self._plan.serve:
            for placed in one.replicas:
                for device in placed.devices:
                    found[device] = _Place(self._cpu_of(device), self._dpu_of(device))
        for one in self._plan.serve:
            for placed, reached in zip(one.replicas, one.stores, strict=False):
                for nodes in reached.near:
                    for device, node in zip(placed.devices, nodes, strict=True):
                        found.setdefault(node, found[device])
        return found

    def _dpu_of(self, node: int) -> int | None:
        tray = self._trays[node]
        dpus = self._dpus.get(tray, [])
        turn = self._turns[tray] = self._turns.get(tray, -1) + 1
        return dpus[turn % len(dpus)] if dpus else None

    def _cpu_of(self, device: int) -> int | None:
        """Find the CPU next to a device that serves no LLM itself."""
        routes = self._ground.factory.routes
        cpus = [cpu for cpu in self._cpus.get(self._trays[device], ()) if cpu not in self._busy]
        ways = [(routes(device, cpu), cpu) for cpu in cpus if not self._one_chip(device, cpu)]
        ranked = [(len(way.links), way.latency_fs, cpu) for way, cpu in ways]
        return min(ranked)[2] if ranked else None

    def _one_chip(self, device: int, cpu: int) -> bool:
        """Whether the two are a laptop's chip, which is a device and its host in one."""
        factory = self._ground.factory
        same = factory.devices[device] == factory.devices[cpu]
        return same and factory.kind(device) != "cpu"

    def build(
        self, places: Mapping[int, _Place], bare: Iterable[int], *, with_dpus: bool
    ) -> IoPlan:
        """Give the cores their places, and read what work costs on them."""
        ground = self._ground
        hosts = {
            host.node: (number, k)
            for number, tools in enumerate(self._plan.tools)
            for k, host in enumerate(tools.hosts)
        }
        needed = [places[node].cpu for node in bare]
        spare = [cpu for cpu in dict.fromkeys(needed) if cpu is not None and cpu not in hosts]
        hosts |= {cpu: (len(self._plan.tools), k) for k, cpu in enumerate(spare)}
        beside = [place.dpu for place in places.values() if with_dpus and place.dpu is not None]
        dpus = list(dict.fromkeys(beside))
        rank = {node: k for k, node in enumerate(dpus)}
        servers = {
            node: Server(
                None if place.cpu is None else hosts.get(place.cpu),
                None if place.dpu is None else rank.get(place.dpu),
            )
            for node, place in places.items()
        }
        rules = Reading(ground.catalog.facts, {}, "rules")
        cards = {
            name: self._card(name, rules) for name in map(ground.factory.devices.__getitem__, dpus)
        }
        mine = [cards[ground.factory.devices[node]] for node in dpus]
        host_costs = _host_costs(rules)
        width = rules.need("io_storage_width")
        rules.check()
        ground.facts.update(rules.used())
        return IoPlan(
            servers,
            _station(
                DPUS, [_dpu(ground, node, card) for node, card in zip(dpus, mine, strict=True)]
            ),
            tuple(card.line for card in mine),
            tuple(card.costs for card in mine),
            _station(SPARE, [self._spare(node) for node in spare], self._smt(spare)),
            host_costs,
            width,
        )

    def _card(self, name: str, rules: Reading) -> _Card:
        """Read what the catalog has of a DPU."""
        catalog = self._ground.catalog
        record = catalog.sections["network"].get(name, {})  # of a graph of a user's own: anything
        reading = Reading(catalog.facts, record, f"network.{name}")
        hz = reading.need("clock")
        costs: dict[IoKind, IoCost] = {
            "tls": cost_of_cycles(
                reading.need("io.tls_cycles_per_byte"),
                reading.need("io.tls_cycles_per_record"),
                hz=hz or 1.0,
                operation_bytes=rules.need("io_tls_record_bytes"),
            ),
            "packets": cost_of_cycles(
                reading.need("io.packet_cycles_per_byte"),
                reading.need("io.packet_cycles"),
                hz=hz or 1.0,
                operation_bytes=rules.need("io_packet_bytes"),
            ),
            "storage": IoCost(
                reading.need("io.storage_core_s_per_byte"),
                reading.need("io.storage_core_s_per_operation"),
                rules.need("io_storage_operation_bytes"),
            ),
        }
        card = _Card(int(reading.need("cores")), reading.need("network"), costs)
        reading.check()
        self._ground.facts.update(reading.used())
        return card

    def _device(self, node: int) -> Device:
        device = self._ground.device(node)
        if device.cores is None or device.core_speed is None:
            found, expected = "no number of cores", "cores and their speed, for I/O work"
            cure = "give the facts in a catalog file of your own"
            raise CapacityError(Fault("catalog", f"{device.id}.cores", found, expected, cure))
        return device

    def _smt(self, nodes: list[int]) -> float:
        """Yield of second threads: the least, where CPUs differ."""
        yields = [self._device(node).smt_yield for node in nodes]
        return min((one for one in yields if one is not None), default=1.0)

    def _spare(self, node: int) -> HostPlan:
        device = self._device(node)
        assert device.cores is not None
        assert device.core_speed is not None
        threads = device.cores if device.threads is None else device.threads
        draw = draw_of(device, hosts=True)
        above_idle_w = draw.peak_w - draw.idle_w
        rack = self._ground.rack_of[node]
        return _cores(node, rack, device.cores, threads, device.core_speed, above_idle_w)


class _Card(NamedTuple):
    """A kind of DPU."""

    cores: int
    line: float
    """B/s, each way."""
    costs: Costs


def _host_costs(rules: Reading) -> Costs:
    """Read what work costs in software on the reference core."""
    hz = rules.fact("cpus.reference_core.clock")
    assert hz is not None, "the shipped catalog has it, and no file of facts can take it away"

    def cost(byte: str, operation: str, most: str) -> IoCost:
        return cost_of_cycles(
            rules.need(f"io_{byte}"),
            rules.need(f"io_{operation}"),
            hz=hz,
            operation_bytes=rules.need(f"io_{most}"),
        )

    return {
        "tls": cost("tls_cycles_per_byte", "tls_cycles_per_record", "tls_record_bytes"),
        "packets": cost("packet_cycles_per_byte", "packet_cycles", "packet_bytes"),
        "storage": cost(
            "storage_cycles_per_byte", "storage_cycles_per_operation", "storage_operation_bytes"
        ),
    }


def _dpu(ground: Ground, node: int, card: _Card) -> HostPlan:
    """Plan a DPU's cores; it draws the same whatever it does, which is in its rack's rest."""
    return _cores(node, ground.rack_of[node], card.cores, card.cores, 1.0, 0.0)


def _cores(
    node: int, rack: int, cores: int, threads: int, speed: float, above_idle_w: float
) -> HostPlan:
    return HostPlan(
        node=node,
        rack=rack,
        cores=cores,
        threads=threads,
        speed=speed,
        memory_bytes=0.0,
        latency_fs=0,
        bandwidth=float("inf"),
        idle_w=0.0,
        peak_w=above_idle_w,
    )


def _station(name: str, hosts: list[HostPlan], smt_yield: float = 1.0) -> ToolPlan | None:
    return ToolPlan(name, "", "ps", smt_yield, tuple(hosts)) if hosts else None
