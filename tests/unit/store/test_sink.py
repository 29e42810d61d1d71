"""Rows in, Parquet out: types, nulls, chunks, and what happens when the disk is full."""

import errno

import numpy as np
import pyarrow.parquet as pq
import pytest

from factorysim.errors import OutputError
from factorysim.records import TABLES, CallRow, EventRow, GapRow, SampleRow
from factorysim.store import Derived, Labels, ParquetSink, read_columns, read_groups, table_hash
from factorysim.store import sink as sink_module


def call(i, **changes):
    row = CallRow(
        i, i // 2, "code", "decode", i % 4, "completed", float(i), i + 0.1, i + 0.2, i + 0.3,
        i + 1.0, i + 0.9, 512, 0, 512, 0, 128, 128, 0, 0.0,
    )  # fmt: skip
    return row._replace(**changes)


def test_every_table_has_a_file_with_its_columns(tmp_path):
    ParquetSink(tmp_path, 3).close()
    for table, row in TABLES.items():
        schema = pq.read_schema(tmp_path / f"{table}.parquet")
        assert schema.names == ["replication", *row._fields]


def test_a_chunk_of_one_new_word_keeps_its_word(tmp_path):
    size = sink_module.CHUNK_ROWS
    with ParquetSink(tmp_path, 3) as sink:
        for word in ("completed", "censored"):
            sink.rows("calls", [call(i, outcome=word) for i in range(size)])
    words = pq.read_table(tmp_path / "calls.parquet")["outcome"].to_pylist()
    assert words == ["completed"] * size + ["censored"] * size


def test_values_come_back_with_nulls_as_nulls(tmp_path):
    with ParquetSink(tmp_path, 3) as sink:
        sink.rows("calls", [call(0), call(1, finished_s=None, outcome="censored")])
    table = pq.read_table(tmp_path / "calls.parquet")
    assert table["replication"].to_pylist() == [3, 3]
    assert table["finished_s"].to_pylist() == [1.0, None]
    assert table["outcome"].to_pylist() == ["completed", "censored"]
    assert table["call"].to_pylist() == [0, 1]
    outcome = read_columns(tmp_path / "calls.parquet", ("outcome",))["outcome"]
    assert isinstance(outcome, Labels)
    assert outcome.equal("censored").tolist() == [False, True]
    assert outcome.equal("no such word").tolist() == [False, False]


def test_row_groups_are_bounded_and_words_survive_them(tmp_path, monkeypatch):
    monkeypatch.setattr(sink_module, "GROUP_ROWS", 100)
    monkeypatch.setattr(sink_module, "CHUNK_ROWS", 30)
    with ParquetSink(tmp_path, 0) as sink:
        sink.rows("events", [EventRow(float(i), f"kind-{i % 97}", "e", "d") for i in range(1000)])
    file = pq.ParquetFile(tmp_path / "events.parquet")
    assert max(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)) <= 130
    kinds = read_columns(tmp_path / "events.parquet", ("kind",))["kind"]
    assert [kinds.words[c] for c in kinds.codes] == [f"kind-{i % 97}" for i in range(1000)]
    groups = list(read_groups(tmp_path / "events.parquet", ("at_s", "kind")))
    assert sum(len(group["at_s"]) for group in groups) == 1000
    assert [g["kind"].words[c] for g in groups for c in g["kind"].codes][500] == "kind-15"


@pytest.mark.parametrize(("chunk", "group", "batch"), [(1, 1, 1), (7, 20, 3), (1000, 5000, 500)])
def test_the_same_hash_for_any_chunking(tmp_path, monkeypatch, chunk, group, batch):
    rows = [call(i, finished_s=None if i % 7 == 0 else i + 1.0) for i in range(100)]

    def written(name):
        folder = tmp_path / name
        folder.mkdir()
        with ParquetSink(folder, 0) as sink:
            for start in range(0, len(rows), batch):
                sink.rows("calls", rows[start : start + batch])
        return table_hash(folder / "calls.parquet")

    plain = written("plain")
    monkeypatch.setattr(sink_module, "CHUNK_ROWS", chunk)
    monkeypatch.setattr(sink_module, "GROUP_ROWS", group)
    assert written("chunked") == plain


def test_derived_columns_see_numbers_and_are_written(tmp_path):
    derived = Derived(("double",), lambda columns: {"double": columns["gap_s"] * 2})
    with ParquetSink(tmp_path, 0, {"gaps": derived}) as sink:
        sink.rows("gaps", [GapRow(1, 0.5, 0.25, "preemption")])
    assert read_columns(tmp_path / "gaps.parquet", ("double",))["double"].tolist() == [0.5]


def test_a_missing_column_is_left_out(tmp_path):
    ParquetSink(tmp_path, 0).close()
    assert "flops" not in read_columns(tmp_path / "steps.parquet", ("flops", "steps"))


class FullDisk:
    def __init__(self, *args, **options):
        pass

    def write_table(self, table):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        pass


def test_a_full_disk_is_told_as_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(pq, "ParquetWriter", FullDisk)
    sink = ParquetSink(tmp_path, 0)
    sink.rows("timeseries", [SampleRow(0.5, "power_w", "factory", 1.0)])
    with pytest.raises(OutputError, match="no space left on device"):
        sink.close()


def test_an_unwritable_folder_is_told_as_the_users(tmp_path):
    with pytest.raises(OutputError, match="no such file or directory"):
        ParquetSink(tmp_path / "missing", 0).close()


def test_rows_of_another_width_are_refused(tmp_path):
    sink = ParquetSink(tmp_path, 0)
    sink.rows("gaps", [(1, 0.5)])
    with pytest.raises(ValueError, match="shorter"):
        sink.close()
    sink.abort()


def test_counts_keep_their_64_bits(tmp_path):
    big = 2**62
    with ParquetSink(tmp_path, 0) as sink:
        sink.rows("gaps", [GapRow(big, 0.5, 0.25, "x")])
    assert read_columns(tmp_path / "gaps.parquet", ("call",))["call"].tolist() == [big]
    assert read_columns(tmp_path / "gaps.parquet", ("call",))["call"].dtype == np.int64
