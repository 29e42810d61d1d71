"""`factorysim trace fit`: the twin of a trace, and how like it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factorysim.cli.trace_format import FormatOption

if TYPE_CHECKING:
    from factorysim.spec.trace_format import TraceFormat
    from factorysim.spec.twin import TwinSpec
    from factorysim.workload.session import Session
    from factorysim.workload.twin.compare import Comparison


def register(app: typer.Typer) -> None:
    """Add the command to those of traces."""
    app.command()(fit)


def fit(
    file: Annotated[Path, typer.Argument(help="A trace; a folder of Weka sessions.")],
    out: Annotated[Path, typer.Argument(help="YAML file to write: `agent:` of a stream.")],
    trace_format: FormatOption = "auto",
    joined: Annotated[
        bool | None,
        typer.Option(
            "--join/--no-join",
            help="Join single calls to sessions by the blocks they repeat; "
            "not given: where all are single and have blocks that all share.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=10, help="Read so many sessions.")] = None,
) -> None:
    """Fit a synthetic agent to a trace: its statistics, and none of its rows."""
    from factorysim.load.dump import dump_twin
    from factorysim.marked import printable
    from factorysim.report.twin import twin_lines
    from factorysim.store import write_text
    from factorysim.workload.detect import detect_format
    from factorysim.workload.twin.compare import compare_twin
    from factorysim.workload.twin.fit import fit_twin
    from factorysim.workload.write import keep_apart

    keep_apart(file, out)
    known = detect_format(file) if trace_format == "auto" else trace_format
    sessions, were_joined = source_sessions(file, known, joined, limit)
    twin = fit_twin(sessions, file.name, known, joined=were_joined)
    write_text(out, dump_twin(twin))
    typer.echo(printable(f"{out}: the twin of {file}, {known}"))
    typer.echo("\n".join(twin_lines(twin, compare_twin(twin, sessions))))


def twin_of(file: Path, known: TraceFormat, twin_file: Path) -> tuple[TwinSpec, Comparison]:
    """Hold the twin of a file against a trace, whose sessions are read as it says.

    Raises
    ------
    SpecError
        If the file is no twin.
    """
    from factorysim.errors import Fault, SpecError
    from factorysim.workload.models import TWIN, find_twin
    from factorysim.workload.twin.compare import compare_twin

    twin = find_twin(str(twin_file))
    if twin is None:
        cure = "make one with `factorysim trace fit`"
        raise SpecError(Fault(str(twin_file), "schema", "no twin", TWIN, cure))
    limit = twin.source.sessions if not twin.source.joined else None
    sessions, _ = source_sessions(file, known, twin.source.joined, limit)
    return twin, compare_twin(twin, sessions)


def source_sessions(
    file: Path, known: TraceFormat, joined: bool | None, limit: int | None
) -> tuple[list[Session], bool]:
    """Read the sessions that a twin is fitted to, and tell whether single calls were joined."""
    from itertools import islice

    from factorysim.workload.traces import read_trace
    from factorysim.workload.twin.chain import all_single, chained
    from factorysim.workload.twin.source import held

    sessions = held(islice(read_trace(file, known), limit), file)
    join = all_single(sessions) if joined is None else joined
    return (chained(sessions), True) if join else (sessions, False)
