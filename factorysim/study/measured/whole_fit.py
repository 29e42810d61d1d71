"""All that a calibration says: factors of step times, and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.study.measured.door_fit import door_groups, fit_door
from factorysim.study.measured.pool import of_engine, pooled
from factorysim.study.measured.power_fit import fit_power, power_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.catalog import Catalog
    from factorysim.study.measured.compare import Experiment
    from factorysim.study.measured.fit import Factor, Group


def _all(_: Group) -> bool:
    return True


def whole_fit(
    factors: Sequence[Factor],
    experiments: Sequence[Experiment],
    catalog: Catalog,
    asked: Callable[[Group], bool] = _all,
) -> list[Factor]:
    """Add to the factors of all groups what follows from them.

    Parameters
    ----------
    factors
        As `fit_group` gives them.
    experiments
        With which they were fitted, and none that the fit is not to know.
    catalog
        From which they were fitted.
    asked
        Which groups of doors and powers to fit.
    """
    pools = pooled(factors, catalog)
    timed = catalog.with_values({one.fact: one.value for one in (*factors, *pools)})
    powers = [group for group in power_groups(experiments, timed) if asked(group)]
    doors = [group for group in door_groups(experiments) if asked(group)]
    drawn = [factor for group in powers for factor in fit_power(group, timed)]
    found = [factor for group in doors for factor in fit_door(group, timed)]
    anywhere = of_engine("generic", [*found, *drawn], catalog)
    return [*factors, *found, *drawn, *anywhere, *pools]
