"""Which keys and units a user's facts may have: those of the shipped records."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from factorysim.catalog.trees import descend, is_branch, is_leaf, lay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.catalog.shipped import Tree
    from factorysim.catalog.trees import KeyPath

_FREE_LEVELS = {"rules": 0, "facility": 0, "efficiency": 2, "residuals": 3}
"""Levels of keys that a user may invent; of other sections the ids of records."""

_MORE_LEAVES = {
    "accelerators": {"interconnect.scale_up_latency": "s", "smt_yield": "ratio"},
    "racks": {"accelerators": "count", "dpus": "count"},
    "residuals": {"ratio": "ratio", "rows": "count"},
}
"""Leaves that are read though no shipped record states them."""


class Shape:
    """Which keys and units the records of a section have, from the shipped ones."""

    def __init__(self, section: str, base: Mapping[str, Tree]) -> None:
        """Take the shipped sections: kind -> id -> record."""
        self.section = section
        self.levels = _FREE_LEVELS.get(section, 1)
        self._tree = base[section]
        self._base = base

    @cached_property
    def _record(self) -> Tree:
        """All shipped records of the section laid over one another."""
        pair = ("accelerators", "cpus")
        sections = pair if self.section in pair else (self.section,)
        nodes: list[Tree] = [self._base[name] for name in sections]
        for _ in range(self.levels):
            nodes = [child for node in nodes for child in node.values() if is_branch(child)]
        if self.levels == 1:  # beside the records stand facts of the whole section
            nodes = [node for node in nodes if "name" in node]
        merged: Tree = {}
        for node in nodes:
            merged = lay(merged, node)
        more = _MORE_LEAVES.get("accelerators" if self.section in pair else self.section, {})
        for path, unit in more.items():
            *outer, last = path.split(".")
            inner = merged
            for key in outer:
                inner = inner[key]
            inner[last] = {"value": None, "unit": unit}
        return merged

    def _find(self, path: KeyPath) -> object:
        """Node at a path, in the record itself or in any other of its kind."""
        own = descend(self._tree, path[1:])
        if own is not None or len(path) <= self.levels:
            return own
        if self.section == "racks" and path[2:3] == ("contents",) and len(path) == 4:
            return {"value": None, "unit": "count"}
        return descend(self._record, path[1 + self.levels :])

    def unit(self, path: KeyPath) -> str | None:
        """Tell the unit of the leaf at a path; None if no leaf can stand there."""
        leaf = self._find(path)
        return str(leaf.get("unit", "")) if is_leaf(leaf) else None

    def is_word(self, path: KeyPath) -> bool:
        """Whether a word, a truth value or a list of names can stand at a path."""
        return isinstance(self._find(path), str | bool | list)

    def is_map(self, path: KeyPath) -> bool:
        """Whether a map can stand at a path."""
        return 1 < len(path) <= 1 + self.levels or is_branch(self._find(path))

    def keys(self, path: KeyPath) -> tuple[str, ...]:
        """Keys that can stand below a path."""
        inner = self._find(path) if len(path) > 1 + self.levels else self._record
        return tuple(inner) if is_branch(inner) else ()

    def choices(self, path: KeyPath) -> tuple[str, ...]:
        """Words that a key may hold; none where any is good."""
        if path[2:] != ("kind",):
            return ()
        records = self._tree.values()
        return tuple(sorted({r["kind"] for r in records if is_branch(r) and "kind" in r}))
