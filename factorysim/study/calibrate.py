"""``calibrate``: efficiencies fitted to measurements, as a file of facts over the catalog's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.study.measured.compare import open_table
from factorysim.study.measured.fit import (
    FACTORS_MOST,
    FITTED_NOTE,
    ROWS_LEAST,
    Factor,
    Group,
    fit_group,
    groups_of,
)
from factorysim.study.measured.rows import source_id
from factorysim.study.measured.whole_fit import whole_fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from factorysim.study.measured.compare import Compared
    from factorysim.study.measured.rows import Skipped

    OnGroup = Callable[[str, int, int], None]
    """Told the group that is begun, how many are done, and of how many."""


class Refused(NamedTuple):
    """Rows of an engine and a generation that carry no factor."""

    engine: str
    generation: str
    rows: int
    reason: str


class Calibration(NamedTuple):
    """What a file of measurements says of efficiencies."""

    data: str
    factors: tuple[Factor, ...]
    refused: tuple[Refused, ...]
    not_understood: tuple[Compared, ...]
    skipped: tuple[Skipped, ...]


def calibrate(
    data: Path | str | None = None,
    *,
    catalog: Path | str | None = None,
    only: str | None = None,
    on_group: OnGroup | None = None,
) -> Calibration:
    """Fit efficiencies and host overheads of each engine on each generation of devices.

    Parameters
    ----------
    data
        A CSV file of measurements (docs/measurements.md); the shipped table if not given.
    catalog
        A file of facts over the shipped ones. The fit starts from them; that of the shipped
        table from what they were before it.
    only
        An engine, a generation, or both like ``vllm.hopper``: fit no others.

    Raises
    ------
    SpecError
        If a file is no good.
    """
    table = open_table(data, catalog, fitted=data is not None)
    facts = table.catalog
    groups = [group for group in groups_of(table.experiments, facts) if _asked(group, only)]
    factors: list[Factor] = []
    refused: list[Refused] = []
    for done, group in enumerate(groups):
        name = f"{group.engine} on {group.generation}"
        if on_group is not None:
            on_group(name, done, len(groups))
        if group.told < ROWS_LEAST:
            why = f"fewer than {ROWS_LEAST} different rows tell of step times"
            refused.append(Refused(group.engine, group.generation, group.told, why))
        else:
            factors += fit_group(group, facts)
    factors = whole_fit(factors, table.experiments, facts, lambda group: _asked(group, only))
    aside = tuple(table.not_understood), tuple(table.skipped)
    return Calibration(str(table.path), tuple(factors), tuple(refused), *aside)


def _asked(group: Group, only: str | None) -> bool:
    names = (group.engine, group.generation, f"{group.engine}.{group.generation}")
    return only is None or only in names


def overlay_text(found: Calibration) -> str:
    """Write a calibration as a catalog file, which `catalog:` and ``--catalog`` take.

    Raises
    ------
    SpecError
        If nothing was fitted.

    Examples
    --------
    >>> factor = Factor("vllm", "hopper", "host_step_s", 2e-3, 1e-3, 3e-3, 1.5e-3, "s", 12, ("A",))
    >>> print(overlay_text(Calibration("mine.csv", (factor,), (), (), ())).splitlines()[5])
    efficiency:
    """
    if not found.factors:
        expected, cure = "a factor to write", f"a group needs {ROWS_LEAST} rows of step times"
        raise SpecError(Fault(found.data, "", "nothing was fitted", expected, cure))
    lines = [
        f"# Efficiencies fitted to {Path(found.data).name} by `factorysim calibrate`: at most "
        f"{FACTORS_MOST} a group,",
        "# low and high bound the central 80 %; errors of one source are taken as going together.",
        "schema: factorysim.catalog/1",
        *_sources(found.factors),
        "efficiency:",
        *_groups(found.factors),
    ]
    return "".join(f"{line}\n" for line in lines)


def _sources(factors: Sequence[Factor]) -> Iterator[str]:
    titles = sorted({title for factor in factors for title in factor.sources})
    if not titles:
        return
    yield "sources:"
    for title in titles:
        yield f"  {source_id('measured', title)}: {{title: {json.dumps(title)}}}"


def _groups(factors: Sequence[Factor]) -> Iterator[str]:
    engine = generation = None
    for factor in sorted(factors, key=lambda one: (one.engine, one.generation)):
        if factor.engine != engine:
            engine, generation = factor.engine, None
            yield f"  {engine}:"
        if factor.generation != generation:
            generation = factor.generation
            yield f"    {generation}:"
        sources = ", ".join(source_id("measured", title) for title in factor.sources)
        yield (
            f"      {factor.name}: {{value: {factor.value:.4g}, low: {factor.low:.4g}, "
            f"high: {factor.high:.4g}, unit: {factor.unit}, kind: derived, source: [{sources}], "
            f'note: "{FITTED_NOTE} {factor.rows} rows, from {factor.before:.4g}"}}'
        )
