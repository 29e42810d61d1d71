"""A deployment that serves, once it has its devices; and what its kind makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.graph.laws import Hardware, Work

if TYPE_CHECKING:
    from factorysim.catalog import Device, Llm
    from factorysim.graph.ground import Ground
    from factorysim.graph.placement import Need, Replicas
    from factorysim.graph.plan import PartnerPlan
    from factorysim.physics.step import StepLaw
    from factorysim.spec.deployment import DeploymentSpec
    from factorysim.spec.llm import PrecisionSpec


class Other(NamedTuple):
    """The other side of a split deployment."""

    device: Device
    replicas: Replicas
    """Its devices, replica by replica."""
    need: Need
    """How many of them a replica takes."""


class Placed(NamedTuple):
    """A deployment that serves, on the devices of its replicas."""

    name: str
    spec: DeploymentSpec
    llm: Llm
    precision: PrecisionSpec
    device: Device
    """That with the least memory: all replicas share one law."""
    replicas: Replicas
    need: Need | None = None
    """Where what a replica must hold decides how many devices it takes."""
    other: Other | None = None

    def work(self, ground: Ground) -> Work:
        """Tell what the law of its steps is to time."""
        overlap, skew = ground.scenario.serving.overlap, self.spec.expert_skew
        return Work(self.llm, self.precision, self.spec.parallel, overlap, skew)

    def hardware(self, ground: Ground) -> Hardware:
        """Tell what its own pool gives the law."""
        return ground.hardware(self.device, self.replicas)


class Setup(NamedTuple):
    """Law and memory of a deployment."""

    law: StepLaw
    kv_blocks: int
    """Of one replica."""
    stages: int = 1
    """Of SRAM, between which the KV of a sequence is parted."""
    partner: PartnerPlan | None = None
