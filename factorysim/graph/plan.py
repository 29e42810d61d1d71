"""From a scenario to the plan that the simulator runs on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from factorysim.errors import CapacityError, Fault, SpecError
from factorysim.graph.build import build_graph
from factorysim.graph.factory import compile_graph
from factorysim.graph.layout import Wiring, check_layouts
from factorysim.graph.placement import check_deployments, in_deployment, place_deployments
from factorysim.graph.rest import draw_of, rest_of_racks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import networkx as nx

    from factorysim.catalog import Catalog, Device, Llm
    from factorysim.catalog.efficiency import Efficiency
    from factorysim.catalog.values import Vision
    from factorysim.errors import UserError
    from factorysim.graph.factory import Factory, LinkTable, Routes
    from factorysim.graph.placement import Need
    from factorysim.graph.tiers import ReplicaStores, StorePlan, StoreRoutes
    from factorysim.physics.afd import AfdLaw, Exchange
    from factorysim.physics.drafts import Drafter
    from factorysim.physics.handoff import KvState
    from factorysim.physics.power import PowerModel
    from factorysim.physics.speculation import SpeculativeLaw
    from factorysim.physics.step import PartnerSide, StepLaw
    from factorysim.physics.table import TableRow
    from factorysim.physics.vision import Encoder
    from factorysim.spec.deployment import DeploymentSpec
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.split import DraftSplit
    from factorysim.spec.topology import TopologySpec


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
    """Of all that is not deployed (idle devices, NICs, DPUs, switches, fans): see `rest`."""
    device_count: int
    """GPUs, LPUs and CPUs in it."""


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


def plan_factory(
    scenario: ScenarioSpec,
    topology: TopologySpec,
    catalog: Catalog,
    *,
    table_files: Mapping[str, Sequence[TableRow]] | None = None,
) -> FactoryPlan:
    """Build the graph, place the deployments, and give each its law, memory and power.

    Parameters
    ----------
    table_files
        Parsed profiles by the name that `law.file` gives them; others are read.

    Raises
    ------
    CapacityError
        If something does not fit (devices, memory, ports), with the arithmetic.
    SpecError
        If a pool, an LLM or a device is unknown. Both carry every fault.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> from factorysim.spec.scenario import ScenarioSpec
    >>> scenario = ScenarioSpec.model_validate({
    ...     "schema": "factorysim.scenario/1",
    ...     "question": "How many copies fit?",
    ...     "topology": {"schema": "factorysim.topology/1", "racks": {"hgx": {"rack": "hgx_h200"}}},
    ...     "llms": {"chat": {"llm": "llama_3_1_8b"}},
    ...     "deployments": {"chat": {"llm": "chat", "pool": "hgx", "parallel": {"tp": 2}}},
    ...     "streams": {"all": {"llm": "chat", "trace": "mine.jsonl"}},
    ... })
    >>> plan = plan_factory(scenario, scenario.topology, load_catalog())
    >>> len(plan.serve[0].replicas), plan.serve[0].devices_per_replica
    (4, 2)
    """
    streams = {f"{name}.llm": stream.llm for name, stream in scenario.streams.items()}
    for name, stream in scenario.streams.items():
        for step, llm in stream.llm_by_step.items():
            streams[f"{name}.llm_by_step.{step}"] = llm
    disaggregated = scenario.serving.disaggregation is not None
    check_deployments(scenario.deployments, scenario.llms, streams, disaggregated=disaggregated)
    graph = build_graph(topology, catalog)
    draft = _Draft(scenario, topology, catalog, graph, compile_graph(graph), table_files or {})
    return draft.plan()


class _Draft:
    """A plan in the making."""

    def __init__(
        self,
        scenario: ScenarioSpec,
        topology: TopologySpec,
        catalog: Catalog,
        graph: nx.Graph[str],
        factory: Factory,
        tables: Mapping[str, Sequence[TableRow]],
    ) -> None:
        self._scenario = scenario
        self._variant = topology.variant
        self._session_bandwidth = topology.fabric.session_bandwidth
        self._catalog = catalog
        self._graph = graph
        self._factory = factory
        self._tables = tables
        self._facts = set(graph.graph.get("facts", "").split())
        self._notes: list[str] = []
        self._rack_nodes = factory.of_kind("rack")
        self._rack_of = self._racks_of_nodes()
        self._clients = factory.of_kind("clients")[0]

    def plan(self) -> FactoryPlan:
        """Fill in everything, or refuse with every fault."""
        deployments = self._scenario.deployments
        check_layouts(self._scenario)
        needs, errors = self._needs(deployments)
        rest = {name: spec for name, spec in deployments.items() if needs.get(name, True)}
        known = {name: need for name, need in needs.items() if need is not None}
        placed, short, partners = place_deployments(rest, self._factory, known)
        errors += short
        serve: list[ServePlan] = []
        tools: list[ToolPlan] = []
        for name, spec in deployments.items():
            if name not in placed:
                continue
            try:
                if spec.role != "tools":
                    serve.append(
                        self._serve(name, spec, placed[name], known.get(name), partners.get(name))
                    )
                else:
                    tools.append(self._tool(name, spec, placed[name]))
            except (CapacityError, SpecError) as error:
                errors.append(type(error)(*in_deployment(name, error)))
        try:
            self._join_roles(serve)
        except CapacityError as error:
            errors.append(error)
        if errors:
            faults = [fault for error in errors for fault in error.faults]
            sized = all(isinstance(error, CapacityError) for error in errors)
            raise CapacityError(*faults) if sized else SpecError(*faults)
        if not tools and any(stream.agent for stream in self._scenario.streams.values()):
            self._notes.append(
                "no deployment has the role tools: the agents' tools take their time elsewhere, "
                "and wait for nobody"
            )
        taken = [*placed.values(), *partners.values()]
        deployed = {node for replicas in taken for nodes in replicas for node in nodes}
        plan = self._whole(serve, tools, deployed)
        return self._with_tiers(plan) if len(self._scenario.serving.kv.tiers) > 1 else plan

    def _with_tiers(self, plan: FactoryPlan) -> FactoryPlan:
        """Add the stores of KV, the links to them, and what each replica reaches."""
        from factorysim.graph.tiers import plan_tiers

        tiers = plan_tiers(self._scenario, self._catalog, self._graph, self._factory, plan.serve)
        replicas = iter(tiers.replicas)
        return plan._replace(
            serve=tuple(
                one._replace(stores=tuple(next(replicas) for _ in one.replicas))
                for one in plan.serve
            ),
            links=tiers.links,
            routes=tiers.routes,
            facts=tuple(sorted(tiers.facts.union(plan.facts))),
            stores=tiers.stores,
        )

    def _whole(
        self, serve: Sequence[ServePlan], tools: Sequence[ToolPlan], deployed: set[int]
    ) -> FactoryPlan:
        return FactoryPlan(
            serve=tuple(serve),
            tools=tuple(tools),
            racks=self._racks(deployed),
            links=self._factory.links,
            routes=self._factory.routes,
            pue=self._pue(),
            facts=tuple(sorted(self._facts)),
            notes=tuple(self._notes),
            rack_of=self._rack_of,
            clients=self._clients,
            session_bandwidth=self._session_bandwidth,
        )

    def _join_roles(self, serve: Sequence[ServePlan]) -> None:
        """See that KV can move from every prefill deployment to every decode one of its LLM."""
        for source in serve:
            for target in serve:
                roles = source.role, target.role
                if roles == ("prefill", "decode") and (
                    (source.llm, source.prompts_above) == (target.llm, target.prompts_above)
                ):
                    ends = (one.replicas[0].devices[0] for one in (source, target))
                    self._factory.routes(*ends)

    def _racks_of_nodes(self) -> tuple[int, ...]:
        number = {node: k for k, node in enumerate(self._rack_nodes)}
        nodes: list[int] = self._factory.racks.tolist()
        return tuple(number.get(node, -1) for node in nodes)

    def _device(self, node: int) -> Device:
        """Read a node's device from the catalog, with the memory that stands at the node."""
        device = self._catalog.device(self._factory.devices[node], self._variant)
        self._facts.update(device.facts)
        memory = self._graph.nodes[self._factory.names[node]].get("memory_bytes")
        return device if memory is None else replace(device, memory_bytes=memory)

    def _needs(
        self, deployments: Mapping[str, DeploymentSpec]
    ) -> tuple[dict[str, Need | None], list[UserError]]:
        """Count the devices of replicas whose layout follows from memory; None: refused."""
        from factorysim.graph.needs import need_of

        needs: dict[str, Need | None] = {}
        errors: list[UserError] = []
        for name, spec in deployments.items():
            try:
                need = need_of(
                    spec, self._scenario, self._catalog, self._factory, self._device, self._blocks
                )
            except (CapacityError, SpecError) as error:
                errors.append(type(error)(*in_deployment(name, error)))
                needs[name] = None
            else:
                if need is not None:
                    needs[name] = need
        return needs, errors

    def _serve(
        self,
        name: str,
        spec: DeploymentSpec,
        replicas: tuple[tuple[int, ...], ...],
        need: Need | None = None,
        partners: tuple[tuple[int, ...], ...] | None = None,
    ) -> ServePlan:
        split = spec.split
        if split is not None and split.kind == "afd":
            assert need is not None
            assert partners is not None  # whoever is split has asked for them
            return self._split(name, spec, replicas, need, partners)
        from factorysim.graph.links import tray_receivers
        from factorysim.physics.power import PowerModel

        assert spec.llm is not None  # the spec of a deployment that serves
        assert spec.role != "tools"
        use, serving = self._scenario.llms[spec.llm], self._scenario.serving
        llm = self._catalog.llm(use.llm)
        self._facts.update(llm.facts)
        devices = [self._device(node) for nodes in replicas for node in nodes]
        device = min(devices, key=lambda one: one.memory_bytes)
        drafter = self._drafter(spec)
        vision = self._vision(spec.llm, llm)
        if device.sram is not None and (drafter is not None or vision is not None):
            found, key = ("drafts", "speculation") if vision is None else ("images", "pool")
            expected = f"none on {device.id}, whose memory is SRAM"
            raise CapacityError(Fault(llm.id, key, found, expected, "take a pool of GPUs"))
        if device.sram is not None:
            from factorysim.graph.needs import sram_of
            from factorysim.physics.sram import sram_blocks

            assert need is not None  # of every pool of such devices
            blocks = sram_blocks(
                llm, device, use.precision, spec.parallel, sram_of(spec), need.stages,
                serving.kv, serving.max_sequences,
            )  # fmt: skip
        else:
            blocks = self._blocks(spec, device)
        law: StepLaw
        partner = None
        if split is not None:
            assert need is not None
            assert partners is not None
            assert drafter is not None  # a split of drafts has somebody who drafts
            law, partner = self._drafting_apart(
                name, spec, split, device, drafter, replicas, partners, need
            )
            blocks = self._blocks_of_both(name, spec, split, device, partner, drafter, need, blocks)
            need = None  # that of the LPUs
        else:
            law = self._speculating(spec, device, replicas, need, drafter)
        return ServePlan(
            name=name,
            llm=spec.llm,
            pool=spec.pool,
            device=device,
            law=law,
            power=PowerModel(device.idle_w, device.tdp_w),
            kv_blocks=blocks,
            replicas=tuple(
                self._replica(nodes)._replace(
                    receivers=tray_receivers(self._factory, nodes) if device.sram else (),
                    partners=others,
                )
                for nodes, others in zip(replicas, partners or len(replicas) * ((),), strict=True)
            ),
            devices_per_replica=len(replicas[0]),
            role=spec.role,
            kv_state=self._kv_state(spec, 1 if need is None else need.stages),
            door_fs=self._door_fs(spec, device),
            context_tokens=llm.context_length,
            encoder=self._encoder(spec, device, vision),
            prompts_above=spec.prompts_above or 0,
            ranks=spec.parallel.dp,
            stages=spec.parallel.pp,
            partner=partner,
        )

    def _blocks(self, spec: DeploymentSpec, device: Device) -> int:
        """Count the KV blocks of a replica on GPUs, beside its LLM and what else is there."""
        from factorysim.physics.layout import replica_blocks
        from factorysim.physics.vision import encoder_bytes

        assert spec.llm is not None  # the spec of a deployment that serves
        use, serving = self._scenario.llms[spec.llm], self._scenario.serving
        llm, kv, drafter = self._catalog.llm(use.llm), serving.kv, self._drafter(spec)
        vision = self._vision(spec.llm, llm)
        if vision is not None:
            held = kv.workspace + encoder_bytes(vision) / spec.parallel.tp
            kv = kv.model_copy(update={"workspace": held})
        return replica_blocks(
            llm,
            device,
            use.precision,
            spec.parallel,
            kv,
            serving.max_sequences,
            None if drafter is None else drafter.beside,
        )

    def _drafting_apart(
        self,
        name: str,
        spec: DeploymentSpec,
        split: DraftSplit,
        device: Device,
        drafter: Drafter,
        replicas: tuple[tuple[int, ...], ...],
        partners: tuple[tuple[int, ...], ...],
        need: Need,
    ) -> tuple[SpeculativeLaw, PartnerPlan]:
        """Law of verifies on a deployment's pool with drafts on LPUs, and their side of it."""
        from factorysim.graph.links import replica_links
        from factorysim.graph.needs import chips_of_draft
        from factorysim.physics.power import PowerModel
        from factorysim.physics.speculation import pace, sent_drafts, speculative_law
        from factorysim.physics.sram import sram_law
        from factorysim.physics.step import FS_PER_S

        speculation, llm = spec.speculation, drafter.llm
        assert speculation is not None
        assert llm is not None  # drafts that are split are those of an LLM
        other = self._device(partners[0][0])
        stage = tuple(nodes[: split.parallel.tp] for nodes in partners)
        draft = sram_law(
            llm,
            other,
            drafter.precision,
            split.parallel,
            split.sram,
            chips_of_draft(split, need, self._factory),
            replica_links(self._graph, self._factory, stage),
            self._efficiency(other),
            self._scenario.serving.overlap,
        )
        at = pace(speculation.draft_tokens, speculation.acceptance)
        link = self._exchange(name, spec, device, other, replicas, partners)
        probabilities = split.sends == "probabilities"
        law = speculative_law(
            self._law(spec, device, replicas),
            draft,
            at,
            exchange_fs=2 * round(link.latency_s * FS_PER_S),
            beside=True,
            sent=sent_drafts(at, llm.vocab, link.bandwidth, probabilities=probabilities),
        )
        power = PowerModel(other.idle_w, other.tdp_w)
        compute = drafter.precision.compute
        side = law.partner()
        return law, PartnerPlan(split.pool, other, side, power, need.partners, compute)

    def _blocks_of_both(
        self,
        name: str,
        spec: DeploymentSpec,
        split: DraftSplit,
        device: Device,
        partner: PartnerPlan,
        drafter: Drafter,
        need: Need,
        blocks: int,
    ) -> int:
        """Blocks that the LLM's devices and the LPUs that draft hold, block for block."""
        from factorysim.graph.draft_split import draft_blocks

        llm = drafter.llm
        assert llm is not None
        there = draft_blocks(
            llm, partner.device, drafter.precision, split, need.stages, self._scenario
        )
        if there < blocks:
            size = self._scenario.serving.kv.block_tokens
            self._notes.append(
                f"{name}: KV of {llm.id} on {need.partners:,} {partner.device.id} is of "
                f"{there * size:,} tokens, so no more are in use of the {blocks * size:,} on "
                f"{spec.parallel.devices} {device.id} (`split.sram.kv_tokens`)"
            )
        return min(blocks, there)

    def _split(
        self,
        name: str,
        spec: DeploymentSpec,
        replicas: tuple[tuple[int, ...], ...],
        need: Need,
        partners: tuple[tuple[int, ...], ...],
    ) -> ServePlan:
        """Plan attention on the deployment's pool, FFN and experts on that of its split."""
        from factorysim.graph.links import exchange_ways, straddles
        from factorysim.physics.afd import ffn_bytes
        from factorysim.physics.memory import kv_blocks, weight_bytes
        from factorysim.physics.power import PowerModel

        assert spec.llm is not None
        assert spec.split is not None
        assert spec.role != "tools"
        use, serving = self._scenario.llms[spec.llm], self._scenario.serving
        llm = self._catalog.llm(use.llm)
        self._facts.update(llm.facts)
        if self._vision(spec.llm, llm) is not None:
            expected = "none: attention apart from FFN has no encoder"
            raise CapacityError(Fault(llm.id, "split", "images", expected, "remove the split"))
        if any(straddles(self._factory, nodes) for nodes in replicas):
            fault = Fault(
                llm.id, "parallel.tp", f"{spec.parallel.tp} devices over several domains",
                "one scale-up domain for the attention of a split", "a smaller tp",
            )  # fmt: skip
            raise CapacityError(fault)
        device = min(
            (self._device(node) for nodes in replicas for node in nodes),
            key=lambda one: one.memory_bytes,
        )
        other = self._device(partners[0][0])
        held = weight_bytes(llm, use.precision).total - ffn_bytes(llm, use.precision)
        law = self._split_law(name, spec, device, other, replicas, partners, need)
        ways = spec.split.link_bandwidth is None
        placed = tuple(
            self._replica(nodes)._replace(
                partners=others,
                ways=exchange_ways(self._factory, nodes, others) if ways else (),
            )
            for nodes, others in zip(replicas, partners, strict=True)
        )
        return ServePlan(
            name=name,
            llm=spec.llm,
            pool=spec.pool,
            device=device,
            law=law,
            power=PowerModel(device.idle_w, device.tdp_w),
            kv_blocks=kv_blocks(
                llm,
                device,
                use.precision,
                spec.parallel,
                serving.kv,
                serving.max_sequences,
                held=held,
            ),
            replicas=placed,
            devices_per_replica=len(replicas[0]),
            role=spec.role,
            kv_state=self._kv_state(spec, 1),
            door_fs=self._door_fs(spec, device),
            partner=PartnerPlan(
                spec.split.pool,
                other,
                law.partner,
                PowerModel(other.idle_w, other.tdp_w),
                need.partners,
                use.precision.compute,
            ),
            context_tokens=llm.context_length,
            prompts_above=spec.prompts_above or 0,
        )

    def _kv_state(self, spec: DeploymentSpec, stages: int) -> KvState | None:
        """Bytes of a sequence on each device that decodes; of a stage where there are several."""
        from factorysim.physics.handoff import kv_state

        if spec.role != "decode" or spec.llm is None:
            return None
        use = self._scenario.llms[spec.llm]
        return kv_state(self._catalog.llm(use.llm), use.precision, spec.parallel).part(stages)

    def _split_law(
        self,
        name: str,
        spec: DeploymentSpec,
        device: Device,
        other: Device,
        replicas: tuple[tuple[int, ...], ...],
        partners: tuple[tuple[int, ...], ...],
        need: Need,
    ) -> AfdLaw:
        from factorysim.graph.links import replica_links
        from factorysim.physics.afd import Side, afd_law

        split = spec.split
        assert split is not None
        assert split.kind == "afd"
        assert spec.llm is not None
        use, serving = self._scenario.llms[spec.llm], self._scenario.serving
        here, there = self._efficiency(device), self._efficiency(other)
        exchange = self._exchange(name, spec, device, other, replicas, partners)
        group = tuple(nodes[: split.parallel.tp] for nodes in partners)
        return afd_law(
            self._catalog.llm(use.llm),
            use.precision,
            Side(device, spec.parallel, replica_links(self._graph, self._factory, replicas), here),
            Side(other, split.parallel, replica_links(self._graph, self._factory, group), there),
            split,
            need.stages,
            exchange,
            serving.overlap,
            spec.expert_skew,
        )

    def _exchange(
        self,
        name: str,
        spec: DeploymentSpec,
        device: Device,
        other: Device,
        replicas: tuple[tuple[int, ...], ...],
        partners: tuple[tuple[int, ...], ...],
    ) -> Exchange:
        """Find the link between the two sides of a split, as given or as the topology has it."""
        from factorysim.graph.links import exchange_links
        from factorysim.physics.afd import Exchange

        split = spec.split
        assert split is not None
        bandwidth, latency_s = split.link_bandwidth, split.link_latency
        if bandwidth is None or latency_s is None:
            found = exchange_links(
                self._graph, self._factory, replicas, partners, split.parallel.tp
            )
            bandwidth = found[0] if bandwidth is None else bandwidth
            latency_s = found[1] if latency_s is None else latency_s
            if other.sram is not None:
                self._notes.append(
                    f"{name}: nobody has published the link between {device.id} and {other.id}; "
                    f"assumed are {bandwidth / 1e9:,.4g} GB/s a direction and "
                    f"{latency_s * 1e6:.3g} us (`split.link_bandwidth`, `split.link_latency`)"
                )
        return Exchange(bandwidth * self._efficiency(device).link_bandwidth, latency_s)

    def _efficiency(self, device: Device) -> Efficiency:
        """Efficiencies of a device under the scenario's engine.

        No engine of the catalog runs on LPUs: their host work is not that of `vllm`, say.
        """
        from factorysim.catalog.efficiency import efficiency

        factors = efficiency(self._catalog, device.generation, self._scenario.serving.engine)
        if device.sram is not None:
            own = f".{self._scenario.serving.engine}.{device.generation}."
            if not any(own in fact for fact in factors.facts):
                factors = efficiency(self._catalog, device.generation, "generic")
        self._facts.update(factors.facts)
        return factors

    def _vision(self, key: str, llm: Llm) -> Vision | None:
        """Find the encoder that streams with images need; None where none has any."""
        streams = self._scenario.streams
        asking = [
            name
            for name, one in streams.items()
            if one.images and key in (one.llm, *one.llm_by_step.values())
        ]
        if not asking:
            return None
        if llm.vision is None:
            record = f"llms.{llm.id}.vision"
            cure = f"give `{record}.encoder_params` and `{record}.patches_per_token` in a catalog "
            cure += "file of your own, or send images to another LLM"
            where, expected = f"streams.{asking[0]}", f"an LLM with a vision encoder, not {llm.id}"
            raise CapacityError(Fault(where, "images", "images", expected, cure))
        self._facts.update(llm.vision.facts)
        return llm.vision

    def _encoder(
        self, spec: DeploymentSpec, device: Device, vision: Vision | None
    ) -> Encoder | None:
        """Time the encoder of images; none where the scenario gives the times itself."""
        if vision is None or spec.law.kind != "roofline":
            return None
        if spec.parallel.pp > 1:
            found, cure = f"{spec.parallel.pp} stages", "take `pp: 1`, and more tp in its place"
            expected = "1: a pipeline has no encoder"
            raise SpecError(Fault("streams with images", "parallel.pp", found, expected, cure))
        from factorysim.catalog.efficiency import efficiency
        from factorysim.physics.vision import encoder_of

        assert spec.llm is not None  # the spec of a deployment that serves
        compute = self._scenario.llms[spec.llm].precision.compute
        factors = efficiency(self._catalog, device.generation, self._scenario.serving.engine)
        return encoder_of(vision, device, compute, spec.parallel.tp, factors)

    def _law(
        self,
        spec: DeploymentSpec,
        device: Device,
        replicas: tuple[tuple[int, ...], ...],
        need: Need | None = None,
    ) -> StepLaw:
        if spec.law.kind == "fixed":
            from factorysim.physics.fixed import fixed_law

            return fixed_law(spec.law)
        if spec.law.kind == "table":
            from factorysim.physics.table import table_law

            return table_law(self._table(spec.law.file))
        assert spec.llm is not None  # the spec of a deployment that serves
        use, serving = self._scenario.llms[spec.llm], self._scenario.serving
        llm = self._catalog.llm(use.llm)
        if device.sram is not None:
            from factorysim.graph.links import replica_links
            from factorysim.graph.needs import chips_of, sram_of
            from factorysim.physics.sram import sram_law

            assert need is not None  # of every pool of such devices
            stage = tuple(nodes[: spec.parallel.tp] for nodes in replicas)
            return sram_law(
                llm,
                device,
                use.precision,
                spec.parallel,
                sram_of(spec),
                chips_of(spec, need, self._factory),
                replica_links(self._graph, self._factory, stage),
                self._efficiency(device),
                serving.overlap,
                spec.expert_skew,
            )
        return self._cut_law(llm, use.precision, spec.parallel, device, replicas, spec.expert_skew)

    def _cut_law(
        self,
        llm: Llm,
        precision: PrecisionSpec,
        parallel: ParallelSpec,
        device: Device,
        replicas: tuple[tuple[int, ...], ...],
        expert_skew: float = 0.0,
    ) -> StepLaw:
        from factorysim.graph.layout import layout_law

        serving = self._scenario.serving
        factors = self._efficiency(device)
        return layout_law(
            llm,
            device,
            precision,
            parallel,
            Wiring(self._graph, self._factory, replicas),
            factors,
            serving.overlap,
            expert_skew,
        )

    def _drafter(self, spec: DeploymentSpec) -> Drafter | None:
        """Find who drafts for a deployment, if anybody does."""
        speculation = spec.speculation
        if speculation is None or not speculation.draft_tokens:
            return None
        from factorysim.physics.drafts import drafter

        assert spec.llm is not None  # the spec of a deployment that serves
        use, draft = self._scenario.llms[spec.llm], None
        if speculation.draft is not None:
            draft = self._catalog.llm(speculation.draft.llm)
            self._facts.update(draft.facts)
        llm = self._catalog.llm(use.llm)
        apart = None if spec.split is None else spec.split.parallel
        return drafter(llm, use.precision, draft, speculation, spec.parallel, apart)

    def _speculating(
        self,
        spec: DeploymentSpec,
        device: Device,
        replicas: tuple[tuple[int, ...], ...],
        need: Need | None,
        drafter: Drafter | None,
    ) -> StepLaw:
        """Law of a deployment, its drafts in it; a fixed law has their time in its own."""
        law = self._law(spec, device, replicas, need)
        if drafter is None:
            return law
        from factorysim.physics.speculation import pace, speculative_law

        speculation, own = spec.speculation, None
        assert speculation is not None  # who drafts was found by it
        if drafter.llm is not None and spec.law.kind == "roofline":
            own = self._cut_law(drafter.llm, drafter.precision, drafter.parallel, device, replicas)
        at = pace(speculation.draft_tokens, speculation.acceptance)
        return speculative_law(law, own, at)

    def _door_fs(self, spec: DeploymentSpec, device: Device) -> int:
        """Time in the engine's front end; none where the scenario gives the times itself."""
        if spec.law.kind != "roofline":
            return 0
        from factorysim.physics.step import FS_PER_S

        return round(self._efficiency(device).request_s * FS_PER_S)

    def _table(self, file: str) -> Sequence[TableRow]:
        from factorysim.physics.table import parse_table

        rows = self._tables.get(file)
        if rows is not None:
            return rows
        try:
            return parse_table(Path(file).read_text(encoding="utf-8"), file)
        except (OSError, UnicodeDecodeError) as error:
            fault = Fault(file, "", str(error), "a CSV file in UTF-8", "see `law.file`")
            raise SpecError(fault) from error

    def _replica(self, nodes: tuple[int, ...]) -> ReplicaPlan:
        from factorysim.graph.links import straddles

        way = self._factory.routes(self._clients, nodes[0])
        apart = straddles(self._factory, nodes)
        return ReplicaPlan(nodes, self._rack_of[nodes[0]], way.latency_fs, way.bandwidth, apart)

    def _tool(
        self, name: str, spec: DeploymentSpec, hosts: tuple[tuple[int, ...], ...]
    ) -> ToolPlan:
        device = self._device(hosts[0][0])
        return ToolPlan(
            name=name,
            pool=spec.pool,
            discipline=spec.discipline,
            smt_yield=1.0 if device.smt_yield is None else device.smt_yield,
            hosts=tuple(self._host(node) for (node,) in hosts),
        )

    def _host(self, node: int) -> HostPlan:
        device = self._device(node)
        if device.cores is None or device.core_speed is None:
            raise CapacityError(
                Fault(
                    "catalog",
                    f"{device.id}.cores",
                    "no number of cores",
                    "cores and their speed, to run tools",
                    "give the facts in a catalog file of your own",
                )
            )
        way = self._factory.routes(self._clients, node)
        draw = draw_of(device, hosts=True)
        return HostPlan(
            node=node,
            rack=self._rack_of[node],
            cores=device.cores,
            threads=device.cores if device.threads is None else device.threads,
            speed=device.core_speed,
            memory_bytes=device.memory_bytes,
            latency_fs=way.latency_fs,
            bandwidth=way.bandwidth,
            idle_w=draw.idle_w,
            peak_w=draw.peak_w,
        )

    def _racks(self, deployed: set[int]) -> tuple[RackPlan, ...]:
        rests = rest_of_racks(
            self._graph, self._factory, self._catalog, self._variant, self._rack_of, deployed
        )
        self._notes += [rest.note for rest in rests if rest.note is not None]
        names = [self._factory.names[node] for node in self._rack_nodes]
        return tuple(
            RackPlan(name, self._graph.nodes[name].get("pool", ""), rest.rest_w, rest.device_count)
            for name, rest in zip(names, rests, strict=True)
        )

    def _pue(self) -> float:
        site = self._scenario.site
        if not isinstance(site, str):
            return site.pue
        facts = self._catalog.site(site)
        self._facts.update(facts.facts)
        return facts.pue
