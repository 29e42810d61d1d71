"""Columns of a run directory, one replication at a time: no more is held than one needs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.metrics.inputs import Window
from factorysim.records import TABLES
from factorysim.store import as_columns, join_columns, read_replication

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from factorysim.run import Run
    from factorysim.store import Columns


class Place(NamedTuple):
    """A deployment, as its manifest says."""

    name: str
    pool: str
    serves: bool
    """Whether it serves an LLM; else it runs tools."""
    first_replica: int
    replicas: int
    devices: float
    """Serving devices, or cores of tool hosts."""
    kv_blocks: int
    """Of one replica."""
    max_sequences: int


class Source:
    """A run directory as charts read it.

    Parameters
    ----------
    run
        That `open_run` has checked, or `simulate` has just written.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.manifest: dict[str, Any] = run.manifest

    @property
    def replications(self) -> list[int]:
        """Numbers of the replications that finished."""
        return [int(one["replication"]) for one in self.manifest["replications"]]

    def end_s(self, replication: int) -> float:
        """When a replication ended."""
        found = self.manifest["replications"]
        return float(next(one["end_s"] for one in found if one["replication"] == replication))

    @property
    def window(self) -> Window:
        """What is measured."""
        return Window(**self.manifest["window"])

    @property
    def streams(self) -> list[str]:
        """Names, in the order of the scenario."""
        return list(self.manifest["slo"])

    @cached_property
    def places(self) -> list[Place]:
        """Deployments, in order of their replicas."""
        return [
            Place(
                one["name"], one["pool"], one["kind"] == "serve", one["first_replica"],
                one["replicas"], one["capacity"], one["kv_blocks"], one["max_sequences"],
            )
            for one in self.manifest["layout"]["stations"]
        ]  # fmt: skip

    def columns(self, table: str, names: Sequence[str], replication: int) -> Columns:
        """Columns of one replication, whole."""
        return join_columns(self.groups(table, names, replication), self._empty(table, names))

    def groups(self, table: str, names: Sequence[str], replication: int) -> Iterator[Columns]:
        """Columns of one replication, a row group at a time."""
        return read_replication(self.run.path / f"{table}.parquet", names, replication)

    def rows(self, table: str) -> int:
        """Rows of a table, of all replications."""
        from factorysim.store import count_rows

        return count_rows(self.run.path / f"{table}.parquet")

    def _empty(self, table: str, names: Sequence[str]) -> Columns:
        import pyarrow.parquet as pq

        assert table in TABLES, "tables of rows have replications"
        schema = pq.read_schema(self.run.path / f"{table}.parquet")
        held = [name for name in names if name in schema.names]
        return as_columns(schema.empty_table().select(held))
