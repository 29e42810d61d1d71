"""The command ``capacity``: the highest rate inside the SLOs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from factorysim.cli.runs import (
    Json,
    Quiet,
    Reps,
    Seed,
    Set,
    Workers,
    load,
    print_parts,
    running,
)


def register(app: typer.Typer) -> None:
    """Add the command of this module to the program's."""
    app.command("capacity")(capacity)


def capacity(
    scenario: Annotated[str, typer.Argument(help="A scenario file, or a shipped one's name.")],
    overrides: Set = None,
    seed: Seed = None,
    reps: Reps = None,
    stream: Annotated[
        str | None, typer.Option(metavar="NAME", help="Scale this stream alone; all if not given.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Of the bracket, relative.")] = 0.02,
    low: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Look no lower: sessions/s, or at any time."),
    ] = None,
    high: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Look no higher: sessions/s, or at any time."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory for capacity.json.")] = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the highest rate that stays inside the SLOs, and what binds there."""
    from factorysim.report.limit import capacity_report, verdict
    from factorysim.study import capacity as study

    loaded = load(scenario, overrides, seed, reps)
    name = Path(scenario).stem
    with running(quiet) as tell, loaded.locating():
        found = study.capacity(
            loaded.scenario,
            stream=stream,
            tolerance=tolerance,
            low=low,
            high=high,
            out=out,
            workers=workers,
            progress=None if tell is None else lambda p: tell(name, p),
            name=name,
        )
    if as_json:
        typer.echo(json.dumps(study.as_json(found), indent=2, allow_nan=False))
    else:
        print_parts([verdict(found)] if quiet else capacity_report(found))
