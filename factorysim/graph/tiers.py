"""Tiers of the KV cache on a factory's graph: where their stores stand, how large and how fast.

- `host`: memory of the CPUs beside a replica's devices, over C2C or PCIe; a store a server.
- `nvme`: drives of the same server, on its CPUs; a store a server.
- `cmx`: flash of the storage racks, over the fabric; one store, blocks spread over the boxes.
- `storage`: behind the door, over the fabric; one store.

A store that is slower than the links to it is a node of its own here, with one link
for reads and one for writes. They follow those of the graph, so that the same solver
shares all of them.

Replicas of one LLM share a store, whatever their deployment. LLMs part it: on a
server by their devices on it, in the factory by all their devices.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault, SpecError
from factorysim.graph.factory import LinkTable, end_name
from factorysim.graph.plan import ReplicaStores, StorePlan
from factorysim.graph.store_routes import Place, StoreRoutes
from factorysim.physics.memory import kv_bytes_per_token
from factorysim.physics.step import FS_PER_S
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.tiers import StoreSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from factorysim.graph.ground import Ground
    from factorysim.graph.plan import ServePlan
    from factorysim.spec.kv import KvSpec
    from factorysim.spec.tiers import Tier

_WHERE = "scenario"
_KEY = "serving.kv"
SERVER_TIERS = frozenset({"host", "nvme"})


class TierPlan(NamedTuple):
    """All stores of a factory, and what its replicas reach."""

    stores: tuple[StorePlan, ...]
    replicas: tuple[ReplicaStores, ...]
    """In order of the deployments and their replicas."""
    links: LinkTable
    routes: StoreRoutes


def plan_tiers(ground: Ground, serve: Sequence[ServePlan]) -> TierPlan:
    """Place the stores of every tier below HBM.

    Raises
    ------
    SpecError
        If the topology lacks a tier, or one is slower than the next in every way.
    CapacityError
        If a size is not known, or has no room for a block.
    """
    draft = _Draft(ground, serve)
    draft.place()
    faults = draft.faults
    if faults:
        raise SpecError(*faults)
    plan = draft.plan()
    _check_speed(ground.scenario.serving.kv, plan, serve)
    return plan


class _Draft:
    """Stores in the making."""

    def __init__(self, ground: Ground, serve: Sequence[ServePlan]) -> None:
        self._ground = ground
        self._scenario = ground.scenario
        self._kv = ground.scenario.serving.kv
        self._graph = ground.graph
        self._factory = factory = ground.factory
        self._serve = serve
        self.faults: list[Fault] = []
        self._places: list[Place] = []
        self._own_nodes: dict[tuple[str, int], int] = {}
        """Nodes of stores by tier and by what they hang on."""
        self._stores: list[StorePlan] = []
        self._index: dict[tuple[str, str, tuple[int, ...]], int] = {}
        self._near: dict[int, int | None] = {}
        self._trays: list[int] = factory.trays.tolist()
        self._cpus: dict[int, list[int]] = {}
        """By tray."""
        for node in factory.of_kind("cpu"):
            self._cpus.setdefault(self._trays[node], []).append(node)
        chips = (*factory.of_kind("gpu"), *factory.of_kind("lpu"))
        self._chips = Counter(self._trays[node] for node in chips)
        self._in_tray = Counter(
            self._trays[node] for one in serve for placed in one.replicas for node in placed.devices
        )
        """Deployed devices by tray: they part its stores."""
        self._devices = Counter[str]()
        for one in serve:
            self._devices[one.llm] += len(one.replicas) * one.devices_per_replica
        self._members: Counter[tuple[str, int, tuple[int, ...]]] = Counter()

    # What there is.

    def place(self) -> None:
        """Find where each tier stands; what is missing becomes a fault."""
        for tier in self._kv.tiers[1:]:
            if tier == "cmx" and not self._factory.of_kind("storage"):
                self._lack(tier, "no storage rack", "add one: `cmx: {rack: bluefield4_stx}`")
            elif tier in SERVER_TIERS:
                bare = [
                    self._factory.names[node]
                    for one in self._serve
                    for placed in one.replicas
                    for node in placed.devices
                    if self._cpu_of(node) is None
                ]
                if bare:
                    self._lack(tier, f"no host CPU beside {bare[0]}", "take the tier out")

    def _lack(self, tier: Tier, found: str, cure: str) -> None:
        expected = f"what the tier {tier} stands on"
        self.faults.append(Fault(_WHERE, f"{_KEY}.tiers", found, expected, cure))

    def _cpu_of(self, device: int) -> int | None:
        """Find the CPU next to a device in its tray; it has memory of its own."""
        if device not in self._near:
            tray = self._trays[device]
            devices = self._factory.devices  # a laptop's chip and a CPU are their own hosts
            cpus = [cpu for cpu in self._cpus.get(tray, ()) if devices[cpu] != devices[device]]
            ways = [(self._factory.routes(device, cpu), cpu) for cpu in cpus]
            ranked = [(len(way.links), way.latency_fs, cpu) for way, cpu in ways]
            self._near[device] = min(ranked)[2] if ranked else None
        return self._near[device]

    # Stores.

    def plan(self) -> TierPlan:
        """Make the stores of every replica, the last tier first."""
        for one in self._serve:
            for placed in one.replicas:
                for node in placed.devices:
                    self._members[one.llm, self._trays[node], self._server(placed.devices)] += 1
        replicas = []
        for one in self._serve:
            block = self._scenario.serving.kv.block_tokens * self._token_bytes(one)
            replicas += [
                ReplicaStores(
                    self._stores_of(one, placed.devices),
                    tuple(
                        tuple(self._node_of(tier, device) for device in placed.devices)
                        for tier in self._kv.tiers[1:]
                    ),
                    block,
                )
                for placed in one.replicas
            ]
        routes = StoreRoutes(self._factory.routes, len(self._factory.names), self._places)
        return TierPlan(tuple(self._stores), tuple(replicas), self._links(), routes)

    def _server(self, devices: tuple[int, ...]) -> tuple[int, ...]:
        """Trays that a replica stands in."""
        return tuple(sorted({self._trays[node] for node in devices}))

    def _token_bytes(self, one: ServePlan, tp: int | None = None) -> float:
        use = self._scenario.llms[one.llm]
        parallel = ParallelSpec(tp=one.devices_per_replica if tp is None else tp)
        return kv_bytes_per_token(self._ground.catalog.llm(use.llm), use.precision, parallel)

    def _stores_of(self, one: ServePlan, devices: tuple[int, ...]) -> tuple[int, ...]:
        below = -1
        found: list[int] = []
        for tier in reversed(self._kv.tiers[1:]):
            server = self._server(devices) if tier in SERVER_TIERS else ()
            index = self._index.get((tier, one.llm, server))
            if index is None:
                index = len(self._stores)
                self._index[tier, one.llm, server] = index
                self._stores.append(self._store(tier, one, devices, server, below))
            found.append(index)
            below = index
        return tuple(reversed(found))

    def _store(
        self,
        tier: Tier,
        one: ServePlan,
        devices: tuple[int, ...],
        server: tuple[int, ...],
        below: int,
    ) -> StorePlan:
        block_bytes = self._kv.block_tokens * self._token_bytes(one, tp=1)
        size_bytes = self._size(tier, one.llm, server)
        where = ", ".join(self._factory.names[tray] for tray in server)
        if size_bytes < block_bytes:
            raise CapacityError(
                Fault(
                    _WHERE,
                    f"{_KEY}.stores.{tier}.capacity",
                    f"{size_bytes / 1e9:.4g} GB for {one.llm} on {where or 'all servers'}",
                    f"at least a block of {block_bytes / 1e9:.4g} GB",
                    "give it more room, or take the tier out",
                )
            )
        if tier in SERVER_TIERS:
            nodes = tuple(dict.fromkeys(self._node_of(tier, device) for device in devices))
        else:
            nodes = tuple(self._own(tier, node) for node in self._bases(tier))
        return StorePlan(
            tier,
            f"{tier} of {where}" if where else tier,
            one.llm,
            int(size_bytes // block_bytes),
            block_bytes,
            nodes,
            tier not in SERVER_TIERS,
            below,
        )

    def _size(self, tier: Tier, llm: str, server: tuple[int, ...]) -> float:
        """Room of an LLM: its share of the server's, or of all."""
        if tier in SERVER_TIERS:
            return sum(
                self._tray_size(tier, tray) * self._members[llm, tray, server] / self._in_tray[tray]
                for tray in server
            )
        whole = self._spec(tier).capacity
        if whole is None:
            whole = self._flash() if tier == "cmx" else self._rule("shared_storage_bytes")
        return whole * self._devices[llm] / self._devices.total()

    def _tray_size(self, tier: Tier, tray: int) -> float:
        given = self._spec(tier).capacity
        if given is not None:
            return given
        if tier == "nvme":
            return self._rule("local_nvme_bytes") * self._drives(tray)
        memory: float = sum(
            self._graph.nodes[self._factory.names[node]].get("memory_bytes", 0.0)
            for node in self._cpus[tray]
        )
        return memory * self._rule("kv_host_share")

    def _flash(self) -> float:
        boxes = [self._factory.names[node] for node in self._factory.of_kind("storage")]
        sizes = [self._graph.nodes[name].get("memory_bytes") for name in boxes]
        if None in sizes:
            raise CapacityError(
                Fault(
                    _WHERE,
                    f"{_KEY}.stores.cmx.capacity",
                    f"nothing, and the flash of {boxes[sizes.index(None)]} is not known",
                    "a size",
                    "for example `cmx: {capacity: 10 PB}`",
                )
            )
        return float(sum(size for size in sizes if size is not None))

    def _drives(self, tray: int) -> int:
        """Drives of a server: one for each accelerator (a rule, see the catalog)."""
        return max(1, self._chips[tray])

    # Nodes and links.

    def _bases(self, tier: Tier) -> tuple[int, ...]:
        """Nodes of the graph that a shared tier hangs on."""
        return self._factory.of_kind("storage" if tier == "cmx" else "door")

    def _node_of(self, tier: Tier, device: int) -> int:
        """Find the node of a server's store next to a device; the device for shared ones."""
        if tier not in SERVER_TIERS:
            return device
        cpu = self._cpu_of(device)
        assert cpu is not None  # else it is a fault
        return self._own(tier, cpu)

    def _own(self, tier: Tier, base: int) -> int:
        """Make a store's own node, if it is slower than what it hangs on."""
        node = self._own_nodes.get((tier, base))
        if node is None:
            read, write, latency_s = self._speed(tier, base)
            node = base
            if read is not None or write is not None or latency_s:
                node = len(self._factory.names) + len(self._places)
                link = len(self._factory.links.names) + 2 * len(self._places)
                place = Place(
                    f"{tier} of {end_name(self._factory.names[base])}", base, link, link + 1,
                    read or _FAST, write or _FAST, round(latency_s * FS_PER_S),
                )  # fmt: skip
                self._places.append(place)
            self._own_nodes[tier, base] = node
        return node

    def _speed(self, tier: Tier, base: int) -> tuple[float | None, float | None, float]:
        """B/s to read and write of one node of a store, None: as its links; latency in s."""
        spec = self._spec(tier)
        read, write, latency_s = spec.read, spec.write, spec.latency
        parts = 1
        match tier:
            case "nvme":
                tray = self._trays[base]
                drives = self._drives(tray)
                read = read or self._rule("local_nvme_read") * drives
                write = write or self._rule("local_nvme_write") * drives
                if latency_s is None:
                    latency_s = self._rule("local_nvme_latency")
                parts = len(self._cpus[tray])
            case "storage":
                read = read or self._rule("shared_storage_read")
                write = write or self._rule("shared_storage_write")
                if latency_s is None:
                    latency_s = self._rule("shared_storage_latency")
            case "cmx":
                parts = len(self._bases(tier))
            case _:
                parts = len(self._cpus[self._trays[base]])
        return (
            None if read is None else read / parts,
            None if write is None else write / parts,
            latency_s or 0.0,
        )

    def _spec(self, tier: Tier) -> StoreSpec:
        return self._kv.stores.get(tier) or StoreSpec()

    def _rule(self, name: str) -> float:
        """Read a rule of the catalog, and note that the plan rests on it."""
        fact = self._ground.catalog.facts[f"rules.{name}"]
        self._ground.facts.add(f"rules.{name}")
        assert isinstance(fact.value, int | float)
        return float(fact.value)

    def _links(self) -> LinkTable:
        """Give the links of the graph, then two for each store's own node."""
        import numpy as np

        names, bandwidth, latency_s = self._factory.links
        speeds = [
            speed
            for place in self._places
            for speed in (place.read_bandwidth, place.write_bandwidth)
        ]
        own = [f"{place.name}, {verb}" for place in self._places for verb in ("reads", "writes")]
        return LinkTable(
            (*names, *own),
            np.concatenate([bandwidth, np.array(speeds, np.float64)]),
            np.concatenate([latency_s, np.zeros(len(speeds))]),
        )


_FAST = 1e18
"""B/s of a direction that nothing limits where the other is limited."""


def _check_speed(kv: KvSpec, plan: TierPlan, serve: Sequence[ServePlan]) -> None:
    """Refuse a tier that the next one beats in bandwidth and in latency.

    Raises
    ------
    SpecError
        With the figures of the first replica.
    """
    if not plan.replicas:
        return
    devices, reached = serve[0].replicas[0].devices, plan.replicas[0]
    speeds = [
        _speed_to(plan, devices, plan.stores[index], near)
        for index, near in zip(reached.stores, reached.near, strict=True)
    ]
    below = kv.tiers[1:]
    faults = [
        Fault(
            _WHERE,
            f"{_KEY}.tiers",
            f"{upper} above {lower}, from which a replica reads {_told(kv, lower, fast)} "
            f"where from {upper} it reads {_told(kv, upper, slow)}",
            "each tier faster than the next, in bandwidth or in latency",
            f"take {upper} out, or mend `stores`",
        )
        for upper, lower, slow, fast in zip(below, below[1:], speeds, speeds[1:], strict=False)
        if fast[0] > slow[0] and fast[1] < slow[1]
    ]
    if faults:
        raise SpecError(*faults)


def _told(kv: KvSpec, tier: Tier, speed: tuple[float, float]) -> str:
    """Say how fast a replica reads, beside what the file says of a server, or of all."""
    bandwidth, latency_s = speed
    given = kv.stores[tier].read if tier in kv.stores else None
    whole = ""
    if given not in (None, bandwidth):
        each = " a server" if tier in SERVER_TIERS else ""
        whole = f" (given: {given / 1e9:.4g} GB/s{each})"
    return f"{bandwidth / 1e9:.4g} GB/s{whole} after {latency_s * 1e6:.4g} us"


def _speed_to(
    plan: TierPlan, devices: tuple[int, ...], store: StorePlan, near: tuple[int, ...]
) -> tuple[float, float]:
    """B/s from a store to a replica that has it to itself, and seconds of latency."""
    nodes = store.nodes
    ends = [nodes[k % len(nodes)] for k in range(len(devices))] if store.shared else near
    ways = [plan.routes(end, device) for end, device in zip(ends, devices, strict=True)]
    crossing = Counter(link for way in ways for link in way.links)
    bandwidth: Mapping[int, float] = {link: float(plan.links.bandwidth[link]) for link in crossing}
    rates = [min(bandwidth[link] / crossing[link] for link in way.links) for way in ways]
    return sum(rates), max(way.latency_fs for way in ways) / FS_PER_S
