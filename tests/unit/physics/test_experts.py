from itertools import combinations

import numpy as np
import pytest

from factorysim.physics.experts import (
    busiest_share,
    groups_reached,
    touched_experts,
)


@pytest.mark.parametrize(("experts", "active"), [(128, 4), (8, 2), (512, 22)])
def test_limits_of_touched_experts(experts, active):
    assert touched_experts(0, experts, active) == 0
    assert touched_experts(1, experts, active) == pytest.approx(active)
    assert touched_experts(10_000, experts, active) == pytest.approx(experts)
    assert touched_experts(3, experts, experts) == experts


def test_touched_experts_by_hand():
    """Two tokens of 2 of 4 experts: 4 x (1 - 1/4)."""
    assert touched_experts(2, 4, 2) == pytest.approx(3.0)


def test_groups_reached_by_counting():
    """Every choice of 3 of 8 experts in 4 groups of 2."""
    choices = list(combinations(range(8), 3))
    mean = sum(len({expert // 2 for expert in choice}) for choice in choices) / len(choices)
    assert groups_reached(8, 3, 4) == pytest.approx(mean)


def test_the_busiest_device_against_simulation():
    """A bound, within 15 % of the mean of 2,000 multinomial draws of 400 items on 8."""
    draws = np.random.default_rng(1).multinomial(400, [1 / 8] * 8, size=2000).max(axis=1).mean()
    assert draws <= busiest_share(50.0, 8) <= 1.15 * draws
