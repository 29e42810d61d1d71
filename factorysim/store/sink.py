"""A sink that turns rows into Parquet as they come: memory follows one row group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.records import CHUNK_ROWS, TABLES, StepChunk
from factorysim.store.folder import writing
from factorysim.store.schema import columns_of, table_schema

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

GROUP_ROWS = 131_072
"""Rows of a Parquet row group."""


class Derived(NamedTuple):
    """Columns that follow from the others of their table, all float64."""

    names: tuple[str, ...]
    compute: Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, npt.NDArray[np.float64]]]
    """From the numeric columns of a chunk of rows to the columns named."""


class ParquetSink:
    """A `RecordSink` that writes one Parquet file a table into a folder.

    Parameters
    ----------
    folder
        Exists; gets ``TABLE.parquet`` for every table at `close`.
    replication
        Goes into the first column of every table.
    derived
        Table name -> columns added to it.

    Raises
    ------
    OutputError
        From `rows` and `close`, if the folder cannot be written or is full.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from factorysim.records import GapRow
    >>> from factorysim.store import read_columns
    >>> with tempfile.TemporaryDirectory() as name:
    ...     with ParquetSink(Path(name), 0) as sink:
    ...         sink.rows("gaps", [GapRow(3, 1.0, 0.25, "preemption")])
    ...     read_columns(Path(name) / "gaps.parquet", ("gap_s",))["gap_s"].tolist()
    [0.25]
    """

    def __init__(
        self, folder: Path, replication: int, derived: Mapping[str, Derived] | None = None
    ) -> None:
        derived = derived or {}
        self._tables = {
            name: _TableWriter(folder / f"{name}.parquet", row, replication, derived.get(name))
            for name, row in TABLES.items()
        }

    def rows(self, table: str, rows: list[tuple[object, ...]] | StepChunk) -> None:
        """Take many rows of one table, in order."""
        self._tables[table].add(rows)

    def close(self) -> None:
        """Write what is left; every table has a file afterwards, an empty one too."""
        for table in self._tables.values():
            table.close()

    def abort(self) -> None:
        """Close the files as they are: whoever owns the folder removes it."""
        for table in self._tables.values():
            table.abort()

    def __enter__(self) -> ParquetSink:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class _TableWriter:
    """Rows -> chunks of Arrow columns -> row groups of one file."""

    def __init__(self, path: Path, row: type, replication: int, derived: Derived | None) -> None:
        import pyarrow as pa

        self._path = path
        self._replication = replication
        self._derived = derived
        self._columns = columns_of(row)
        self._schema = table_schema(row, derived.names if derived is not None else ())
        self._words: dict[str, dict[str, int]] = {
            field.name: {} for field in self._schema if pa.types.is_dictionary(field.type)
        }
        self._rows: list[tuple[object, ...]] = []
        self._chunks: list[dict[str, pa.Array[Any]]] = []
        self._pending = 0
        self._writer: Any = None

    def add(self, rows: list[tuple[object, ...]] | StepChunk) -> None:
        if isinstance(rows, StepChunk):
            self._convert()
            self._append(self._with_derived({}, rows.columns), len(rows))
            return
        self._rows.extend(rows)
        if len(self._rows) >= CHUNK_ROWS:
            self._convert()

    def close(self) -> None:
        if self._rows:
            self._convert()
        self._flush()
        with writing(self._path):
            self._writer.close()

    def abort(self) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()

    def _convert(self) -> None:
        """Turn the rows at hand into typed columns, a slice at a time."""
        rows, self._rows = self._rows, []
        for start in range(0, len(rows), CHUNK_ROWS):
            part = rows[start : start + CHUNK_ROWS]
            self._append(self._chunk(part), len(part))

    def _append(self, chunk: dict[str, pa.Array[Any]], rows: int) -> None:
        self._chunks.append(chunk)
        self._pending += rows
        if self._pending >= GROUP_ROWS:
            self._flush()

    def _chunk(self, rows: list[tuple[object, ...]]) -> dict[str, pa.Array[Any]]:
        import numpy as np
        import pyarrow as pa

        chunk: dict[str, pa.Array[Any]] = {}
        numbers: dict[str, npt.NDArray[Any]] = {}
        for (name, kind, nullable), values in zip(
            self._columns, zip(*rows, strict=True), strict=True
        ):
            words = self._words.get(name)
            if words is not None:
                chunk[name] = _arrow(_codes(words, values))
            elif kind == "string" or nullable:
                chunk[name] = pa.array(values, getattr(pa, kind)())
            else:
                numbers[name] = np.fromiter(values, kind, len(rows))
        return self._with_derived(chunk, numbers)

    def _with_derived(
        self, chunk: dict[str, pa.Array[Any]], numbers: Mapping[str, npt.NDArray[Any]]
    ) -> dict[str, pa.Array[Any]]:
        """Add the columns of numbers, and those that follow from them."""
        chunk |= {name: _arrow(values) for name, values in numbers.items()}
        if self._derived is not None:
            more = self._derived.compute(numbers)
            chunk |= {name: _arrow(more[name]) for name in self._derived.names}
        return chunk

    def _flush(self) -> None:
        """Write the pending chunks as one row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = self._schema
        chunks, self._chunks, rows = self._chunks, [], self._pending
        self._pending = 0
        columns: list[Any] = [pa.array([self._replication], pa.int32()).take(pa.repeat(0, rows))]
        for field in list(schema)[1:]:
            words = self._words.get(field.name)
            parts = [chunk[field.name] for chunk in chunks]
            if words is None:
                columns.append(pa.chunked_array(parts, field.type))
                continue
            codes = pa.chunked_array(parts, pa.int32()).combine_chunks()
            vocabulary = pa.array(list(words), pa.string())
            columns.append(pa.DictionaryArray.from_arrays(codes, vocabulary))
        with writing(self._path):
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._path, schema, **parquet_options(schema))
            if rows:
                self._writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _codes(words: dict[str, int], values: tuple[str, ...]) -> npt.NDArray[np.int32]:
    """Turn a column of words into their numbers, new ones too; most chunks hold a single one."""
    import numpy as np

    first = values[0]
    if values.count(first) == len(values):
        return np.full(len(values), words.setdefault(first, len(words)), np.int32)
    for word in dict.fromkeys(values):
        words.setdefault(word, len(words))
    return np.fromiter(map(words.__getitem__, values), np.int32, len(values))


def _arrow(values: npt.NDArray[Any]) -> pa.Array[Any]:
    """Wrap an array, uncopied, and without what `pa.array` asks pandas first."""
    import numpy as np
    import pyarrow as pa

    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, data])


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """How every Parquet file of ours is written.

    Dictionaries are for strings: floats hardly repeat, and trying costs time. LZ4
    takes a third of the time of Zstandard here, for twice the bytes.
    """
    import pyarrow as pa

    words = [f.name for f in schema if pa.types.is_dictionary(f.type) or f.name == "replication"]
    return {"compression": "lz4", "use_dictionary": words}
