"""Attention-FFN disaggregation: attention on one kind of device, FFN and experts on another.

The mixers (attention, recurrent layers), the KV cache, the router, embeddings and LM
head stay on the replica's own devices. Every FFN block is on devices of another pool:
the blocks are dealt over groups of them, each group cutting its blocks as
`split.parallel` says. Each token crosses the link twice a block: its activations go, and
the result comes back.

A step's tokens are cut into `m` equal micro-batches that take turns (ping-pong). Per
block one of them spends `a` with the attention side, `w` and a latency on the way, `f` with
the FFN, and `v` and a latency on the way back: ``way = a + w + f + v + 2 latency``. While
one computes there, another is here; so a block takes all of them ::

    period = max(m * r, way)        r = max(a, f, w, v), the busiest of the resources
    step   = sum of periods + min(way - r, (m - 1) * r) + LM head

the second term being the fill and drain of the first and last micro-batch. This is exact
for blocks alike in first-come order (a recurrence over micro-batches and resources
checks it: tests/unit/physics/test_afd.py). Blocks of one kind of mixer are alike; those of
different kinds have a period each, and FFN blocks are taken as their mean. The rule
``max(attention, FFN, communication)`` is that of MegaScale-Infer (arXiv:2504.02263) and
Step-3 (arXiv:2507.19427).

Attention grows with the context and is hidden until it is the busiest: so the step is
piecewise linear in context, convex but for the small second term, with knots where the
maximum changes. In a step that holds chunks of prompts as well, their attention
is added, and that of the decodes is charged as in a step without them: an upper bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.errors import CapacityError, Fault
from factorysim.physics.attention import whole_fs
from factorysim.physics.costs import RESIDUAL_BYTES
from factorysim.physics.memory import weight_bytes
from factorysim.physics.precision import element_width
from factorysim.physics.roofline import HostCost, RooflineLaw, shape_law
from factorysim.physics.shape import llm_shape
from factorysim.physics.sram import check_formats, micro_runs
from factorysim.physics.step import FS_PER_S, Activity, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable

    from factorysim.catalog.efficiency import Efficiency
    from factorysim.catalog.values import Device, Llm
    from factorysim.physics.collectives import Links
    from factorysim.physics.shape import Attention, Shape
    from factorysim.physics.step import StepRuns
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec
    from factorysim.spec.split import AfdSplit

MIXERS = ("attention", "recurrent", "router")
"""Linear layers that stay with the attention; the router sends tokens, so it is here."""
FFN_PASSES = 2.0
"""Times that the FFN side reads or writes a token's residual stream: what comes, what goes."""
PIECES_KEPT = 1 << 12
"""Of how many batch sizes the pieces are remembered."""


class Exchange(NamedTuple):
    """The link between the two sides of a replica."""

    bandwidth: float
    """B/s per direction, all devices together, as a large message reaches it."""
    latency_s: float
    """One way."""


class Side(NamedTuple):
    """One side of a split: where some operators of the LLM run."""

    device: Device
    parallel: ParallelSpec
    links: Links
    efficiency: Efficiency


class Mixer(NamedTuple):
    """FFN blocks that come after one kind of mixer."""

    blocks: float
    """How many."""
    law: RooflineLaw
    """Of all mixers of this kind, together."""

    def seconds(self, micro: Micro) -> float:
        """Return `a` of one block, without what is cached."""
        tokens, sequences = micro.tokens, micro.sequences
        counts = (min(tokens, sequences), max(0, tokens - sequences), 0, 0)
        return self.law.base(*counts) / FS_PER_S / self.blocks

    def context_s(self, micro: Micro, context: float) -> float:
        """Return what `context` cached tokens of all micro-batches add to `a`."""
        seen = min(context, self.bounded_at(micro))
        spent = context * self.law.full.slope_s + seen * self.law.local.slope_s
        return spent * micro.share / self.blocks

    def bounded_at(self, micro: Micro) -> float:
        """Context from which on windows, or what is selected, are full."""
        window = self.law.window
        return math.inf if window is None else float(micro.decodes * window)

    def contexts_at(self, micro: Micro, attention_s: float) -> list[float]:
        """Contexts at which attention takes so long: below the bound, or beyond it."""
        left = (attention_s - self.seconds(micro)) * self.blocks / micro.share
        full_s, local_s = self.law.full.slope_s, self.law.local.slope_s
        bound = self.bounded_at(micro)
        found = []
        if full_s + local_s > 0.0 and 0.0 < left / (full_s + local_s) < bound:
            found.append(left / (full_s + local_s))
        if full_s > 0.0 and bound < (beyond := (left - local_s * bound) / full_s):
            found.append(beyond)
        return found


class Micro(NamedTuple):
    """The fullest micro-batch of a step."""

    batches: int
    """Micro-batches of the step."""
    tokens: int
    sequences: int
    decodes: int
    """Of all micro-batches."""
    share: float
    """Of the context of all decodes."""


class BlockTime(NamedTuple):
    """Seconds that do not depend on context: of a micro-batch, per block."""

    other_s: float
    """The busiest of FFN and link: max(f, w, v)."""
    rest_s: float
    """What is not attention: f + w + v + 2 latency."""

    def period_s(self, attention_s: float, count: int) -> float:
        """Of a block: all micro-batches through it."""
        return max(count * max(attention_s, self.other_s), attention_s + self.rest_s)

    def fill_s(self, attention_s: float, count: int) -> float:
        """Fill and drain of a step."""
        busiest = max(attention_s, self.other_s)
        return min(attention_s + self.rest_s - busiest, (count - 1) * busiest)

    def knots_s(self, count: int) -> tuple[float, ...]:
        """Values of `attention_s` at which the maximum changes."""
        other, rest = self.other_s, self.rest_s
        if count == 1:
            return ()  # nothing takes turns: the way is all
        if rest <= (count - 1) * other:
            return (other,)
        return (count * other - rest, other, rest / (count - 1))


@dataclass(frozen=True, slots=True)
class FfnSide:
    """Activity of the devices that hold the FFN; see `AfdLaw.partner`."""

    law: RooflineLaw
    """Of all FFN blocks on one group."""
    groups: int
    micro_batches: int
    token_s: float
    """On the link, a direction."""

    def activity(self, runs: StepRuns) -> Activity:
        """Activity of all groups; each is busy for its blocks of every micro-batch."""
        micro = micro_runs(runs, self.micro_batches, None)
        zeros = np.zeros_like(runs.steps)
        done = self.law.activity(
            micro._replace(
                emitted_tokens=zeros,
                context_tokens=zeros,
                window_tokens=zeros,
                pair_tokens=zeros,
                prior_tokens=zeros,
            )
        )
        tokens = runs.decodes * runs.steps + runs.prompt_tokens
        return done._replace(
            compute_s=done.compute_s / self.groups,
            memory_s=done.memory_s / self.groups,
            link_s=(done.link_s + tokens * self.token_s) / self.groups,
        )


@dataclass(frozen=True, slots=True)
class AfdLaw:
    """`StepLaw` of a replica split over two kinds of device; built by `afd_law`."""

    mixers: tuple[Mixer, ...]
    head: RooflineLaw
    """Of the LM head alone."""
    ffn: RooflineLaw
    blocks: int
    """FFN blocks: as many exchanges each way."""
    micro_batches: int
    exchange: Exchange
    go_bytes: float
    """Of a token, once."""
    back_bytes: float
    host: HostCost
    hides_host: bool
    partner: FfnSide
    window: int | None = None
    window_fs: int = 0
    """Windows are in `piece`, by the mean context."""
    draws: bool = False
    _pieces: dict[int, tuple[Piece, ...]] = field(
        default_factory=dict[int, tuple[Piece, ...]], compare=False, repr=False
    )

    @property
    def link_token_bytes(self) -> float:
        """Bytes of a token between the two sides, both ways."""
        return self.blocks * (self.go_bytes + self.back_bytes)

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        """Femtoseconds of a step without what is cached; see `StepLaw.base`."""
        tokens = decodes + prompt_tokens
        micro = self._micro(tokens, decodes + prompts, decodes)
        device = whole_fs(self._seconds(micro, 0.0))
        if emitting:
            device += self.head.base(emitting, 0, 0, emitting)
        host = whole_fs(self.host.step_s + (decodes + prompts) * self.host.sequence_s)
        return max(1, max(device, host) if self.hides_host else device + host)

    def piece(self, decodes: int, context: int) -> Piece:
        """Linear piece of what attention to the cache adds; see `StepLaw.piece`."""
        pieces = self._pieces.get(decodes)
        if pieces is None:
            if len(self._pieces) >= PIECES_KEPT:
                self._pieces.clear()
            pieces = self._pieces[decodes] = self._lines(decodes)
        for piece in pieces:
            if piece.knot is None or context < piece.knot:
                return piece
        raise AssertionError("the last piece has no knot")

    def chunk(self, tokens: int, prior: int) -> int:
        """Attention of a chunk, hidden by nothing: an upper bound."""
        return sum(mixer.law.chunk(tokens, prior) for mixer in self.mixers)

    def chunk_slope(self, tokens: int) -> int | None:
        """Femtoseconds for one more prior token; None with sliding windows."""
        total = 0
        for mixer in self.mixers:
            slope = mixer.law.chunk_slope(tokens)
            if slope is None:
                return None
            total += slope
        return total

    def prompt(self, u: float) -> int:
        """Nothing is drawn."""
        return 0

    def activity(self, runs: StepRuns) -> Activity:
        """Activity of the attention side; that of the other is ``partner.activity``."""
        window = next((m.law.window for m in self.mixers if m.law.window is not None), None)
        micro = micro_runs(runs, self.micro_batches, window)
        tokens = runs.decodes * runs.steps + runs.prompt_tokens
        total = self.head.activity(runs)
        for mixer in self.mixers:
            part = mixer.law.activity(micro)
            total = Activity(*(a + b for a, b in zip(total, part, strict=True)))
        wire_s = self.blocks * max(self.go_bytes, self.back_bytes) / self.exchange.bandwidth
        return total._replace(
            link_bytes=total.link_bytes + tokens * self.link_token_bytes,
            link_s=total.link_s + tokens * wire_s,
        )

    def block_time(self, micro: Micro) -> BlockTime:
        """Time a block apart from attention."""
        ffn_s = self.ffn.base(micro.tokens, 0, 0, 0) / FS_PER_S / self.blocks
        go_s = micro.tokens * self.go_bytes / self.exchange.bandwidth
        back_s = micro.tokens * self.back_bytes / self.exchange.bandwidth
        rest_s = ffn_s + go_s + back_s + 2 * self.exchange.latency_s
        return BlockTime(max(ffn_s, go_s, back_s), rest_s)

    def _micro(self, tokens: int, sequences: int, decodes: int) -> Micro:
        count = min(self.micro_batches, tokens)
        share = -(-decodes // count) / decodes if decodes else 0.0
        return Micro(count, -(-tokens // count), -(-sequences // count), decodes, share)

    def _seconds(self, micro: Micro, context: float) -> float:
        """Seconds of a step's blocks at some context of its decodes."""
        block = self.block_time(micro)
        total = 0.0
        for mixer in self.mixers:
            attention_s = mixer.seconds(micro) + mixer.context_s(micro, context)
            total += mixer.blocks * block.period_s(attention_s, micro.batches)
        first = self.mixers[0]
        attention_s = first.seconds(micro) + first.context_s(micro, context)
        return total + block.fill_s(attention_s, micro.batches)

    def _knots(self, micro: Micro) -> list[float]:
        """Contexts at which the time of a step bends."""
        block, knots = self.block_time(micro), set[float]()
        for mixer in self.mixers:
            if mixer.law.window is not None:
                knots.add(mixer.bounded_at(micro))
            for knot_s in block.knots_s(micro.batches):
                knots.update(mixer.contexts_at(micro, knot_s))
        return sorted(knots)

    def _lines(self, decodes: int) -> tuple[Piece, ...]:
        """Pieces in whole femtoseconds that meet at whole contexts."""
        micro = self._micro(decodes, decodes, decodes)
        bends = [0.0, *self._knots(micro)]
        ends = [*bends[1:], 2.0 * bends[-1] + 1e6]
        starts_s = [self._seconds(micro, bend) for bend in (*bends, ends[-1])]
        pieces: list[Piece] = []
        fixed = 0
        for k, (start, end) in enumerate(zip(bends, ends, strict=True)):
            slope = whole_fs((starts_s[k + 1] - starts_s[k]) / (end - start))
            if pieces:
                knot = math.ceil(start)
                fixed += (pieces[-1].slope_fs - slope) * knot
                pieces[-1] = pieces[-1]._replace(knot=knot)
            pieces.append(Piece(fixed, slope, None))
        return tuple(pieces)


def ffn_bytes(llm: Llm, precision: PrecisionSpec) -> float:
    """Bytes of the weights that a split moves: dense FFN, shared and routed experts."""
    held = weight_bytes(llm, precision)
    return held.dense_ffn + held.shared_experts + held.routed_experts


def ffn_groups(
    llm: Llm, device: Device, precision: PrecisionSpec, split: AfdSplit, memory_fraction: float
) -> int:
    """Count the groups of `split.parallel.tp` devices that hold the FFN: as few as do.

    Raises
    ------
    CapacityError
        If SRAM cannot hold the LLM's format, or there is no FFN block for each group.
    """
    if device.sram is not None:
        check_formats(llm, device, precision)
    group_bytes = memory_fraction * device.memory_bytes * split.parallel.tp
    return max(1, math.ceil(ffn_bytes(llm, precision) / group_bytes))


def afd_law(
    llm: Llm,
    precision: PrecisionSpec,
    attention: Side,
    ffn: Side,
    split: AfdSplit,
    groups: int,
    exchange: Exchange,
    overlap: str,
    expert_skew: float = 0.0,
) -> AfdLaw:
    """Law of a replica of `llm` over two sides.

    Parameters
    ----------
    groups
        Of the FFN's devices; see `ffn_groups`.
    overlap, expert_skew
        As of `roofline_law`.

    Raises
    ------
    CapacityError
        If a side lacks the arithmetic of the precision, or a layout cannot cut the LLM.
    """
    shape = llm_shape(llm)
    blocks = _ffn_blocks(llm, shape)
    here, there = f"{llm.id} on {attention.device.id}", f"{llm.id} on {ffn.device.id}"
    quiet = _quiet(attention.efficiency)
    mixers = tuple(
        Mixer(
            count * blocks / _mixer_count(shape, blocks),
            shape_law(
                part, here, attention.device, precision, attention.parallel, attention.links, quiet
            ),
        )
        for count, part in _mixer_shapes(shape, blocks)
    )
    links = ffn.links
    if ffn.device.sram is not None:
        links = links._replace(radix=ffn.device.sram.one_hop_chips)
    try:
        over = shape_law(
            _ffn_shape(shape, blocks), there, ffn.device, precision, split.parallel, links,
            _quiet(ffn.efficiency), "full", expert_skew, FFN_PASSES,
        )  # fmt: skip
    except CapacityError as error:
        raise _of_split(error) from error
    head = shape_law(
        _bare(shape)._replace(table=shape.table), here, attention.device, precision,
        attention.parallel, attention.links, quiet,
    )  # fmt: skip
    go_bytes = shape.hidden * min(RESIDUAL_BYTES, element_width(precision.compute))
    back_bytes = shape.hidden * RESIDUAL_BYTES
    efficiency = attention.efficiency
    return AfdLaw(
        mixers=mixers,
        head=head,
        ffn=over,
        blocks=blocks,
        micro_batches=split.micro_batches,
        exchange=exchange,
        go_bytes=go_bytes,
        back_bytes=back_bytes,
        host=HostCost(efficiency.host_step_s, efficiency.host_sequence_s),
        hides_host=overlap == "full",
        partner=FfnSide(
            over,
            groups,
            split.micro_batches,
            blocks * max(go_bytes, back_bytes) / exchange.bandwidth,
        ),
    )


def _of_split(error: CapacityError) -> CapacityError:
    """Say of `split.parallel` what was said of a cut."""
    return CapacityError(
        *(
            fault._replace(key=f"split.{fault.key}") if fault.key.startswith("parallel.") else fault
            for fault in error.faults
        )
    )


def _ffn_blocks(llm: Llm, shape: Shape) -> int:
    dense = llm.layers if llm.ffn_kind == "dense" else llm.dense_layers
    blocks = dense + shape.moe_layers
    if not blocks:
        raise CapacityError(Fault(llm.id, "split", "an LLM without FFN", "one to split"))
    return blocks


def _mixer_count(shape: Shape, blocks: int) -> int:
    return shape.blocks - blocks


def _bare(shape: Shape) -> Shape:
    """Take away all operators: those of a side are put back."""
    return shape._replace(
        layers=0, blocks=0, linears=(), experts=0, active=0, moe_layers=0, inner_width=0, table=0,
        attention=(), state_elements=0, pending_elements=0,
    )  # fmt: skip


def _mixer_shapes(shape: Shape, blocks: int) -> Iterable[tuple[int, Shape]]:
    """Count the mixers of each kind, and give their shape with its part of the router."""
    params = {linear.name: linear.params for linear in shape.linears}
    parts = {linear.name: linear.part for linear in shape.linears}
    mixers = _mixer_count(shape, blocks)
    attending = sum(group.layers for group in shape.attention)
    kinds: list[tuple[str, int, tuple[Attention, ...], int]] = [
        ("attention", group.layers, (group,), 0) for group in shape.attention
    ]
    if any(group.reads in ("index", "selected", "recent") for group in shape.attention):
        # Groups of sparse attention lie in the same layers: one kind, a mean over them.
        attending = mixers
        kinds = [("attention", mixers, shape.attention, 0)]
    if mixers > attending:
        kinds.append(("recurrent", mixers - attending, (), shape.state_elements))
    of_kind = {"attention": attending, "recurrent": mixers - attending}
    for name, count, attention, state in kinds:
        shares = {name: count / of_kind[name], "router": count / mixers}
        linears = tuple(
            linear._replace(params=round(params[linear.name] * shares[linear.name]))
            for linear in shape.linears
            if linear.name in shares and linear.name in parts
        )
        widths = (round(g.pair_flops) // (4 * g.layers) for g in attention)
        width = 3 * max(widths, default=shape.hidden)
        yield count, _bare(shape)._replace(
            layers=count, blocks=count, linears=linears, inner_width=width, attention=attention,
            state_elements=state,
        )  # fmt: skip


def _ffn_shape(shape: Shape, blocks: int) -> Shape:
    linears = tuple(linear for linear in shape.linears if linear.name not in MIXERS)
    return _bare(shape)._replace(
        layers=blocks, blocks=blocks, linears=linears, experts=shape.experts, active=shape.active,
        moe_layers=shape.moe_layers, inner_width=shape.inner_width,
    )  # fmt: skip


def _quiet(efficiency: Efficiency) -> Efficiency:
    """Without the host's work, which the split's own law counts once."""
    return replace(efficiency, host_step_s=0.0, host_sequence_s=0.0)
