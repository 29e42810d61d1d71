"""Pipeline parallelism: an LLM's layers cut over stages, each a law of its own.

A stage of ``pp`` has its share of the layers on ``tp`` devices; the last one the LM head,
the first one the embedding table. What does not divide goes to the stages before the
last, from behind, one layer each, as in vLLM (`get_pp_indices`), since the last has the head.
Layers of a kind (dense and MoE, full and windowed attention) are spread evenly over the
stages, wherever they stand in the LLM.

Between stages the activations of a micro-batch go over a device's link ::

    hop = tokens * hidden * 2 bytes / (bandwidth * efficiency) + latency + protocol

so a batch starts on a stage when it has arrived there and the batch before has left::

    start[i, s] = max(end[i, s - 1] + hop[i], end[i - 1, s])
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, Protocol

from factorysim.errors import CapacityError, Fault
from factorysim.physics.attention import whole_fs
from factorysim.physics.costs import RESIDUAL_BYTES
from factorysim.physics.roofline import FREE, roofline_law
from factorysim.physics.shape import llm_shape
from factorysim.physics.step import Activity, Piece, StepLaw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.catalog.efficiency import Efficiency
    from factorysim.catalog.values import Device, Llm
    from factorysim.physics.collectives import Links
    from factorysim.physics.roofline import RooflineLaw
    from factorysim.physics.shape import Shape
    from factorysim.physics.step import StepRuns
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec


class StagedLaw(StepLaw, Protocol):
    """A law of a pipeline: as `StepLaw` the sum over its stages, without hops."""

    @property
    def stages(self) -> Sequence[StepLaw]:
        """The law of each stage, in order."""
        ...

    def hop_fs(self, tokens: int, share: float) -> int:
        """Femtoseconds between two stages, with a share of the bandwidth."""
        ...

    @property
    def hop_token_bytes(self) -> float:
        """Bytes that a token is between two stages."""
        ...


class Hop(NamedTuple):
    """The way from a stage to the next."""

    fixed_s: float
    token_s: float
    token_bytes: float


@dataclass(frozen=True, slots=True)
class StagedRoofline:
    """`StagedLaw` from shapes and a data sheet; built by `staged_law`."""

    stages: tuple[RooflineLaw, ...]
    between: Hop
    window: int | None
    draws: bool = False

    @property
    def window_fs(self) -> int:
        """Of all stages."""
        return sum(stage.window_fs for stage in self.stages)

    @property
    def link_token_bytes(self) -> float:
        """Of the collectives of all stages, and of the hops."""
        hops = (len(self.stages) - 1) * self.between.token_bytes
        return hops + sum(stage.link_token_bytes for stage in self.stages)

    @property
    def hop_token_bytes(self) -> float:
        """Bytes that a token is between two stages."""
        return self.between.token_bytes

    def hop_fs(self, tokens: int, share: float) -> int:
        """Femtoseconds between two stages; see `StagedLaw.hop_fs`."""
        return whole_fs(self.between.fixed_s + tokens * self.between.token_s / share)

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        """Femtoseconds of all stages; see `StepLaw.base`."""
        return sum(s.base(decodes, prompt_tokens, prompts, emitting) for s in self.stages)

    def piece(self, decodes: int, context: int) -> Piece:
        """Attention of decodes on all stages."""
        lines = [stage.piece(decodes, context) for stage in self.stages]
        return Piece(sum(line.fixed_fs for line in lines), sum(x.slope_fs for x in lines), None)

    def chunk(self, tokens: int, prior: int) -> int:
        """Attention of a chunk on all stages."""
        return sum(stage.chunk(tokens, prior) for stage in self.stages)

    def chunk_slope(self, tokens: int) -> int | None:
        """Femtoseconds for one more prior token; None with sliding windows."""
        slopes = [stage.chunk_slope(tokens) for stage in self.stages]
        known = [slope for slope in slopes if slope is not None]
        return sum(known) if len(known) == len(slopes) else None

    def prompt(self, u: float) -> int:
        """Nothing is drawn."""
        return 0

    def activity(self, runs: StepRuns) -> Activity:
        """Activity of all stages; seconds are means over the devices."""
        parts = [stage.activity(runs) for stage in self.stages]
        stages = len(parts)
        tokens = runs.decodes * runs.steps + runs.prompt_tokens
        hops = (stages - 1) * self.between.token_bytes
        return Activity(
            flops=sum((part.flops for part in parts[1:]), parts[0].flops),
            bytes_moved=sum((part.bytes_moved for part in parts[1:]), parts[0].bytes_moved),
            link_bytes=sum((p.link_bytes for p in parts[1:]), parts[0].link_bytes + tokens * hops),
            compute_s=sum((part.compute_s for part in parts[1:]), parts[0].compute_s) / stages,
            memory_s=sum((part.memory_s for part in parts[1:]), parts[0].memory_s) / stages,
            link_s=sum((part.link_s for part in parts[1:]), parts[0].link_s) / stages,
        )


def stage_layers(layers: int, stages: int) -> tuple[int, ...]:
    """Layers of each stage.

    Examples
    --------
    >>> stage_layers(126, 4), stage_layers(61, 2)
    ((31, 32, 32, 31), (31, 30))
    """
    each, left = divmod(layers, stages)
    return tuple(each + (stages - 1 - left <= stage < stages - 1) for stage in range(stages))


def stage_shapes(shape: Shape, stages: int) -> tuple[Shape, ...]:
    """Cut an LLM's operators over stages; they add up to it."""
    ends = list(accumulate(stage_layers(shape.layers, stages), initial=0))

    def cut(number: int, stage: int) -> int:
        """Share of something that is spread evenly over the layers."""
        return number * ends[stage + 1] // shape.layers - number * ends[stage] // shape.layers

    return tuple(_stage_shape(shape, stage, stages, cut) for stage in range(stages))


def _stage_shape(shape: Shape, stage: int, stages: int, cut: _Cut) -> Shape:
    linears = (linear._replace(params=cut(linear.params, stage)) for linear in shape.linears)
    attention = (
        group._replace(
            layers=layers,
            elements=group.elements / group.layers * layers,
            decode_flops=group.decode_flops / group.layers * layers,
            pair_flops=group.pair_flops / group.layers * layers,
            expand_flops=group.expand_flops / group.layers * layers,
        )
        for group in shape.attention
        if (layers := cut(group.layers, stage))
    )
    return shape._replace(
        layers=cut(shape.layers, stage),
        blocks=cut(shape.blocks, stage),
        linears=tuple(linear for linear in linears if linear.params),
        moe_layers=cut(shape.moe_layers, stage),
        table=shape.table if stage == stages - 1 else 0,
        attention=tuple(attention),
        state_elements=cut(shape.state_elements, stage),
        pending_elements=cut(shape.pending_elements, stage),
    )


class _Cut(Protocol):
    def __call__(self, number: int, stage: int, /) -> int: ...


def staged_law(
    llm: Llm,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    links: tuple[Links, Links],
    efficiency: Efficiency,
    overlap: str,
) -> StagedRoofline:
    """Law of a pipeline of ``parallel.pp`` stages of ``parallel.tp`` devices.

    The engine's host work is the first stage's: it forms the batch and feeds it in.

    Parameters
    ----------
    links
        What a stage's TP crosses, and what a hop crosses.

    Raises
    ------
    CapacityError
        If there are fewer layers than stages, or the layout cannot cut the LLM.
    """
    shape = llm_shape(llm)
    inside, between = links
    check_stages(llm, parallel)
    laws = [
        roofline_law(llm, device, precision, parallel, inside, efficiency, overlap, shape=part)
        for part in stage_shapes(shape, parallel.pp)
    ]
    size = shape.hidden * RESIDUAL_BYTES
    wire = between.bandwidth * efficiency.link_bandwidth
    fixed_s = efficiency.collective_s + efficiency.collective_hop_s + between.latency_s
    return StagedRoofline(
        stages=(laws[0], *(replace(law, engine=FREE) for law in laws[1:])),
        between=Hop(fixed_s, size / wire, size),
        window=next((law.window for law in laws if law.window is not None), None),
    )


def check_stages(llm: Llm, parallel: ParallelSpec) -> None:
    """Refuse more stages than layers."""
    if parallel.pp > llm.layers:
        raise CapacityError(
            Fault(
                llm.id, "parallel.pp", str(parallel.pp), f"at most {llm.layers}, its layers",
                "fewer stages, or more tp",
            )
        )  # fmt: skip
