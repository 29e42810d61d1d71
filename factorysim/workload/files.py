"""Agent and tool files as checked specs, with every fault at its line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from factorysim.errors import Fault, SpecError
from factorysim.marked import Marked, dotted, shown
from factorysim.spec.base import Spec
from factorysim.yaml_reader import read_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
    try:
        return spec.model_validate(marked.plain())
    except ValidationError as error:
        raise SpecError(*(_fault(entry, marked) for entry in error.errors())) from None


def _fault(error: ErrorDetails, marked: Marked) -> Fault:
    """Tell one fault that pydantic found."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    found = "an unknown key" if error["type"] == "extra_forbidden" else shown(error["input"])
    expected = str(error["msg"]).removeprefix("Value error, ")
    return Fault(str(marked.nearest(path)), dotted(path), found, expected)
