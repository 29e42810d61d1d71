"""What others wrote, as files of this program: ``catalog import-llm`` and ``from-vllm``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from factorysim.marked import printable

Out = Annotated[Path | None, typer.Option(help="File to write, instead of printing.")]
Facts = Annotated[
    Path | None, typer.Option(help="A file of facts of your own, over the shipped ones.")
]


def register(app: typer.Typer, catalog: typer.Typer) -> None:
    """Add the commands of this module to the program's, and to those of the catalog."""
    catalog.command("import-llm")(import_llm)


def import_llm(
    config: Annotated[Path, typer.Argument(help="A config.json of Hugging Face.")],
    identity: Annotated[
        str | None,
        typer.Option("--id", metavar="NAME", help="Id of the LLM; from the file if not given."),
    ] = None,
    out: Out = None,
    catalog: Facts = None,
) -> None:
    """Turn a config.json into a file of facts with its LLM, for `--catalog`."""
    from factorysim.catalog import load_catalog
    from factorysim.load.huggingface import import_llm as read

    told = read(config, load_catalog(catalog), identity)
    _give(told.text, out)
    active = (
        f", {told.active_params / 1e9:.4g}e9 active"
        if told.active_params != told.total_params
        else ""
    )
    _tell(f"{told.id}: {told.architecture}, {told.total_params / 1e9:.4g}e9 parameters{active}")
    for line in told.usual:
        _tell(f"  not in the file, taken from its class: {line}")
    for line in told.untold:
        _tell(f"  unknown: {line}")
    if out is not None:
        _tell(f"use it with --catalog {out}, or `catalog: {out.name}` in a scenario beside it")


def _give(text: str, out: Path | None) -> None:
    """Print, or write whole or not at all."""
    if out is None:
        sys.stdout.write(text)
        return
    from factorysim.store import write_text

    write_text(out, text)


def _tell(line: str) -> None:
    print(printable(line), file=sys.stderr)
