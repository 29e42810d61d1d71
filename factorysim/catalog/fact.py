"""A fact: one number with its band, its kind and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeGuard

from factorysim.catalog.shipped import Tree

Value: TypeAlias = float | str | bool | None

KINDS = (
    "measured",
    "vendor_spec",
    "vendor_claim",
    "analyst_estimate",
    "derived",
    "assumed",
    "unknown",
)
"""How far a fact can be trusted; an unknown has no value."""

Role = Literal["band", "variant", "note"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a figure is printed."""

    id: str
    title: str
    url: str = ""
    date: str = ""
    via: str = ""
    """When a primary page was read through a copy: which."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another value that somebody states for the same fact."""

    value: Value
    unit: str
    kind: str
    source: tuple[str, ...]
    note: str = ""
    date: str = ""
    role: Role = "band"
    """A band spans it; a variant is another operating point; a note is neither."""
    variant: str = ""
    """Name of the operating point, if it is one."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One leaf of the catalog."""

    id: str
    """Its path: ``accelerators.rubin_gpu.memory_bandwidth``."""
    value: Value
    low: float | None
    """`low` and `high` bound the central 80 %; None if the fact is no number."""
    high: float | None
    unit: str
    kind: str
    """One of `KINDS`."""
    source: tuple[str, ...]
    """Ids of `Source`."""
    note: str = ""
    group: str = ""
    """Facts of one group are drawn together."""
    date: str = ""
    dist: str = "split_normal"
    """Two half normals that meet at the value, with low and high as the 10 %
    and 90 % points; ``uniform`` and ``point`` are the others."""
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class BandRules:
    """How a fact without a band of its own gets one."""

    factors: Mapping[str, tuple[float, float]]
    """Kind -> factors on the value, where there are no alternatives."""
    variants: Mapping[str, str]
    """``id`` or ``id=value`` of an alternative -> operating point."""
    notes: frozenset[str]
    """``id`` or ``id=value`` of alternatives that are neither."""

    @classmethod
    def of(cls, tree: Tree) -> BandRules:
        """Read ``band_by_kind`` and ``alternatives_role``."""
        roles = tree["alternatives_role"]
        return cls(
            {kind: (f["low"], f["high"]) for kind, f in tree["band_by_kind"].items()},
            {key: name for name, keys in roles["variant"].items() for key in keys},
            frozenset(roles["note"]),
        )

    def role(self, fact: str, value: Value) -> tuple[Role, str]:
        """Role of an alternative, and its operating point if it is a variant."""
        keys = (f"{fact}={value:.12g}", fact) if is_number(value) else (fact,)
        for key in keys:
            if key in self.variants:
                return "variant", self.variants[key]
            if key in self.notes:
                return "note", ""
        return "band", ""

    def band(
        self, value: Value, kind: str, alternatives: tuple[Alternative, ...]
    ) -> tuple[float | None, float | None]:
        """Low and high of a fact that states none."""
        if not is_number(value):
            return None, None
        others = [a.value for a in alternatives if a.role == "band" and is_number(a.value)]
        if others:
            return min(value, *others), max(value, *others)
        low, high = self.factors.get(kind, (1.0, 1.0))
        return value * low, value * high


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number; truth values are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def build_fact(fact: str, leaf: Tree, rules: BandRules) -> Fact:
    """Turn a leaf of a file into a fact, its band by the rules if it has none.

    Examples
    --------
    >>> rules = BandRules({"measured": (0.95, 1.05)}, {}, frozenset())
    >>> build_fact("a.b", {"value": 100.0, "unit": "W", "kind": "measured"}, rules).high
    105.0
    """
    alternatives = tuple(_alternative(fact, other, rules) for other in leaf.get("alternatives", ()))
    kind = leaf.get("kind", "assumed")
    low, high = rules.band(leaf["value"], kind, alternatives)
    low, high = leaf.get("low", low), leaf.get("high", high)
    return Fact(
        id=fact,
        value=leaf["value"],
        low=low,
        high=high,
        unit=leaf.get("unit", ""),
        kind=kind,
        source=source_ids(leaf.get("source")),
        note=leaf.get("note", ""),
        group=leaf.get("group", ""),
        date=leaf.get("date", ""),
        dist=leaf.get("dist", "point" if low == high else "split_normal"),
        alternatives=alternatives,
    )


def _alternative(fact: str, leaf: Tree, rules: BandRules) -> Alternative:
    role, variant = rules.role(fact, leaf["value"])
    return Alternative(
        value=leaf["value"],
        unit=leaf.get("unit", ""),
        kind=leaf.get("kind", "assumed"),
        source=source_ids(leaf.get("source")),
        note=leaf.get("note", ""),
        date=leaf.get("date", ""),
        role=role,
        variant=variant,
    )


def source_ids(source: str | list[str] | None) -> tuple[str, ...]:
    """Source ids of a leaf: one, several or none."""
    if source is None:
        return ()
    return (source,) if isinstance(source, str) else tuple(source)
