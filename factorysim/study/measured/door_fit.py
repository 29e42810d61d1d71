"""Fitting what an engine takes at the door: the time of a call before any queue, per engine.

Told by times to the first token in closed loops, where a table says which statistic they are.
Steps and queues are simulated with the factors fitted before; what each time lacks then is
laid to the door, which adds to all of them alike; rows that lack far more say nothing of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.study.measured.conditions import Closed
from factorysim.study.measured.experiment import observe
from factorysim.study.measured.fit import (
    Group,
    experiments_by,
    factors_at,
    most_factors,
    prior_width,
)
from factorysim.study.measured.solve import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from factorysim.catalog import Catalog
    from factorysim.study.measured.compare import Experiment
    from factorysim.study.measured.conditions import Understood
    from factorysim.study.measured.fit import Factor

    Floats = npt.NDArray[np.float64]

NAME = "request_s"
TOLD_S = 0.1
"""Where measurement and simulation are farther apart than this, something else is amiss: a
queue, or a server that hands on tokens in bundles."""


class Waited(NamedTuple):
    """A time to the first token, measured and simulated."""

    source: str
    measured_s: float
    simulated_s: float


def tells_door(row: Understood) -> bool:
    """Whether a row is a time to the first token in a closed loop, its statistic stated."""
    stated = any(word in row.row.notes.lower() for word in ("mean", "median"))
    return row.metric.quantity == "ttft" and stated and isinstance(row.conditions.load, Closed)


def door_groups(experiments: Sequence[Experiment]) -> list[Group]:
    """Sort the experiments whose rows tell of the door by engine, whatever the device."""
    found = experiments_by(experiments, tells_door, lambda one: one.engine)
    return [Group(name, "neutral", mine) for name, mine in found.items()]


def fit_door(group: Group, catalog: Catalog) -> list[Factor]:
    """Fit the time at the door of an engine.

    Parameters
    ----------
    group
        As `door_groups` gives it.
    catalog
        With the factors that time the steps as fitted before.
    """
    waited = [one for each in group.experiments for one in _waited(each, catalog)]
    if not most_factors(len(waited)):
        return []
    own = catalog.facts.get(f"efficiency.{group.engine}.neutral.{NAME}")
    fact = own or catalog.facts[f"efficiency.generic.neutral.{NAME}"]
    assert isinstance(fact.value, int | float)
    start = float(fact.value)
    measured = np.array([one.measured_s for one in waited])
    inside = np.array([one.simulated_s for one in waited]) - start

    def errors_of(at: Floats) -> Floats:
        errors: Floats = np.log((inside + start * math.exp(at[0])) / measured)
        return errors

    clusters = [one.source for one in waited]
    widths = np.array([prior_width(catalog, group, NAME)])
    found = solve(errors_of, widths, clusters, np.zeros(1))
    sources = tuple(sorted(set(clusters)))
    at = np.array([start])
    return factors_at(group.engine, "neutral", [NAME], at, found, len(waited), sources)


def _waited(one: Experiment, catalog: Catalog) -> list[Waited]:
    seen = observe(one.conditions, catalog)
    found: list[Waited] = []
    for row in one.rows:
        scale = 1.0 if row.metric.name.endswith("_s") else 1e-3
        simulated_s, measured_s = scale * seen.read(row.metric), scale * row.row.value
        if abs(measured_s - simulated_s) < TOLD_S:
            found.append(Waited(row.row.source_title, measured_s, simulated_s))
    return found
