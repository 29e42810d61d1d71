"""Which kind of replica serves a deployment, and what its steps send over the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.sim.costs import StepCosts
from factorysim.sim.pipeline import PipelineReplica, StagedCosts
from factorysim.sim.ranks import RankedCosts, RankedReplica
from factorysim.sim.schedulers import scheduler_kind

if TYPE_CHECKING:
    from factorysim.graph.plan import ReplicaPlan, ServePlan
    from factorysim.sim.call import Limits
    from factorysim.sim.replica import Replica


def replica_kind(serve: ServePlan, limits: Limits) -> type[Replica]:
    """Ranks, a pipeline, or the replica of a scheduler: all are built and used alike."""
    if serve.ranks > 1:
        return RankedReplica
    return PipelineReplica if serve.stages > 1 else scheduler_kind(limits)


def step_costs(serve: ServePlan) -> StepCosts:
    """Answers of a deployment's law, which its replicas share."""
    if serve.ranks > 1:
        return RankedCosts(serve.law)
    return StagedCosts(serve.law) if serve.stages > 1 else StepCosts(serve.law)


def ways_of(serve: ServePlan, placed: ReplicaPlan) -> list[tuple[int, int]]:
    """Pairs of devices between which a replica that straddles servers sends in its steps.

    Collectives go around all its devices; of a pipeline it is the hops.
    """
    devices = placed.devices
    if serve.stages > 1:
        width = len(devices) // serve.stages
        return [(devices[k - 1], devices[k]) for k in range(width, len(devices), width)]
    return list(zip(devices, (*devices[1:], devices[0]), strict=True))
