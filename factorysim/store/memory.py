"""A sink that keeps its rows: for runs so short that files would be a detour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_type_hints

from factorysim.records import TABLES
from factorysim.store.tables import Column, Columns, Labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.records import StepChunk


class MemorySink:
    """A `RecordSink` that keeps every row, and gives tables as columns.

    Examples
    --------
    >>> from factorysim.records import GapRow
    >>> sink = MemorySink()
    >>> sink.rows("gaps", [GapRow(3, 1.0, 0.25, "preemption")])
    >>> sink.columns("gaps")["gap_s"].tolist(), sink.columns("gaps")["cause"].words
    ([0.25], ('preemption',))
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}

    def rows(self, table: str, rows: list[tuple[Any, ...]] | StepChunk) -> None:
        """Take many rows of one table, in order."""
        self._rows[table] += rows

    def columns(self, table: str) -> Columns:
        """Give a table: words as `Labels`, numbers as arrays, what is None as NaN."""
        hints = get_type_hints(TABLES[table])
        rows = self._rows[table]
        values = zip(*rows, strict=True) if rows else iter([()] * len(hints))
        return {
            name: _column(hint, column)
            for (name, hint), column in zip(hints.items(), values, strict=True)
        }


def _column(hint: object, values: Sequence[Any]) -> Column:
    import numpy as np

    if hint is str:
        codes = {word: code for code, word in enumerate(dict.fromkeys(values))}
        return Labels(np.array([codes[word] for word in values], np.int32), tuple(codes))
    return np.array(values, np.int64 if hint is int else np.float64)
