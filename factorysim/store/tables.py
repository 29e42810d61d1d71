"""Whole Parquet tables: merged from replications, written at once, read by column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from factorysim.records import TABLES
from factorysim.store.folder import writing
from factorysim.store.sink import parquet_options

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


def merge_tables(parts: Sequence[Path], folder: Path) -> None:
    """Put the tables of several replications into one file each, in the order given.

    Row groups are copied one by one, so memory does not grow with the parts. The
    result depends on the parts alone, not on who made them in which order.
    """
    import pyarrow.parquet as pq

    for table in TABLES:
        target = folder / f"{table}.parquet"
        schema = pq.read_schema(parts[0] / f"{table}.parquet")
        with writing(target), pq.ParquetWriter(target, schema, **parquet_options(schema)) as out:
            for part in parts:
                with pq.ParquetFile(part / f"{table}.parquet") as file:
                    for group in range(file.num_row_groups):
                        out.write_table(file.read_row_group(group))


def write_table(path: Path, table: pa.Table) -> None:
    """Write one table that fits in memory."""
    import pyarrow.parquet as pq

    with writing(path):
        pq.write_table(table, path, **parquet_options(table.schema))


class Labels(NamedTuple):
    """A column of words that repeat: their codes, and the words."""

    codes: npt.NDArray[np.int32]
    words: tuple[str, ...]

    def equal(self, word: str) -> npt.NDArray[np.bool_]:
        """Tell where the column holds `word`.

        Examples
        --------
        >>> import numpy as np
        >>> Labels(np.array([0, 1, 0], np.int32), ("a", "b")).equal("a").tolist()
        [True, False, True]
        """
        code = self.words.index(word) if word in self.words else -1
        same: npt.NDArray[np.bool_] = self.codes == code
        return same

    def where(self, mask: npt.NDArray[np.bool_]) -> Labels:
        """Pick the rows of a mask."""
        return Labels(self.codes[mask], self.words)


Column: TypeAlias = "npt.NDArray[Any] | Labels"
Columns: TypeAlias = "Mapping[str, Any]"
"""Columns by name: `Labels` for words, arrays for numbers (a null is NaN)."""


def read_columns(path: Path, names: Sequence[str]) -> Columns:
    """Read columns of a Parquet file; names that it does not hold are left out."""
    import pyarrow.parquet as pq

    held = [name for name in names if name in pq.read_schema(path).names]
    return as_columns(pq.read_table(path, columns=held))


def read_groups(path: Path, names: Sequence[str]) -> Iterator[Columns]:
    """Read columns a row group at a time, for tables that are larger than memory."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        held = [name for name in names if name in file.schema_arrow.names]
        for group in range(file.num_row_groups):
            yield as_columns(file.read_row_group(group, columns=held))


def read_replication(path: Path, names: Sequence[str], replication: int) -> Iterator[Columns]:
    """Read columns of one replication, a row group at a time.

    Row groups of others are passed over by their statistics. A file that another
    program has written again may hold several in one group: of that, rows are picked.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        held = [name for name in names if name in file.schema_arrow.names]
        place = file.schema_arrow.names.index("replication")
        for group in range(file.num_row_groups):
            known = file.metadata.row_group(group).column(place).statistics
            bounds = None if known is None or not known.has_min_max else (known.min, known.max)
            if bounds == (replication, replication):
                yield as_columns(file.read_row_group(group, columns=held))
            elif bounds is None or bounds[0] <= replication <= bounds[1]:
                columns = dict.fromkeys([*held, "replication"])
                yield _picked(file.read_row_group(group, columns=list(columns)), held, replication)


def _picked(table: pa.Table, names: Sequence[str], replication: int) -> Columns:
    """Pick the rows of one replication out of a row group of several."""
    import pyarrow.compute as pc

    mine = table.filter(pc.equal(table["replication"], replication))
    return as_columns(mine.select(names))


def join_columns(groups: Iterable[Columns], empty: Columns) -> Columns:
    """Put the columns of several row groups on end; `empty` where there is none."""
    import numpy as np

    parts = list(groups)
    if len(parts) <= 1:
        return parts[0] if parts else empty
    return {
        name: _joined([part[name] for part in parts])
        if isinstance(parts[0][name], Labels)
        else np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }


def _joined(parts: Sequence[Labels]) -> Labels:
    """Put columns of words on end, each with words of its own."""
    import numpy as np

    words = tuple(dict.fromkeys(word for part in parts for word in part.words))
    number = {word: code for code, word in enumerate(words)}
    codes = [
        np.array([number[word] for word in part.words] or [0], np.int32)[part.codes]
        for part in parts
    ]
    return Labels(np.concatenate(codes), words)


def count_rows(path: Path) -> int:
    """Count the rows of a table, by the file's own account."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def as_columns(table: pa.Table) -> Columns:
    """Columns of an Arrow table, without a Python object a row."""
    import pyarrow as pa

    columns: dict[str, Column] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            whole = column.unify_dictionaries().combine_chunks()
            whole = whole if isinstance(whole, pa.DictionaryArray) else whole.chunk(0)
            columns[name] = Labels(whole.indices.to_numpy(), tuple(whole.dictionary.to_pylist()))
        else:
            columns[name] = column.to_numpy()
    return columns
