"""What classes of operators cost a device: linear layers, experts, collectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.physics.collectives import Protocol, cost
from factorysim.physics.experts import busiest_share, groups_reached, popularity, touched_experts
from factorysim.physics.precision import UNPACKED, element_width, weight_width

if TYPE_CHECKING:
    from factorysim.catalog.efficiency import Efficiency
    from factorysim.catalog.values import Device
    from factorysim.physics.collectives import Links
    from factorysim.physics.shape import Shape
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec

RESIDUAL_BYTES = 2.0
"""An element of the residual stream, and of a collective's sum: BF16."""


class Ridge(NamedTuple):
    """A class of linear layers: the slower of arithmetic per token and one read of weights."""

    token_s: float
    read_s: float
    unpack_s: float = 0.0
    """To unpack the weights once, beside either."""

    def step_s(self, tokens: int) -> float:
        """Seconds in a step of so many tokens."""
        return max(tokens * self.token_s, self.read_s) + self.unpack_s


class ExpertCost(NamedTuple):
    """Routed experts of all MoE layers."""

    experts: int
    active: int
    groups: int
    """EP: each device of a group holds the same experts, cut over the group."""
    token_s: float
    """Arithmetic of a token in one expert, on one device of the group that holds it."""
    padding_s: float
    """Arithmetic lost per expert touched, in tiles that are not full."""
    read_s: float
    """To read one expert."""
    unpack_s: float = 0.0
    """To unpack its weights."""
    skew: float = 0.0
    """Zipf's exponent of the experts' popularity; 0: all alike."""

    def touched(self, tokens: float) -> float:
        """Count the experts that a step of `tokens` reads in a layer, in expectation."""
        if self.skew:
            return popularity(self.experts, self.active, self.skew).touched(tokens)
        return touched_experts(tokens, self.experts, self.active)

    def busiest_choices(self, tokens: float) -> float:
        """Choices that the busiest group serves in a step of `tokens`."""
        if self.skew:
            choices = popularity(self.experts, self.active, self.skew).busiest(tokens, self.groups)
        else:
            choices = busiest_share(tokens * self.active / self.groups, self.groups)
        return min(tokens * min(self.active, self.experts / self.groups), choices)

    def imbalance(self, tokens: float) -> float:
        """Choices of the busiest group over the mean of all: 1 is even."""
        return self.busiest_choices(tokens) * self.groups / (tokens * self.active)

    def busiest(self, tokens: int) -> float:
        """Seconds of the device that waits longest in a step of `tokens`."""
        groups, held = self.groups, self.experts / self.groups
        touched = self.touched(tokens)
        most = min(held, touched, busiest_share(touched / groups, groups))
        served = self.busiest_choices(tokens)
        spent = max(served * self.token_s + most * self.padding_s, most * self.read_s)
        return spent + most * self.unpack_s


class LinkCost(NamedTuple):
    """Collectives of a step."""

    step_s: float
    token_s: float
    token_bytes: float
    """Sent by all devices together."""


def linear_costs(
    shape: Shape, device: Device, precision: PrecisionSpec, tp: int, efficiency: Efficiency
) -> tuple[Ridge, ...]:
    """Dense linears by width of their weights: those of one width share one ridge."""
    by_width: dict[float, int] = {}
    for linear in shape.linears:
        width = weight_width(precision.weights, linear.part)
        by_width[width] = by_width.get(width, 0) + linear.params
    return tuple(
        _ridge(params, width, device, precision, tp, efficiency)
        for width, params in by_width.items()
    )


def head_cost(
    shape: Shape, device: Device, precision: PrecisionSpec, tp: int, efficiency: Efficiency
) -> Ridge:
    """LM head: its tokens are the sequences that emit one."""
    width = weight_width(precision.weights, "embeddings")
    return _ridge(shape.table, width, device, precision, tp, efficiency)


def _ridge(
    params: int,
    width: float,
    device: Device,
    precision: PrecisionSpec,
    tp: int,
    efficiency: Efficiency,
) -> Ridge:
    compute = precision.compute
    flops = device.flops[compute] * efficiency.linear_compute[compute]
    bandwidth = device.memory_bandwidth * efficiency.weight_bandwidth
    unpack_s = _unpack_s(params / tp, device, precision, efficiency)
    return Ridge(2.0 * params / tp / flops, params * width / tp / bandwidth, unpack_s)


def _unpack_s(
    params: float, device: Device, precision: PrecisionSpec, efficiency: Efficiency
) -> float:
    """To turn so many weights into what is computed with: two operations each."""
    if precision.weights not in UNPACKED:
        return 0.0
    return 2.0 * params / (device.flops[precision.compute] * efficiency.unpack_compute)


def expert_cost(
    shape: Shape,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    efficiency: Efficiency,
    skew: float = 0.0,
) -> ExpertCost | None:
    """Cost of the routed experts of all MoE layers; None for a dense LLM."""
    if not shape.experts:
        return None
    cut = shape.moe_layers * shape.expert_params / (parallel.tp // parallel.ep)
    flops = device.flops[precision.compute] * efficiency.expert_compute[precision.compute]
    bandwidth = device.memory_bandwidth * efficiency.weight_bandwidth
    token_s = 2.0 * cut / flops
    return ExpertCost(
        experts=shape.experts,
        active=shape.active,
        groups=parallel.ep,
        token_s=token_s,
        padding_s=token_s * efficiency.expert_padding_tokens,
        read_s=cut * weight_width(precision.weights, "ffn") / bandwidth,
        unpack_s=_unpack_s(cut, device, precision, efficiency),
        skew=skew,
    )


def link_cost(
    shape: Shape,
    parallel: ParallelSpec,
    precision: PrecisionSpec,
    links: Links,
    efficiency: Efficiency,
) -> LinkCost:
    """Sum after every block; with EP, dispatch and combine instead of it in MoE layers.

    Under EP each device sends its share of the tokens to every group that they
    chose: dispatch in the width of the arithmetic, combine in BF16.
    """
    tp, ep = parallel.tp, parallel.ep
    protocol = Protocol(
        efficiency.link_bandwidth, efficiency.collective_s, efficiency.collective_hop_s
    )
    among = cost(tp, links, protocol)
    exchanges = shape.moe_layers if ep > 1 else 0
    sums = shape.blocks - exchanges
    residual = shape.hidden * RESIDUAL_BYTES
    routed = 0.0
    if exchanges:
        copies = groups_reached(shape.experts, shape.active, ep) / ep
        width = min(RESIDUAL_BYTES, element_width(precision.compute)) + RESIDUAL_BYTES
        routed = copies * shape.expert_width * width
    step_s = sums * among.all_reduce(0.0) + 2 * exchanges * among.all_to_all(0.0)
    wire = sums * 2 * residual + exchanges * routed
    return LinkCost(step_s, wire * among.byte_s, wire * (tp - 1))
