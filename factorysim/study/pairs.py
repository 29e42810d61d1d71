"""Two runs that stand already, paired: only where both met the same demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from factorysim.study.compare import Comparison, compare_runs

if TYPE_CHECKING:
    from factorysim.run import Run

SAME = ("kind", "seed", "window")
"""Keys of manifests without which replications are no pairs."""
OF_THE_FACTORY = ("llm", "llm_by_step", "tenant")
"""Keys of a stream that do not change who comes."""


def pair_runs(a: Run, b: Run) -> Comparison:
    """Pair two finished runs; notes say where their streams differ.

    Raises
    ------
    UserError
        If seed, window or kind differ: then nothing pairs their replications.
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
    return compare_runs(a, b, tuple(notes_between(streams_of(a), streams_of(b))))


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
