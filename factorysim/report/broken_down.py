"""Metrics of a run by stream, deployment and the like: a value of each replication that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from factorysim.run import Run

Values: TypeAlias = dict[str, dict[str, list[float]]]


def broken_down(run: Run, by: str) -> Values:
    """Read `metrics.parquet` of one breakdown: what it is of -> metric -> values.

    What withholds a metric in all replications has an empty list; the order is the table's.

    Parameters
    ----------
    by
        `stream`, `deployment` and the like; `all`: of the whole run, under the name ``""``.
    """
    from factorysim.store import read_columns

    columns = read_columns(run.path / "metrics.parquet", ("by", "key", "name", "value"))
    mine = columns["by"].equal(by)
    keys, names = columns["key"].where(mine), columns["name"].where(mine)
    found: Values = {}
    rows = zip(
        keys.codes.tolist(), names.codes.tolist(), columns["value"][mine].tolist(), strict=True
    )
    for key, name, value in rows:
        values = found.setdefault(keys.words[key], {}).setdefault(names.words[name], [])
        if value == value:  # not withheld
            values.append(value)
    return found


def mean(values: list[float]) -> float:
    """Mean over replications, of which there is one at least."""
    return sum(values) / len(values)
