"""Fitting what devices draw: the weights of the power model, per generation.

Only powers of the devices alone are taken, under loads that last: what a server draws beside
its devices is another number. The steps are those of the fitted law; each draws as the model
says (`physics.power`), whose weights move.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.catalog.efficiency import efficiency
from factorysim.physics.power import device_power, run_energy
from factorysim.physics.step import FS_PER_S, StepRuns
from factorysim.study.measured.conditions import Offered
from factorysim.study.measured.experiment import observe
from factorysim.study.measured.fit import (
    Group,
    experiments_by,
    factor_value,
    factors_at,
    most_factors,
    prior_width,
    with_factors,
)
from factorysim.study.measured.solve import derivatives, solve, told_most

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from factorysim.catalog import Catalog
    from factorysim.catalog.efficiency import Efficiency
    from factorysim.graph.plan import ServePlan
    from factorysim.study.measured.compare import Experiment
    from factorysim.study.measured.conditions import Understood
    from factorysim.study.measured.fit import Factor

    Floats = npt.NDArray[np.float64]

NOISE = 0.03
"""Error at which a row begins to count less: powers are means over minutes, and repeat well."""
NAMES = ("power_active", "power_compute", "power_memory", "power_link")


class Drawing(NamedTuple):
    """An experiment that was run, and the power that was measured of it."""

    row: Understood
    measured_w: float
    """Of a device."""
    serve: ServePlan
    base: Efficiency
    runs: StepRuns
    step_s: Floats
    growth_s: Floats
    idle_w: float
    above_w: float
    """Above idle, as simulated."""
    above_j: float
    """Of the steps of one device, likewise."""

    def error(self, values: dict[str, float]) -> float:
        """Logarithm of predicted over measured power of a device, with other weights."""
        model = device_power(self.serve.device, with_factors(self.base, values))
        joules = run_energy(model, self.serve.law, self.runs, self.step_s, self.growth_s).sum()
        drawn = self.idle_w + self.above_w * float(joules) / self.above_j
        return math.log(drawn / self.measured_w)


def tells_power(row: Understood) -> bool:
    """Whether a row gives what devices alone draw under a load that lasts."""
    alone = row.metric.quantity == "power" and not row.metric.wall
    return alone and not isinstance(row.conditions.load, Offered)


def power_groups(experiments: Sequence[Experiment], catalog: Catalog) -> list[Group]:
    """Sort the experiments whose power was measured by generation, whatever the engine."""
    found = experiments_by(
        experiments, tells_power, lambda one: catalog.device(one.device).generation
    )
    return [Group("generic", name, mine) for name, mine in found.items()]


def fit_power(group: Group, catalog: Catalog) -> list[Factor]:
    """Fit the weights of a generation's power.

    Parameters
    ----------
    group
        As `power_groups` gives it.
    catalog
        With the factors that time the steps as fitted before.
    """
    drawings = [one for each in group.experiments for one in _drawings(each, catalog)]
    most = most_factors(len(drawings))
    if not most:
        return []
    start = np.array([factor_value(drawings[0].base, name) for name in NAMES])
    widths = np.array([prior_width(catalog, group, name) for name in NAMES])
    slopes = derivatives(partial(_errors, drawings, NAMES, start), np.zeros(len(NAMES)), widths / 2)
    chosen = told_most(slopes * widths / NOISE, most)
    names = [NAMES[k] for k in chosen]
    start, widths = start[chosen], widths[chosen]
    clusters = [one.row.row.source_title for one in drawings]
    errors_of = partial(_errors, drawings, names, start)
    found = solve(errors_of, widths, clusters, np.zeros(len(names)), -np.log(start), NOISE)
    sources = tuple(sorted(set(clusters)))
    return factors_at("generic", group.generation, names, start, found, len(drawings), sources)


def _errors(drawings: Sequence[Drawing], names: Sequence[str], start: Floats, at: Floats) -> Floats:
    values = dict(zip(names, (start * np.exp(at)).tolist(), strict=True))
    return np.array([one.error(values) for one in drawings])


def _drawings(one: Experiment, catalog: Catalog) -> list[Drawing]:
    seen = observe(one.conditions, catalog)
    serve = seen.prepared.plan.serve[0]
    runs = StepRuns(*(seen.steps[name] for name in StepRuns._fields))
    step_s = seen.steps["step_fs"] / FS_PER_S
    growth_s = seen.steps["slope_fs"] / FS_PER_S
    base = efficiency(catalog, serve.device, one.conditions.engine)
    joules = float(seen.steps["active_j"].sum()) / serve.devices_per_replica
    above_w = seen.outcome.device_w - serve.power.idle_w
    cut = one.conditions.cut
    all_w = {"all": 1.0 / (cut.devices * cut.replicas), "device": 1.0}
    return [
        Drawing(
            row, row.row.value * all_w[row.metric.per], serve, base, runs, step_s, growth_s,
            serve.power.idle_w, above_w, joules,
        )
        for row in one.rows
    ]  # fmt: skip
