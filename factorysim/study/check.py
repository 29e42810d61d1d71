"""``check``: predictions against measurements, row by row, and how far off they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.catalog import load_catalog
from factorysim.resources import measurements
from factorysim.study.measured.compare import read_experiments, run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.study.measured.compare import Compared
    from factorysim.study.measured.rows import Skipped

    OnExperiment = Callable[[int, int], None]

CLASSES = {
    "ttft": "TTFT",
    "tpot": "TPOT and ITL",
    "itl": "TPOT and ITL",
    "tokens_per_s_per_user": "TPOT and ITL",
    "latency": "latency",
    "throughput": "throughput",
    "power": "power",
    "energy": "J/token",
}
"""Quantities of rows, and under which name they are scored."""


class Score(NamedTuple):
    """Errors of rows of one kind, as shares of what was measured."""

    quantity: str
    load: str
    rows: int
    predicted: int
    median: float | None
    mean: float | None
    p90: float | None
    bias: float | None
    """Median of the signed errors."""


class Check(NamedTuple):
    """A file of measurements, scored."""

    data: str
    rows: tuple[Compared, ...]
    """In the order of the file; those not understood among them."""
    skipped: tuple[Skipped, ...]
    """Rows that could not be read."""
    scores: tuple[Score, ...]


def check(
    data: Path | str | None = None,
    *,
    catalog: Path | str | None = None,
    only: str | None = None,
    workers: int = 1,
    on_experiment: OnExperiment | None = None,
) -> Check:
    """Predict every row of a file of measurements.

    Parameters
    ----------
    data
        A CSV file (docs/measurements.md); the shipped table if not given.
    catalog
        A file of facts over the shipped ones.
    only
        Ids that begin so, and no others.

    Raises
    ------
    SpecError
        If a file is no good.
    """
    overlay = None if catalog is None else Path(catalog)
    facts = load_catalog(overlay)
    path = measurements() if data is None else Path(data)
    experiments, unknown, skipped = read_experiments(path, facts)
    if only is not None:
        kept = [
            (one, tuple(r for r in one.rows if r.row.id.startswith(only))) for one in experiments
        ]
        experiments = [one._replace(rows=rows) for one, rows in kept if rows]
        unknown = [row for row in unknown if row.id.startswith(only)]
        skipped = [row for row in skipped if row.id.startswith(only)]
    rows = run_all(experiments, facts, overlay, workers, on_experiment)
    rows = sorted([*rows, *unknown], key=lambda row: row.line)
    return Check(str(path), tuple(rows), tuple(skipped), tuple(scores_of(rows)))


def scores_of(rows: Sequence[Compared]) -> list[Score]:
    """Score rows by quantity and kind of load; a row that is not predicted counts as 100 % off."""
    import numpy as np

    found: dict[tuple[str, str], list[Compared]] = {}
    for row in rows:
        found.setdefault((CLASSES.get(row.quantity, "not predicted"), row.load), []).append(row)
    scores: list[Score] = []
    for (quantity, load), mine in sorted(found.items()):
        known = [row.error for row in mine if row.error is not None]
        size = np.array([abs(e) for e in known] + [1.0] * (len(mine) - len(known)))
        scores.append(
            Score(
                quantity,
                load,
                len(mine),
                len(known),
                median=float(np.median(size)),
                mean=float(size.mean()),
                p90=float(np.quantile(size, 0.9)),
                bias=float(np.median(known)) if known else None,
            )
        )
    return scores


def as_json(found: Check) -> dict[str, Any]:
    """Give a check as what JSON holds."""
    rows = [
        {
            "id": row.id,
            "metric": row.metric,
            "expected": row.expected,
            "got": row.got,
            "error": row.error,
            "low": None,
            "high": None,
            "reason": row.reason or None,
            "source": row.source,
            "assumed": list(row.assumed),
        }
        for row in found.rows
    ]
    skipped = [one._asdict() for one in found.skipped]
    return {
        "data": found.data,
        "rows": rows,
        "skipped": skipped,
        "scores": [score._asdict() for score in found.scores],
    }
