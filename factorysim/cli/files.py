"""The commands ``validate``, ``show`` and ``schema``: what files say, before any run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factorysim.errors import CapacityError, Fault, OutputError, SpecError, UserError
from factorysim.marked import printable

if TYPE_CHECKING:
    from factorysim.spec.base import Spec
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.topology import TopologySpec


class Format(str, Enum):  # noqa: UP042 - its members print as their values in help
    """How `show` tells a file."""

    text = "text"
    yaml = "yaml"
    json = "json"
    graphml = "graphml"
    png = "png"
    svg = "svg"
    pdf = "pdf"


PICTURES = (Format.png, Format.svg, Format.pdf)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program's."""
    app.command("validate")(validate)
    app.command("show")(show)
    app.command("schema")(schema)


def validate(
    files: Annotated[list[str], typer.Argument(help="Files, or names of shipped scenarios.")],
) -> None:
    """Check files: every problem with its line, and the cure. Exit 2 if there is any."""
    faults: dict[Fault, None] = {}
    for name in files:
        try:
            kind = _validate(name)
        except UserError as error:
            faults.update(dict.fromkeys(error.faults))
        else:
            print(f"{printable(name)}: ok ({kind})")
    if faults:
        sys.stdout.flush()
        for fault in faults:
            print(printable(str(fault)), file=sys.stderr)
        count = f"{len(faults)} problem{'' if len(faults) == 1 else 's'}"
        print(f"{count} in {len(files)} file{'' if len(files) == 1 else 's'}", file=sys.stderr)
        raise typer.Exit(2)


def _validate(name: str) -> str:
    """Check one file of whatever kind; return the kind."""
    from factorysim.catalog import load_catalog
    from factorysim.load import load_scenario, load_site, load_topology

    kind = _kind_of(name)
    if kind == "scenario":
        from factorysim.run.prepare import rehearse

        loaded = load_scenario(name)
        with loaded.locating():
            warnings = rehearse(loaded.scenario)
        for text in warnings:
            print(printable(f"{name}: warning: {text}"), file=sys.stderr)
    elif kind == "topology":
        _check_graph(name, load_topology(name))
    elif kind == "site":
        load_site(name)
    elif kind == "catalog":
        load_catalog(Path(name))
    else:
        from factorysim.workload.models import session_model

        session_model(name)
    return kind


def _check_graph(name: str, topology: TopologySpec) -> None:
    """Build a topology's graph; its faults know the topology, but not its file."""
    try:
        _graph(topology)
    except UserError as error:
        faults = (f._replace(where=name) if f.where == "topology" else f for f in error.faults)
        raise UserError(*faults) from error


def _kind_of(name: str) -> str:
    """Tell what a name or file is: a shipped one by its place, others by `schema:`."""
    from factorysim.load import check_schema, read_yaml
    from factorysim.resources import resource_names

    if name in resource_names("scenarios"):
        return "scenario"
    if name in resource_names("topologies"):
        return "topology"
    if not Path(name).suffix and not Path(name).exists():
        from factorysim.spec.shape import nearest

        names = resource_names("scenarios") + resource_names("topologies")
        cure = f"{nearest(name, names)} shipped: {', '.join(names) or 'none'}".strip()
        raise SpecError(
            Fault(name, "", "no such file", "a file, or the name of a shipped one", cure)
        )
    return check_schema(read_yaml(Path(name), name))


def show(
    name: Annotated[str, typer.Argument(help="A scenario or topology: a file or a shipped name.")],
    how: Annotated[Format, typer.Option("--format", help="How to show it.")] = Format.text,
    out: Annotated[Path | None, typer.Option(help="File to write, instead of printing.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Override a scenario's key.")
    ] = None,
) -> None:
    """Show a scenario or a topology: in words, resolved, as a graph or as a picture."""
    from factorysim.load import load, load_topology

    kind = _kind_of(name)
    if kind not in ("scenario", "topology"):
        cure = "`factorysim catalog show` tells catalog entries"
        raise SpecError(Fault(name, "schema", f"a {kind} file", "a scenario or a topology", cure))
    if kind == "topology" and overrides:
        raise SpecError(Fault("--set", "", "overrides of a topology", "a scenario to override"))
    spec = load(name, overrides or ()) if kind == "scenario" else load_topology(name)
    if how is Format.text:
        if out is None:
            _print_text(spec)
            return
        data = _text(spec).encode()
    else:
        if out is not None:
            check_file(out)
        elif how in (Format.png, Format.pdf) and sys.stdout.isatty():
            cure = f"add --out FILE.{how.value}"
            raise SpecError(Fault(f"--format {how.value}", "", "a terminal", "a file", cure))
        data = _picture(name, spec, how) if how in PICTURES else _rendered(spec, how)
    if out is not None:
        write_atomic(out, data)
    else:
        sys.stdout.buffer.write(data)


def _rendered(spec: ScenarioSpec | TopologySpec, how: Format) -> bytes:
    """Write a spec, or the graph of its topology, in a format for other programs."""
    from factorysim.load.dump import dump_spec

    if how is Format.yaml:
        return dump_spec(spec).encode()
    from factorysim.spec.topology import TopologySpec

    if how is Format.json and not isinstance(spec, TopologySpec):
        data = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        return (json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    from factorysim.graph.exchange import write_graphml, write_node_link

    graph = _graph(spec)
    if how is Format.graphml:
        return write_graphml(graph).encode()
    return write_node_link(graph).encode()


def _picture(name: str, spec: ScenarioSpec | TopologySpec, how: Format) -> bytes:
    """Draw the factory of a spec; what of a scenario does not fit is told beside the picture."""
    from factorysim.graph.build import build_graph
    from factorysim.report.factory_figure import factory_bytes
    from factorysim.report.factory_layout import layout_factory
    from factorysim.report.factory_plan import layout_of_plan
    from factorysim.run.prepare import build_plan
    from factorysim.spec.topology import TopologySpec

    topology, catalog = _parts(spec)
    if isinstance(spec, TopologySpec):
        layout = layout_factory(build_graph(topology, catalog))
    else:
        try:
            layout = layout_of_plan(build_plan(spec, catalog), topology, catalog)
        except CapacityError as error:
            layout = layout_factory(build_graph(topology, catalog))
            print(printable(f"{name}: drawn without its deployments: {error}"), file=sys.stderr)
    return factory_bytes(layout, how.value, title=name)


def _graph(spec: ScenarioSpec | TopologySpec) -> Any:  # noqa: ANN401 - networkx loads late
    from factorysim.graph.build import build_graph

    topology, catalog = _parts(spec)
    return build_graph(topology, catalog)


def _parts(spec: ScenarioSpec | TopologySpec) -> tuple[TopologySpec, Any]:
    """Return the topology of a spec, and the catalog that it is read with."""
    from factorysim.catalog import load_catalog
    from factorysim.spec.topology import TopologySpec

    if isinstance(spec, TopologySpec):
        return spec, load_catalog()
    assert isinstance(spec.topology, TopologySpec), "a loaded scenario has its topology in place"
    return spec.topology, load_catalog(Path(spec.catalog) if spec.catalog else None)


def _print_text(spec: ScenarioSpec | TopologySpec) -> None:
    from rich.console import Console

    from factorysim.report.files import spec_report

    console = Console(highlight=False, markup=False)
    for part in spec_report(spec, *_parts(spec)):
        console.print(part)


def _text(spec: ScenarioSpec | TopologySpec) -> str:
    import io

    from rich.console import Console

    from factorysim.report.files import spec_report

    console = Console(file=io.StringIO(), highlight=False, markup=False, width=120)
    with console.capture() as captured:
        for part in spec_report(spec, *_parts(spec)):
            console.print(part)
    return captured.get()


def schema(
    kind: Annotated[
        str, typer.Argument(help="scenario, topology, site, agent, twin or fstrace.")
    ] = "scenario",
) -> None:
    """Print the JSON Schema of a kind of file, for editors."""
    from factorysim.spec.agent import AgentSpec
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.shape import either, nearest
    from factorysim.spec.site import SiteSpec
    from factorysim.spec.topology import TopologySpec
    from factorysim.spec.twin import TwinSpec

    kinds: dict[str, type[Spec]] = {
        "scenario": ScenarioSpec,
        "topology": TopologySpec,
        "site": SiteSpec,
        "agent": AgentSpec,
        "twin": TwinSpec,
    }
    if kind == "fstrace":
        from factorysim.workload.fsschema import fstrace_schema

        print(json.dumps(fstrace_schema(), indent=2))
        return
    if kind not in kinds:
        known = (*kinds, "fstrace")
        cure = nearest(kind, known)
        raise SpecError(Fault("schema", "KIND", repr(kind), f"one of {either(known)}", cure))
    print(json.dumps(file_schema(kinds[kind]), indent=2))


def file_schema(model: type[Spec]) -> dict[str, Any]:
    """Make the JSON Schema of a file: `schema` first and required, `extends` allowed."""
    made = model.model_json_schema(by_alias=True)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    properties = made["properties"]
    extends = {"type": "string", "description": "A file or shipped name that this one changes."}
    made["properties"] = {"schema": properties.pop("schema"), "extends": extends, **properties}
    # What a file extends may hold the keys that it leaves out.
    required = [key for key in made.pop("required", []) if key != "schema"]
    made["required"] = ["schema"]
    if required:
        made["anyOf"] = [{"required": ["extends"]}, {"required": required}]
    return made


def check_file(path: Path, inputs: Sequence[Path | None] = ()) -> None:
    """Refuse early a place where `write_atomic` would fail at the end of long work.

    Parameters
    ----------
    inputs
        Files that the work reads, which must not be written over.

    Raises
    ------
    OutputError
        If the place is a directory, in no directory or in one that is not ours to write
        to, or one of the inputs.
    """
    from tempfile import TemporaryFile

    from factorysim.store.folder import writing

    with writing(path):
        if path.exists() and not path.is_file():
            raise IsADirectoryError(21, "Is a directory")
        TemporaryFile(dir=path.parent).close()
        same = path.exists() and any(
            other is not None and other.exists() and path.samefile(other) for other in inputs
        )
    if same:
        cure = "It would be written over: choose another place."
        raise OutputError(Fault(str(path), "", "a file that is read", "a place to write", cure))


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, and rename it when it is whole.

    Raises
    ------
    OutputError
        If the place cannot be written; nothing is left behind.
    """
    import os
    import tempfile

    from factorysim.store.folder import writing

    with writing(path):
        if path.exists() and not path.is_file():
            raise IsADirectoryError(21, "Is a directory")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        staged = Path(name)
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(data)
            mask = os.umask(0)
            os.umask(mask)
            staged.chmod(0o666 & ~mask)
            staged.replace(path)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
