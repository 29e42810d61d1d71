"""The commands ``run`` and ``compare``: parse, call, print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from factorysim.cli.live import live_bar
from factorysim.cli.report import page_of

if TYPE_CHECKING:
    from factorysim.cli.live import Tell
    from factorysim.load import Loaded

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="Override a key: --set run.window='10 min'."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Instead of run.seed.")]
Reps = Annotated[int | None, typer.Option(min=1, help="Instead of run.replications.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes at once; all cores if not given.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the verdict alone, no progress.")]

Details = Annotated[bool, typer.Option("--details", help="Print every table, not the main one.")]

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program's."""
    app.command("run")(run)
    app.command("compare")(compare)


def run(
    scenario: Annotated[str, typer.Argument(help="A scenario file, or a shipped one's name.")],
    overrides: Set = None,
    seed: Seed = None,
    reps: Reps = None,
    out: Annotated[Path | None, typer.Option(help="Run directory; runs/NAME if not given.")] = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
    details: Details = False,
) -> None:
    """Simulate a scenario and write its run directory."""
    from factorysim.report.brief import brief_report
    from factorysim.report.run_page import report as write_report
    from factorysim.report.terminal import mark, run_report, verdict
    from factorysim.run import simulate

    loaded = load(scenario, overrides, seed, reps)
    name = Path(scenario).stem
    place = out if out is not None else Path("runs") / name
    with running(quiet) as tell, loaded.locating():
        done = simulate(
            loaded.scenario,
            out=place,
            workers=workers,
            progress=None if tell is None else lambda p: tell(name, p),
            name=name,
        )
    page = page_of(lambda: write_report(done), done.path)
    if as_json:
        typer.echo((done.path / "summary.json").read_text(encoding="utf-8"), nl=False)
    elif quiet:
        print_parts(verdict(done))
    else:
        print_parts(run_report(done) if details else brief_report(done))
        print_parts(["", mark("Run: ", str(done.path), "")])
        print_page(page)


def compare(
    scenarios: Annotated[list[str], typer.Argument(help="Two scenarios or more; A is the first.")],
    iso: Annotated[
        Literal["count"],
        typer.Option(help="`count`: the factories as they are; per device and MW beside."),
    ] = "count",
    overrides: Set = None,
    seed: Seed = None,
    reps: Reps = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for a run directory of each; runs/A-vs-B if not given."),
    ] = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run scenarios on the same demand, and pair their differences."""
    from factorysim.report.run_page import PAGE, comparison_page, page_beside, report, write_page
    from factorysim.report.versus import comparison_report
    from factorysim.study import compare as study

    loaded = [load(scenario, overrides, seed, reps) for scenario in scenarios]
    specs, names = [one.scenario for one in loaded], study.labels(scenarios)
    place = out if out is not None else Path("runs") / _against(names)
    with running(quiet) as tell, locating(loaded):
        found = study.compare(specs, names=names, out=place, workers=workers, progress=tell)
    runs = [found[0].a, *(one.b for one in found)]
    own = [page_of(partial(report, run), run.path) for run in runs]
    beside = [page_beside(name) if one else "" for name, one in zip(names, own, strict=True)]
    page = page_of(lambda: write_page(place / PAGE, comparison_page(found, beside)), place)
    if as_json:
        typer.echo(json.dumps([study.as_json(one) for one in found], indent=2, allow_nan=False))
        return
    for one in found:
        print_parts([one.verdict] if quiet else comparison_report(one))
    if not quiet:
        print_page(page)


def print_page(page: Path | None) -> None:
    """Say where a page is, if there is one."""
    from factorysim.report.terminal import mark

    if page is not None:
        print_parts([mark("Report: ", str(page), "")])


def _against(names: list[str]) -> str:
    """Name a comparison after its scenarios, or after the first where there are many.

    Examples
    --------
    >>> _against(["closed", "open"]), _against(["a", "b", "c", "d"])
    ('closed-vs-open', 'a-vs-3-others')
    """
    return "-vs-".join(names if len(names) < 4 else [names[0], f"{len(names) - 1}-others"])


@contextmanager
def running(quiet: bool) -> Iterator[Tell | None]:
    """Show progress; leave with what an interrupted run has kept, and the exit code for it."""
    from factorysim.report.run_page import report
    from factorysim.run import Interrupted

    try:
        with live_bar(quiet) as tell:
            yield tell
    except Interrupted as stop:
        typer.echo(str(stop), err=True)
        if (kept := stop.run) is not None and kept.path.is_dir():  # a search keeps none
            page_of(lambda: report(kept), kept.path)
        raise typer.Exit(INTERRUPTED) from None


def load(scenario: str, overrides: list[str] | None, seed: int | None, reps: int | None) -> Loaded:
    """Load a scenario with what the command line says instead."""
    from factorysim.load import load_scenario

    given = list(overrides or [])
    given += [f"run.seed={seed}"] if seed is not None else []
    given += [f"run.replications={reps}"] if reps is not None else []
    return load_scenario(scenario, overrides=given)


@contextmanager
def locating(scenarios: list[Loaded]) -> Iterator[None]:
    """Find out which of several scenarios does not fit, and where it says so."""
    from factorysim.errors import CapacityError
    from factorysim.run.prepare import prepare

    try:
        yield
    except CapacityError:
        for one in scenarios:
            with one.locating():
                prepare(one.scenario)
        raise


def print_parts(parts: list[Any]) -> None:
    """Print to standard output: in colour on a terminal, plain elsewhere."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for part in parts:
        console.print(part)
