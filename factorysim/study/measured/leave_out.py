"""Cross-validation: what the fit says of a generation, or a family of LLMs, that it never saw.

Of a generation all goes: its rows, and every fact of its efficiencies under any engine, those
from kernel tables too; it is predicted as a device that is not built yet would be. Families
are told by the shape of the LLM, so that Llama-2, 3, 3.1 and 3.3 of 70B leave together. Every
row is predicted once, by the simulator itself, in the fold that leaves it out.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from factorysim.catalog.loading import load_catalog
from factorysim.catalog.residuals import family_of
from factorysim.study.measured.compare import run_all
from factorysim.study.measured.fit import FITTED_NOTE, fit_group, groups_of
from factorysim.study.measured.whole_fit import whole_fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Protocol

    from factorysim.catalog import Catalog
    from factorysim.study.measured.compare import Compared, Experiment
    from factorysim.study.measured.fit import Factor, Group

    OnFold = Callable[[str, int, int], None]
    """Told the fold that is begun, how many are done, and of how many."""

    class Fit(Protocol):
        """Fits one group, from a catalog."""

        def __call__(self, group: Group, catalog: Catalog) -> list[Factor]:
            """Give its factors."""
            ...


By: TypeAlias = Literal["generation", "family"]


class Held(NamedTuple):
    """Rows that were left out of a fit together, and what that fit says of them."""

    left_out: str
    """The generation or the family."""
    rows: tuple[Compared, ...]
    factors: tuple[Factor, ...]
    """Of the groups that remained."""


def prior(overlay: Path | None) -> Catalog:
    """Load a catalog as it was before any fit: without what `calibrate` wrote.

    A fit that began from that would know the rows that it is not to see.

    Parameters
    ----------
    overlay
        A user's file of facts; of those that `calibrate` wrote into it, the shipped ones from
        before any fit come back.

    Raises
    ------
    SpecError
        If the file is no good.
    """
    shipped = load_catalog(fitted=False)
    if overlay is None:
        return shipped
    catalog = load_catalog(overlay, fitted=False)
    written = [
        name
        for name, fact in catalog.facts.items()
        if name.startswith("efficiency.") and fact.note.startswith(FITTED_NOTE)
    ]
    return catalog.without(written, before=shipped)


def without_generation(catalog: Catalog, generation: str) -> Catalog:
    """Take every fact of a generation's efficiencies out of a catalog, whatever the engine.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> left = without_generation(load_catalog(), "hopper")
    >>> [name for name in left.facts if ".hopper." in name and name.startswith("efficiency.")]
    []
    """
    return catalog.without(
        [
            name
            for name in catalog.facts
            if name.startswith("efficiency.") and name.split(".")[2] == generation
        ]
    )


class Refit:
    """Fits of groups of experiments, each done once: most groups are in most folds."""

    def __init__(self, catalog: Catalog, fit: Fit = fit_group) -> None:
        """Take the catalog that fits begin from."""
        self._catalog = catalog
        self._fit = fit
        self._done: dict[Group, list[Factor]] = {}

    def ahead(self, folds: Sequence[Sequence[Experiment]], workers: int) -> None:
        """Fit the groups of all folds, several at once; the largest first."""
        found = dict.fromkeys(
            group for kept in folds for group in groups_of(kept, self._catalog)
        ).keys()
        groups = sorted(found - self._done.keys(), key=lambda one: -len(one.rows))
        if workers == 1 or len(groups) < 2:
            return
        fit = partial(self._fit, catalog=self._catalog)
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            self._done |= dict(zip(groups, pool.map(fit, groups), strict=True))

    def factors(self, experiments: Sequence[Experiment]) -> list[Factor]:
        """Fit all groups of some experiments, and what follows from them."""
        found: list[Factor] = []
        for group in groups_of(experiments, self._catalog):
            if group not in self._done:
                self._done[group] = self._fit(group, self._catalog)
            found += self._done[group]
        return whole_fit(found, experiments, self._catalog)


def leave_out(
    experiments: Sequence[Experiment],
    start: Catalog,
    by: By,
    workers: int = 1,
    on_fold: OnFold | None = None,
    refit: Refit | None = None,
) -> list[Held]:
    """Predict every row by a fit that saw nothing of its generation, or of its family.

    Parameters
    ----------
    start
        What was known before any fit: `prior`.

    Raises
    ------
    UserError
        If an experiment of a group that is fitted cannot be run.
    """
    refit = Refit(start) if refit is None else refit
    names = [_name(one, start, by) for one in experiments]
    folds = sorted(set(names))
    named = list(zip(experiments, names, strict=True))
    kept = {left: [one for one, name in named if name != left] for left in folds}
    refit.ahead(list(kept.values()), workers)
    found: list[Held] = []
    for done, left in enumerate(folds):
        if on_fold is not None:
            on_fold(left, done, len(folds))
        mine = [one for one, name in named if name == left]
        factors = refit.factors(kept[left])
        known = fold_catalog(start, factors, left if by == "generation" else None)
        rows = run_all(mine, known, workers)
        found.append(Held(left, tuple(rows), tuple(factors)))
    return found


def fold_catalog(start: Catalog, factors: Sequence[Factor], generation: str | None) -> Catalog:
    """Give the catalog of a fold: what was known before, the factors, nothing of a generation.

    Raises
    ------
    AssertionError
        If a factor is of the generation that was left out: it has seen its rows.
    """
    known = start.with_values({factor.fact: factor.value for factor in factors})
    if generation is None:
        return known
    leaks = [factor.fact for factor in factors if factor.generation == generation]
    assert not leaks, f"{generation} was left out, but fitted: {leaks}"
    return without_generation(known, generation)


def _name(experiment: Experiment, catalog: Catalog, by: By) -> str:
    conditions = experiment.conditions
    if by == "generation":
        return catalog.device(conditions.device).generation
    return family_of(catalog.llm(conditions.llm))
