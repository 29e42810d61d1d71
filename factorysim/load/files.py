"""Which file a reference means, and whether it may be read."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from factorysim.errors import Fault, SpecError, TraceError
from factorysim.marked import shown
from factorysim.resources import resource_names, resource_path, resource_root
from factorysim.spec.shape import nearest

if TYPE_CHECKING:
    from factorysim.resources import ResourceKind

Kind = Literal[
    "scenario",
    "topology",
    "site",
    "catalog",
    "agent",
    "twin",
    "trace",
    "clients",
    "table",
    "graph",
]

SHIPPED: dict[Kind, ResourceKind] = {"scenario": "scenarios", "topology": "topologies"}
"""Kinds of file that ship under a name."""

RESOLVED = ".resolved.yaml"
"""End of the name of a scenario that a run wrote: it names its data by absolute paths."""


class InputFile(NamedTuple):
    """A file that a scenario is made of or reads."""

    kind: Kind
    path: Path

    @property
    def sha256(self) -> str:
        """Hash of its bytes; of a folder, of the names and hashes of its files."""
        if self.path.is_dir():
            files = sorted(path for path in self.path.iterdir() if path.is_file())
            told = "".join(f"{one.name} {InputFile(self.kind, one).sha256}\n" for one in files)
            return hashlib.sha256(told.encode()).hexdigest()
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class Home(NamedTuple):
    """From where the references of a file are read, and how far they may lead."""

    folder: Path
    root: Path | None
    """Nothing above it may be read; None where the user names the file himself."""


def home_of(path: Path, outer: Path | None = None) -> Home:
    """Tell where the references of a file lead: its folder, or that of shipped files.

    Parameters
    ----------
    outer
        Folder of the file that refers to it, which may be wider.
    """
    folder = path.resolve().parent
    roots = [resource_root(kind).resolve() for kind in ("scenarios", "topologies")]
    for root in (*roots, outer):
        if root is not None and folder.is_relative_to(root):
            return Home(folder, root)
    return Home(folder, None if path.name.endswith(RESOLVED) else folder)


def find_file(name: str, kind: Kind, home: Home, where: str = "", key: str = "") -> Path:
    """Find the file that a reference names.

    A shipped name comes before a file of the same name, so that what a scenario
    means does not depend on what lies beside it.

    Raises
    ------
    SpecError
        If there is none, it lies outside the folders that may be read, or it is
        no regular file (nor, of a trace or of clients, a folder of them); the fault
        stands at `where` and `key`.
    """
    shipped = SHIPPED.get(kind)
    if shipped is not None and name in resource_names(shipped):
        return resource_path(shipped, name)
    try:
        path = (home.folder / Path(name).expanduser()).resolve()
        mode = path.stat().st_mode
    except (OSError, ValueError, RuntimeError):
        raise SpecError(Fault(where, key, *_missing(name, kind))) from None
    if home.root is not None and not _inside(path, home.root):
        cure = "files are read from the scenario's own folder alone; "
        cure += "name another on the command line with --set"
        expected = f"{_a(kind)} file below {home.root}"
        raise SpecError(Fault(where, key, shown(name), expected, cure))
    if kind == "clients" and not _holds_clients(path):
        expected = "a folder of chunk-N-trace.csv files"
        raise SpecError(Fault(where, key, shown(name), expected, "it is ServeGen's form"))
    if kind != "clients" and not stat.S_ISREG(mode) and not _is_trace(kind, path):
        found = f"{shown(name)}, which is no regular file"
        raise SpecError(Fault(where, key, found, f"{_a(kind)} file"))
    return path


def _a(kind: Kind) -> str:
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


def _inside(path: Path, root: Path) -> bool:
    roots = (root, resource_root("scenarios").resolve(), resource_root("topologies").resolve())
    return any(path.is_relative_to(folder) for folder in roots)


def _holds_clients(path: Path) -> bool:
    """Tell a folder of clients from another."""
    from factorysim.workload.servegen import client_files

    try:
        return path.is_dir() and bool(client_files(path))
    except (TraceError, OSError):
        return False


def _is_trace(kind: Kind, path: Path) -> bool:
    """Tell a folder of sessions, each a file, from what is no trace."""
    from factorysim.workload.readers.weka import weka_files

    try:
        return kind == "trace" and path.is_dir() and bool(weka_files(path))
    except (TraceError, OSError):
        return False


def _missing(name: str, kind: Kind) -> tuple[str, str, str]:
    """Tell that there is no such file: found, expected, cure."""
    shipped = SHIPPED.get(kind)
    if shipped is None:
        wanted = "a folder of clients" if kind == "clients" else f"{_a(kind)} file"
        return f"{shown(name)}, which does not exist", wanted, "check the path"
    names = resource_names(shipped)
    cure = f"{nearest(name, names)} shipped: {', '.join(names) or 'none'}".strip()
    return shown(name), f"{_a(kind)} file, or the name of a shipped one", cure
