"""The roofline law: a step's time from an LLM's shapes and a device's data sheet.

Each class of operators takes the longer of its arithmetic and its memory
traffic, and the classes follow each other (Williams, Waterman and Patterson,
"Roofline", CACM 52(4), 2009, applied per operator) ::

    step = max(FLOP / (peak * eff_c), bytes / (bandwidth * eff_m))   dense linears, experts, LM head
         + activations + recurrent state + collectives + kernels     by token counts
         + attention                                                 linear in context

Weights are read once a step, whoever shares it. The engine's work of a step is added
(`overlap: none`) or hides behind what follows from token counts (`full`); it
never hides behind attention, so that the law stays linear in context. Its work for
each sequence, sampling above all, waits for the step's logits and hides behind nothing.
With ``tp`` devices everything is cut evenly, but the heads of attention as whole
ones. The busiest device decides where experts are cut by ``ep``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.errors import CapacityError, Fault
from factorysim.physics.attention import (
    AttentionCost,
    AttentionRates,
    attention_cost,
    own_pairs,
    whole_fs,
)
from factorysim.physics.costs import (
    RESIDUAL_BYTES,
    expert_cost,
    head_cost,
    linear_costs,
    link_cost,
)
from factorysim.physics.precision import element_width
from factorysim.physics.shape import llm_shape
from factorysim.physics.step import Activity, Piece

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.catalog.efficiency import Efficiency
    from factorysim.catalog.values import Device, Llm
    from factorysim.physics.collectives import Links
    from factorysim.physics.costs import ExpertCost, LinkCost, Ridge
    from factorysim.physics.shape import Shape
    from factorysim.physics.step import StepRuns
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec

    Floats = npt.NDArray[np.float64]

STREAM_PASSES = 10.0
"""Times a layer reads or writes the residual stream outside its products: two norms
(read, write) and two additions (read twice, write): derived by counting."""


class EngineCost(NamedTuple):
    """What the serving engine spends around the LLM itself."""

    step_s: float
    """Of the host, to schedule and prepare a step."""
    sequence_s: float
    """To sample and hand on a token of each sequence in the step."""
    hides: bool = True
    """Whether the host's work on a step goes on beside the device's."""

    def around(self, device_s: float, sequences: int) -> float:
        """Seconds of a step whose device takes `device_s`.

        Examples
        --------
        >>> EngineCost(2.0, 0.5).around(3.0, 4), EngineCost(2.0, 0.5, hides=False).around(3.0, 4)
        (5.0, 7.0)
        """
        step_s = max(device_s, self.step_s) if self.hides else device_s + self.step_s
        return step_s + sequences * self.sequence_s


FREE = EngineCost(0.0, 0.0)
"""Of a law whose engine's work is counted elsewhere."""


class Totals(NamedTuple):
    """FLOP that the LLM needs, on however many devices."""

    token: float
    emission: float
    context: float
    window: float
    pair: float
    window_pair: float
    recent: float = 0.0
    """Of a token among the last ones, which `RecentCost` counts as full."""


class Rates(NamedTuple):
    """What one device delivers, in bytes per second."""

    weights: float
    kv: float


class RecentCost(NamedTuple):
    """Attention to the last tokens: what each token of a step spends, full from the first."""

    tokens: int
    cost: AttentionCost

    def step_s(self, decodes: int, prompt_tokens: int) -> float:
        """Seconds in a step."""
        return self.tokens * (decodes * self.cost.slope_s + prompt_tokens * self.cost.pair_s)


@dataclass(frozen=True, slots=True)
class RooflineLaw:
    """`StepLaw` from shapes, a data sheet and efficiencies; built by `roofline_law`."""

    devices: int
    linears: tuple[Ridge, ...]
    experts: ExpertCost | None
    head: Ridge
    stream_s: float
    """Activations of a token, and its KV to write."""
    kv_write_s: float
    """Part of `stream_s`."""
    state_s: float
    """Recurrent state of a sequence, read and written."""
    kernels_s: float
    """Floor of a step's kernels, beyond what the rooflines ask."""
    links: LinkCost
    engine: EngineCost
    full: AttentionCost
    local: AttentionCost
    """Of what a query reads up to `window` tokens of: sliding windows, or selected tokens."""
    totals: Totals
    rates: Rates
    window: int | None
    slope_fs: int
    line: Piece
    """Of decode attention, for any context: made once, asked for in every run."""
    window_fs: int
    draws: bool = False
    recent: RecentCost | None = None

    @property
    def link_token_bytes(self) -> float:
        """Bytes of all collectives for a token."""
        return self.links.token_bytes

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        """Femtoseconds of all that context has no part in; see `StepLaw.base`."""
        tokens, sequences = decodes + prompt_tokens, decodes + prompts
        device = self.device_s(tokens, sequences, emitting)
        if self.experts is not None:
            device += self.experts.busiest(tokens)
        recent = 0.0 if self.recent is None else self.recent.step_s(decodes, prompt_tokens)
        return self.step_fs(device, sequences, recent)

    def device_s(self, tokens: int, sequences: int, emitting: int) -> float:
        """Seconds of the device without attention and routed experts."""
        device = self.kernels_s + self.links.step_s + sequences * self.state_s
        device += tokens * (self.stream_s + self.links.token_s)
        for token_s, read_s in self.linears:
            device += max(tokens * token_s, read_s)
        if emitting:
            device += max(emitting * self.head.token_s, self.head.read_s)
        return device

    def step_fs(self, device_s: float, sequences: int, recent_s: float) -> int:
        """Femtoseconds of the device's part and the engine's; at least 1."""
        return max(1, whole_fs(self.engine.around(device_s, sequences) + recent_s))

    def piece(self, decodes: int, context: int) -> Piece:
        """Attention of decodes: one line, for any context."""
        return self.line

    def chunk(self, tokens: int, prior: int) -> int:
        """Femtoseconds of a chunk's attention; see `StepLaw.chunk`."""
        whole = whole_fs(own_pairs(tokens) * self.full.pair_s)
        whole += prior * whole_fs(self.full.prior_s(tokens))
        if self.window is not None:
            whole += whole_fs(self.local.bounded_s(tokens, prior, self.window))
        return whole

    def chunk_slope(self, tokens: int) -> int | None:
        """Femtoseconds for one more prior token; None with sliding windows."""
        return whole_fs(self.full.prior_s(tokens)) if self.window is None else None

    def prompt(self, u: float) -> int:
        """Nothing is drawn."""
        return 0

    def activity(self, runs: StepRuns) -> Activity:
        """Closed-form activity of runs of steps; experts spread evenly over devices.

        Windowed pairs are those of equal chunks after equal priors: exact for the
        consecutive chunks of one prompt.
        """
        steps = runs.steps.astype(np.float64)
        tokens = runs.decodes * steps + runs.prompt_tokens
        sequences = steps * (runs.decodes + runs.prompts)
        pairs = _windowed_pairs(runs, self.window)
        compute_s, weights_s = self._linear_seconds(runs, steps, tokens)
        attention_s, kv_s = self._attention_seconds(runs, pairs)
        weights_s += tokens * (self.stream_s - self.kv_write_s) + sequences * self.state_s
        kv_s += tokens * self.kv_write_s
        total = self.totals
        flops = (
            tokens * total.token
            + runs.emitted_tokens * total.emission
            + runs.context_tokens * total.context
            + runs.window_tokens * total.window
            + runs.pair_tokens * total.pair
            + pairs * total.window_pair
            + tokens * total.recent
        )
        moved = weights_s * self.rates.weights + kv_s * self.rates.kv
        return Activity(
            flops=flops,
            bytes_moved=self.devices * moved,
            link_bytes=tokens * self.links.token_bytes,
            compute_s=compute_s + attention_s,
            memory_s=weights_s + kv_s,
            link_s=steps * self.links.step_s + tokens * self.links.token_s,
        )

    def _linear_seconds(
        self, runs: StepRuns, steps: Floats, tokens: Floats
    ) -> tuple[Floats, Floats]:
        """Arithmetic and memory seconds of linears, experts and head."""
        compute = tokens * sum(ridge.token_s for ridge in self.linears)
        compute += runs.emitted_tokens * self.head.token_s
        emits = runs.emitted_tokens > 0
        memory = steps * (sum(ridge.read_s for ridge in self.linears) + emits * self.head.read_s)
        if self.experts is not None:
            cost = self.experts
            touched = steps * _touched(cost, tokens / steps) / cost.groups
            choices = tokens * cost.active / cost.groups
            compute += choices * cost.token_s + touched * cost.padding_s
            memory += touched * cost.read_s
        return compute, memory

    def _attention_seconds(self, runs: StepRuns, pairs: Floats) -> tuple[Floats, Floats]:
        """Arithmetic and memory seconds of attention, `pairs` inside windows."""
        full, local = self.full, self.local
        chunks = np.maximum(runs.prompts * runs.steps, 1)
        size = runs.prompt_tokens / chunks
        own = runs.pair_tokens - size * runs.prior_tokens
        expanded = np.minimum(size * full.pair_s + full.expand_s, size * full.absorbed_s)
        compute = (
            runs.context_tokens * full.decode_s
            + runs.window_tokens * local.decode_s
            + own * full.pair_s
            + runs.prior_tokens * expanded
            + _bounded_seconds(local, size, own, pairs, runs.prior_tokens)
        )
        memory = (
            runs.context_tokens + runs.prior_tokens
        ) * full.read_s + runs.window_tokens * local.read_s
        if self.recent is not None:
            width, cost = self.recent
            decoded = runs.decodes * runs.steps
            compute += width * (decoded * cost.decode_s + runs.prompt_tokens * cost.pair_s)
            memory += width * decoded * cost.read_s
        return compute, memory


def roofline_law(
    llm: Llm,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    links: Links,
    efficiency: Efficiency,
    overlap: str,
    expert_skew: float = 0.0,
    *,
    shape: Shape | None = None,
) -> RooflineLaw:
    """Law of a replica of `llm` on ``parallel.tp`` devices.

    Parameters
    ----------
    links
        What TP and EP cross; not looked at for a single device.
    overlap
        ``"full"``: the host's work on a step hides behind the device's, attention apart;
        ``"none"``: it is added.
    shape
        Of a part of the LLM, where not all of it stands on these devices.
    expert_skew
        Zipf's exponent of the experts' popularity; 0: all alike.

    Raises
    ------
    CapacityError
        If the device lacks the arithmetic of the precision, or the layout cannot
        cut the LLM.
    """
    if shape is None:
        shape = llm_shape(llm)
    where = f"{llm.id} on {device.id}"
    return shape_law(
        shape, where, device, precision, parallel, links, efficiency, overlap, expert_skew
    )


def shape_law(
    shape: Shape,
    where: str,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    links: Links,
    efficiency: Efficiency,
    overlap: str = "full",
    expert_skew: float = 0.0,
    stream_passes: float = STREAM_PASSES,
) -> RooflineLaw:
    """Law of some operators of an LLM; see `roofline_law`, which takes all of them.

    Parameters
    ----------
    where
        Whose operators on what, for messages.
    stream_passes
        Times that the residual stream of a layer is read or written.
    """
    _check(shape, where, device, precision, parallel)
    if expert_skew and not shape.experts:
        found, cure = f"{expert_skew:g}", "remove it"
        expected = "none for an LLM without experts"
        raise CapacityError(Fault(where, "expert_skew", found, expected, cure))
    tp = parallel.tp
    weights_rate = device.memory_bandwidth * efficiency.weight_bandwidth
    kv_rate = device.memory_bandwidth * efficiency.kv_bandwidth
    attention_peak = device.flops.get("bf16", device.flops[precision.compute])
    rates = AttentionRates(
        decode_flops=attention_peak * efficiency.decode_compute,
        prefill_flops=attention_peak * efficiency.attention_compute,
        read_bandwidth=kv_rate,
        element_bytes=element_width(precision.kv),
        index_speedup=_index_speedup(device, precision, attention_peak),
    )
    full = attention_cost((g for g in shape.attention if g.window is None), tp, rates)
    local = attention_cost((g for g in shape.attention if g.bounded), tp, rates)
    window = next((g.window for g in shape.attention if g.bounded), None)
    recent = _recent_cost(shape, tp, rates)
    stream = stream_passes * shape.hidden + shape.inner_width / tp
    stream_s = shape.layers * stream * RESIDUAL_BYTES / weights_rate
    kv_write_s = full.read_s + local.read_s + (recent.cost.read_s if recent else 0.0)
    return RooflineLaw(
        devices=tp,
        linears=linear_costs(shape, device, precision, tp, efficiency),
        experts=expert_cost(shape, device, precision, parallel, efficiency, expert_skew),
        head=head_cost(shape, device, precision, tp, efficiency),
        stream_s=stream_s + kv_write_s,
        kv_write_s=kv_write_s,
        state_s=2 * 4.0 * shape.state_elements / tp / weights_rate,
        kernels_s=shape.blocks * efficiency.block_s + shape.moe_layers * efficiency.moe_s,
        links=link_cost(shape, parallel, precision, links, efficiency),
        engine=EngineCost(efficiency.host_step_s, efficiency.sequence_s, overlap == "full"),
        full=full,
        local=local,
        totals=_totals(shape),
        rates=Rates(weights_rate, kv_rate),
        window=window,
        slope_fs=whole_fs(full.slope_s),
        line=Piece(0, whole_fs(full.slope_s), None),
        window_fs=whole_fs(local.slope_s),
        recent=recent,
    )


def _recent_cost(shape: Shape, tp: int, rates: AttentionRates) -> RecentCost | None:
    groups = [group for group in shape.attention if group.reads == "recent"]
    widths = [group.window for group in groups if group.window is not None]
    return RecentCost(widths[0], attention_cost(groups, tp, rates)) if widths else None


def _index_speedup(device: Device, precision: PrecisionSpec, attention_peak: float) -> float:
    """Score in FP8 where a deployment computes in FP8 or less, and the device has it."""
    low = precision.compute in ("fp8", "fp4")
    return max(1.0, device.flops.get("fp8", 0.0) / attention_peak) if low else 1.0


def _check(
    shape: Shape, where: str, device: Device, precision: PrecisionSpec, parallel: ParallelSpec
) -> None:
    faults: list[Fault] = []
    if precision.compute not in device.flops:
        has = ", ".join(sorted(device.flops)) or "no known rate"
        cure = "choose another `compute`, or give the device's rate in a catalog file"
        faults.append(Fault(where, "precision.compute", precision.compute, f"one of {has}", cure))
    ep = parallel.ep
    if ep > 1 and not shape.experts:
        expected = "1 for an LLM without experts"
        faults.append(Fault(where, "parallel.ep", str(ep), expected, "remove `ep`"))
    elif shape.experts % ep:
        wanted = f"a divisor of {shape.experts} experts"
        cure = f"ep {math.gcd(shape.experts, ep)} divides both them and the devices"
        faults.append(Fault(where, "parallel.ep", str(ep), wanted, cure))
    if faults:
        raise CapacityError(*faults)


def _touched(cost: ExpertCost, tokens: Floats) -> Floats:
    """Experts of a layer that each step reads."""
    if not cost.skew:
        missed = 1.0 - cost.active / cost.experts
        alike: Floats = cost.experts * (1.0 - missed**tokens)
        return alike
    sizes, where = np.unique(tokens, return_inverse=True)
    return np.array([cost.touched(size) for size in sizes.tolist()])[where]


def _totals(shape: Shape) -> Totals:
    layers = sum(linear.params for linear in shape.linears)
    routed = shape.active * shape.moe_layers * shape.expert_params
    full = [group for group in shape.attention if group.window is None]
    local = [group for group in shape.attention if group.bounded]
    recent = [group for group in shape.attention if group.reads == "recent"]
    return Totals(
        token=2.0 * (layers + routed),
        emission=2.0 * shape.table,
        context=float(sum(group.decode_flops for group in full)),
        window=float(sum(group.decode_flops for group in local)),
        pair=float(sum(group.pair_flops for group in full)),
        window_pair=float(sum(group.pair_flops for group in local)),
        recent=float(sum(group.decode_flops * (group.window or 0) for group in recent)),
    )


def _bounded_seconds(
    local: AttentionCost, size: Floats, own: Floats, pairs: Floats, priors: npt.NDArray[np.int64]
) -> Floats:
    """Arithmetic of `AttentionCost.bounded_s`, of chunks of one size."""
    gathered = pairs * local.absorbed_s
    if not local.expand_s:
        return gathered
    expanded = np.minimum(size * local.pair_s + local.expand_s, size * local.absorbed_s)
    return np.minimum(gathered, own * local.pair_s + priors * expanded)


def _windowed_pairs(runs: StepRuns, window: int | None) -> Floats:
    """Pairs of the chunks inside windows: each prompt's chunks of a run taken as one."""
    prompts = np.maximum(runs.prompts, 1)
    size = runs.prompt_tokens / prompts
    if window is None:
        return np.zeros_like(size)
    own = size * (size + 1) / 2
    prior = (runs.pair_tokens / prompts - own) / np.maximum(size, 1)
    short = np.clip(window - prior, 0.0, size)
    return prompts * (short * prior + short * (short + 1) / 2 + (size - short) * window)
