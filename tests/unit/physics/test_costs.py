"""Collectives of a step by hand: the tiny MoE on four devices, with and without EP.

A hop takes 1 us of hardware and 2 of software, a collective starts in 5 us, and a phase among
four is two hops: 17 us for a sum of two phases, 8 us for an exchange, which goes straight.
"""

import math
from dataclasses import replace

import pytest

from factorysim.physics.collectives import Links
from factorysim.physics.costs import ExpertCost, link_cost
from factorysim.physics.shape import llm_shape
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec
from tests.unit.physics.conftest import DENSE, IDEAL, MOE

LINKS = Links(1e9, 1e-6, 8)
SLOW = replace(IDEAL, link_bandwidth=0.8, collective_s=5e-6, collective_hop_s=2e-6)
BYTE_S = 3 / 4 / 8e8


def cost_of(llm, compute="bf16", **parallel):
    precision = PrecisionSpec(compute=compute)
    return link_cost(llm_shape(llm), ParallelSpec(**parallel), precision, LINKS, SLOW)


@pytest.mark.parametrize("llm", [DENSE, MOE])
def test_every_block_ends_in_a_sum(llm):
    """Two mixers and two FFN: four sums of a residual of 64 in BF16, there and back."""
    cost = cost_of(llm, tp=4)
    wire = 4 * 2 * 128
    assert cost.step_s == pytest.approx(4 * 17e-6)
    assert cost.token_s == pytest.approx(wire * BYTE_S)
    assert cost.token_bytes == pytest.approx(wire * 3)


@pytest.mark.parametrize(("compute", "width"), [("bf16", 4), ("fp8", 3)])
def test_ep_dispatches_and_combines_instead_in_moe_layers(compute, width):
    """A token's 2 of 16 experts leave one of two groups of 8 out in 2 x 28 of 120 cases.

    Each of 2 x 92 / 120 groups gets 64 elements as wide as the arithmetic, and sends BF16 back.
    """
    cost = cost_of(MOE, compute, tp=4, ep=2)
    routed = 2 * (92 / 120) / 2 * 64 * width
    wire = 2 * 2 * 128 + 2 * routed
    assert cost.step_s == pytest.approx(2 * 17e-6 + 2 * 2 * 8e-6)
    assert cost.token_s == pytest.approx(wire * BYTE_S)
    assert cost.token_bytes == pytest.approx(wire * 3)


def test_one_device_sends_nothing():
    assert cost_of(MOE) == (0.0, 0.0, 0.0)


def test_a_token_chooses_no_expert_twice():
    """Of 8 experts in groups of 2 it takes 4, but 2 of a group at most; 3 tokens, 6."""
    cost = ExpertCost(8, 4, 4, token_s=1.0, padding_s=0.0, read_s=0.0)
    assert cost.busiest_choices(1) == 2
    assert cost.imbalance(1) == 2 * 4 / 4
    # 3 + sqrt(2 x 3 ln 4) = 5.88 of the mean 3 is less than 6
    assert cost.busiest_choices(3) == pytest.approx(3 + math.sqrt(6 * math.log(4)))
