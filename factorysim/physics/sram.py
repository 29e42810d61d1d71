"""An LLM on chips whose memory is SRAM: a pipeline of stages, each cut over its chips.

A chip holds half a gigabyte, so weights and resident KV decide how many there are.
They are cut evenly, as a compiler does that may cut inside a layer: `parallel.tp`
chips share each layer (a stage's tensor parallelism), and as many stages follow each
other as it takes. With `S` stages, a micro-batch of `b` tokens goes through all of them in ::

    L(b) = time of the whole LLM on tp chips for b tokens + S hops

since each stage has an S-th of it. That is what a token takes, whatever the depth.
Depth buys throughput: `S` micro-batches are under way at once, one a stage, so that a
step of `B` decodes, which gives each of them a token, is one round ::

    step = L(ceil(B / min(S, B)))

The fullest micro-batch decides, and nothing is drawn: such chips run a schedule that was
fixed when the LLM was compiled. Micro-batches follow each other without a gap (the pipe
stays full from step to step); only where a prompt ends, its last tokens leave
``min(S, tokens) - 1`` stages after the first ones, and that is added.

KV is in the same SRAM, or in the DRAM behind it; each has its own bandwidth.
Sliding windows count by the mean context of the decodes: ``min(C, decodes * window)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from factorysim.errors import CapacityError, Fault
from factorysim.physics.attention import whole_fs
from factorysim.physics.costs import RESIDUAL_BYTES
from factorysim.physics.memory import in_gb, kv_bytes_per_token, sequence_bytes, weight_bytes
from factorysim.physics.roofline import EngineCost, RooflineLaw, roofline_law
from factorysim.physics.shape import llm_shape
from factorysim.physics.step import FS_PER_S, Activity, Piece

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.catalog.efficiency import Efficiency
    from factorysim.catalog.values import Device, Llm, Sram
    from factorysim.physics.collectives import Links
    from factorysim.physics.step import StepRuns
    from factorysim.spec.kv import KvSpec
    from factorysim.spec.layout import ParallelSpec, SramSpec
    from factorysim.spec.llm import PrecisionSpec

    Floats = npt.NDArray[np.float64]


class Chips(NamedTuple):
    """Where a replica's chips stand: so many a rack, beside each other."""

    stages: int
    a_stage: int
    a_rack: int

    @property
    def racks(self) -> int:
        """Racks that the pipeline goes through."""
        return -(-self.stages * self.a_stage // self.a_rack)


class SramBytes(NamedTuple):
    """What a replica must hold, in bytes of each of a stage's chips, all stages together."""

    weights: float
    state: float
    """Recurrent state, and windows where KV is in SRAM, of `max_sequences`."""
    kv_token: float
    """KV cache of one token."""
    windows: float
    """Full sliding windows of `max_sequences`, where KV is in DRAM."""


def sram_bytes(
    llm: Llm,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    sequences: int,
    *,
    kv_in_dram: bool,
) -> SramBytes:
    """Bytes that each of `parallel.tp` chips would hold if there were one stage."""
    state = 4.0 * llm_shape(llm).state_elements / parallel.tp
    windows = sequence_bytes(llm, precision, parallel) - state
    return SramBytes(
        weights=weight_bytes(llm, precision).total / parallel.tp,
        state=sequences * (state if kv_in_dram else state + windows),
        kv_token=kv_bytes_per_token(llm, precision, parallel),
        windows=sequences * windows if kv_in_dram else 0.0,
    )


def sram_stages(
    llm: Llm,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    spec: SramSpec,
    kv: KvSpec,
    sequences: int,
) -> int:
    """Count the stages: as given, or as few as hold all that must lie in SRAM.

    ``ceil((weights / tp + state + kv_tokens * kv) / (memory_fraction * SRAM))``; what
    `memory_fraction` leaves is for activations (`serving.kv.workspace`, which is meant
    for devices of hundreds of gigabytes, is not set aside).

    Raises
    ------
    CapacityError
        If the precision is none that the chip computes in.
    """
    check_formats(llm, device, precision)
    if spec.stages is not None:
        return spec.stages
    in_dram = spec.kv == "dram"
    held = sram_bytes(llm, precision, parallel, sequences, kv_in_dram=in_dram)
    tokens = llm.context_length if spec.kv_tokens is None else spec.kv_tokens
    tokens = -(-tokens // kv.block_tokens) * kv.block_tokens
    needed = held.weights + held.state + (0.0 if in_dram else tokens * held.kv_token)
    return max(1, math.ceil(needed / (kv.memory_fraction * device.memory_bytes)))


def check_formats(llm: Llm, device: Device, precision: PrecisionSpec) -> None:
    """Refuse weights, arithmetic or KV in a format that the chip does not compute in."""
    known = ", ".join(sorted(device.flops))
    faults = [
        Fault(f"{llm.id} on {device.id}", f"precision.{part}", word, f"one of {known}", cure)
        for part, word in precision.model_dump().items()
        if word not in device.flops
        for cure in [f"give the LLM a precision of {known} for this deployment: a key of `llms`"]
    ]
    if faults:
        raise CapacityError(*faults)


def sram_blocks(
    llm: Llm,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    spec: SramSpec,
    stages: int,
    kv: KvSpec,
    sequences: int,
) -> int:
    """Blocks of KV cache that a replica of so many stages holds, or `kv.blocks` as given.

    Raises
    ------
    CapacityError
        If weights and state leave no room for a block, or for the blocks given.
    """
    sram = _sram(device)
    in_dram = spec.kv == "dram"
    held = sram_bytes(llm, precision, parallel, sequences, kv_in_dram=in_dram)
    room = stages * kv.memory_fraction * device.memory_bytes - held.weights - held.state
    place, total = "SRAM", stages * kv.memory_fraction * device.memory_bytes
    if in_dram and room >= 0:
        total = stages * kv.memory_fraction * sram.dram_bytes
        place, room = "DRAM", total - held.windows
    block = kv.block_tokens * held.kv_token
    wanted = kv.blocks or 1
    if room < wanted * block or room < 0:
        chips = parallel.tp
        found = (
            f"{in_gb(chips * held.weights)} of weights, "
            f"{in_gb(chips * (held.state + held.windows))} of state "
            f"and {wanted} KV blocks of {in_gb(chips * block)}"
        )
        expected = f"at most {in_gb(chips * total)}: {stages * chips:,} chips, {place}"
        cure = "more stages (`sram.stages`, or none: as many as it takes), or fewer sequences"
        where = f"{llm.id} on {stages} x {chips} x {device.id}"
        raise CapacityError(Fault(where, "sram.stages", found, expected, cure))
    return kv.blocks or int(room // block) if block else kv.blocks or 1


def round_s(device: Device, chips: Chips) -> float:
    """Latency of all hops of a token's way through the stages and back to the first.

    A hop is a chip's published latency to a neighbour; each rack further adds an even part of
    what the published reach takes beyond that.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> lpu = load_catalog().device("groq3_lpu")
    >>> round_s(lpu, Chips(8, 8, 256))  # eight hops of 350 ns
    2.8e-06
    >>> round(1e6 * round_s(lpu, Chips(64, 8, 256)), 3)  # two racks: there and back again
    23.05
    """
    if chips.stages == 1:
        return 0.0
    sram = _sram(device)
    racks_reached = sram.reach_bytes / (device.memory_bytes * chips.a_rack)
    a_rack_s = (sram.reach_s - sram.hop_s) / max(racks_reached - 1.0, 1.0)
    return chips.stages * sram.hop_s + 2 * (chips.racks - 1) * a_rack_s


@dataclass(frozen=True, slots=True)
class SramLaw:
    """`StepLaw` of a pipeline of chips; built by `sram_law`."""

    stage: RooflineLaw
    """Of all layers on the chips of one stage, without host work."""
    stages: int
    hops_s: float
    """Latency of a round's hops."""
    hop_token_s: float
    """To send a token's activations on, once."""
    hop_token_bytes: float
    engine: EngineCost
    window: int | None = None
    window_fs: int = 0
    """Windows are in `piece`, by the mean context."""
    draws: bool = False
    link_token_bytes: float = 0.0
    """Chip-to-chip links are not the network."""

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        """Femtoseconds of a round, attention apart; see `StepLaw.base`."""
        tokens = decodes + prompt_tokens
        under_way = min(self.stages, tokens)
        micro = [-(-n // under_way) for n in (decodes, prompt_tokens, prompts, emitting)]
        device = self.stage.base(*micro) + whole_fs(
            self.hops_s + self.stages * (micro[0] + micro[1]) * self.hop_token_s
        )
        if emitting > decodes:  # a prompt ends: the last of it leaves the pipe
            device += device * (under_way - 1) // self.stages
        return whole_fs(self.engine.around(device / FS_PER_S, decodes + prompts))

    def piece(self, decodes: int, context: int) -> Piece:
        """Attention of the fullest micro-batch, whose sequences have the mean context."""
        share = -(-decodes // min(self.stages, decodes)) / decodes
        full_fs = whole_fs(share * self.stage.full.slope_s)
        window = self.stage.window
        if window is None:
            return Piece(0, full_fs, None)
        local_fs = whole_fs(share * self.stage.local.slope_s)
        knot = decodes * window
        if context < knot:
            return Piece(0, full_fs + local_fs, knot)
        return Piece(local_fs * knot, full_fs, None)

    def chunk(self, tokens: int, prior: int) -> int:
        """Attention of a chunk's last micro-batch, which sees the most."""
        last = self._last(tokens)
        return self.stage.chunk(last, prior + tokens - last)

    def chunk_slope(self, tokens: int) -> int | None:
        """Femtoseconds for one more prior token; None with sliding windows."""
        return self.stage.chunk_slope(self._last(tokens))

    def prompt(self, u: float) -> int:
        """Nothing is drawn."""
        return 0

    def activity(self, runs: StepRuns) -> Activity:
        """Activity of all chips; each is busy for its stage's part of every micro-batch."""
        done = self.stage.activity(micro_runs(runs, self.stages, self.stage.window))
        tokens = runs.decodes * runs.steps + runs.prompt_tokens
        hops = self.stages if self.stages > 1 else 0
        return done._replace(
            link_bytes=done.link_bytes + tokens * hops * self.hop_token_bytes,
            compute_s=done.compute_s / self.stages,
            memory_s=done.memory_s / self.stages,
            link_s=done.link_s / self.stages + tokens * self.hop_token_s,
        )

    def _last(self, tokens: int) -> int:
        return -(-tokens // min(self.stages, tokens))


def micro_runs(runs: StepRuns, most: int, window: int | None) -> StepRuns:
    """Take runs of steps as runs of their micro-batches, `most` a step.

    Each reads the weights. What windows hold follows from the mean context; prompts
    whose chunks are cut further count as one where there are fewer than micro-batches.
    """
    a_step = runs.decodes + runs.prompt_tokens / runs.steps
    under_way = np.maximum(np.minimum(a_step, most), 1.0)
    seen = runs.window_tokens
    if window is not None:
        seen = np.minimum(runs.context_tokens, runs.steps * runs.decodes * window)
    # Means over micro-batches, so fractions: activity is linear in them.
    scaled = (runs.steps * under_way, runs.decodes / under_way, runs.prompts / under_way)
    steps, decodes, prompts = (cast("npt.NDArray[np.int64]", column) for column in scaled)
    return runs._replace(steps=steps, decodes=decodes, prompts=prompts, window_tokens=seen)


def sram_law(
    llm: Llm,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    spec: SramSpec,
    chips: Chips,
    links: Links,
    efficiency: Efficiency,
    overlap: str,
    expert_skew: float = 0.0,
) -> SramLaw:
    """Law of a replica of `llm` on ``chips.stages`` times ``parallel.tp`` chips.

    Parameters
    ----------
    links
        Among the chips of a stage, and from stage to stage.
    overlap, expert_skew
        As of `roofline_law`.

    Raises
    ------
    CapacityError
        If the chip lacks the formats of the precision, or the layout cannot cut the LLM.
    """
    sram = _sram(device)
    check_formats(llm, device, precision)
    if spec.kv == "dram":
        share = sram.dram_bandwidth / device.memory_bandwidth
        efficiency = replace(efficiency, kv_bandwidth=efficiency.kv_bandwidth * share)
    stage = roofline_law(
        llm,
        device,
        precision,
        parallel,
        links._replace(radix=sram.one_hop_chips),
        replace(efficiency, host_step_s=0.0, sequence_s=0.0),
        overlap,
        expert_skew,
    )
    hop_bytes = llm_shape(llm).hidden * RESIDUAL_BYTES if chips.stages > 1 else 0.0
    wire = (device.scale_up_bw or math.inf) * efficiency.link_bandwidth * parallel.tp
    return SramLaw(
        stage=stage,
        stages=chips.stages,
        hops_s=round_s(device, chips),
        hop_token_s=hop_bytes / wire,
        hop_token_bytes=hop_bytes,
        engine=EngineCost(efficiency.host_step_s, efficiency.sequence_s, overlap == "full"),
    )


def _sram(device: Device) -> Sram:
    if device.sram is None:
        raise ValueError(f"{device.id} has no SRAM to speak of")
    return device.sram
