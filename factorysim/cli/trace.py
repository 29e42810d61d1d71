"""`factorysim trace`: look into traces, make them, turn one format into another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from factorysim.spec.trace_format import FormatChoice

if TYPE_CHECKING:
    from factorysim.workload.inspect import Lengths, TraceSummary

app = typer.Typer(help="Look into traces, make them, convert them.", no_args_is_help=True)

Target = Literal["fstrace", "mooncake"]
FormatOption = Annotated[
    FormatChoice, typer.Option("--format", metavar="NAME", help="See formats; auto tells it.")
]


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(help="A trace, plain or gzip; a folder of Weka sessions.")
    ],
    trace_format: FormatOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count sessions, calls and tokens; tell rate, bursts, lengths and repetition."""
    from factorysim.workload.detect import detect
    from factorysim.workload.inspect import summarize
    from factorysim.workload.traces import read_trace

    known, notes = detect(file, trace_format)
    summary = summarize(read_trace(file, known))
    if as_json:
        told: dict[str, object] = {"file": str(file), "format": known, "notes": notes}
        typer.echo(json.dumps(told | _plain(summary), indent=2))
    else:
        lines = [f"{file}: {known}", *(f"  note: {note}" for note in notes), *_table(summary)]
        typer.echo("\n".join(lines))


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
) -> None:
    """Write a synthetic trace in Mooncake form: chats with growing prompts."""
    from factorysim.workload.generate import ChatRecipe, generate_chats
    from factorysim.workload.readers.mooncake import write_mooncake

    recipe = ChatRecipe(
        duration_s=_quantity("duration", duration, "seconds"),
        rate_per_s=_quantity("rate", rate, "per_s"),
        cv=cv,
        turns=turns,
        seed=seed,
    )
    rows = write_mooncake(out, generate_chats(recipe))
    typer.echo(f"{out}: {rows:,} calls")


@app.command()
def convert(
    file: Annotated[
        Path, typer.Argument(help="A trace, plain or gzip; a folder of Weka sessions.")
    ],
    out: Annotated[Path, typer.Argument(help="File to write; gzip if it ends in .gz.")],
    to: Annotated[
        Literal["fstrace", "mooncake"], typer.Option(help="Format to write.")
    ] = "fstrace",
    trace_format: FormatOption = "auto",
) -> None:
    """Convert a trace to fstrace/1, or one of single calls to Mooncake form."""
    from factorysim.workload.detect import detect_format
    from factorysim.workload.fswrite import write_fstrace
    from factorysim.workload.readers.mooncake import write_mooncake
    from factorysim.workload.traces import read_trace, trace_meta

    known = detect_format(file) if trace_format == "auto" else trace_format
    sessions = read_trace(file, known)
    if to == "fstrace":
        lines = write_fstrace(out, sessions, trace_meta(file, known))
    else:
        lines = write_mooncake(out, sessions)
    typer.echo(f"{out}: {lines:,} lines")


def _quantity(key: str, text: str, dimension: Literal["seconds", "per_s"]) -> float:
    """Read an option as SI, above 0."""
    from factorysim.errors import Fault, SpecError
    from factorysim.units import example, parse_quantity

    try:
        value = parse_quantity(text, dimension)
        if value <= 0:
            raise ValueError
    except ValueError:
        expected = f"a quantity above zero such as {example(dimension)!r}"
        raise SpecError(Fault(f"--{key}", "", repr(text), expected)) from None
    return value


def _plain(summary: TraceSummary) -> dict[str, object]:
    """Turn a summary into what JSON can hold."""
    rows = summary._asdict()
    for key in ("prompt_tokens", "output_tokens"):
        lengths: Lengths | None = rows[key]
        rows[key] = None if lengths is None else lengths._asdict()
    return rows


def _table(summary: TraceSummary) -> list[str]:
    """Lines of text: a figure each."""
    rows: list[tuple[str, str]] = []
    for key, value in summary._asdict().items():
        if key in ("prompt_tokens", "output_tokens"):
            rows += _length_rows(key, value)
        elif value is not None:
            rows.append((key, f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"))
    width = max(len(key) for key, _ in rows)
    return [f"  {key:<{width}}  {text}" for key, text in rows]


def _length_rows(key: str, lengths: Lengths | None) -> list[tuple[str, str]]:
    if lengths is None:
        return []
    points = "  ".join(f"{name} {value:,.0f}" for name, value in lengths.quantiles.items())
    return [(key, f"{lengths.total:,} in all  mean {lengths.mean:,.0f}  {points}")]
