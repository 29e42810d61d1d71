"""From a scenario to the plan that the simulator runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from factorysim.catalog import Device
    from factorysim.graph.factory import LinkTable, Routes
    from factorysim.physics.power import PowerModel
    from factorysim.physics.step import StepLaw


class ReplicaPlan(NamedTuple):
    """One replica: where it runs, and how far from the door."""

    devices: tuple[int, ...]
    """Node indices, `tp` of them."""
    rack: int
    """Of its first device, index into `FactoryPlan.racks`."""
    latency_fs: int
    """From the clients to the replica, one way, propagation alone."""
    bandwidth: float
    """B/s that the path carries."""


class ServePlan(NamedTuple):
    """A deployment that serves an LLM."""

    name: str
    llm: str
    """Key of the scenario's `llms`."""
    pool: str
    device: Device
    law: StepLaw
    power: PowerModel
    """Of one device."""
    kv_blocks: int
    """Of one replica."""
    replicas: tuple[ReplicaPlan, ...]
    devices_per_replica: int


class HostPlan(NamedTuple):
    """A CPU that runs tools."""

    node: int
    rack: int
    """Index into `FactoryPlan.racks`."""
    cores: int
    threads: int
    speed: float
    """Of a core, against the catalog's reference core; SMT is apart."""
    memory_bytes: float
    latency_fs: int
    """From the clients, one way."""
    bandwidth: float
    idle_w: float
    peak_w: float


class ToolPlan(NamedTuple):
    """A deployment that runs tools."""

    name: str
    pool: str
    discipline: str
    smt_yield: float
    """Throughput of all threads over that of the cores alone."""
    hosts: tuple[HostPlan, ...]


class RackPlan(NamedTuple):
    """A rack, and what it draws whatever happens."""

    name: str
    pool: str
    rest_w: float
    """Of all that is not deployed: idle devices, NICs, DPUs, switches, fans."""
    device_count: int
    """GPUs, LPUs and CPUs in it."""


class FactoryPlan(NamedTuple):
    """All that the simulator needs to know of a factory."""

    serve: tuple[ServePlan, ...]
    tools: tuple[ToolPlan, ...]
    racks: tuple[RackPlan, ...]
    links: LinkTable
    routes: Routes
    """``routes(a, b)`` between node indices is a `Path`."""
    pue: float
    facts: tuple[str, ...]
    """Sorted ids of every fact that the plan rests on."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know: published numbers that disagree."""
    rack_of: tuple[int, ...] = ()
    """Rack of each node, -1 where it stands in none; empty: replicas sit in their `rack`."""
    clients: int = 0
    """Node from which sessions send their calls (`clients` of the graph)."""
