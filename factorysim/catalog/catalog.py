"""The catalog: facts by id, and what is built from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Literal, TypeAlias

from factorysim.catalog.fact import BandRules, Fact, Source, build_fact
from factorysim.catalog.names import NameIndex, spellings
from factorysim.catalog.reading import Reading
from factorysim.catalog.runtimes import Runtime
from factorysim.catalog.shipped import Tree
from factorysim.catalog.trees import is_branch, lay, leaves
from factorysim.catalog.values import Device, Llm, Rack, Site, Switch
from factorysim.errors import Fault, SpecError

Kind: TypeAlias = Literal[
    "accelerators",
    "cpus",
    "devices",
    "network",
    "racks",
    "llms",
    "sites",
    "engines",
    "runtimes",
]
"""What can be listed and found; `devices` are accelerators and CPUs."""

_WORDS = {
    "accelerators": "an accelerator",
    "cpus": "a CPU",
    "devices": "an accelerator or a CPU",
    "network": "a network part",
    "racks": "a rack or a device",
    "llms": "an LLM",
    "sites": "a site",
    "engines": "a serving engine",
    "runtimes": "an agent runtime",
}


class Catalog:
    """Facts by id, and devices, LLMs, racks, switches and sites built from them.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> catalog = load_catalog()
    >>> catalog.find("llms", "Llama-3.1-70B-Instruct-FP8")
    'llama_3_1_70b'
    >>> catalog.device("rubin_gpu", "maxlps").memory_bandwidth
    19200000000000.0
    """

    def __init__(self, sections: Mapping[str, Tree], sources: Tree, rules: BandRules) -> None:
        """Take the merged sections of the files: kind -> id -> record."""
        self.sections = sections
        """All records as the files have them: kind -> id -> record."""
        self._rules = rules
        self._told_sources = sources
        self.sources: Mapping[str, Source] = MappingProxyType(
            {name: Source(name, **told) for name, told in sources.items()}
        )
        self._devices: dict[tuple[str, str | None], Device] = {}
        self._indexes: dict[str, NameIndex] = {}

    @cached_property
    def facts(self) -> Mapping[str, Fact]:
        """Every fact by its id, such as ``accelerators.rubin_gpu.memory_bandwidth``."""
        return MappingProxyType(
            {name: build_fact(name, leaf, self._rules) for name, leaf in self.leaves()}
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the catalog says; the same facts give the same digest."""
        rules = self._rules
        said = (self.sections, dict(rules.factors), dict(rules.variants), sorted(rules.notes))
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the operating points that some facts state."""
        return tuple(sorted(set(self._rules.variants.values())))

    def ids(self, kind: Kind) -> tuple[str, ...]:
        """Ids of one kind, in the order of the files."""
        if kind == "devices":
            return self.ids("accelerators") + self.ids("cpus")
        if kind == "engines":
            return tuple(self.sections["efficiency"])
        section = self.sections[kind]
        return tuple(name for name, record in section.items() if _is_record(record))

    def record(self, kind: Kind, name: str) -> Tree:
        """Record as the files have it: words and leaves."""
        record: Tree = self._section_of(kind)[self.find(kind, name)]
        return record

    def find(self, kind: Kind, name: str) -> str:
        """Id of a record, from its id, an alias or a usual spelling.

        Where a rack is asked for, a device will do: it stands for a server of one.

        Raises
        ------
        SpecError
            If nothing has that name, or more than one record has; with the
            candidates or the nearest id.
        """
        ids = self._index(kind).lookup(name)
        if len(ids) == 1:
            return ids[0]
        expected = f"{_WORDS[kind]} of the catalog"
        if ids:
            cure = f"say which: {', '.join(ids)}"
            raise SpecError(
                Fault("catalog", kind, f'"{name}", which can be several', expected, cure)
            )
        near = self.suggest(kind, name)
        cure = f'did you mean "{near}"? ' if near else ""
        cure += f"`factorysim catalog list {kind}` lists all; a `catalog:` file can add one"
        raise SpecError(Fault("catalog", kind, f'"{name}"', expected, cure))

    def suggest(self, kind: Kind, name: str) -> str | None:
        """Nearest id to a name that is unknown, if any is near."""
        return self._index(kind).suggest(name)

    def device(self, name: str, variant: str | None = None) -> Device:
        """Build an accelerator or a CPU, at an operating point if one is named.

        A device that states nothing for a known operating point is as ever.

        Raises
        ------
        SpecError
            If the name or the variant is unknown.
        CapacityError
            If a fact that it cannot do without is unknown; names the fact.
        """
        from factorysim.catalog.devices import build_device

        identity = self.find("devices", name)
        key = (identity, self._variant(variant))
        if key not in self._devices:
            is_cpu = identity not in self.sections["accelerators"]
            reading = self._reading(_section(is_cpu), identity, variant)
            self._devices[key] = build_device(reading, identity, is_cpu=is_cpu)
        return self._devices[key]

    def llm(self, name: str) -> Llm:
        """Build an LLM.

        Raises
        ------
        SpecError
            If the name is unknown.
        CapacityError
            If a shape is unknown; names every missing fact.
        """
        from factorysim.catalog.llms import build_llm

        identity = self.find("llms", name)
        return build_llm(self._reading("llms", identity), identity)

    def rack(self, name: str, variant: str | None = None) -> Rack:
        """Build a rack or a server; the name of a device gives a server of one.

        Raises
        ------
        SpecError
            If the name or the variant is unknown.
        CapacityError
            If a count is unknown.
        """
        from factorysim.catalog.racks import build_rack, build_single

        identity = self.find("racks", name)
        if identity not in self.sections["racks"]:
            device = self.device(identity, variant)
            reading = self._reading(_section(device.kind == "cpu"), device.id, variant)
            return build_single(device, reading, self.sections["rules"])
        reading = self._reading("racks", identity, variant)
        return build_rack(reading, identity, self.sections["racks"][identity], self.find)

    def switch(self, name: str) -> Switch:
        """Build a switch.

        Raises
        ------
        SpecError
            If the name is unknown, or a NIC's or DPU's.
        CapacityError
            If its ports, bandwidth or latency are unknown.
        """
        from factorysim.catalog.racks import build_switch

        identity = self.find("network", name)
        kind = self.sections["network"][identity].get("kind", "")
        if not kind.endswith("switch"):
            raise SpecError(Fault("catalog", "network", f'"{name}", of kind {kind}', "a switch"))
        return build_switch(self._reading("network", identity), identity)

    def site(self, name: str) -> Site:
        """Build a site.

        Raises
        ------
        SpecError
            If the name is unknown.
        CapacityError
            If its price, carbon intensity or PUE is unknown.
        """
        from factorysim.catalog.racks import build_site

        identity = self.find("sites", name)
        unit = self.sections["sites"][identity].get("energy_price", {}).get("unit", "USD/kWh")
        return build_site(self._reading("sites", identity), identity, unit.split("/")[0])

    def runtime(self, name: str) -> Runtime:
        """Build an agent runtime.

        Raises
        ------
        SpecError
            If the name is unknown.
        """
        from factorysim.catalog.runtimes import build_runtime

        identity = self.find("runtimes", name)
        return build_runtime(self._reading("runtimes", identity), identity)

    def with_values(self, values: Mapping[str, float]) -> Catalog:
        """Copy the catalog with other values of some facts, by their ids.

        A fact that was not there is added, as assumed.

        Examples
        --------
        >>> from factorysim.catalog import load_catalog
        >>> slow = load_catalog().with_values({"efficiency.vllm.hopper.host_step_s": 0.1})
        >>> slow.facts["efficiency.vllm.hopper.host_step_s"].value
        0.1
        """
        changed: Tree = {}
        for name, value in values.items():
            section, *path, last = name.split(".")
            inner = changed.setdefault(section, {})
            for word in path:
                inner = inner.setdefault(word, {})
            fact = self.facts.get(name)
            inner[last] = {
                "value": value,
                "unit": "" if fact is None else fact.unit,
                "source": None,
                "kind": "assumed",
            }
        merged = {kind: lay(tree, changed.get(kind, {})) for kind, tree in self.sections.items()}
        return Catalog(merged, self._told_sources, self._rules)

    def without(self, names: Collection[str], before: Catalog | None = None) -> Catalog:
        """Copy the catalog without some facts, by their ids; who needs one finds none.

        Parameters
        ----------
        before
            A catalog whose own facts of those ids come back instead, where it has them.

        Examples
        --------
        >>> from factorysim.catalog import load_catalog
        >>> name = "efficiency.generic.hopper.kv_bandwidth"
        >>> name in load_catalog().without([name]).facts
        False
        """
        kept = {
            kind: _without(tree, kind, frozenset(names)) for kind, tree in self.sections.items()
        }
        if before is not None:
            back = {name: leaf for name, leaf in before.leaves() if name in names}
            kept = {kind: lay(tree, _planted(back, kind)) for kind, tree in kept.items()}
        return Catalog(kept, self._told_sources, self._rules)

    def leaves(self) -> Iterator[tuple[str, Tree]]:
        """Give every leaf of the files, by the id of its fact."""
        for section, tree in self.sections.items():
            yield from leaves(tree, section)

    def __reduce__(self) -> tuple[type[Catalog], tuple[object, ...]]:
        """Go to another process as what it was made from."""
        return Catalog, (dict(self.sections), self._told_sources, self._rules)

    def _variant(self, variant: str | None) -> str | None:
        if variant is None or variant in self.variants:
            return variant
        expected = f"one of the operating points {', '.join(self.variants)}"
        raise SpecError(Fault("catalog", "variant", f'"{variant}"', expected))

    def _reading(self, section: str, identity: str, variant: str | None = None) -> Reading:
        record = self.sections[section][identity]
        return Reading(self.facts, record, f"{section}.{identity}", self._variant(variant))

    def _index(self, kind: Kind) -> NameIndex:
        if kind not in self._indexes:
            names = {identity: self._aliases(kind, identity) for identity in self.ids(kind)}
            if kind == "racks":
                names |= self._servers_of_one(names)
            self._indexes[kind] = NameIndex(names)
        return self._indexes[kind]

    def _servers_of_one(self, racks: Mapping[str, Iterable[str]]) -> Mapping[str, Iterable[str]]:
        """Names of devices, where a rack is asked for: those that no rack has."""
        taken = {
            spelling
            for rack, aliases in racks.items()
            for name in (rack, *aliases)
            for spelling in spellings(name)
        }
        return {
            device: [
                name
                for name in self._aliases("devices", device)
                if taken.isdisjoint(spellings(name))
            ]
            for device in self.ids("devices")
        }

    def _aliases(self, kind: Kind, identity: str) -> Iterable[str]:
        if kind == "engines":
            return ()
        record = self._section_of(kind)[identity]
        return (record["name"], *record.get("aliases", ()))

    def _section_of(self, kind: Kind) -> Tree:
        if kind == "devices":
            return self.sections["accelerators"] | self.sections["cpus"]
        if kind == "racks":
            return self._section_of("devices") | self.sections["racks"]
        return self.sections[kind]


def _without(tree: Tree, path: str, names: frozenset[str]) -> Tree:
    """Copy a tree without the leaves of some paths; maps stay, if empty."""
    return {
        key: _without(child, f"{path}.{key}", names) if is_branch(child) else child
        for key, child in tree.items()
        if f"{path}.{key}" not in names
    }


def _planted(found: Mapping[str, Tree], section: str) -> Tree:
    """Grow a section's tree from leaves by the ids of their facts."""
    grown: Tree = {}
    for name, leaf in found.items():
        first, *path, last = name.split(".")
        if first == section:
            inner = grown
            for word in path:
                inner = inner.setdefault(word, {})
            inner[last] = leaf
    return grown


def _section(is_cpu: bool) -> str:
    return "cpus" if is_cpu else "accelerators"


def _is_record(node: object) -> bool:
    return isinstance(node, dict) and "name" in node
