"""A user's file of facts, over the shipped ones: it overrides or adds.

::

    schema: factorysim.catalog/1
    sources:
      bench: {title: "Our own measurement, rack 7", date: "2026-11"}
    accelerators:
      rubin_gpu:
        idle_power: {value: 180 W, low: 170 W, high: 190 W, kind: measured, source: bench}
      my_chip:
        kind: accelerator
        memory_bytes: 96 GB
        memory_bandwidth: 4 TB/s
        flops: {bf16: 1 PFLOP/s}
        tdp: 600 W

A bare quantity stands for a leaf of kind `assumed`; `{value: null, kind: unknown}` says
that nobody knows. Keys and units are those of the shipped records of the same kind.
Nothing in the file is executed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.catalog.fact import KINDS, is_number
from factorysim.catalog.limits import ORDERS, Order, limit
from factorysim.catalog.shape import Shape
from factorysim.catalog.trees import KeyPath, descend, is_branch, is_leaf, lay
from factorysim.errors import Fault, SpecError
from factorysim.marked import Marked, dotted, shown
from factorysim.units import UNITS, Dimension, parse_quantity
from factorysim.yaml_reader import read_yaml

if TYPE_CHECKING:
    from factorysim.catalog.catalog import Catalog
    from factorysim.catalog.racks import PartKind
    from factorysim.catalog.shipped import Tree

SCHEMA = "factorysim.catalog/1"

_SECTIONS = (
    *("accelerators", "cpus", "network", "racks", "llms", "sites"),
    *("rules", "facility", "efficiency", "residuals", "runtimes"),
)
_LEAF_KEYS = ("value", "unit", "low", "high", "kind", "source", "note", "date", "group", "dist")
_SOURCE_KEYS = ("title", "url", "date", "via")
_BARE: tuple[Dimension, ...] = ("count", "ratio", "tokens")
"""Dimensions whose numbers may go without a unit."""

_PARTS: dict[str, PartKind] = {
    "accelerator": "accelerators",
    "cpu": "cpus",
    "nic": "network",
    "dpu": "network",
    "scale_up_switch": "network",
    "ethernet_switch": "network",
}
"""Words of a rack that name records."""


def read_overlay(path: Path, base: Catalog) -> tuple[Tree, Tree]:
    """Read a user's file of facts as sections and sources to lay over the shipped ones.

    Raises
    ------
    SpecError
        With every fault: unknown sections and keys, units of another
        dimension, numbers that nothing can be computed with or that are out of
        order, sources and parts that nobody knows.
    """
    marked = read_yaml(path)
    reader = _Reader(marked, base)
    sections = reader.sections()
    if reader.faults:
        raise SpecError(*(fault for _, fault in sorted(reader.faults, key=lambda told: told[0])))
    return sections, reader.sources


class _Reader:
    """Turns a marked file into plain sections, and gathers faults on the way."""

    def __init__(self, root: Marked, base: Catalog) -> None:
        self.root = root
        self.base = base
        self.faults: list[tuple[int, Fault]] = []
        """With their lines."""
        self.sources: Tree = {}

    def sections(self) -> Tree:
        """Read the whole file, in its order."""
        entries = dict(self.root.entries())
        schema = entries.pop("schema", None)
        if schema is None or schema.value != SCHEMA:
            at = self.root if schema is None else schema
            found = "no schema" if schema is None else shown(schema.plain())
            self._fault(at, ("schema",), found, f"`schema: {SCHEMA}`")
        self.sources = self._read_sources(entries.pop("sources", None))
        read: Tree = {}
        for section, node in entries.items():
            if section not in _SECTIONS:
                self._unknown(node, (section,), ("schema", "sources", *_SECTIONS))
            elif not node.entries():
                self._fault(node, (section,), shown(node.plain()), "a map of records")
            else:
                read[section] = self._read_section(section, node)
        self._check_parts(read)
        self._check_orders(read)
        return read

    def _read_sources(self, node: Marked | None) -> Tree:
        read: Tree = {}
        for name, source in node.entries().items() if node else ():
            path = ("sources", name)
            for key, value in source.entries().items():
                if key not in _SOURCE_KEYS:
                    self._unknown(value, (*path, key), _SOURCE_KEYS)
                elif not isinstance(value.value, str):
                    self._fault(value, (*path, key), shown(value.plain()), "text in quotes")
            if "title" not in source.entries():
                self._fault(source, path, "no title", "a map with a `title`")
            read[name] = {k: str(v.value) for k, v in source.entries().items()}
        return read

    def _read_section(self, section: str, node: Marked) -> Tree:
        shape = Shape(section, self.base.sections)
        read: Tree = {}
        for name, record in node.entries().items():
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                expected = "an id of letters, digits, `_` and `-`"
                self._fault(record, (section, name), shown(name), expected)
                continue
            value = self._read_node(shape, record, (section, name))
            if value is None:
                continue
            new = name not in self.base.sections[section]
            if is_branch(value) and new and shape.levels == 1:
                value = {"name": name, **value}
            read[name] = value
        return read

    def _read_node(self, shape: Shape, node: Marked, path: KeyPath) -> object:
        """Read a leaf, a word, or a map of them; None if it is faulty."""
        unit = shape.unit(path)
        if unit is not None:
            return self._read_leaf(node, path, unit)
        if shape.is_word(path):
            return self._read_word(node, path, shape)
        if not shape.is_map(path):
            self._unknown(node, path, shape.keys(path[:-1]))
            return None
        if not isinstance(node.value, Mapping):
            self._fault(node, path, shown(node.plain()), "a map")
            return None
        inner = {
            key: self._read_node(shape, child, (*path, key))
            for key, child in node.entries().items()
        }
        return {key: value for key, value in inner.items() if value is not None}

    def _read_word(self, node: Marked, path: KeyPath, shape: Shape) -> object:
        value = node.plain()
        if path[-1] == "aliases":
            if isinstance(node.value, list) and all(isinstance(i.value, str) for i in node.value):
                return value
            self._fault(node, path, shown(value), "a list of names")
            return None
        if not isinstance(value, str | bool):
            self._fault(node, path, shown(value), "a word")
            return None
        choices = shape.choices(path)
        if choices and value not in choices:
            self._unknown(node, path, choices, found=shown(value))
        return value

    def _read_leaf(self, node: Marked, path: KeyPath, unit: str) -> Tree | None:
        """Read a fact: a quantity alone, or a map with its value."""
        given = node.entries()
        if not isinstance(node.value, Mapping):
            given = {"value": node}
        for key, child in given.items():
            if key not in _LEAF_KEYS:
                self._unknown(child, (*path, key), _LEAF_KEYS)
        if "value" not in given:
            self._fault(node, path, "no value", "a quantity, or a map with a `value`")
            return None
        written = str(given["unit"].value) if "unit" in given else ""
        if given["value"].value is None and "kind" in given and given["kind"].value == "unknown":
            return self._read_unknown(given, path, unit)
        leaf: Tree = {"unit": self._unit_of(given["value"], written, unit)}
        for key in ("value", "low", "high"):
            if key in given:
                leaf[key] = self._read_value(given[key], (*path, key), written, unit)
        words = self._read_words(given, path)
        if None in leaf.values():
            return None
        self._check_band(node, path, leaf)
        return leaf | words

    def _read_unknown(self, given: Mapping[str, Marked], path: KeyPath, unit: str) -> Tree:
        """Read what nobody knows, in the place of a number that ships: runs then ask for it."""
        for key in ("low", "high", "dist", "group"):
            if key in given:
                cure = "remove it: there is no number to say it of"
                self._fault(given[key], (*path, key), shown(given[key].plain()), "nothing", cure)
        told = {key: child for key, child in given.items() if key != "kind"}
        words = self._read_words(told, path)
        return {"unit": unit, "value": None} | words | {"kind": "unknown"}

    def _read_value(
        self, node: Marked, path: KeyPath, written: str, unit: str
    ) -> float | bool | str | None:
        """Read a number in SI, or a truth value; None if it is faulty."""
        value = node.value
        if unit in ("bool", "text"):
            wanted = bool if unit == "bool" else str
            if isinstance(value, wanted):
                return value
            self._fault(
                node, path, shown(node.plain()), "true or false" if unit == "bool" else "text"
            )
            return None
        dimension = _dimension(unit)
        text = str(value)
        if is_number(value):
            text = f"{value!r} {written}".strip()
            if dimension is None and written in ("", unit):
                return self._sound(node, path, unit, float(value))
            if dimension in _BARE and not written:
                return self._sound(node, path, unit, float(value))
        try:
            if dimension is None or not isinstance(value, str | int | float):
                raise ValueError(f"a number in {unit}")
            return self._sound(node, path, unit, parse_quantity(text, dimension))
        except ValueError as error:
            self._fault(node, path, shown(node.plain()), str(error))
            return None

    def _sound(self, node: Marked, path: KeyPath, unit: str, value: float) -> float | None:
        """Give back a number that can be computed with; None, and a fault, of any other."""
        told = limit(path[:-1], unit)
        finite = math.isfinite(value)
        if finite and told is not None and not told.holds(value):
            self._fault(node, path, shown(node.plain()), told.expected, told.cure)
        elif value < 0 or not finite:
            self._fault(node, path, shown(node.plain()), "a finite number that is not negative")
        else:
            return value
        return None

    def _unit_of(self, value: Marked, written: str, unit: str) -> str:
        """Tell the unit of the leaf in SI; of money, in the currency written."""
        text = written or str(value.value)
        if unit.startswith(("USD", "EUR")) and "EUR" in text:
            return unit.replace("USD", "EUR")
        if unit.startswith(("USD", "EUR")) and "USD" in text:
            return unit.replace("EUR", "USD")
        return unit

    def _check_band(self, node: Marked, path: KeyPath, leaf: Tree) -> None:
        value = leaf["value"]
        if not is_number(value):
            return
        low, high = leaf.get("low", value), leaf.get("high", value)
        if not low <= value <= high:
            found = f"low {low!r}, value {value!r}, high {high!r}"
            self._fault(node, path, found, "low <= value <= high")

    def _read_words(self, given: Mapping[str, Marked], path: KeyPath) -> Tree:
        words: Tree = {"kind": "assumed"}
        for key in ("kind", "note", "date", "group", "dist"):
            if key in given:
                words[key] = given[key].plain()
                if not isinstance(words[key], str):
                    self._fault(given[key], (*path, key), shown(words[key]), "text in quotes")
        for key, choices in (("kind", KINDS[:-1]), ("dist", ("split_normal", "uniform", "point"))):
            if key in given and isinstance(words[key], str) and words[key] not in choices:
                self._unknown(given[key], (*path, key), choices, found=shown(words[key]))
        if "source" in given:
            words["source"] = self._read_source(given["source"], (*path, "source"))
        return words

    def _read_source(self, node: Marked, path: KeyPath) -> list[str]:
        given = node.value if isinstance(node.value, list) else [node]
        known = {*self.base.sources, *self.sources}
        names = [str(item.value) for item in given]
        for name in names:
            if name not in known:
                cure = "add it under `sources:`"
                self._fault(node, path, shown(name), "the id of a source", cure)
        return names

    def _check_parts(self, read: Tree) -> None:
        """Refuse racks whose parts nobody knows; the file itself may add them."""
        for name, rack in read.get("racks", {}).items():
            for word, kind in _PARTS.items():
                part = rack.get(word)
                if isinstance(part, str) and part not in read.get(kind, {}):
                    self._check_part(("racks", name, word), kind, part)
            for part in rack.get("contents", {}):
                if part not in read["racks"]:
                    self._check_part(("racks", name, "contents", part), "racks", part)

    def _check_part(self, path: KeyPath, kind: PartKind, part: str) -> None:
        try:
            self.base.find(kind, part)
        except SpecError as error:
            node = self.root.find(path)
            assert node is not None
            told = error.faults[0]
            self._fault(node, path, told.found, told.expected, told.cure)

    def _check_orders(self, read: Tree) -> None:
        """Refuse facts that contradict one another, or one that ships, of a record."""
        for section, orders in ORDERS.items():
            for name, over in read.get(section, {}).items():
                if is_branch(over):
                    record = lay(self.base.sections[section].get(name, {}), over)
                    for order in orders:
                        self._check_order((section, name), over, record, order)

    def _check_order(self, path: KeyPath, over: Tree, record: Tree, order: Order) -> None:
        smaller, larger = (descend(record, key.split(".")) for key in (order.smaller, order.larger))
        if not (is_leaf(smaller) and is_leaf(larger)):
            return
        if not (is_number(smaller["value"]) and is_number(larger["value"])):
            return
        if smaller["value"] <= larger["value"]:
            return
        keys = [key for key in (order.smaller, order.larger) if descend(over, key.split("."))]
        if not keys:
            return
        where = (*path, *keys[0].split("."))
        node = self.root.find(where)
        assert node is not None
        found = f"{order.smaller} {smaller['value']:g}, {order.larger} {larger['value']:g}"
        self._fault(node, where, found, f"{order.smaller} <= {order.larger}", order.cure)

    def _unknown(
        self, node: Marked, path: KeyPath, known: tuple[str, ...], found: str = "an unknown key"
    ) -> None:
        wrong = found.strip("\"'") if found != "an unknown key" else path[-1]
        near = get_close_matches(wrong, known, n=1)
        cure = f'did you mean "{near[0]}"?' if near else ""
        self._fault(node, path, found, f"one of {', '.join(known)}", cure)

    def _fault(
        self, node: Marked, path: KeyPath, found: str, expected: str, cure: str = ""
    ) -> None:
        fault = Fault(str(node.mark), dotted(path), found, expected, cure)
        self.faults.append((node.mark.line or 0, fault))


def _dimension(unit: str) -> Dimension | None:
    """Dimension whose SI unit this is; None of units outside the closed table."""
    for dimension, units in UNITS.items():
        if units.get(unit) == 1.0:
            return dimension
    return None
