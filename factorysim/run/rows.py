"""Tables of a run, read once: hashed, and held to what their readers rely on.

Whoever changes a table can seal the run again: a hash does not tell what no run writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.errors import Fault
from factorysim.marked import shown
from factorysim.run.row_check import Check, Known
from factorysim.run.tables import OF_SOME, schema_of
from factorysim.store import content_hash, table_parts

if TYPE_CHECKING:
    import pyarrow as pa


def read_through(place: Path, known: Known, cure: str) -> tuple[str, list[Fault]]:
    """Hash a table, and say on the way what no run wrote.

    Returns
    -------
    The content hash, blank where the columns are not those of the table: then nothing
    else of it was read.

    Raises
    ------
    OSError, pyarrow.ArrowException
        If it cannot be read.
    """
    parts = table_parts(place)
    table = place.stem
    empty = next(parts)
    columns = list(_columns(empty.schema, table))
    if columns:
        return "", [Fault(str(place), *told, cure) for told in columns]
    check = Check(table, known)
    found = content_hash(chain([empty], check.passing(parts)))
    told = [*check.told(), *_statistics(place, check.groups)]
    return found, [Fault(str(place), *one, cure) for one in told]


def _columns(found: pa.Schema, table: str) -> Iterable[tuple[str, str, str]]:
    """Compare columns with those that are written: key, found, expected."""
    wanted = schema_of(table)
    for name in dict.fromkeys(found.names):
        if name not in wanted.names:
            yield shown(name), "a column that is no table's", f"a column of {table}"
        elif found.names.count(name) > 1:
            yield name, f"{found.names.count(name)} columns", "one"
        elif found.field(name).type != wanted.field(name).type:
            yield name, str(found.field(name).type)[:60], str(wanted.field(name).type)
    for name in wanted.names:
        if name not in found.names and name not in OF_SOME:
            yield name, "no such column", str(wanted.field(name).type)


def _statistics(
    place: Path, groups: Sequence[tuple[int | None, int | None]]
) -> Iterator[tuple[str, str, str]]:
    """Hold what a file says of its row groups to what is in them: readers pass over groups by it.

    No hash of values covers it.
    """
    import pyarrow.parquet as pq

    about = pq.read_metadata(place)
    column = about.schema.names.index("replication")
    for number, ends in enumerate(groups):
        told = about.row_group(number).column(column).statistics
        if told is not None and told.has_min_max and (told.min, told.max) != ends:
            found = f"{told.min} to {told.max} told of row group {number + 1}"
            yield "replication", found, f"{ends[0]} to {ends[1]}, as in its rows"
            return
