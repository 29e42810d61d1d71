"""What of a run is looked at: one replication, between two instants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.report.timeline.slices import nanoseconds
from factorysim.store import join_columns, read_replication

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.run import Run
    from factorysim.store import Columns

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


class View(NamedTuple):
    """One replication of a run, from one instant to another."""

    path: Path
    manifest: Mapping[str, Any]
    replication: int
    start_s: float
    stop_s: float
    end_s: float
    """Of the whole replication."""

    @property
    def whole(self) -> bool:
        """Whether nothing of the replication lies outside."""
        return self.start_s <= 0 and self.stop_s >= self.end_s

    @property
    def stations(self) -> list[Mapping[str, Any]]:
        """Deployments, as the manifest lists them."""
        stations: list[Mapping[str, Any]] = self.manifest["layout"]["stations"]
        return stations

    def groups(self, table: str, names: Sequence[str]) -> Iterator[Columns]:
        """Read columns of a table, a row group at a time."""
        return read_replication(self.path / f"{table}.parquet", names, self.replication)

    def inside(self, table: str, names: Sequence[str], since: str, until: str) -> Iterator[Columns]:
        """Read the rows that last into the window, or happen in it, a row group at a time.

        What never starts is left out; what never ends lasts until the run does.
        """
        for group in self.groups(table, names):
            yield picked(group, self.overlap(group[since], group[until]))

    def read(self, table: str, names: Sequence[str]) -> Columns:
        """Read columns of a table that is small, whole."""
        return join_columns(self.groups(table, names), no_rows(table, names))

    def until(self, finished_s: Floats) -> Floats:
        """Give what has not ended the end of the run."""
        import numpy as np

        return np.where(np.isnan(finished_s), self.end_s, finished_s)

    def overlap(self, since_s: Floats, until_s: Floats) -> Bools:
        """Tell what lasts into the window, or happens in it."""
        until_s = self.until(until_s)
        found: Bools = (since_s < self.stop_s) & (
            (until_s > self.start_s) | (since_s >= self.start_s)
        )
        return found

    def cut_ns(self, at_s: Floats) -> Ints:
        """Instants in ns, those outside of the window at its nearer edge."""
        import numpy as np

        return nanoseconds(np.clip(at_s, self.start_s, self.stop_s))


def look(
    run: Run,
    replication: int | None = None,
    start_s: float | None = None,
    stop_s: float | None = None,
) -> View:
    """Look at a replication of a run between two instants; without them, at all of the first.

    Raises
    ------
    SpecError
        If the run has no such replication, or nothing of it lies between.
    """
    ends = {one["replication"]: one["end_s"] for one in run.manifest["replications"]}
    if replication is None:
        replication = min(ends, default=0)
    end_s = ends.get(replication)
    if end_s is None:
        told = f"{len(ends)} in {run.path}: {min(ends)} to {max(ends)}" if ends else "none"
        fault = Fault("--replication", "", str(replication), f"one of the run's ({told})")
        raise SpecError(fault)
    start = 0.0 if start_s is None else start_s
    stop = end_s if stop_s is None else min(stop_s, end_s)
    if not start < stop:
        found = f"nothing from {start:.10g} s to {end_s if stop_s is None else stop_s:.10g} s"
        expected = f"part of the run, which lasts {end_s:.10g} s"
        raise SpecError(Fault("--from, --to", "", found, expected))
    return View(run.path, run.manifest, replication, start, stop, end_s)


def picked(columns: Columns, kept: Bools | Ints) -> Columns:
    """Keep the rows of a mask, or those at the places given."""
    from factorysim.report.timeline.slices import rows_of

    return {name: rows_of(column, kept) for name, column in columns.items()}


def no_rows(table: str, names: Sequence[str]) -> Columns:
    """Give a table without rows."""
    from factorysim.store import MemorySink

    columns = MemorySink().columns(table)
    return {name: columns[name] for name in names}


def cut_args(view: View, since_s: Floats, until_s: Floats) -> dict[str, Floats]:
    """Tell of what the window cuts when it began and ends in truth."""
    import numpy as np

    return {
        "began_before_window_s": np.where(since_s < view.start_s, since_s, np.nan),
        "ends_after_window_s": np.where(until_s > view.stop_s, until_s, np.nan),
    }


def evenly(total: int, most: int) -> Ints:
    """Places of at most so many of a row of things, at even distances.

    Examples
    --------
    >>> evenly(10, 3).tolist(), evenly(2, 3).tolist()
    ([1, 5, 8], [0, 1])
    """
    import numpy as np

    count = min(total, most)
    return (2 * np.arange(count) + 1) * total // (2 * max(count, 1))
