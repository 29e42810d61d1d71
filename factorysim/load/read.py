"""From a file's name to its data with all that it refers to put in place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from factorysim.catalog import Catalog, load_catalog
from factorysim.errors import Fault, SpecError, UserError
from factorysim.load.check import is_yaml_name
from factorysim.load.files import Home, InputFile, Kind, find_file, home_of
from factorysim.load.merge import NewEntry, merge
from factorysim.marked import Mark, Marked, dotted, shown
from factorysim.spec.scenario import ScenarioSpec
from factorysim.spec.shape import nearest
from factorysim.spec.site import SiteSpec
from factorysim.yaml_reader import read_yaml

MAX_EXTENDS = 8
"""Files that may extend one another in a chain."""

KINDS: tuple[Kind, ...] = ("scenario", "topology", "site", "catalog", "agent", "twin")
"""Kinds of file that `schema:` may tell."""


@dataclass(slots=True)
class Reader:
    """Reads the files of one scenario, and gathers their faults."""

    faults: list[Fault] = field(default_factory=list)
    files: list[InputFile] = field(default_factory=list)
    homes: dict[str, Home] = field(default_factory=dict)
    """File as marks call it -> from where its references are read."""
    root: Path | None = None
    """Folder of the user's first file: those below it may refer to all of it."""
    made: list[NewEntry] = field(default_factory=list)
    """Entries that `--set` has added to the scenario's maps."""
    catalog: Catalog = field(default_factory=load_catalog)
    """Knows the sites."""

    def read(self, path: Path, name: str, kind: Kind, chain: tuple[Path, ...] = ()) -> Marked:
        """Read a file of a kind, with what it extends below it.

        Raises
        ------
        SpecError
            If the file, or one that it extends, cannot be read.
        """
        tree = read_yaml(path, name)
        check_schema(tree, kind)
        self.homes[name] = home_of(path, self.root)
        self.root = self.root or self.homes[name].root
        self.files.append(InputFile(kind, path))
        return self.extend(tree, kind, (*chain, path.resolve()))

    def extend(self, tree: Marked, kind: Kind, chain: tuple[Path, ...] = ()) -> Marked:
        """Lay a map over what its `extends:` names."""
        entries = dict(tree.entries())
        base = entries.pop("extends", None)
        if base is None:
            return tree
        over = replace(tree, value=entries)
        if len(chain) > MAX_EXTENDS:
            self._refuse(base, "extends", f"over {MAX_EXTENDS} files", "a shorter chain")
        below = self.reference(base, ("extends",), kind, chain)
        return merge(below, over) if below is not None else over

    def reference(
        self, node: Marked, path: tuple[str, ...], kind: Kind, chain: tuple[Path, ...] = ()
    ) -> Marked | None:
        """Read the file, or the catalog's site, that a value names; None if it names none."""
        if kind == "site" and isinstance(node.value, str) and not is_yaml_name(node.value):
            return self._site(node, node.value, dotted(path))
        found = self.find(node, path, kind)
        if found is None:
            return None
        if found.resolve() in chain:
            told = " -> ".join(file.name for file in (*chain, found))
            self._refuse(node, dotted(path), f"a cycle ({told})", "files that end somewhere")
        return self.read(found, _display(found), kind, chain)

    def find(self, node: Marked, path: tuple[str, ...], kind: Kind) -> Path | None:
        """Find the file that a value names; None, and a fault, if there is none."""
        where, key = str(node.mark), dotted(path)
        if not isinstance(node.value, str) or not node.value:
            fault = Fault(where, key, shown(node.plain()), f"the name of a {kind} file")
            self.faults.append(fault)
            return None
        home = self.homes.get(node.mark.file, Home(Path.cwd(), None))
        try:
            return find_file(node.value, kind, home, where, key)
        except SpecError as error:
            self.faults += error.faults
            return None

    def _refuse(self, node: Marked, key: str, found: str, expected: str) -> None:
        raise SpecError(*self.faults, Fault(str(node.mark), key, found, expected))

    def place(self, tree: Marked) -> Marked:
        """Put the topology and the site in the place of their names."""
        entries = dict(tree.entries())
        default = Marked(str(ScenarioSpec.model_fields["site"].default), Mark("the default"))
        kinds: tuple[Kind, ...] = ("topology", "site")
        for kind in kinds:
            node = entries.get(kind, default if kind == "site" else None)
            if node is not None and isinstance(node.value, str):
                placed = self.reference(node, (kind,), kind)
                entries[kind] = node if placed is None else replace(placed, mark=node.mark)
            elif node is not None and node.entries():
                entries[kind] = self.extend(node, kind)
        return replace(tree, value=entries)

    def _site(self, node: Marked, name: str, key: str) -> Marked | None:
        """Read a site of the catalog as if it were a file."""
        try:
            site = self.catalog.site(name)
        except UserError as error:
            where = str(node.mark)
            self.faults += [fault._replace(where=where, key=key) for fault in error.faults]
            return None
        spec = SiteSpec.model_validate(
            {
                "energy_price": f"{site.energy_price!r} {site.currency}/kWh",
                "carbon_intensity": f"{site.carbon_intensity!r} g/kWh",
                "pue": site.pue,
            }
        )
        dumped = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        return Marked({k: Marked(v, node.mark) for k, v in dumped.items()}, node.mark)

    def bind(self, tree: Marked) -> Marked:
        """Put the absolute path of each file of data in the place of its reference."""
        wanted: list[tuple[tuple[str, ...], Kind]] = [(("topology", "graph"), "graph")]
        wanted.append((("catalog",), "catalog"))
        laws = (("deployments", name, "law", "file") for name in _names(tree, "deployments"))
        wanted.extend((path, "table") for path in laws)
        for name in _names(tree, "streams"):
            wanted.append((("streams", name, "trace"), "trace"))
            wanted.append((("streams", name, "clients", "folder"), "clients"))
            agent = tree.find(("streams", name, "agent"))
            if agent is not None and isinstance(agent.value, str) and is_yaml_name(agent.value):
                wanted.append((("streams", name, "agent"), "agent"))
        for path, kind in wanted:
            node = tree.find(path)
            if node is None or not isinstance(node.value, str):
                continue
            found = self.find(node, path, kind)
            if found is not None:
                self.files.append(InputFile(kind, found))
                tree = _put(tree, path, str(found.resolve()))
        return tree


def check_schema(tree: Marked, kind: Kind | None = None) -> Kind:
    """Tell the kind of a file from its `schema:`.

    Raises
    ------
    SpecError
        If there is none, it is unknown or too new, or not the kind wanted.
    """
    known = [f"factorysim.{name}/1" for name in KINDS]
    expected = f"factorysim.{kind}/1" if kind is not None else f"one of {', '.join(known)}"
    if not tree.entries():
        found = shown(tree.plain())
        fault = Fault(str(tree.mark), "", found, f"keys, `schema:` first, which is {expected}")
        raise SpecError(fault)
    node = tree.entries().get("schema")
    if node is None or not isinstance(node.value, str):
        found = "nothing" if node is None else shown(node.plain())
        where = str((node or tree).mark)
        raise SpecError(Fault(where, "schema", found, expected, "say first what the file is"))
    name = node.value
    if name in known and (kind is None or name == expected):
        return KINDS[known.index(name)]
    stem, _, version = name.partition("/")
    cure = nearest(name, known if kind is None else [expected])
    if f"{stem}/1" in known and version.isdigit() and version != "1":
        cure = "it is of another version: this factorysim reads version 1"
    elif name in known:
        cure = f"{KINDS[known.index(name)]} files begin so; a {kind} is wanted here"
    raise SpecError(Fault(str(node.mark), "schema", shown(name), expected, cure))


def _names(tree: Marked, key: str) -> tuple[str, ...]:
    node = tree.find((key,))
    return tuple(node.entries()) if node is not None else ()


def _put(tree: Marked, path: tuple[str, ...], value: str) -> Marked:
    """Replace the text at a path that exists."""
    if not path:
        return replace(tree, value=value)
    key, *rest = path
    entries = dict(tree.entries())
    entries[key] = _put(entries[key], tuple(rest), value)
    return replace(tree, value=entries)


def _display(path: Path) -> str:
    """Name a file in messages: from the working folder, where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
