"""`factorysim trace`: look into traces, make them, turn one format into another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from factorysim.cli.trace_format import FormatOption
from factorysim.marked import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.spec.trace_format import TraceFormat
    from factorysim.units import Dimension
    from factorysim.workload.inspect import TraceSummary
    from factorysim.workload.repair import Repairs
    from factorysim.workload.session import Session

app = typer.Typer(help="Look into traces, make them, convert them.", no_args_is_help=True)

Target = Literal["fstrace", "mooncake", "azure", "weka"]
FileArgument = Annotated[
    Path, typer.Argument(help="A trace, plain, gzip or zstd; a folder of Weka sessions.")
]
OutArgument = Annotated[
    Path, typer.Argument(help="File to write; packed if it ends in .gz or .zst.")
]
RepairOption = Annotated[
    bool, typer.Option("--repair", help="Drop or mend what is bad, and count it.")
]


@app.command()
def inspect(
    file: FileArgument,
    trace_format: FormatOption = "auto",
    repair: RepairOption = False,
    twin: Annotated[
        Path | None, typer.Option(help="Compare with this twin of it, as `fit` writes them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell counts, arrivals, lengths, repetition, tools, and what is wrong with a trace."""
    from factorysim.cli.twin import twin_of
    from factorysim.report.trace import trace_lines
    from factorysim.report.twin import comparison_data, twin_lines
    from factorysim.workload.detect import detect
    from factorysim.workload.inspect import summarize
    from factorysim.workload.traces import read_trace

    known, notes = detect(file, trace_format)
    repairs = _repairs(repair)
    summary = summarize(read_trace(file, known, repair=repairs))
    kinds = [] if repairs is None else repairs.kinds
    if as_json:
        told = {"file": str(file), "format": known, "notes": notes} | _plain(summary)
        told["repairs"] = [
            {"what": kind.what, "count": kind.count, "first": kind.first._asdict()}
            for kind in kinds
        ]
        if twin is not None:
            told["twin"] = comparison_data(twin_of(file, known, twin)[1])
        typer.echo(json.dumps(told, indent=2))
    else:
        head = [printable(f"{file}: {known}"), *(f"  note: {note}" for note in notes)]
        typer.echo("\n".join([*head, *trace_lines(summary, kinds)]))
        if twin is not None:
            lines = twin_lines(*twin_of(file, known, twin))
            typer.echo("\n".join([printable(f"{twin}:"), *lines]))


@app.command()
def formats(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the formats that are read, what each carries, and whether it was tried."""
    from factorysim.workload.formats import FORMATS, carries

    if as_json:
        told = {name: info._asdict() for name, info in FORMATS.items()}
        typer.echo(json.dumps(told, indent=2))
        return
    for name, info in FORMATS.items():
        typer.echo(f"{name:<17} {info.what}\n    {info.status}: {carries(info)}")


@app.command()
def generate(
    out: Annotated[Path, typer.Argument(help="File to write; gzip if it ends in .gz.")],
    duration: Annotated[str, typer.Option(help="No call begins later.")] = "10 min",
    rate: Annotated[str, typer.Option(help="Chats begun.")] = "0.5 /s",
    cv: Annotated[float, typer.Option(min=0.1, max=20.0, help="Of the gaps between.")] = 2.0,
    turns: Annotated[float, typer.Option(min=1.0, max=1000.0, help="Mean a chat.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same rows.")] = 7,
    agent: Annotated[
        str | None, typer.Option(help="Sessions of this agent or twin, as fstrace/1, instead.")
    ] = None,
) -> None:
    """Write a synthetic trace: chats in Mooncake form, or whole sessions of an agent."""
    from factorysim.workload.generate import ChatRecipe, generate_chats
    from factorysim.workload.readers.mooncake import write_mooncake

    if agent is not None:
        _generate_sessions(out, agent, duration, rate, cv, seed)
        return
    recipe = ChatRecipe(
        duration_s=_quantity("duration", duration, "seconds"),
        rate_per_s=_quantity("rate", rate, "per_s"),
        cv=cv,
        turns=turns,
        seed=seed,
    )
    rows = write_mooncake(out, generate_chats(recipe))
    typer.echo(f"{out}: {rows:,} calls")


def _generate_sessions(
    out: Path, agent: str, duration: str, rate: str, cv: float, seed: int
) -> None:
    """Write the sessions of an agent that arrive in a time, as fstrace/1."""
    from factorysim.workload.fswrite import write_fstrace
    from factorysim.workload.generate import generate_sessions
    from factorysim.workload.readers.fsrecords import Meta
    from factorysim.workload.write import keep_apart

    if Path(agent).is_file():  # else it is the name of one that ships
        keep_apart(Path(agent), out, "agent")
    sessions = generate_sessions(
        agent,
        duration_s=_quantity("duration", duration, "seconds"),
        rate_per_s=_quantity("rate", rate, "per_s"),
        cv=cv,
        seed=seed,
    )
    lines = write_fstrace(out, sessions, Meta(Path(agent).stem))
    typer.echo(f"{out}: {lines:,} lines")


@app.command()
def convert(
    file: FileArgument,
    out: OutArgument,
    to: Annotated[Target, typer.Option(help="Format to write.")] = "fstrace",
    trace_format: FormatOption = "auto",
    repair: RepairOption = False,
) -> None:
    """Convert a trace to fstrace/1, or to a format that can hold all that it says."""
    from factorysim.workload.detect import detect_format
    from factorysim.workload.traces import read_trace
    from factorysim.workload.write import keep_apart

    keep_apart(file, out)
    known = detect_format(file) if trace_format == "auto" else trace_format
    repairs = _repairs(repair)
    lines = _write(to, out, read_trace(file, known, repair=repairs), file, known)
    typer.echo(f"{out}: {lines:,} lines")
    _tell(repairs)


@app.command()
def cut(
    file: FileArgument,
    out: OutArgument,
    begin: Annotated[str, typer.Option("--from", help="Where the window begins.")] = "0 s",
    end: Annotated[str | None, typer.Option("--to", help="Where it ends.")] = None,
    sample: Annotated[str, typer.Option(help="Share of the sessions.")] = "100%",
    speed: Annotated[float, typer.Option(min=1e-6, max=1e6, help="Of arrivals.")] = 1.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Sessions, at most.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.")] = 7,
    trace_format: FormatOption = "auto",
    repair: RepairOption = False,
) -> None:
    """Write a part of a trace: a window, a sample, arrivals sped up.

    In the format of the trace if that can be written, else in fstrace/1. The sample at
    10 % is part of that at 20 % with the same seed.
    """
    from factorysim.errors import Fault, SpecError
    from factorysim.workload.cut import Cut, cut_sessions
    from factorysim.workload.detect import detect_format
    from factorysim.workload.traces import read_trace
    from factorysim.workload.write import keep_apart

    keep_apart(file, out)
    share = _quantity("sample", sample, "ratio", such="10%")
    if share > 1:
        expected = "a share of at most 100 %"
        cure = f"with its sign it would be '{sample}%'" if sample.isdecimal() else ""
        raise SpecError(Fault("--sample", "", repr(sample), expected, cure))
    wanted = Cut(
        from_ns=round(_quantity("from", begin, "seconds", zero=True, such="10 min") * 1e9),
        to_ns=None if end is None else round(_quantity("to", end, "seconds", such="10 min") * 1e9),
        share=share,
        speed=speed,
        limit=limit,
        seed=seed,
    )
    if wanted.to_ns is not None and wanted.to_ns <= wanted.from_ns:
        raise SpecError(Fault("--to", "", repr(end), f"a time after --from, {begin}"))
    known = detect_format(file) if trace_format == "auto" else trace_format
    to = _target(known)
    repairs = _repairs(repair)
    kept = 0

    def counted() -> Iterator[Session]:
        nonlocal kept
        for session in cut_sessions(read_trace(file, known, repair=repairs), wanted):
            kept += 1
            yield session

    _write(to, out, _some(counted(), file), file, known, wanted.from_ns)
    typer.echo(f"{out}: {kept:,} sessions in {to}")
    _tell(repairs)


def _some(sessions: Iterator[Session], file: Path) -> Iterator[Session]:
    """Refuse a cut of nothing, which no reader would take."""
    from factorysim.errors import Fault, TraceError

    first = next(sessions, None)
    if first is None:
        cure = "see `factorysim trace inspect` for its length"
        raise TraceError(Fault(str(file), "", "no session in the cut", "at least one", cure))
    yield first
    yield from sessions


def _write(
    to: Target,
    out: Path,
    sessions: Iterator[Session],
    file: Path,
    known: TraceFormat,
    from_ns: int = 0,
) -> int:
    """Write sessions of a trace whose time 0 is now so much later; returns the lines."""
    from factorysim.workload.fswrite import write_fstrace
    from factorysim.workload.readers.azure import later, write_azure
    from factorysim.workload.readers.mooncake import write_mooncake
    from factorysim.workload.readers.weka import write_weka
    from factorysim.workload.traces import trace_meta

    match to:
        case "mooncake":
            return write_mooncake(out, sessions)
        case "weka":
            return write_weka(out, sessions)
        case _:
            meta = trace_meta(file, known)
            if meta.epoch and from_ns:
                meta.epoch = later(meta.epoch, from_ns)
            if to == "azure":
                return write_azure(out, sessions, meta.epoch)
            return write_fstrace(out, sessions, meta)


def _repairs(wanted: bool) -> Repairs | None:
    from factorysim.workload.repair import Repairs

    return Repairs() if wanted else None


def _tell(repairs: Repairs | None) -> None:
    """Say what was repaired."""
    for kind in () if repairs is None else repairs.kinds:
        typer.echo(printable(f"  {kind}"))


def _target(known: TraceFormat) -> Target:
    """Choose the format that a part of a trace is written in."""
    match known:
        case "fstrace" | "mooncake" | "azure" | "weka":
            return known
        case _:
            return "fstrace"


def _quantity(
    key: str, text: str, dimension: Dimension, *, zero: bool = False, such: str = ""
) -> float:
    """Read an option as SI, above 0 or, if that will do, 0."""
    from factorysim.errors import Fault, SpecError
    from factorysim.units import example, parse_quantity

    try:
        value = parse_quantity(text, dimension)
        if value < 0 or (value == 0 and not zero):
            raise ValueError
    except ValueError:
        least = "of at least" if zero else "above"
        expected = f"a quantity {least} zero such as {(such or example(dimension))!r}"
        cure = "give it a unit" if text.replace(".", "", 1).isdecimal() else ""
        raise SpecError(Fault(f"--{key}", "", repr(text), expected, cure)) from None
    return value


def _plain(summary: TraceSummary) -> dict[str, object]:
    """Turn a summary into what JSON can hold."""
    from factorysim.workload.samples import Lengths

    return {
        key: value._asdict() if isinstance(value, Lengths) else value
        for key, value in summary._asdict().items()
    }
