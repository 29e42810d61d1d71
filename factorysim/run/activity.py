"""Columns that a law adds to the runs of steps: FLOP, bytes and joules of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from factorysim.store import Derived

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.graph.plan import FactoryPlan, ServePlan
    from factorysim.physics.costs import ExpertCost
    from factorysim.physics.step import StepRuns

    Arrays = Mapping[str, npt.NDArray[Any]]
    Floats = npt.NDArray[np.float64]

NAMES = ("flops", "bytes_moved", "link_bytes", "active_j")
OF_PARTNERS = ("partner_flops", "partner_bytes_moved", "partner_active_j")
"""Of the other side of split deployments, where there are any."""
OF_EXPERTS = ("expert_imbalance",)
"""Where experts are cut by EP: choices that the busiest rank serves, over the mean."""
FS_PER_S = 10**15


def step_columns(plan: FactoryPlan) -> Derived:
    """Derive activity and energy of runs of steps from the laws of a plan.

    All devices of a replica together. `active_j` is the energy above idle, by the
    closed form of `physics.power`.
    """
    names: tuple[str, ...] = NAMES
    if any(serve.partner is not None for serve in plan.serve):
        names += OF_PARTNERS
    if any(experts_of(serve) is not None for serve in plan.serve):
        names += OF_EXPERTS

    def compute(steps: Arrays) -> Mapping[str, Floats]:
        import numpy as np

        first = np.cumsum([0, *(len(serve.replicas) for serve in plan.serve)])
        owner = np.searchsorted(first, steps["replica"], side="right") - 1
        columns = {name: np.zeros(len(owner)) for name in names}
        for index in np.unique(owner).tolist():
            rows = np.flatnonzero(owner == index)
            for name, values in _of_deployment(plan, index, steps, rows).items():
                columns[name][rows] = values
        return columns

    return Derived(names, compute)


def experts_of(serve: ServePlan) -> tuple[ExpertCost, int] | None:
    """Experts of a deployment that EP cuts, and micro-batches of its steps, at most."""
    from factorysim.physics.afd import AfdLaw
    from factorysim.physics.roofline import RooflineLaw
    from factorysim.physics.sram import SramLaw

    law, micro_batches = serve.law, 1
    experts: ExpertCost | None = None
    if isinstance(law, SramLaw):
        experts, micro_batches = law.stage.experts, law.stages
    elif isinstance(law, AfdLaw):
        experts, micro_batches = law.ffn.experts, law.micro_batches
    elif isinstance(law, RooflineLaw):
        experts = law.experts
    return None if experts is None or experts.groups == 1 else (experts, micro_batches)


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
    columns = _of_partner(serve, runs, step_s, growth_s) | _of_experts(serve, runs)
    return columns | {
        "flops": activity.flops,
        "bytes_moved": activity.bytes_moved,
        "link_bytes": activity.link_bytes,
        "active_j": joules * serve.devices_per_replica,
    }


def _of_partner(
    serve: ServePlan, runs: StepRuns, step_s: Floats, growth_s: Floats
) -> dict[str, Floats]:
    from factorysim.physics.power import run_energy

    partner = serve.partner
    if partner is None:
        return {}
    activity = partner.side.activity(runs)
    joules = run_energy(partner.power, partner.side, runs, step_s, growth_s)
    return {
        "partner_flops": activity.flops,
        "partner_bytes_moved": activity.bytes_moved,
        "partner_active_j": joules * partner.devices_per_replica,
    }


def _of_experts(serve: ServePlan, runs: StepRuns) -> dict[str, Floats]:
    import numpy as np

    found = experts_of(serve)
    if found is None:
        return {}
    experts, micro_batches = found
    tokens = runs.decodes + runs.prompt_tokens / runs.steps
    sizes, where = np.unique(
        np.ceil(tokens / np.minimum(micro_batches, tokens)), return_inverse=True
    )
    return {"expert_imbalance": np.array([experts.imbalance(n) for n in sizes.tolist()])[where]}
