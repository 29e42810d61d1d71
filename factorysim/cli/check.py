"""The commands ``check`` and ``calibrate``: predictions against measurements, and fits to them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from factorysim.cli.runs import Json, Quiet, Workers, print_parts
from factorysim.errors import Fault, SpecError
from factorysim.marked import printable

OURS = 1
"""Exit code where a row of theory does not hold: our fault."""
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Measurements or a log of calls, as CSV; the shipped table if not given.",
    ),
]
Overlay = Annotated[
    Path | None, typer.Option("--catalog", help="A file of facts over the shipped ones.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program's."""
    app.command("check")(check)
    app.command("calibrate")(calibrate)


def check(
    data: Data = None,
    only: Annotated[
        str | None, typer.Option(metavar="PREFIX", help="Rows whose id begins so.")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="The part of theory that takes seconds, alone.")
    ] = False,
    catalog: Overlay = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all of it as one page of HTML, too.")
    ] = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold the simulator to theory and to published measurements, or to your own."""
    from factorysim.cli.files import check_file, write_atomic
    from factorysim.report.check import check_report
    from factorysim.run.replicate import cores
    from factorysim.study import check as study

    if page is not None:
        check_file(page, inputs=(data, catalog))
    with _counting(quiet, "experiments") as tell:
        found = study.check(
            data,
            catalog=catalog,
            only=only,
            fast=fast,
            workers=workers or cores(),
            on_experiment=tell,
        )
    if page is not None:
        from factorysim.report.check_page import check_page

        write_atomic(page, check_page(found).encode())
        if not quiet:
            typer.echo(f"page: {printable(str(page))}", err=True)
    if as_json:
        typer.echo(json.dumps(study.as_json(found), indent=2, allow_nan=False))
    else:
        parts = check_report(found)
        print_parts(parts[:1] if quiet else parts)
    if not all(row.holds for row in found.theory):
        raise typer.Exit(OURS)


def calibrate(
    data: Data = None,
    only: Annotated[
        str | None, typer.Option(metavar="GROUP", help="Like vllm, hopper or vllm.hopper.")
    ] = None,
    catalog: Overlay = None,
    leave_out: Annotated[
        Literal["generation", "family", "both"] | None,
        typer.Option(help="Fit without each generation, or family of LLMs, and predict it."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the factors, or the bands, as a catalog file."),
    ] = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit efficiencies and host overheads to measurements, or see how well fits foretell."""
    from factorysim.cli.files import write_atomic

    if leave_out is not None:
        _leave_out(data, leave_out, only, catalog, out, workers, as_json, quiet)
        return
    if as_json:
        expected, cure = "--leave-out, whose scores it prints", "--out FILE writes the factors"
        raise SpecError(Fault("--json", "", "no --leave-out", expected, cure))
    from factorysim.report.check import calibration_report
    from factorysim.study import calibrate as study

    with _counting(quiet, "groups") as tell:
        found = study.calibrate(
            data,
            catalog=catalog,
            only=only,
            on_group=None if tell is None else lambda _, done, of: tell(done, of),
        )
    print_parts(calibration_report(found))
    if out is not None:
        write_atomic(out, study.overlay_text(found).encode())


def _leave_out(
    data: Path | None,
    by: Literal["generation", "family", "both"],
    only: str | None,
    catalog: Path | None,
    out: Path | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict what no fit has seen, and write the bands that follow."""
    from factorysim.cli.files import write_atomic
    from factorysim.report.cross_validation import cross_validation_report
    from factorysim.run.replicate import cores
    from factorysim.study import cross_validation as study

    if only is not None:
        cure = "--data takes a file with fewer rows"
        raise SpecError(Fault("--only", "", "--leave-out as well", "one of them", cure))
    with _counting(quiet, "passes") as tell:
        found = study.cross_validate(
            data,
            by,
            catalog=catalog,
            workers=workers or cores(),
            on_pass=None if tell is None else lambda _, done, of: tell(done, of),
        )
    if out is not None:
        write_atomic(out, study.catalog_text(found).encode())
    if as_json:
        typer.echo(json.dumps(study.as_json(found), indent=2, allow_nan=False))
    else:
        print_parts(cross_validation_report(found))


@contextmanager
def _counting(quiet: bool, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Count on standard error while a terminal looks on."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
