"""The command ``report``, and the page that ``run`` and ``compare`` leave behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from factorysim.marked import printable

HERE = Path("report.html")


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program's."""
    app.command("report")(report)


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run directories; A is the first.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; RUN/report.html, or ./report.html of several."),
    ] = None,
) -> None:
    """Write a run, or several side by side, as one page of HTML."""
    from factorysim.report.run_page import report as write

    place = out if out is not None or len(runs) == 1 else HERE
    typer.echo(str(write(*runs, out=place)))


def page_of(write: Callable[[], Path], runs: Path) -> Path | None:
    """Write the page of what has just run; None: it failed, and the runs stand all the same.

    Parameters
    ----------
    runs
        Where they are.
    """
    from factorysim.errors import UserError

    try:
        return write()
    except UserError as error:
        why = str(error)
    except Exception as error:  # a page is no reason to lose hours of simulation
        why = f"{type(error).__name__}: {error}; this is a bug of ours, please report it"
    typer.echo(f"no report.html ({printable(why)}); the results are whole: {runs}", err=True)
    return None
