"""Attention-FFN disaggregation: attention on one kind of device, FFN and experts on another.

The mixers (attention, recurrent layers), the KV cache, the router, embeddings and LM
head stay on the replica's own devices. Every FFN block is on devices of another pool:
the blocks are dealt over groups of them, each group cutting its blocks as
`split.parallel` says. Each token crosses the link twice a block: its activations go, and
the result comes back.

A step's tokens are dealt over `m` micro-batches as evenly as whole tokens can be, the
fullest last, which take turns (ping-pong); sequences and decodes likewise. Per block
micro-batch i spends ``a_i`` with the attention side, ``w_i`` and a latency on the way, ``f_i``
with the FFN, and ``v_i`` and a latency on the way back. While one computes there, another is
here; so a block takes all of them ::

    busy   = sum of r_i,  r_i = max(a_i, w_i, f_i, v_i)      the busiest resource of each
    way    = a + w + f + v + 2 latency                       of the fullest, as is r
    period = max(busy, way)
    step   = sum of periods + min(busy, way) - r + LM head

the last but one being fill and drain. The exact end is the longest path through micro-batches
times resources (each serves in turn; a recurrence in max and plus). A path leaves a micro-batch
for the next at one resource a round, which costs `busy` at most, or goes round with one, which
costs `way` at most: so for blocks alike the sum is never below the recurrence; it is the
recurrence where all are equal, or where one resource is the busiest of every size. Blocks of
one kind of mixer are alike; those of different kinds have a period each, and FFN blocks are
taken as their mean: there it may err to either side (tests/unit/physics/test_afd_turns.py).
The rule ``max(attention, FFN, communication)`` is that of MegaScale-Infer (arXiv:2504.02263)
and Step-3 (arXiv:2507.19427).

Attention grows with the context and is hidden until it is the busiest: so the step is
piecewise linear in context, convex but for fill and drain, with knots where a maximum
changes. Chunks of prompts attend in one of the micro-batches. What they and the decodes have
cached is charged apart, the chunks' in a straight line; so `base` holds all else that the step
may take at any context: an upper bound, that hides what chunks attend to in themselves, but
not what they have before them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.errors import CapacityError, Fault
from factorysim.physics.attention import own_pairs, whole_fs
from factorysim.physics.costs import RESIDUAL_BYTES
from factorysim.physics.memory import weight_bytes
from factorysim.physics.precision import element_width
from factorysim.physics.roofline import EngineCost, RooflineLaw, shape_law
from factorysim.physics.shape import llm_shape
from factorysim.physics.sram import check_formats, micro_runs
from factorysim.physics.step import FS_PER_S, Activity, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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

    def seconds(self, size: Size) -> float:
        """Return `a` of one block, without what is cached."""
        tokens, sequences = size.tokens, size.sequences
        counts = (min(tokens, sequences), max(0, tokens - sequences), 0, 0)
        return self.law.base(*counts) / FS_PER_S / self.blocks

    def own_s(self, prompt_tokens: int, prompts: int) -> float:
        """Return what attention of chunks takes at least, in one block.

        One chunk sees nothing before it. Of several only their sum is known: they have the
        fewest pairs where all are alike, and what windows bound is left out.
        """
        if prompts == 1:
            return self.law.chunk(prompt_tokens, 0) / FS_PER_S / self.blocks
        pairs = sum(own_pairs(tokens) for tokens in deal(prompt_tokens, prompts))
        return pairs * self.law.full.pair_s / self.blocks


class Size(NamedTuple):
    """Micro-batches of a step that are alike."""

    tokens: int
    sequences: int
    decodes: int
    many: int


class Load(NamedTuple):
    """What micro-batches of one size take in a block."""

    many: int
    attention_s: float
    """`a`, without what decodes have cached."""
    share: float
    """Of one micro-batch in the context of all decodes."""
    other_s: float
    """The busiest of FFN and link: max(f, w, v)."""


class Turns(NamedTuple):
    """A step's micro-batches in the blocks after one kind of mixer."""

    blocks: float
    loads: tuple[Load, ...]
    """The fullest micro-batch is last."""
    rest_s: float
    """What is not attention, of the fullest one: f + w + v + 2 latency."""
    slope_s: float
    """Of a block, for a cached token."""
    local_s: float
    """The same, up to `bound` tokens."""
    bound: float
    """Context from which on windows, or what is selected, are full."""

    def block_s(self, context: float) -> tuple[float, float]:
        """Return the period of a block, and what filling and draining a step adds."""
        spent_s = context * self.slope_s + min(context, self.bound) * self.local_s
        busy, way, busiest = self._sums(spent_s)
        return max(busy, way), min(busy, way) - busiest

    def knots(self) -> list[float]:
        """Contexts at which `block_s` bends, in order."""
        bends = {
            (load.other_s - load.attention_s) / load.share for load in self.loads if load.share
        }
        starts = sorted({0.0, *(bend for bend in bends if bend > 0.0)})
        found = set(starts[1:])
        for start, end in itertools.pairwise(starts):
            before, after = self._gap(start), self._gap(end)
            if before * after < 0.0:
                found.add(start + (end - start) * before / (before - after))
        # Beyond, attention is the busiest of all; of the fullest only its own is on the way.
        before, last = self._gap(starts[-1]), self.loads[-1].share
        rise = sum(load.many * load.share for load in self.loads) - last
        if before < 0.0 < rise:
            found.add(starts[-1] - before / rise)
        knots = {context for spent_s in found for context in self._contexts(spent_s)}
        return sorted(knots | ({self.bound} if self.bound < math.inf else set()))

    def _gap(self, spent_s: float) -> float:
        busy, way, _ = self._sums(spent_s)
        return busy - way

    def _sums(self, spent_s: float) -> tuple[float, float, float]:
        """Sum the busiest resources of all; of the fullest, return the way and the busiest."""
        busy = attention_s = busiest = 0.0
        for many, fixed_s, share, other_s in self.loads:
            attention_s = fixed_s + share * spent_s
            busiest = max(attention_s, other_s)
            busy += many * busiest
        return busy, attention_s + self.rest_s, busiest

    def _contexts(self, spent_s: float) -> Iterable[float]:
        """Contexts that cost so much: below the bound, or beyond it."""
        both_s = self.slope_s + self.local_s
        if both_s > 0.0 and spent_s / both_s < self.bound:
            yield spent_s / both_s
        elif self.slope_s > 0.0:
            yield (spent_s - self.local_s * self.bound) / self.slope_s


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
    engine: EngineCost
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
        if prompt_tokens:
            seconds = self._around_chunks(decodes, prompt_tokens, prompts)
        else:
            seconds = self._seconds(self._turns(decodes, 0, 0), 0.0)
        device = whole_fs(seconds)
        if emitting:
            device += self.head.base(emitting, 0, 0, emitting)
        return max(1, whole_fs(self.engine.around(device / FS_PER_S, decodes + prompts)))

    def piece(self, decodes: int, context: int) -> Piece:
        """Linear piece of what attention to the cache adds; see `StepLaw.piece`."""
        for piece in self._pieces.get(decodes) or self._lines(decodes):
            if piece.knot is None or context < piece.knot:
                return piece
        raise AssertionError("the last piece has no knot")

    def chunk(self, tokens: int, prior: int) -> int:
        """Attention of a chunk; what of it is hidden, `base` leaves out."""
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

    def _sizes(self, decodes: int, prompt_tokens: int, prompts: int) -> list[Size]:
        """Deal a step evenly over its micro-batches; the fullest is last."""
        tokens = decodes + prompt_tokens
        parts = min(self.micro_batches, tokens)
        dealt = zip(
            deal(tokens, parts), deal(decodes + prompts, parts), deal(decodes, parts), strict=True
        )
        return [Size(*size, len(list(alike))) for size, alike in itertools.groupby(dealt)]

    def _turns(
        self, decodes: int, prompt_tokens: int, prompts: int, own_s: Sequence[float] | None = None
    ) -> list[Turns]:
        """Return the blocks of a step, by mixers; the fullest micro-batch attends for `own_s`."""
        sizes = self._sizes(decodes, prompt_tokens, prompts)
        others, rest_s = [], 0.0
        for size in sizes:
            ffn_s = self.ffn.base(size.tokens, 0, 0, 0) / FS_PER_S / self.blocks
            go_s = size.tokens * self.go_bytes / self.exchange.bandwidth
            back_s = size.tokens * self.back_bytes / self.exchange.bandwidth
            others.append(max(ffn_s, go_s, back_s))
            rest_s = ffn_s + go_s + back_s + 2 * self.exchange.latency_s
        turns: list[Turns] = []
        for i, mixer in enumerate(self.mixers):
            blocks, law = mixer
            loads = [
                Load(
                    size.many,
                    mixer.seconds(size),
                    size.decodes / decodes if decodes else 0.0,
                    other_s,
                )
                for size, other_s in zip(sizes, others, strict=True)
            ]
            if own_s is not None:
                loads[-1:] = _attend(loads[-1], own_s[i])
            bound = math.inf if law.window is None else float(decodes * law.window)
            full_s, local_s = law.full.slope_s / blocks, law.local.slope_s / blocks
            turns.append(Turns(blocks, tuple(loads), rest_s, full_s, local_s, bound))
        return turns

    def _seconds(self, turns: Iterable[Turns], context: float) -> float:
        """Seconds of a step's blocks at some context of its decodes."""
        total = filling = 0.0
        for i, turn in enumerate(turns):
            period_s, fill_s = turn.block_s(context)
            total += turn.blocks * period_s
            if not i:
                filling = fill_s
        return total + filling

    def _around_chunks(self, decodes: int, prompt_tokens: int, prompts: int) -> float:
        """Seconds of a step's blocks without attention to come from `chunk` and `piece`.

        Those two know nothing of each other, and stay linear: so it is the most that is
        missing at any context, with as little before the chunks as may be.
        """
        own_s = [mixer.own_s(prompt_tokens, prompts) for mixer in self.mixers]
        turns = self._turns(decodes, prompt_tokens, prompts, own_s)
        seconds = self._seconds(turns, 0.0)
        if decodes:
            pieces = self._pieces.get(decodes) or self._lines(decodes)
            knots = {piece.knot for piece in pieces if piece.knot is not None}
            knots.update(round(knot) for turn in turns for knot in turn.knots())
            for knot in knots:
                piece = self.piece(decodes, knot)
                charged = (piece.fixed_fs + piece.slope_fs * knot) / FS_PER_S
                seconds = max(seconds, self._seconds(turns, knot) - charged)
        spent = zip(own_s, self.mixers, strict=True)
        return seconds - sum(block_s * mixer.blocks for block_s, mixer in spent)

    def _lines(self, decodes: int) -> tuple[Piece, ...]:
        """Pieces in whole femtoseconds that meet at whole contexts, above where they bend."""
        turns = self._turns(decodes, 0, 0)
        bends = sorted({0.0, *(knot for turn in turns for knot in turn.knots())})
        ends = [*bends[1:], 2.0 * bends[-1] + 1e6]
        starts_s = [self._seconds(turns, bend) for bend in (*bends, ends[-1])]
        pieces: list[Piece] = []
        fixed = knot = 0
        for k, (start, end) in enumerate(zip(bends, ends, strict=True)):
            slope = whole_fs((starts_s[k + 1] - starts_s[k]) / (end - start))
            if pieces:
                rises = slope > pieces[-1].slope_fs
                knot = max(knot, math.floor(start) if rises else math.ceil(start))
                fixed += (pieces[-1].slope_fs - slope) * knot
                pieces[-1] = pieces[-1]._replace(knot=knot)
            pieces.append(Piece(fixed, slope, None))
        if len(self._pieces) >= PIECES_KEPT:
            self._pieces.clear()
        self._pieces[decodes] = tuple(pieces)
        return self._pieces[decodes]


def deal(things: int, parts: int) -> list[int]:
    """Deal as evenly as whole things can be, the fullest last.

    Examples
    --------
    >>> deal(7, 3)
    [2, 2, 3]
    """
    each, over = divmod(things, parts)
    return [each] * (parts - over) + [each + 1] * over


def _attend(load: Load, own_s: float) -> list[Load]:
    """Give one micro-batch of a size the chunks' own attention."""
    one = load._replace(many=1, attention_s=load.attention_s + own_s)
    return [load._replace(many=load.many - 1), one] if load.many > 1 else [one]


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
        engine=EngineCost(efficiency.host_step_s, efficiency.sequence_s, overlap == "full"),
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
    dense = llm.dense_layers
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
    """Without the engine's work, which the split's own law counts once."""
    return replace(efficiency, host_step_s=0.0, sequence_s=0.0)
