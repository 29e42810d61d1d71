"""The command ``timeline``: a run as a Perfetto trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT = "timeline.pftrace"


def register(app: typer.Typer) -> None:
    """Add the command of this module to the program's."""
    app.command("timeline")(timeline)


def timeline(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    out: Annotated[
        Path | None, typer.Option(help=f"File to write; RUN/{DEFAULT} if not given.")
    ] = None,
    replication: Annotated[
        int | None, typer.Option(min=0, help="Which of the run's; the first if not given.")
    ] = None,
    sessions: Annotated[
        int | None,
        typer.Option(min=1, help="Show so many at most; as many as open quickly if not given."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="T", help="Show what lasts beyond T ('5 min').")
    ] = None,
    stop: Annotated[
        str | None, typer.Option("--to", metavar="T", help="Show what begins before T.")
    ] = None,
) -> None:
    """Write a run as a timeline that opens in ui.perfetto.dev."""
    from factorysim.cli.files import check_file
    from factorysim.marked import printable
    from factorysim.report.numbers import amount
    from factorysim.report.timeline import look, write_timeline
    from factorysim.run import open_run

    instants = _instant("--from", start), _instant("--to", stop)
    opened = open_run(run)
    place = run / DEFAULT if out is None else out
    check_file(place, [*run.glob("*.parquet"), *run.glob("*.json"), *run.glob("*.yaml")])
    made = write_timeline(look(opened, replication, *instants), place, sessions)
    size = amount(float(made.size_bytes), "B")
    typer.echo(printable(f"{made.path}: {size}, to be opened in https://ui.perfetto.dev"))
    for text in made.told:
        typer.echo(f"  {printable(text)}")


def _instant(option: str, text: str | None) -> float | None:
    """Read an instant of simulated time; a bare number is in seconds."""
    from factorysim.errors import Fault, SpecError
    from factorysim.units import parse_quantity

    if text is None:
        return None
    for unit in ("", " s"):
        try:
            value = parse_quantity(text + unit, "seconds")
        except ValueError:
            continue
        if value >= 0:
            return value
    expected = "an instant of the run, such as '90 s' or '5 min'"
    raise SpecError(Fault(option, "", repr(text), expected))
