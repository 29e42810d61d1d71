"""Columns of one replication, however the file is cut into row groups."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factorysim.store import Labels, as_columns, join_columns, read_replication

ROWS = 90
TABLE = pa.table(
    {
        "replication": pa.array(np.repeat([0, 1, 2], ROWS // 3), pa.int32()),
        "value": pa.array(np.arange(ROWS, dtype=float)),
        "word": pa.array([f"w{n // 7}" for n in range(ROWS)]).dictionary_encode(),
    }
)


def read(path, replication, names=("value", "word", "absent")):
    empty = as_columns(TABLE.slice(0, 0).select(["value", "word"]))
    return join_columns(read_replication(path, names, replication), empty)


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("size", [7, 10, 30, 45, ROWS])
def test_all_rows_of_one_and_no_other_are_read(tmp_path, size, statistics):
    pq.write_table(TABLE, tmp_path / "t", row_group_size=size, write_statistics=statistics)
    for replication in range(3):
        found = read(tmp_path / "t", replication)
        mine = np.arange(30.0) + 30 * replication
        assert list(found) == ["value", "word"]
        assert found["value"].tolist() == mine.tolist()
        words = [found["word"].words[code] for code in found["word"].codes]
        assert words == [f"w{int(n) // 7}" for n in mine]


def test_a_replication_of_no_row_is_empty(tmp_path):
    pq.write_table(TABLE, tmp_path / "t", row_group_size=30)
    found = read(tmp_path / "t", 7)
    assert len(found["value"]) == 0
    assert len(found["word"].codes) == 0


def test_words_that_differ_between_groups_keep_their_rows():
    parts = [
        {"word": Labels(np.array([0, 1], np.int32), ("a", "b"))},
        {"word": Labels(np.array([1, 0, 1], np.int32), ("b", "c"))},
        {"word": Labels(np.zeros(0, np.int32), ())},
    ]
    joined = join_columns(parts, {})["word"]
    assert [joined.words[code] for code in joined.codes] == ["a", "b", "c", "b", "c"]
    assert joined.equal("b").tolist() == [False, True, False, True, False]
