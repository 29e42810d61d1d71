"""Columns of a table of rows: names, Arrow types, and where there may be nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

_PLAIN = frozenset({"sid", "detail"})
"""Strings that hardly repeat: a dictionary would only grow."""
_KINDS: dict[object, tuple[str, bool]] = {
    int: ("int64", False),
    float: ("float64", False),
    str: ("string", False),
    int | None: ("int64", True),
    float | None: ("float64", True),
}


def columns_of(row: type) -> list[tuple[str, str, bool]]:
    """Name, Arrow type, and whether there may be nothing, of every field of a row.

    Examples
    --------
    >>> from factorysim.records import GapRow
    >>> columns_of(GapRow)[:2]
    [('call', 'int64', False), ('at_s', 'float64', False)]
    """
    return [(name, *_KINDS[hint]) for name, hint in get_type_hints(row).items()]


def table_schema(row: type, derived: Sequence[str] = ()) -> pa.Schema:
    """Give the columns of a table as it is stored: the replication, the row's, those derived.

    Words that repeat are dictionaries; what is derived is a number, always.

    Examples
    --------
    >>> from factorysim.records import GapRow
    >>> schema = table_schema(GapRow)
    >>> schema.names, str(schema.field("cause").type)
    (['replication', 'call', 'at_s', 'gap_s', 'cause'], 'dictionary<values=string, indices=int32, ordered=0>')
    """  # noqa: E501 - a type is written on one line
    import pyarrow as pa

    fields: list[Any] = [pa.field("replication", pa.int32(), nullable=False)]
    for name, kind, nullable in columns_of(row):
        kept = getattr(pa, kind)()
        if kind == "string" and name not in _PLAIN:
            kept = pa.dictionary(pa.int32(), kept)
        fields.append(pa.field(name, kept, nullable=nullable))
    fields += [pa.field(name, pa.float64(), nullable=False) for name in derived]
    return pa.schema(fields)
