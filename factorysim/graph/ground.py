"""What a plan is made from: the scenario, the graph, and the catalog as far as it is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.catalog.efficiency import efficiency
from factorysim.errors import Fault, SpecError
from factorysim.graph.build import build_graph
from factorysim.graph.factory import compile_graph
from factorysim.graph.laws import Hardware
from factorysim.graph.links import Wiring
from factorysim.physics.table import parse_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from factorysim.catalog import Catalog, Device, Llm
    from factorysim.catalog.efficiency import Efficiency
    from factorysim.graph.placement import Replicas
    from factorysim.physics.table import TableRow
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.topology import TopologySpec


class Ground:
    """A scenario on its factory; whatever is read of the catalog leaves its facts here."""

    def __init__(
        self,
        scenario: ScenarioSpec,
        topology: TopologySpec,
        catalog: Catalog,
        tables: Mapping[str, Sequence[TableRow]],
    ) -> None:
        self.scenario = scenario
        self.catalog = catalog
        self.variant = topology.variant
        self.graph = build_graph(topology, catalog)
        self.factory = compile_graph(self.graph)
        self.clients = self.factory.of_kind("clients")[0]
        self.racks = self.factory.of_kind("rack")
        """Nodes."""
        self.rack_of = self._rack_of()
        """Place in `racks` of the rack of each node, -1 where it stands in none."""
        self.facts: set[str] = set(self.graph.graph.get("facts", "").split())
        """Ids of those that the plan rests on."""
        self.notes: list[str] = []
        """For a reader of the results."""
        self._tables = tables

    def _rack_of(self) -> tuple[int, ...]:
        number = {node: k for k, node in enumerate(self.racks)}
        nodes: list[int] = self.factory.racks.tolist()
        return tuple(number.get(node, -1) for node in nodes)

    def device(self, node: int) -> Device:
        """Read a node's device, with the memory that stands at the node."""
        device = self.catalog.device(self.factory.devices[node], self.variant)
        self.facts.update(device.facts)
        memory = self.graph.nodes[self.factory.names[node]].get("memory_bytes")
        if memory is None or memory == device.capacity_bytes:
            return device
        return replace(device, memory_bytes=memory, usable_memory_bytes=None)

    def smallest(self, nodes: Sequence[int]) -> Device:
        """Read the device with the least memory among some of one kind."""
        return min(map(self.device, nodes), key=lambda one: one.capacity_bytes)

    def llm(self, name: str) -> Llm:
        """Read an LLM."""
        llm = self.catalog.llm(name)
        self.facts.update(llm.facts)
        return llm

    def efficiency(self, device: Device) -> Efficiency:
        """Efficiencies of a device under the scenario's engine.

        No engine of the catalog runs on LPUs: their host work is not that of `vllm`, say.
        """
        engine = self.scenario.serving.engine
        factors = efficiency(self.catalog, device, engine)
        if device.sram is not None:
            own = f".{engine}.{device.generation}."
            if not any(own in fact for fact in factors.facts):
                factors = efficiency(self.catalog, device, "generic")
        self.facts.update(factors.facts)
        return factors

    def hardware(self, device: Device, replicas: Replicas) -> Hardware:
        """Devices of some replicas, as laws know them."""
        wiring = Wiring(self.graph, self.factory, replicas)
        return Hardware(device, self.efficiency(device), wiring)

    def pue(self) -> float:
        """Power of the site over that of its IT."""
        site = self.scenario.site
        if not isinstance(site, str):
            return site.pue
        facts = self.catalog.site(site)
        self.facts.update(facts.facts)
        return facts.pue

    def table(self, file: str) -> Sequence[TableRow]:
        """Rows of a profile: as they were handed in, or read.

        Raises
        ------
        SpecError
            If the file cannot be read, or is something else.
        """
        rows = self._tables.get(file)
        if rows is not None:
            return rows
        try:
            return parse_table(Path(file).read_text(encoding="utf-8"), file)
        except (OSError, UnicodeDecodeError) as error:
            fault = Fault(file, "", str(error), "a CSV file in UTF-8", "see `law.file`")
            raise SpecError(fault) from error
