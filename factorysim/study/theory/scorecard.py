"""The theory scorecard: stations replicated and compared with theory, scenarios audited."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from typing import TYPE_CHECKING

from factorysim.errors import SimulationError
from factorysim.study.theory import batches, fairness, hosts, loss, networks, queues
from factorysim.study.theory.conservation import PREFIX, SCENARIOS, conservation_row
from factorysim.study.theory.row import failed, judge
from factorysim.study.theory.station import Skew, Station

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from factorysim.study.theory.row import TheoryRow
    from factorysim.study.theory.station import Values

REPLICATIONS = 48
FAST_REPLICATIONS = 24
FAST = ("mm1", "md1", "ps-fixed", "erlang-b-fixed", "max-min", f"{PREFIX}quickstart")
"""Rows of these decide in seconds whether something is wrong at all."""

_Task = tuple[str, int, str]
"""Station, replication, law that is put off (none if empty)."""


@lru_cache
def stations() -> dict[str, Station]:
    """Every station, by id."""
    parts = (queues, hosts, loss, networks, batches, fairness)
    return {station.id: station for part in parts for station in part.stations()}


def ids() -> tuple[str, ...]:
    """Ids of all rows: of stations, and of scenarios whose laws are counted."""
    return (*stations(), *(PREFIX + name for name in SCENARIOS))


def theory_rows(
    replications: int | None = None,
    only: Iterable[str] | None = None,
    workers: int = 1,
    *,
    off: str = "",
) -> list[TheoryRow]:
    """Replicate stations and compare them with theory; audit scenarios.

    Parameters
    ----------
    replications
        Of each station; 48 if not given, and 24 are enough to see a law that is 5 % off.
    only
        Ids of `ids`; all if not given. `FAST` is a choice that takes seconds.
    workers
        Processes. They are spawned: a script that asks for more than one needs the usual
        ``if __name__ == "__main__"``. The rows do not depend on it.
    off
        A law to put 5 % off, at the stations that have it: their rows must fail.

    Raises
    ------
    ValueError
        For an id that there is not, or fewer than two replications.

    Examples
    --------
    >>> [row.holds for row in theory_rows(replications=2, only=["max-min"])]
    [True, True, True]
    """
    chosen = list(dict.fromkeys(ids() if only is None else only))
    if strange := [one for one in chosen if one not in ids()]:
        raise ValueError(f"no row {', '.join(strange)}; expected some of {', '.join(ids())}")
    count = REPLICATIONS if replications is None else replications
    if count < 2:
        raise ValueError(f"{count} replications, expected at least 2: one has no interval")
    names = [one for one in chosen if one in stations()]
    tasks = [(name, replication, off) for name in names for replication in range(count)]
    audits = [one.removeprefix(PREFIX) for one in chosen if one.startswith(PREFIX)]
    if workers == 1:
        return _rows(names, count, map(_sample, tasks), map(_audit, audits))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        samples = pool.map(_sample, tasks, chunksize=max(1, count // (2 * workers)))
        return _rows(names, count, samples, pool.map(_audit, audits))


def _rows(
    names: Sequence[str],
    count: int,
    samples: Iterator[Values | str],
    audits: Iterable[TheoryRow],
) -> list[TheoryRow]:
    rows: list[TheoryRow] = []
    for name in names:
        station = stations()[name]
        found = [next(samples) for _ in range(count)]
        broken = [sample for sample in found if isinstance(sample, str)]
        if broken:
            rows.append(failed(name, station.source, broken[0]))
        else:
            rows += judge(station, [sample for sample in found if not isinstance(sample, str)])
    return [*rows, *audits]


def _sample(task: _Task) -> Values | str:
    """Run one replication; a law of conservation that it breaks comes back as text."""
    name, replication, off = task
    try:
        return stations()[name].sample(replication, Skew(off))
    except SimulationError as error:
        return str(error)


def _audit(scenario: str) -> TheoryRow:
    return conservation_row(scenario)
