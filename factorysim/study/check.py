"""``check``: the simulator against theory, its own laws, and what others have measured."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.study.measured.compare import open_table, run_all
from factorysim.study.measured.trend import trends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.study.measured.compare import Compared
    from factorysim.study.measured.rows import Skipped
    from factorysim.study.measured.trend import Trend
    from factorysim.study.theory import TheoryRow

    OnExperiment = Callable[[int, int], None]

THEORY = "theory."
"""With which ids of rows of theory begin."""
CLASSES = {
    "ttft": "TTFT",
    "tpot": "TPOT and ITL",
    "itl": "TPOT and ITL",
    "tokens_per_s_per_user": "TPOT and ITL",
    "latency": "latency",
    "throughput": "throughput",
    "power": "power",
    "energy": "J/token",
    "distance": "KS distance",
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
    """The scorecard."""

    theory: tuple[TheoryRow, ...]
    """Queues built from the simulator's parts, and scenarios whose laws are counted."""
    data: str | None
    """The file of measurements; None: none were looked at."""
    rows: tuple[Compared, ...]
    """In the order of the file; those not understood among them."""
    skipped: tuple[Skipped, ...]
    """Rows that could not be read."""
    scores: tuple[Score, ...]
    trends: tuple[Trend, ...] = ()
    """How measured speed moved with the date of an engine."""


def check(
    data: Path | str | None = None,
    *,
    catalog: Path | str | None = None,
    only: str | None = None,
    fast: bool = False,
    workers: int = 1,
    on_experiment: OnExperiment | None = None,
) -> Check:
    """Compare with theory, and predict every row of a file of measurements.

    Parameters
    ----------
    data
        A CSV file of measurements or a log of calls (docs/measurements.md), and nothing else;
        the shipped table, after theory, if not given.
    catalog
        A file of facts over the shipped ones.
    only
        Ids that begin so, and no others; those of theory begin with ``theory.``.
    fast
        The part of theory that takes seconds, alone.

    Raises
    ------
    SpecError
        If a file is no good.
    """
    if fast and data is not None:
        raise SpecError(Fault("--fast", "", "--data as well", "one of them", "leave one out"))
    theory = () if data is not None else tuple(_theory(only, fast, workers))
    if fast or (only is not None and only.startswith(THEORY)):
        if not theory:
            raise _nothing(only)
        return Check(theory, None, (), (), ())
    table = open_table(data, catalog)
    experiments, unknown, skipped = table.experiments, table.not_understood, table.skipped
    if only is not None:
        kept = [
            (one, tuple(r for r in one.rows if r.row.id.startswith(only))) for one in experiments
        ]
        experiments = [one._replace(rows=rows) for one, rows in kept if rows]
        unknown = [row for row in unknown if row.id.startswith(only)]
        skipped = [row for row in skipped if row.id.startswith(only)]
    if not experiments and not unknown and not skipped:
        raise _nothing(only)
    rows = run_all(experiments, table.catalog, workers, on_experiment)
    rows = sorted([*rows, *unknown], key=lambda row: row.line)
    return Check(
        theory,
        str(table.path),
        tuple(rows),
        tuple(skipped),
        tuple(scores_of(rows)),
        tuple(trends(rows)),
    )


def _nothing(only: str | None) -> SpecError:
    found = "no row" if only is None else f'no row whose id begins with "{only}"'
    cure = "ids are those of the file's rows; those of theory begin with `theory.`"
    return SpecError(Fault("check", "--only" if only else "", found, "a row to check", cure))


def _theory(only: str | None, fast: bool, workers: int) -> list[TheoryRow]:
    from factorysim.study.theory import FAST, FAST_REPLICATIONS, ids, theory_rows

    chosen = [one for one in (FAST if fast else ids()) if f"{THEORY}{one}".startswith(only or "")]
    if not chosen:
        return []
    rows = theory_rows(FAST_REPLICATIONS if fast else None, chosen, workers)
    return [row._replace(id=f"{THEORY}{row.id}") for row in rows]


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
    theory = [
        {
            "id": row.id,
            "metric": row.metric,
            "expected": row.expected,
            "got": row.got,
            "error": row.error,
            "low": row.low if isfinite(row.low) else None,
            "high": row.high if isfinite(row.high) else None,
            "reason": row.reason or None,
            "holds": row.holds,
            "source": row.source,
        }
        for row in found.theory
    ]
    rows = [
        {
            "id": row.id,
            "metric": row.metric,
            "expected": row.expected,
            "got": row.got,
            "error": row.error,
            "low": row.low,
            "high": row.high,
            "reason": row.reason or None,
            "class": row.novelty or None,
            "source": row.source,
            "assumed": list(row.assumed),
            "what": row.what,
            "quantity": row.quantity,
            "engine": row.engine,
            "generation": row.generation,
            "load": row.load,
        }
        for row in found.rows
    ]
    skipped = [one._asdict() for one in found.skipped]
    return {
        "data": found.data,
        "rows": theory + rows,
        "skipped": skipped,
        "scores": [score._asdict() for score in found.scores],
        "trends": [one._asdict() for one in found.trends],
    }
