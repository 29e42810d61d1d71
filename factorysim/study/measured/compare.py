"""A file of measurements against the simulator: each row predicted, or set aside with a reason."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from factorysim.catalog.residuals import ModelError, model_error
from factorysim.errors import Fault, SpecError, UserError
from factorysim.resources import measurements
from factorysim.study.measured.conditions import Understood
from factorysim.study.measured.experiment import read_metric_of, run_experiment
from factorysim.study.measured.metrics import OF_TIME, quantity_of
from factorysim.study.measured.requests import (
    is_log,
    name_logs,
    read_logs,
    rows_of_log,
    understand_rows,
)
from factorysim.study.measured.rows import NotUnderstoodError, Row, Skipped, read_rows
from factorysim.study.measured.understand import understand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from factorysim.catalog import Catalog
    from factorysim.study.measured.conditions import Conditions

    OnExperiment = Callable[[int, int], None]
    """Told how many experiments are done, of how many."""


class Compared(NamedTuple):
    """A row and what was predicted for it."""

    id: str
    line: int
    metric: str
    expected: float
    got: float | None
    """In the row's unit; None: not predicted, for `reason`."""
    error: float | None
    """``got / expected - 1``; a distance between distributions as it is."""
    reason: str
    assumed: tuple[str, ...]
    quantity: str = ""
    engine: str = ""
    generation: str = ""
    load: str = ""
    source: str = ""
    wall: bool = False
    """Of a power: that of the whole server."""
    low: float | None = None
    """`low` and `high` bound the central 80 % around `got`, by the model's own error; None
    where no residuals speak of it."""
    high: float | None = None
    novelty: str = ""
    """`seen` by the fit, or what of it was not; `none`: there is no band."""
    what: str = ""
    """LLM, devices, engine and load, as the file has them."""
    date: str = ""


class Experiment(NamedTuple):
    """Rows that were measured in one run."""

    conditions: Conditions
    rows: tuple[Understood, ...]


class Table(NamedTuple):
    """A file of measurements, read with the catalog that tells what its words mean."""

    path: Path
    catalog: Catalog
    overlay: Path | None
    """The file of facts that the catalog was loaded with."""
    experiments: list[Experiment]
    not_understood: list[Compared]
    skipped: list[Skipped]
    """Rows that could not be read."""


def open_table(
    data: Path | str | None, catalog: Path | str | None, *, fitted: bool = True
) -> Table:
    """Read a file of measurements, or the shipped one.

    Parameters
    ----------
    catalog
        A file of facts over the shipped ones.
    fitted
        Whether those are as fitted to the shipped table, or as before.

    Raises
    ------
    SpecError
        If a file is no good.
    """
    from factorysim.catalog.loading import load_catalog

    overlay = None if catalog is None else Path(catalog)
    facts = load_catalog(overlay, fitted=fitted)
    path = measurements() if data is None else Path(data)
    return Table(path, facts, overlay, *read_experiments(path, facts))


def read_experiments(
    path: Path, catalog: Catalog
) -> tuple[list[Experiment], list[Compared], list[Skipped]]:
    """Read a file of measurements, and put rows of one run together.

    Returns
    -------
    The experiments; rows that were read but not understood; rows that could not be read.

    Raises
    ------
    SpecError
        If it is neither a table of measurements nor a log of calls.
    """
    if path.exists() and not path.is_file():
        raise SpecError(Fault(str(path), "", "no regular file", "a CSV file"))
    if is_log(path):
        return _read_logs(path, catalog)
    rows, skipped = read_rows(path)
    together: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        together.setdefault(_told(row), []).append(row)
    by_conditions: dict[Conditions, list[Understood]] = {}
    unknown: list[Compared] = []
    for row in rows:
        try:
            found = understand(row, catalog, together[_told(row)])
        except NotUnderstoodError as error:
            unknown.append(_unpredicted(row, str(error)))
        else:
            by_conditions.setdefault(found.conditions, []).append(found)
    experiments = [Experiment(key, tuple(mine)) for key, mine in by_conditions.items()]
    return experiments, unknown, skipped


def _read_logs(
    path: Path, catalog: Catalog
) -> tuple[list[Experiment], list[Compared], list[Skipped]]:
    """Read a log of calls: each run is an experiment, replayed call by call."""
    logs, skipped = read_logs(path)
    experiments: list[Experiment] = []
    unknown: list[Compared] = []
    for log, name in zip(logs, name_logs(logs), strict=True):
        rows = rows_of_log(log, name, path.name)
        try:
            found = understand_rows(log, rows, catalog)
        except NotUnderstoodError as error:
            unknown += [_unpredicted(row, str(error)) for row, _ in rows]
        else:
            experiments.append(Experiment(found[0].conditions, tuple(found)))
    return experiments, unknown, skipped


def compare_rows(experiment: Experiment, catalog: Catalog) -> list[Compared]:
    """Run an experiment and compare each of its rows."""
    conditions = experiment.conditions
    generation = catalog.device(conditions.device).generation
    try:
        outcome = run_experiment(conditions, catalog)
    except UserError as error:
        fault = error.faults[0]
        why = f"{fault.where}: {fault.key}: {fault.found}, expected {fault.expected}"
        return [_unpredicted(one.row, why, one.assumed) for one in experiment.rows]
    except ValidationError as error:
        told = error.errors()[0]
        why = f"{'.'.join(map(str, told['loc']))}: {told['msg']}"
        return [_unpredicted(one.row, why, one.assumed) for one in experiment.rows]
    known = model_error(
        catalog, catalog.device(conditions.device), conditions.engine, catalog.llm(conditions.llm)
    )
    compared: list[Compared] = []
    for one in experiment.rows:
        got = read_metric_of(outcome, one.metric, conditions)
        far = one.metric.quantity == "distance"  # from what is 0 away from itself
        off = got if far else got / one.row.value - 1.0
        if not isfinite(got) or not isfinite(off):
            why = "the experiment has no such number, or it is beyond all measure"
            compared.append(_unpredicted(one.row, why, one.assumed))
            continue
        low, high = _band(known, one, got)
        compared.append(
            Compared(
                one.row.id, one.row.line, one.row.metric, one.row.value, got,
                off, "", one.assumed, one.metric.quantity,
                conditions.engine, generation, conditions.load.kind, one.row.source_title,
                one.metric.wall, low, high, known.title, one.row.what,
                one.row.date,
            )
        )  # fmt: skip
    return compared


def _band(known: ModelError, row: Understood, got: float) -> tuple[float | None, float | None]:
    """Bound what would be measured, in the row's unit."""
    metric = row.metric
    quantity = quantity_of(metric.quantity, metric.wall)
    band = None if quantity is None else known.band(quantity, row.conditions.load.kind)
    if band is None:
        return None, None
    return (band.inverse if metric.quantity == OF_TIME else band).around(got)


def run_all(
    experiments: Sequence[Experiment],
    catalog: Catalog,
    workers: int = 1,
    on_experiment: OnExperiment | None = None,
) -> list[Compared]:
    """Run experiments, several at once if asked; in their order, whatever the number.

    Parameters
    ----------
    catalog
        As it is, changed in this process or not: workers are sent it.
    """
    found: list[Compared] = []
    for done, rows in enumerate(_outcomes(experiments, catalog, workers), 1):
        found += rows
        if on_experiment is not None:
            on_experiment(done, len(experiments))
    return found


def _outcomes(
    experiments: Sequence[Experiment], catalog: Catalog, workers: int
) -> Iterable[list[Compared]]:
    if workers == 1 or len(experiments) < 2:
        return (compare_rows(one, catalog) for one in experiments)
    return _apart(experiments, catalog, workers)


def _apart(
    experiments: Sequence[Experiment], catalog: Catalog, workers: int
) -> Iterator[list[Compared]]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_take, initargs=(catalog,)) as pool:
        yield from pool.map(_in_worker, experiments)


_TAKEN: list[Catalog] = []
"""Of a worker: the catalog that its experiments run with, sent to it once."""


def _take(catalog: Catalog) -> None:
    _TAKEN[:] = [catalog]


def _in_worker(experiment: Experiment) -> list[Compared]:
    return compare_rows(experiment, _TAKEN[0])


def _told(row: Row) -> tuple[str, ...]:
    """Say all that a row tells of its run."""
    return (
        row.source_title, row.date, row.model, row.precision, row.hardware, row.n_gpus,
        row.parallelism, row.engine, row.scenario, row.isl, row.osl, row.concurrency_or_batch,
    )  # fmt: skip


def _unpredicted(row: Row, reason: str, assumed: tuple[str, ...] = ()) -> Compared:
    return Compared(
        row.id, row.line, row.metric, row.value, None, None, reason, assumed,
        source=row.source_title, what=row.what,
    )  # fmt: skip
