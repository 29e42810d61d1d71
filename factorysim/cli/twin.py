"""`factorysim trace fit`: the twin of a trace, and how like it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factorysim.cli.trace import FormatOption

if TYPE_CHECKING:
    from factorysim.spec.trace_format import TraceFormat
    from factorysim.spec.twin import TwinSpec
    from factorysim.workload.session import Session
    from factorysim.workload.twin.compare import Comparison, Likeness


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
    from factorysim.store import write_text
    from factorysim.workload.detect import detect_format
    from factorysim.workload.twin.compare import compare_twin
    from factorysim.workload.twin.fit import fit_twin

    known = detect_format(file) if trace_format == "auto" else trace_format
    sessions, were_joined = source_sessions(file, known, joined, limit)
    twin = fit_twin(sessions, file.name, known, joined=were_joined)
    write_text(out, dump_twin(twin))
    typer.echo(printable(f"{out}: the twin of {file}, {known}"))
    typer.echo("\n".join(twin_lines(twin, compare_twin(twin, sessions))))


def source_sessions(
    file: Path, known: TraceFormat, joined: bool | None, limit: int | None
) -> tuple[list[Session], bool]:
    """Read the sessions that a twin is fitted to, and tell whether single calls were joined."""
    from itertools import islice

    from factorysim.workload.traces import read_trace
    from factorysim.workload.twin.chain import all_single, chained

    sessions = list(islice(read_trace(file, known), limit))
    join = all_single(sessions) if joined is None else joined
    return (chained(sessions), True) if join else (sessions, False)


def twin_lines(twin: TwinSpec, compared: Comparison) -> list[str]:
    """Say in lines of 80 columns how like its source a twin is."""
    ours, theirs = compared.prefix_share
    lines = [
        f"  {twin.source.sessions:,} sessions, {twin.source.llm_calls:,} LLM calls"
        + (", joined by the blocks they repeat" if twin.source.joined else "")
        + f"; {compared.drawn:,} drawn",
    ]
    if twin.arrivals is not None:
        rate, cv = twin.arrivals.rate_per_s, twin.arrivals.cv
        lines.append(f"  arrivals: {{process: gamma, rate: {rate:g}/s, cv: {cv:g}}}")
    lines += ["", f"  {'':26}{'median':>9}{'twin':>8}{'p90':>9}{'twin':>8}{'KS':>8}{'noise':>8}"]
    lines += [_row(one) for one in compared.quantities]
    lines += [
        "",
        f"  tokens that repeat the session's own: {ours:.1%} of prompts, twin {theirs:.1%}",
    ]
    lines += [
        f"  rank correlation of {name}: {a:.2f}, twin {b:.2f}"
        for name, (a, b) in compared.correlations.items()
    ]
    lines += [
        "  KS: the largest difference between the shares of values; noise: what 95 % of",
        "  samples of as many sessions stay below. * marks a distance beyond it.",
    ]
    return lines


def _row(one: Likeness) -> str:
    mark = "*" if one.distance > one.noise else " "
    cells = (one.source[1], one.twin[1], one.source[2], one.twin[2])
    widths = (9, 8, 9, 8)
    shown = "".join(f"{_short(v):>{w}}" for v, w in zip(cells, widths, strict=True))
    return f"  {one.name:26}{shown}{one.distance:>7.3f}{mark}{one.noise:>8.3f}"


def _short(value: float) -> str:
    """Write a number in at most seven characters."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "K")):
        if value >= limit:
            scale = {"G": 1e9, "M": 1e6, "K": 1e3}[suffix]
            return f"{value / scale:.3g}{suffix}"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
