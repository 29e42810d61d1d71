"""Columns that a law adds to the runs of steps: FLOP, bytes and joules of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from factorysim.store import Derived

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.graph.plan import FactoryPlan

    Arrays = Mapping[str, npt.NDArray[Any]]
    Floats = npt.NDArray[np.float64]

NAMES = ("flops", "bytes_moved", "link_bytes", "active_j")
FS_PER_S = 10**15


def step_columns(plan: FactoryPlan) -> Derived:
    """Derive activity and energy of runs of steps from the laws of a plan.

    All devices of a replica together. `active_j` is the energy above idle, by the
    closed form of `physics.power`.
    """

    def compute(steps: Arrays) -> Mapping[str, Floats]:
        import numpy as np

        first = np.cumsum([0, *(len(serve.replicas) for serve in plan.serve)])
        owner = np.searchsorted(first, steps["replica"], side="right") - 1
        columns = {name: np.zeros(len(owner)) for name in NAMES}
        for index in np.unique(owner).tolist():
            rows = np.flatnonzero(owner == index)
            for name, values in _of_deployment(plan, index, steps, rows).items():
                columns[name][rows] = values
        return columns

    return Derived(NAMES, compute)


def _of_deployment(
    plan: FactoryPlan, index: int, steps: Arrays, rows: npt.NDArray[np.intp]
) -> dict[str, Floats]:
    from factorysim.physics.power import run_energy
    from factorysim.physics.step import StepRuns

    serve = plan.serve[index]
    runs = StepRuns(*(steps[name][rows] for name in StepRuns._fields))
    activity = serve.law.activity(runs)
    step_s, growth_s = steps["step_fs"][rows] / FS_PER_S, steps["slope_fs"][rows] / FS_PER_S
    joules = run_energy(serve.power, serve.law, runs, step_s, growth_s)
    return {
        "flops": activity.flops,
        "bytes_moved": activity.bytes_moved,
        "link_bytes": activity.link_bytes,
        "active_j": joules * serve.devices_per_replica,
    }
