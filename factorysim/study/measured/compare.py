"""A file of measurements against the simulator: each row predicted, or set aside with a reason."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from factorysim.errors import UserError
from factorysim.resources import measurements
from factorysim.study.measured.conditions import Understood, understand
from factorysim.study.measured.experiment import read_metric_of, run_experiment
from factorysim.study.measured.rows import NotUnderstoodError, Row, Skipped, read_rows

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
    """``got / expected - 1``."""
    reason: str
    assumed: tuple[str, ...]
    quantity: str = ""
    engine: str = ""
    generation: str = ""
    load: str = ""
    source: str = ""
    what: str = ""
    """LLM, devices, engine and load, as the file has them."""


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


def open_table(data: Path | str | None, catalog: Path | str | None) -> Table:
    """Read a file of measurements, or the shipped one.

    Parameters
    ----------
    catalog
        A file of facts over the shipped ones.

    Raises
    ------
    SpecError
        If a file is no good.
    """
    from factorysim.catalog import load_catalog

    overlay = None if catalog is None else Path(catalog)
    facts = load_catalog(overlay)
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
        If it is no table of measurements.
    """
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
    compared: list[Compared] = []
    for one in experiment.rows:
        got = read_metric_of(outcome, one.metric, conditions)
        if not isfinite(got) or not isfinite(got / one.row.value):
            why = "the experiment has no such number, or it is beyond all measure"
            compared.append(_unpredicted(one.row, why, one.assumed))
            continue
        compared.append(
            Compared(
                one.row.id, one.row.line, one.row.metric, one.row.value, got,
                got / one.row.value - 1.0, "", one.assumed, one.metric.quantity,
                conditions.engine, generation, conditions.load.kind, one.row.source_title,
                one.row.what,
            )
        )  # fmt: skip
    return compared


def run_all(
    experiments: Sequence[Experiment],
    catalog: Catalog,
    overlay: Path | None,
    workers: int = 1,
    on_experiment: OnExperiment | None = None,
) -> list[Compared]:
    """Run experiments, several at once if asked; in their order, whatever the number."""
    found: list[Compared] = []
    for done, rows in enumerate(_outcomes(experiments, catalog, overlay, workers), 1):
        found += rows
        if on_experiment is not None:
            on_experiment(done, len(experiments))
    return found


def _outcomes(
    experiments: Sequence[Experiment], catalog: Catalog, overlay: Path | None, workers: int
) -> Iterable[list[Compared]]:
    if workers == 1 or len(experiments) < 2:
        return (compare_rows(one, catalog) for one in experiments)
    return _apart(experiments, overlay, workers)


def _apart(
    experiments: Sequence[Experiment], overlay: Path | None, workers: int
) -> Iterator[list[Compared]]:
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial
    from multiprocessing import get_context

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(_in_worker, overlay), experiments)


def _in_worker(overlay: Path | None, experiment: Experiment) -> list[Compared]:
    from factorysim.catalog import load_catalog

    return compare_rows(experiment, load_catalog(overlay))


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
