"""The plan that the simulator runs on: who serves what, on which devices, by which law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.catalog import Device
    from factorysim.graph.factory import LinkTable, Routes
    from factorysim.graph.store_routes import StoreRoutes
    from factorysim.physics.handoff import KvState
    from factorysim.physics.io_work import IoCost
    from factorysim.physics.power import PowerModel
    from factorysim.physics.step import PartnerSide, StepLaw
    from factorysim.physics.vision import Encoder
    from factorysim.spec.agent import ToolClassSpec
    from factorysim.spec.io_work import IoKind

    Costs = Mapping[IoKind, IoCost]

DPUS = "DPU cores"
SPARE = "host CPUs without tools"
"""Stations of I/O work: no deployment can have a name with a space in it."""


class ReplicaPlan(NamedTuple):
    """One replica: where it runs, and how far from the door."""

    devices: tuple[int, ...]
    """Node indices, all of a stage or a rank side by side."""
    rack: int
    """Of its first device, index into `FactoryPlan.racks`."""
    latency_fs: int
    """From the clients to the replica, one way, propagation alone."""
    bandwidth: float
    """B/s that the path carries."""
    straddles: bool = False
    """Whether its collectives cross the network."""
    partners: tuple[int, ...] = ()
    """Of a split: node indices in the other pool."""
    ways: tuple[tuple[int, int], ...] = ()
    """Pairs of nodes between which the two sides of a split exchange, over the network."""
    receivers: tuple[tuple[int, int], ...] = ()
    """Nodes that take in KV, and for how many devices each; empty: each device its own."""


class PartnerPlan(NamedTuple):
    """The other side of a split deployment."""

    pool: str
    device: Device
    side: PartnerSide
    """Its activity in the steps of the deployment's law."""
    power: PowerModel
    """Of one device."""
    devices_per_replica: int
    compute: str
    """Format of its arithmetic."""


class StorePlan(NamedTuple):
    """Room of one LLM in one tier: of a server, or of the factory."""

    tier: str
    name: str
    llm: str
    """Key of the scenario's `llms`."""
    blocks: int
    block_bytes: float
    """Of one block, all devices together, each byte once."""
    nodes: tuple[int, ...]
    """Where its bytes lie; from the number of the graph's nodes on they are stores' own."""
    shared: bool
    """By all servers."""
    below: int
    """Place of the next tier's store in the list of stores; -1: there is none."""


class ReplicaStores(NamedTuple):
    """What one replica reaches."""

    stores: tuple[int, ...]
    """By tier below HBM: place in the list of stores."""
    near: tuple[tuple[int, ...], ...]
    """By tier, for each device the node of a server's store that is next to it."""
    lane_bytes: float
    """Of one block, what each device holds of it."""


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
    role: Literal["serve", "prefill", "decode"] = "serve"
    kv_state: KvState | None = None
    """Of a sequence, on each device: what moves from a prefill replica to one of these."""
    door_fs: int = 0
    """That a call spends in the engine's front end before a replica queues it."""
    context_tokens: int | None = None
    """Of the LLM: what a call's prompt and output may add up to."""
    encoder: Encoder | None = None
    """Of images, where a stream has some."""
    prompts_above: int = 0
    """Takes prompts of more tokens than this, up to where another of its LLM takes over."""
    stores: tuple[ReplicaStores, ...] = ()
    """Which stores of KV each replica reaches; empty: HBM is the only tier."""
    ranks: int = 1
    """Of a replica, each with an equal part of `kv_blocks` and its own calls: attention-DP."""
    stages: int = 1
    """Of a replica's pipeline, each an equal part of its devices."""
    partner: PartnerPlan | None = None
    """Of a split deployment."""


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


class SandboxPlan(NamedTuple):
    """Sandboxes that the tools of a deployment run in."""

    per: Literal["session", "agent", "call"]
    start: ToolClassSpec
    """How long a start takes, and what it works."""
    memory: int
    """Bytes that each holds from its start to its end."""
    burst: int
    """Bytes of each host that sandboxes leave to the tools in them."""
    warm: int = 0
    """Kept ready on each host."""
    idle_fs: int | None = None
    """Given back when no tool has used it for so long."""
    through_gaps: bool = True
    """Whether it is kept while the user thinks."""


class CheckPlan(NamedTuple):
    """What a runtime does to a call before it goes on."""

    cpu_s: float
    """Core-seconds on the reference core, on a host of tools."""
    latency_fs: int
    """Beside that work."""


class ToolPlan(NamedTuple):
    """A deployment that runs tools."""

    name: str
    pool: str
    discipline: str
    smt_yield: float
    """Throughput of all threads over that of the cores alone."""
    hosts: tuple[HostPlan, ...]
    classes: tuple[str, ...] = ()
    """Of tools that run here; empty: those that no other deployment names."""
    elastic: bool = False
    """Whether it is in the cloud: one host of as many cores as are asked for."""
    most: int | None = None
    """Tools at once, of an elastic one."""
    latency_fs: int = 0
    """There and back, of an elastic one."""
    sandbox: SandboxPlan | None = None
    check: CheckPlan | None = None
    """Of each attempt at a tool."""


class RackPlan(NamedTuple):
    """A rack, and what it draws whatever happens."""

    name: str
    pool: str
    rest_w: float
    """Of all that is not deployed (idle devices, NICs, DPUs, switches, fans): see `rest`."""


class Server(NamedTuple):
    """Who works for what is at one node."""

    host: tuple[int, int] | None
    """Place of the deployment in the plan's `tools` (one past them: `IoPlan.spare`), and of the
    host in it."""
    dpu: int | None
    """Place in `IoPlan.dpus`."""


class IoPlan(NamedTuple):
    """Whose cores do which I/O work, and how much of them it takes."""

    servers: Mapping[int, Server]
    """By node: devices of replicas, tool hosts, stores of a server."""
    dpus: ToolPlan | None
    """Their cores; jobs are in seconds of these."""
    lines: tuple[float, ...]
    """B/s through each DPU, each way."""
    dpu_costs: tuple[Costs, ...]
    """Of each DPU."""
    spare: ToolPlan | None
    """Host CPUs that run no tools; what they draw idle is in their racks' rest."""
    host_costs: Costs
    """On the reference core."""
    width: float
    """Cores that work on one transfer of KV at once."""


class FactoryPlan(NamedTuple):
    """All that the simulator needs to know of a factory."""

    serve: tuple[ServePlan, ...]
    tools: tuple[ToolPlan, ...]
    racks: tuple[RackPlan, ...]
    links: LinkTable
    routes: Routes | StoreRoutes
    """``routes(a, b)`` between node indices is a `Path`."""
    pue: float
    facts: tuple[str, ...]
    """Sorted ids of every fact that the plan rests on."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know: published numbers that disagree."""
    rack_of: tuple[int, ...] = ()
    """Rack of each node, -1 where it stands in none; empty: replicas sit in their `rack`."""
    clients: int = 0
    """Node that sessions come from."""
    session_bandwidth: float | None = None
    """B/s of one session's access to the door; None: what the path carries."""
    stores: tuple[StorePlan, ...] = ()
    """Of KV, below HBM: see `graph.tiers`."""
    io: IoPlan | None = None
    """Who does TLS, packets and storage; None: nobody, and it costs nothing."""
    llm_check: CheckPlan | None = None
    """Of each LLM call, with the way through the runtime's gateway."""
    idle_devices: int = 0
    """In pools that serve, without any deployment on them."""
