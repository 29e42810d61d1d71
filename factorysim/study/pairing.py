"""Runs that stand already: whether they met the same demand, and their differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.study.compare import Comparison, compare_runs
from factorysim.study.pairs import notes_between, streams_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from factorysim.run import Run

SAME = {
    "seed": "seeds",
    "kind": "kinds of run",
    "window": "windows (warm-up and length)",
    "horizon_s": "ends of the drain",
}
"""Keys of manifests that must be equal for replications to be pairs."""


def pair_runs(runs: Sequence[Run]) -> list[Comparison]:
    """Compare every other run with the first, in pairs of replications where they are such.

    Replications are pairs where both runs drew the same demand: of the same seed, over the
    same window. Of others, differences are told without an interval, and why.
    """
    first, *others = runs
    name, *names = names_of(runs)
    asked = streams_of(first)
    found: list[Comparison] = []
    for other, called in zip(others, names, strict=True):
        notes = tuple(notes_between(asked, streams_of(other)))
        why = "; ".join((*_unlike(first, other), *notes))
        found.append(compare_runs(first, other, notes, unpaired=why, names=(name, called)))
    return found


def names_of(runs: Sequence[Run]) -> list[str]:
    """Name runs by their scenarios, and by their directories too where scenarios are the same."""
    scenarios = [str(run.manifest["scenario"]["name"]) for run in runs]
    return [
        name if scenarios.count(name) == 1 else f"{name} in {run.path}"
        for name, run in zip(scenarios, runs, strict=True)
    ]


def _unlike(a: Run, b: Run) -> Iterator[str]:
    """Say what keeps the replications of two runs from being pairs."""
    for key, words in SAME.items():
        if a.manifest[key] != b.manifest[key]:
            yield f"other {words}: {_told(a.manifest[key])} and {_told(b.manifest[key])}"
    if not _numbers(a) & _numbers(b):
        yield "no replication is in both"


def _numbers(run: Run) -> set[int]:
    return {one["replication"] for one in run.manifest["replications"]}


def _told(value: object) -> str:
    if isinstance(value, dict):
        return " to ".join(f"{v:g} s" for v in value.values())
    return f"{value:g}" if isinstance(value, float) else str(value)
