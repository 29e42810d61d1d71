"""The program: its commands, its exit codes, and how it tells what went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from factorysim import __version__
from factorysim.cli.stdout import NOBODY_READS, guarded_stdout
from factorysim.errors import UserError
from factorysim.marked import printable

OK, OURS, USERS = 0, 1, 2
"""Exit codes; `typer` itself exits with 2 for a slip on the command line."""

app = typer.Typer(
    name="factorysim",
    help="Simulate AI factories: agent sessions on racks of GPUs, LPUs and CPUs.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"factorysim {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Simulate AI factories: agent sessions on racks of GPUs, LPUs and CPUs."""
    if context.invoked_subcommand is None:
        from factorysim.cli.next_step import welcome

        print(welcome(Path.cwd()))


def _mount() -> None:
    from factorysim.cli import (
        capacity,
        catalog,
        check,
        figures,
        files,
        imports,
        pareto,
        predict,
        report,
        runs,
        timeline,
        trace,
        twin,
    )

    runs.register(app)
    report.register(app)
    capacity.register(app)
    pareto.register(app)
    predict.register(app)
    figures.register(app)
    timeline.register(app)
    files.register(app)
    check.register(app)
    imports.register(app, catalog.app)
    twin.register(trace.app)
    app.add_typer(catalog.app, name="catalog")
    app.add_typer(trace.app, name="trace")


_mount()


def main() -> None:
    """Run the program; never returns.

    Exits with 0, 1 for our fault, 2 for the user's, 130 if interrupted, 141 if nobody reads on.
    """
    try:
        with _told(), guarded_stdout():
            app()
    except BrokenPipeError:  # of standard error's reader
        sys.exit(NOBODY_READS)
    sys.exit(OK)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what escapes a command into words on stderr and an exit code."""
    try:
        yield
    except UserError as error:
        print(printable(str(error)), file=sys.stderr)
        sys.exit(USERS)
    except SystemExit as leaving:
        # A command that Ctrl-C ended before it could say what was kept: `typer` makes an
        # exit of it, without a word.
        if isinstance(getattr(leaving.__context__, "__cause__", None), KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
        # Standard error's reader has gone: `typer` makes an exit with 1 of it.
        if isinstance(leaving.__context__, BrokenPipeError):
            sys.exit(NOBODY_READS)
        raise
    except BrokenPipeError:
        raise
    except Exception as error:  # the last resort: whatever escapes is our bug
        _tell_bug(error)
        sys.exit(OURS)


def _tell_bug(error: Exception) -> None:
    """Own up to a bug, and say how to report it."""
    import traceback

    print(f"factorysim failed: {type(error).__name__}: {printable(str(error))}", file=sys.stderr)
    if os.environ.get("FACTORYSIM_TRACEBACK"):
        traceback.print_exception(error)
        return
    print(
        "This is a bug of ours: please report it with the command, the files and what\n"
        "the same command prints under FACTORYSIM_TRACEBACK=1.",
        file=sys.stderr,
    )
