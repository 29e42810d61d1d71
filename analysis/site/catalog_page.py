"""The keys of the catalog's records, and the records that ship."""

from __future__ import annotations

from collections.abc import Iterator

from pieces import MADE, cell, code, table

from factorysim.catalog import load_catalog
from factorysim.catalog.shape import Shape
from factorysim.catalog.shipped import Tree
from factorysim.catalog.trees import is_branch

INTRO = """\
What may stand in a file of `schema: factorysim.catalog/1` ([how to write
one](../how-to/device.md), [what a fact is](../catalog.md)), with the unit in which facts are
held, and the records that ship. `factorysim catalog show ID` prints one of them with its sources.
"""
RECORDS = ("accelerators", "cpus", "network", "racks", "llms", "sites", "runtimes")


def page() -> str:
    """Tell each section's keys and ids."""
    sections = load_catalog().sections
    parts = [_section(kind, sections) for kind in RECORDS if kind in sections]
    return "\n".join((f"{MADE}# Catalog entries\n\n{INTRO}", *parts))


def _section(kind: str, sections: dict[str, Tree]) -> str:
    shape = Shape(kind, sections)
    rows = list(_keys(shape, (kind, "any")))
    records = [
        (code(key), cell(str(record["name"])))
        for key, record in sections[kind].items()
        if is_branch(record) and "name" in record
    ]
    return (
        f"## {kind}\n\n{table(('Key', 'Holds'), rows)}\n"
        f"Shipped:\n\n{table(('Id', 'Name'), records)}"
    )


def _keys(shape: Shape, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Walk the keys below a path, with the unit of each leaf."""
    for key in shape.keys(path):
        here = (*path, key)
        name = code(".".join(here[2:]))
        unit = shape.unit(here)
        if unit is not None:
            yield name, f"a fact in {code(unit)}" if unit else "a fact"
        elif shape.is_word(here):
            yield name, "text, a list of texts, or true or false"
        elif shape.is_map(here):
            yield from _keys(shape, here)
