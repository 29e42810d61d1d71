"""The command ``pareto``: throughput against interactivity, over sessions in flight and layouts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factorysim.cli.runs import (
    Json,
    Quiet,
    Seed,
    Set,
    Workers,
    load,
    locating,
    print_parts,
    running,
)

if TYPE_CHECKING:
    from factorysim.study.pareto import Pareto


def register(app: typer.Typer) -> None:
    """Add the command of this module to the program's."""
    app.command("pareto")(pareto)


def pareto(
    scenarios: Annotated[
        list[str], typer.Argument(help="Scenario files, or shipped ones' names: one figure.")
    ],
    concurrency: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,..",
            help="Sessions in flight in the whole factory; by doubling if not given.",
        ),
    ] = None,
    layout: Annotated[
        list[str] | None,
        typer.Option(metavar="tp=8,ep=8", help="A layout of every replica; may be repeated."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V,V,..", help="Values of a key, as of --set; may be repeated."),
    ] = None,
    stream: Annotated[
        str | None, typer.Option(metavar="NAME", help="Keep this stream alone.")
    ] = None,
    calls: Annotated[int, typer.Option(help="Measured at each point, at least.")] = 400,
    overrides: Set = None,
    seed: Seed = None,
    reps: Annotated[int, typer.Option(min=1, help="Replications of each point.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Directory for points, figure and manifest.")
    ] = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Sweep sessions in flight: tokens/s from a MW and a GPU against tokens/s for a user."""
    from factorysim.report.pareto import pareto_report, verdict
    from factorysim.store import check_place
    from factorysim.study import pareto as study
    from factorysim.study.compare import labels

    wanted = None if concurrency is None else _numbers(concurrency)
    loaded = [load(scenario, overrides, seed, None) for scenario in scenarios]
    if out is not None:
        check_place(out)
    began = time.perf_counter()
    with running(quiet) as tell, locating(loaded):
        try:
            found = study.pareto(
                [one.scenario for one in loaded],
                concurrency=wanted,
                layouts=layout or (),
                vary=vary or (),
                stream=stream,
                calls=calls,
                replications=reps,
                names=labels(scenarios),
                workers=workers,
                progress=None if tell is None else lambda p: tell("pareto", p),
            )
        except study.Stopped as stop:
            _keep(stop.found, out, began)
            raise
    _keep(found, out, began)
    if as_json:
        typer.echo(json.dumps(study.as_json(found), indent=2, allow_nan=False))
    else:
        print_parts(verdict(found) if quiet else pareto_report(found))


def _keep(found: Pareto, out: Path | None, began: float) -> None:
    """Write what was measured, if it is asked for and there is anything."""
    from factorysim.report.pareto_files import write_pareto

    if out is not None and found.points:
        write_pareto(found, out, time.perf_counter() - began)


def _numbers(text: str) -> list[int]:
    """Read numbers of sessions."""
    from factorysim.errors import Fault, SpecError
    from factorysim.marked import shown

    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        expected = "whole numbers with commas between, like 1,8,64"
        raise SpecError(Fault("--concurrency", "", shown(text), expected))
    return [int(word) for word in words]
