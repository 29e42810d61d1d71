"""Tables of a run directory: which there are, their columns, and those that are not of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from factorysim.records import TABLES, EnergyLine
from factorysim.run.activity import NAMES, OF_EXPERTS, OF_PARTNERS
from factorysim.store import table_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from factorysim.run.replication import Outcome

TABLE_NAMES = (*TABLES, "metrics", "power")
"""Each is a file ``NAME.parquet``."""
OF_SOME = frozenset((*OF_PARTNERS, *OF_EXPERTS))
"""Columns that a run has or has not, by what is deployed."""


def schema_of(table: str) -> pa.Schema:
    """Give all columns of a table of a run directory, those `OF_SOME` runs too.

    Examples
    --------
    >>> schema_of("gaps").names
    ['replication', 'call', 'at_s', 'gap_s', 'cause']
    >>> [field.name for field in schema_of("metrics") if field.nullable]
    ['value', 'text', 'reason']
    """
    if table == "metrics":
        return _metrics_schema()
    if table == "power":
        return _power_schema()
    derived = (*NAMES, *OF_PARTNERS, *OF_EXPERTS) if table == "steps" else ()
    return table_schema(TABLES[table], derived)


def metrics_table(outcomes: Sequence[Outcome]) -> pa.Table:
    """Put every value of every replication into a table; text has a column of its own."""
    rows = [
        (
            outcome.replication,
            value.name,
            value.by,
            value.key,
            value.value if isinstance(value.value, float) else None,
            value.value if isinstance(value.value, str) else None,
            value.n,
            value.reason,
        )
        for outcome in outcomes
        for value in (outcome.metrics.values if outcome.metrics is not None else ())
    ]
    return _table(rows, _metrics_schema())


def power_table(outcomes: Sequence[Outcome]) -> pa.Table:
    """Put the joules of every rack over every replication into a table."""
    rows = [(one.replication, *line) for one in outcomes for line in one.closing.energy]
    return _table(rows, _power_schema())


def _metrics_schema() -> pa.Schema:
    import pyarrow as pa

    words = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            pa.field("replication", pa.int32(), nullable=False),
            pa.field("name", words, nullable=False),
            pa.field("by", words, nullable=False),
            pa.field("key", words, nullable=False),
            pa.field("value", pa.float64()),
            pa.field("text", pa.string()),
            pa.field("n", pa.int64(), nullable=False),
            pa.field("reason", pa.string()),
        ]
    )


def _power_schema() -> pa.Schema:
    import pyarrow as pa

    fields = [pa.field("replication", pa.int32(), nullable=False)]
    fields.append(pa.field("place", pa.string(), nullable=False))
    joules = EnergyLine._fields[1:]
    return pa.schema([*fields, *(pa.field(name, pa.float64(), nullable=False) for name in joules)])


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Turn rows into columns."""
    import pyarrow as pa

    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = []
    for field, values in zip(schema, columns, strict=True):
        words = pa.types.is_dictionary(field.type)
        plain = pa.array(values, pa.string() if words else field.type)
        arrays.append(plain.dictionary_encode() if words else plain)
    return pa.Table.from_arrays(arrays, schema=schema)
