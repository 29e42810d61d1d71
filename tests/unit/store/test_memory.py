"""A sink in memory gives what files give."""

import numpy as np

from factorysim.records import TABLES, CallRow
from factorysim.store import Labels, MemorySink, ParquetSink, read_columns

ROWS = [
    CallRow(
        number, 7, "code", "serve", 0, outcome, 0.5, 0.6, None, first, None, None, 100, 40, 60, 0,
        3, 10, 1, 0.0,
    )
    for number, outcome, first in ((0, "completed", 1.25), (1, "censored", None))
]  # fmt: skip


def test_columns_are_those_of_the_files(tmp_path):
    memory = MemorySink()
    with ParquetSink(tmp_path, 0) as files:
        for sink in (memory, files):
            sink.rows("calls", list(ROWS[:1]))
            sink.rows("calls", list(ROWS[1:]))
    kept = memory.columns("calls")
    written = read_columns(tmp_path / "calls.parquet", CallRow._fields)
    assert list(kept) == list(written)
    for name, column in written.items():
        if isinstance(column, Labels):
            assert kept[name].words == column.words
            assert kept[name].codes.tolist() == column.codes.tolist()
        else:
            np.testing.assert_array_equal(kept[name], column)


def test_empty_tables_have_their_columns():
    sink = MemorySink()
    for table, row in TABLES.items():
        columns = sink.columns(table)
        assert tuple(columns) == row._fields
        assert all(len(c.codes if isinstance(c, Labels) else c) == 0 for c in columns.values())
