"""The command ``figures``: every chart of a run as files for a paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from factorysim.marked import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from factorysim.report.figures.style import Width
    from factorysim.run import Run


def register(app: typer.Typer) -> None:
    """Add the command of this module to the program's."""
    app.command("figures")(figures)


def figures(
    runs: Annotated[list[Path], typer.Argument(help="A run directory, or two to compare.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory for the files; RUN/figures if not given.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="pdf,svg,png", help="Kinds of files.")
    ] = "pdf,png",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A figure, or several: `latency`; may be repeated."),
    ] = None,
    width: Annotated[
        Literal["column", "page"], typer.Option(help="Of the paper: 3.5 or 7 inches.")
    ] = "column",
) -> None:
    """Draw every chart of a run as PDF, SVG or PNG; of two runs, their differences too."""
    from factorysim.report.figures.every import NAMES, PAIRED
    from factorysim.run import open_run
    from factorysim.store import made_folder

    kinds = _kinds(formats)
    names = (*NAMES, PAIRED) if len(runs) > 1 else NAMES
    wanted = _wanted(only, names) if only else list(names)
    places = _places(runs, out)
    opened = [open_run(run) for run in runs]
    paired = _paired(opened, width) if PAIRED in wanted else None
    for run, place in zip(opened, places, strict=True):
        own = [name for name in wanted if name != PAIRED]
        if own:
            with made_folder(place):
                _write(_drawn(run, own, width), place, kinds)
    if paired is not None:
        place = places[0].parent
        with made_folder(place):
            _write(iter([(PAIRED, paired)]), place, kinds)


def _paired(runs: list[Run], width: Width) -> Figure:
    from factorysim.report.figures import public

    return public.paired(runs[0], runs[1], width)


def _drawn(run: Run, names: Sequence[str], width: Width) -> Iterator[tuple[str, Figure]]:
    from factorysim.report.figures.every import Figures

    drawing = Figures(run, width)
    for name in names:
        yield name, drawing.draw(name)


def _write(drawn: Iterator[tuple[str, Figure]], place: Path, kinds: Sequence[str]) -> None:
    """Write figures as they are drawn, and tell which."""
    from factorysim.report.figures.saving import save

    for name, figure in drawn:
        for kind in kinds:
            save(figure, place / f"{name}.{kind}")
        print(printable(f"{place / name} ({', '.join(kinds)})"))


def _kinds(text: str) -> list[str]:
    """Read kinds of files.

    Raises
    ------
    SpecError
        If there is one that cannot be written.
    """
    from factorysim.errors import Fault, SpecError
    from factorysim.marked import shown
    from factorysim.report.figures.saving import KINDS

    words = list(dict.fromkeys(word.strip().lower() for word in text.split(",")))
    faults = [
        Fault("--format", "", shown(word), f"of {', '.join(KINDS)} with commas between")
        for word in words
        if word not in KINDS
    ]
    if faults:
        raise SpecError(*faults)
    return words


def _wanted(only: Sequence[str], names: Sequence[str]) -> list[str]:
    """Find the figures that are asked for, by their names or what names have in common.

    Raises
    ------
    SpecError
        For every name that there is not.
    """
    from difflib import get_close_matches

    from factorysim.errors import Fault, SpecError
    from factorysim.marked import shown
    from factorysim.report.figures.every import FAMILIES, PAIRED

    known = {name: (name,) for name in names} | FAMILIES
    faults: list[Fault] = []
    for word in (word for word in only if word not in known):
        near = get_close_matches(word, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        cure = f"{hint}There are: {', '.join(known)}."
        if word == PAIRED:
            cure = "It is of two runs: factorysim figures A B --out DIR"
        faults.append(Fault("--only", "", shown(word), "a figure", cure))
    if faults:
        raise SpecError(*faults)
    asked = {name for word in only for name in known[word]}
    return [name for name in names if name in asked]


def _places(runs: Sequence[Path], out: Path | None) -> list[Path]:
    """Say where the figures of each run go.

    Raises
    ------
    SpecError
        If there are more than two runs, or two and no directory that is of both.
    """
    from factorysim.errors import Fault, SpecError
    from factorysim.study.compare import labels

    if len(runs) > 2:
        cure = "Draw others in a command of their own."
        raise SpecError(Fault("figures", "", f"{len(runs)} runs", "one or two", cure))
    if len(runs) == 1:
        return [runs[0] / "figures" if out is None else out]
    if out is None:
        cure = "Differences are of both: add --out DIR."
        raise SpecError(Fault("figures", "", "two runs and no place", "--out DIR", cure))
    return [out / name for name in labels([run.resolve() for run in runs])]
