"""Users' files in, checked specs out: the only reader of what a user writes in YAML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from factorysim.catalog import Catalog, load_catalog
from factorysim.errors import Fault, SpecError, UserError
from factorysim.load.check import check_scenario, check_topology
from factorysim.load.dump import dump_spec
from factorysim.load.files import Home, InputFile, find_file
from factorysim.load.merge import check_path, lay_override
from factorysim.load.merge import get_path as get_path
from factorysim.load.read import Reader
from factorysim.load.read import check_schema as check_schema
from factorysim.marked import Mark, Marked
from factorysim.spec.base import Spec
from factorysim.spec.faults import sort_faults, spec_faults
from factorysim.spec.scenario import ScenarioSpec
from factorysim.spec.site import SiteSpec
from factorysim.spec.topology import TopologySpec
from factorysim.yaml_reader import parse_yaml
from factorysim.yaml_reader import read_yaml as read_yaml

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario, resolved, and the files that it was read from."""

    scenario: ScenarioSpec
    """Topology and site in place; files of data by absolute path."""
    path: Path
    files: tuple[InputFile, ...]
    """Every input file; each tells its SHA-256."""
    tree: Marked = field(repr=False)
    """What was checked, with the lines that it comes from."""

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Give faults of the plan, which knows keys alone, the lines of their keys.

        Raises
        ------
        UserError
            That of the body, of the same class.
        """
        try:
            yield
        except UserError as error:
            raise type(error)(*map(self._located, error.faults)) from error

    def _located(self, fault: Fault) -> Fault:
        if fault.where not in ("scenario", "topology"):
            return fault
        key = f"topology.{fault.key}" if fault.where == "topology" else fault.key
        return fault._replace(where=str(self.tree.nearest(key.split("."))), key=key)


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> ScenarioSpec:
    """Load a scenario with all that it extends and refers to.

    Parameters
    ----------
    name_or_path
        A shipped scenario's name, or a file.
    overrides
        ``a.b=value`` each, laid over the file in turn; values are YAML.

    Raises
    ------
    SpecError
        With every fault of every file.

    Examples
    --------
    >>> load("quickstart", ["run.replications=2"]).run.replications
    2
    """
    return load_scenario(name_or_path, overrides).scenario


def load_scenario(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """Load as `load` does, and keep what tells where in its files a fault lies."""
    reader = Reader()
    path = find_file(str(name_or_path), "scenario", Home(Path.cwd(), None), str(name_or_path))
    tree = reader.read(path, _name_of(name_or_path, path), "scenario")
    _set_catalog(reader, tree, overrides)
    tree = _overridden(reader, reader.place(tree), overrides)
    scenario = _checked(reader, tree)
    return Loaded(scenario, path, tuple(dict.fromkeys(reader.files)), tree)


def override(scenario: ScenarioSpec, changes: Mapping[str, object]) -> ScenarioSpec:
    """Set dotted paths of a resolved scenario, as ``--set`` and studies do.

    Parameters
    ----------
    changes
        Dotted path -> value, as YAML would hold it (quantities as text).

    Raises
    ------
    SpecError
        If a path does not exist, or the result is no valid scenario.
    """
    import json

    reader = Reader()
    tree = parse_yaml(dump_spec(scenario), "scenario")
    reader.homes["scenario"] = Home(Path.cwd(), None)
    _set_catalog(reader, tree, ())
    texts = [f"{path}={json.dumps(value)}" for path, value in changes.items()]
    return _checked(reader, _overridden(reader, reader.place(tree), texts))


def check_paths(scenario: ScenarioSpec, paths: Iterable[str]) -> None:
    """Refuse dotted paths that lead nowhere, whatever value is meant for them.

    Raises
    ------
    SpecError
        With every one that does not exist.
    """
    tree = parse_yaml(dump_spec(scenario), "scenario")
    faults: list[Fault] = []
    for path in paths:
        try:
            check_path(path.split("."), ScenarioSpec, tree)
        except SpecError as error:
            faults += error.faults
    if faults:
        raise SpecError(*faults)


def load_topology(name_or_path: str | Path, catalog: Catalog | None = None) -> TopologySpec:
    """Load a topology: a shipped one's name, or a file.

    Raises
    ------
    SpecError
        With every fault of the file, ids of the catalog included.
    """
    reader = Reader()
    path = find_file(str(name_or_path), "topology", Home(Path.cwd(), None), str(name_or_path))
    tree = reader.read(path, _name_of(name_or_path, path), "topology")
    holder = reader.bind(Marked({"topology": tree}, tree.mark))
    tree = holder.entries()["topology"]
    reader.faults += check_topology(tree, catalog or reader.catalog)
    return _valid(reader, TopologySpec, tree)


def load_site(name_or_path: str | Path) -> SiteSpec:
    """Load a site: one of the catalog, or a file.

    Raises
    ------
    SpecError
        With every fault of the file.
    """
    reader = Reader()
    node = Marked(str(name_or_path), Mark("site"))
    placed = reader.place(Marked({"site": node}, node.mark)).entries()["site"]
    if reader.faults:
        raise SpecError(*reader.faults)
    return _valid(reader, SiteSpec, placed)


def dump_scenario(spec: ScenarioSpec) -> str:
    """Write a scenario as canonical YAML, which loads to an equal one."""
    return dump_spec(spec)


def _name_of(given: str | Path, path: Path) -> str:
    """Name a file in messages as the user did; a shipped one by its path."""
    return str(given) if Path(given).suffix in (".yaml", ".yml") else str(path)


def _set_catalog(reader: Reader, tree: Marked, overrides: Sequence[str]) -> None:
    """Load the overlay of the catalog that `--set`, or else the scenario, names."""
    node = tree.entries().get("catalog")
    for text in overrides:
        key, _, value = text.partition("=")
        if key.strip() == "catalog":
            node = parse_yaml(value, "--set catalog")
    if node is None or node.value is None:
        return
    path = reader.find(node, ("catalog",), "catalog")
    if path is None:
        raise SpecError(*reader.faults)
    reader.catalog = load_catalog(path)


def _overridden(reader: Reader, tree: Marked, overrides: Sequence[str]) -> Marked:
    for text in overrides:
        try:
            tree, made = lay_override(text, ScenarioSpec, tree)
        except SpecError as error:
            reader.faults += error.faults
            continue
        reader.made += [made] if made is not None else []
        tree = reader.place(tree)
    return tree


def _checked(reader: Reader, tree: Marked) -> ScenarioSpec:
    tree = reader.bind(tree)
    told = {fault.key for fault in reader.faults}
    if "extends" not in told:  # else much that is referred to would be in the other file
        found = check_scenario(tree, reader.catalog)
        reader.faults += [fault for fault in found if fault.key not in told]
    return _valid(reader, ScenarioSpec, tree)


def _valid(reader: Reader, model: type[S], tree: Marked) -> S:
    """Turn data into a spec, or tell its faults and those found before."""
    try:
        spec = model.model_validate(tree.plain())
    except ValidationError as error:
        found = spec_faults(error, model, tree)
        if any(fault.key == "extends" for fault in reader.faults):
            found = [fault for fault in found if fault.found != "nothing"]  # so would these
        reader.faults += found
    else:
        if not reader.faults:
            return spec
    faults = list(dict.fromkeys(reader.faults))
    for made in reader.made:
        faults = made.told(faults)
    raise SpecError(*sort_faults(faults))
