"""Agent and tool files as checked specs, with every fault at its line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar, get_args

from factorysim.errors import Fault, SpecError
from factorysim.marked import shown
from factorysim.spec import faults
from factorysim.spec.base import Spec
from factorysim.yaml_reader import read_yaml

CATALOG = Path(__file__).resolve().parent.parent / "catalog"
"""Where the shipped files are."""

S = TypeVar("S", bound=Spec)


def read_spec(path: Path, spec: type[S], name: str | None = None) -> S:
    """Read a YAML file as a spec.

    Raises
    ------
    SpecError
        With every fault of the file.
    """
    marked = read_yaml(path, name)
    if not marked.entries():
        found = shown(marked.plain())
        raise SpecError(Fault(str(marked.mark), "", found, f"keys, beginning with {_first(spec)}"))
    return faults.read_spec(spec, marked)


def _first(spec: type[Spec]) -> str:
    """Say how a file of this kind begins."""
    schema = get_args(spec.model_fields["schema_"].annotation)[0]
    return f"`schema: {schema}`"
