"""Runs that stand already: whether they met the same demand, and their differences."""

from __future__ import annotations

from os.path import commonpath
from typing import TYPE_CHECKING, Any, cast

from factorysim.study.compare import Comparison, compare_runs

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
OF_THE_FACTORY = ("llm", "llm_by_step", "tenant")
"""Keys of a stream that do not change who comes."""


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


def pair_strictly(a: Run, b: Run) -> Comparison:
    """Pair two runs; notes say where their streams differ.

    Raises
    ------
    UserError
        With each of `SAME` that differs: then nothing pairs their replications.
    """
    from factorysim.errors import Fault, UserError
    from factorysim.marked import shown

    cure = "`factorysim compare A B --out DIR` makes runs of the same demand."
    faults = [
        Fault(
            str(b.path / "manifest.json"),
            key,
            shown(str(b.manifest[key])),
            f"{a.manifest[key]} as in {a.path}",
            cure,
        )
        for key in SAME
        if a.manifest[key] != b.manifest[key]
    ]
    if faults:
        raise UserError(*faults)
    return pair_runs((a, b))[0]


def names_of(runs: Sequence[Run]) -> list[str]:
    """Name runs by their scenarios, and by their directories too where scenarios are the same.

    Of the directories only what tells them apart: what is above them is nobody's business, and
    the same runs elsewhere have the same names.
    """
    scenarios = [str(run.manifest["scenario"]["name"]) for run in runs]
    return [
        name if scenarios.count(name) == 1 else f"{name} in {place}"
        for name, place in zip(scenarios, _places(runs), strict=True)
    ]


def _places(runs: Sequence[Run]) -> list[str]:
    """Give directories of runs, from the innermost folder that all of them are in."""
    paths = [run.path.resolve() for run in runs]
    above = commonpath([path.parent for path in paths])
    return [path.relative_to(above).as_posix() for path in paths]


def streams_of(run: Run) -> dict[str, dict[str, Any]]:
    """Read streams as the run wrote them down; traces need not be there any more."""
    from factorysim.yaml_reader import read_yaml

    written = read_yaml(run.path / "scenario.resolved.yaml").child("streams")
    streams = cast("dict[str, dict[str, Any]]", {} if written is None else written.plain())
    return {
        name: {key: value for key, value in stream.items() if key not in OF_THE_FACTORY}
        for name, stream in streams.items()
    }


def notes_between(a: dict[str, dict[str, Any]], b: dict[str, dict[str, Any]]) -> list[str]:
    """Say where what two runs were asked for differs."""
    alone = [name for name in a if name not in b] + [name for name in b if name not in a]
    differ = [name for name in a if name in b and a[name] != b[name]]
    notes = [f"only one of them has stream {name!r}" for name in alone]
    return notes + [f"stream {name!r} differs between them" for name in differ]


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
