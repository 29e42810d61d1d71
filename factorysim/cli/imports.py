"""What others wrote, as files of this program: configs, command lines, benchmarks."""

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
    app.command("from-vllm")(from_vllm)
    app.command("import-bench")(import_bench)


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


def from_vllm(
    command: Annotated[str, typer.Argument(help="A command line: 'vllm serve MODEL ...'.")],
    device: Annotated[
        str | None, typer.Option(help="An accelerator of the catalog, in servers as it takes.")
    ] = None,
    rack: Annotated[str | None, typer.Option(help="Or a rack or server of the catalog.")] = None,
    racks: Annotated[
        int | None, typer.Option(min=1, help="As few as hold the replicas, if not given.")
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, help="Servers of this command.")] = 1,
    precision: Annotated[
        str | None, typer.Option(metavar="P", help="fp8, or weights=w4a16,compute=bf16,kv=fp8.")
    ] = None,
    acceptance: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Of drafts, where it speculates.")
    ] = None,
    isl: Annotated[int, typer.Option(min=1, help="Prompt tokens of each call.")] = 1024,
    osl: Annotated[int, typer.Option(min=1, help="Output tokens of each call.")] = 256,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at any time.")] = 32,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="List unknown flags and go on.")
    ] = False,
    out: Out = None,
    catalog: Facts = None,
) -> None:
    """Turn a `vllm serve` command into a scenario; without a device, into its part of one."""
    from factorysim.catalog import load_catalog
    from factorysim.load.vllm_command import read_command
    from factorysim.study.vllm_scenario import Site, scenario_of

    named = None if catalog is None else _beside(catalog, out)
    site = Site(device, rack, racks, replicas, precision, acceptance, isl, osl, concurrency, named)
    told = read_command(command, skip_unknown=skip_unknown)
    made = scenario_of(told, site, load_catalog(catalog))
    _give(made.text, out)
    for note in made.notes:
        _tell(note)
    if not made.whole:
        _tell("a part of a scenario: --device or --rack makes it whole")


def import_bench(
    files: Annotated[
        list[Path], typer.Argument(help="Of `vllm bench serve --save-result`, or AIPerf's exports.")
    ],
    hardware: Annotated[str, typer.Option(help="The device that it ran on, by any usual name.")],
    gpus: Annotated[int, typer.Option(min=1, help="Devices in all.")],
    parallelism: Annotated[str, typer.Option(help="Like TP4, or TP2 x 4 replicas.")] = "",
    precision: Annotated[str, typer.Option(help="Like fp8; as published if not given.")] = "",
    engine: Annotated[str, typer.Option(help="Like vLLM 0.11; the file's word if not given.")] = "",
    model: Annotated[str, typer.Option(help="The LLM, where the file tells another name.")] = "",
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Calls in flight, where the file does not tell.")
    ] = None,
    out: Out = None,
) -> None:
    """Turn results of benchmarks into a table for `check --data` and `calibrate --data`."""
    from factorysim.errors import Fault, SpecError
    from factorysim.study.measured.foreign import read_foreign, table_text

    rows, skipped = [], []
    for path in files:
        told = read_foreign(
            path,
            hardware=hardware,
            n_gpus=gpus,
            parallelism=parallelism,
            precision=precision,
            engine=engine,
            model=model,
            concurrency=concurrency,
        )
        rows += told[0]
        skipped += told[1]
    for one in skipped:
        _tell(f"set aside: {one.id}: {one.reason}")
    if not rows:
        found = f"no number to compare in {len(files)} file{'' if len(files) == 1 else 's'}"
        raise SpecError(Fault("import-bench", "", found, "one or more", "the reasons are above"))
    _give(table_text(rows), out)
    _tell(f"{len(rows)} rows, {len(skipped)} set aside")


def _beside(catalog: Path, out: Path | None) -> str:
    """Name the file of facts as the scenario must: from its own folder, and none outside it."""
    from factorysim.errors import Fault, SpecError

    folder = (Path.cwd() if out is None else out.absolute().parent).resolve()
    path = catalog.resolve()
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    if out is None:
        _tell(f"the scenario names {path.name}, which must lie beside it")
        return path.name
    cure = "scenarios read files from their own folder alone: put one beside the other"
    raise SpecError(Fault("from-vllm", "--catalog", str(catalog), f"a file below {folder}", cure))


def _give(text: str, out: Path | None) -> None:
    """Print, or write whole or not at all."""
    if out is None:
        sys.stdout.write(text)
        return
    from factorysim.store import write_text

    write_text(out, text)


def _tell(line: str) -> None:
    print(printable(line), file=sys.stderr)
