"""Content hashes: of values, not of how they lie in a file.

Two tables hash alike when they hold the same values in the same order, whatever
their chunks, dictionaries, compression, or the number of workers that made them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def table_hash(path: Path) -> str:
    """`content_hash` of a Parquet file, a row group at a time."""
    return content_hash(table_parts(path))


def table_parts(path: Path) -> Iterator[pa.Table]:
    """Give a Parquet file a row group at a time, after a part without rows: its columns."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield file.schema_arrow.empty_table()
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def content_hash(tables: pa.Table | Iterable[pa.Table]) -> str:
    """SHA-256 over BLAKE2 hashes of the canonical values of a table, given whole or in parts.

    Canonical: dictionaries decoded, nulls as a list of rows beside zeroes, one NaN,
    no negative zero, numbers little-endian, strings as lengths and UTF-8.

    Examples
    --------
    >>> import pyarrow as pa
    >>> whole = pa.table({"x": [1, 2, None]})
    >>> content_hash(whole) == content_hash([whole.slice(0, 1), whole.slice(1)])
    True
    """
    import pyarrow as pa

    columns: dict[str, _ColumnHash] = {}
    for table in [tables] if isinstance(tables, pa.Table) else tables:
        for field, column in zip(table.schema, table.columns, strict=True):
            values = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
            hasher = columns.setdefault(field.name, _ColumnHash(str(values)))
            for chunk in column.chunks:
                hasher.update(chunk.cast(values) if values != chunk.type else chunk)
    digest = hashlib.sha256()
    for name, column_hash in columns.items():
        digest.update(f"{name}\x1f{column_hash.kind}\x1f{column_hash.hexdigest()}\x1e".encode())
    return digest.hexdigest()


class _ColumnHash:
    """The running hash of one column: of values, of where there are none, of lengths."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._rows = 0
        self._values = hashlib.blake2b(digest_size=32)
        self._nulls = hashlib.blake2b(digest_size=32)
        self._lengths = hashlib.blake2b(digest_size=32)

    def update(self, chunk: pa.Array[Any]) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if chunk.null_count:
            empty = np.flatnonzero(chunk.is_null().to_numpy(zero_copy_only=False))
            self._nulls.update((empty + self._rows).astype("<i8").tobytes())
        self._rows += len(chunk)
        if pa.types.is_string(chunk.type):
            filled = pc.fill_null(chunk, "")
            self._lengths.update(pc.binary_length(filled).to_numpy().astype("<i4").tobytes())
            self._values.update(_text(filled))
            return
        if pa.types.is_boolean(chunk.type):
            chunk = chunk.cast(pa.uint8())
        values = pc.fill_null(chunk, 0).to_numpy(zero_copy_only=False)
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), np.nan, values) + 0.0
        self._values.update(values.astype(values.dtype.newbyteorder("<")).tobytes())

    def hexdigest(self) -> str:
        parts = (self._values, self._nulls, self._lengths)
        return f"{self._rows}:" + ":".join(part.hexdigest() for part in parts)


def _text(strings: pa.Array[Any]) -> bytes:
    """UTF-8 of all strings of an array on end."""
    import numpy as np

    _, offsets, data = strings.buffers()
    if data is None or offsets is None:
        return b""
    ends = np.frombuffer(offsets, np.int32)
    first, last = ends[strings.offset], ends[strings.offset + len(strings)]
    return bytes(data.slice(first, last - first))


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, for inputs."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
