"""Differences between two runs of the same demand, as shares of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.versus import ROWS

if TYPE_CHECKING:
    from factorysim.study.compare import Comparison


class Difference(NamedTuple):
    """B less A, as a share of A, with its 95 % interval between paired replications."""

    name: str
    text: str
    share: float
    low: float | None
    """None: one replication."""
    high: float | None


class PairedChart(NamedTuple):
    """All differences that can be told, and what cannot."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    withheld: tuple[tuple[str, str], ...]
    """What it is called, and why it is not told."""
    notes: tuple[str, ...] = ()
    """Where the demand of the two differs."""


def paired_chart(found: Comparison) -> PairedChart:
    """Pair the metrics that a comparison shows."""
    differences: list[Difference] = []
    withheld: list[tuple[str, str]] = []
    for name, text in _texts().items():
        pair = found.pairs.get(name)
        if pair is None:
            continue
        if pair.difference is None or not pair.a:
            withheld.append((text, pair.reason or "it is 0 in A"))
            continue
        low, high = (None if v is None else v / pair.a for v in (pair.ci_low, pair.ci_high))
        differences.append(Difference(name, text, pair.difference / pair.a, low, high))
    a, b = (run.manifest["scenario"]["name"] for run in (found.a, found.b))
    return PairedChart(a, b, tuple(differences), tuple(withheld), found.notes)


def _texts() -> dict[str, str]:
    """Name the rows of a comparison's table one by one: what it indents, with the line above."""
    texts: dict[str, str] = {}
    above = ""
    for name, text in ROWS.items():
        above = above if text.startswith(" ") else text
        texts[name] = f"{above}, {text.strip()}" if text.startswith(" ") else text
    return texts
