from itertools import combinations, pairwise

import numpy as np
import pytest

from factorysim.physics.costs import ExpertCost
from factorysim.physics.experts import (
    Popularity,
    busiest_share,
    groups_reached,
    popularity,
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


def test_no_skew_is_the_uniform_law():
    even = popularity(128, 4, 0.0)
    for tokens in (1, 7, 1000):
        assert even.touched(tokens) == pytest.approx(touched_experts(tokens, 128, 4))
        assert even.busiest(tokens, 8) == pytest.approx(busiest_share(tokens * 4 / 8, 8))
    assert even.busiest(100, 1) == 400


def test_popularity_by_hand():
    """1, 1/2, 1/3, 1/4 of 25/12: two choices would give the first 0.96; at three it is cut."""
    assert popularity(4, 2, 1.0).chosen == pytest.approx((0.96, 0.48, 0.32, 0.24))
    assert popularity(4, 3, 1.0).chosen == pytest.approx((1.0, 12 / 13, 8 / 13, 6 / 13))
    assert popularity(4, 3, 4.0).chosen[:2] == (1.0, 1.0)
    assert sum(popularity(384, 6, 1.2).chosen) == pytest.approx(6.0)


def test_skew_touches_fewer_experts_by_hand():
    """Two tokens: each expert is missed with (1 - share) squared."""
    expected = sum(1 - (1 - share) ** 2 for share in (0.96, 0.48, 0.32, 0.24))
    assert popularity(4, 2, 1.0).touched(2) == pytest.approx(expected)
    assert popularity(4, 2, 1.0).touched(0) == 0.0


def test_the_busiest_group_under_skew_by_hand():
    """Four groups of 2 of 8 experts; 100 tokens, one choice each, of shares 1/r over 761/280."""
    shares = [1 / rank / (761 / 280) for rank in range(1, 9)]
    variance = sum((100 * share - 12.5) ** 2 for share in shares) / 8
    among = variance * 2 * 6 / 7
    bound = 25 + np.sqrt(2 * (25 + among) * np.log(4))
    found = popularity(8, 1, 1.0).busiest(100, 4)
    assert found == pytest.approx(min(bound, busiest_share(100 * (shares[0] + shares[1]), 4)))
    heavy = popularity(8, 1, 3.0)
    first = 100 * heavy.chosen[0]
    assert heavy.busiest(100, 4) == pytest.approx(first + (100 - first) / 7)


@pytest.mark.parametrize("skew", [0.3, 0.8, 1.2])
def test_the_busiest_group_under_skew_against_simulation(skew):
    """Experts dealt at random to 8 groups, tokens drawn: a bound, within a third of the mean."""
    rng = np.random.default_rng(1)
    even = popularity(64, 1, skew)
    shares = np.array(even.chosen)
    most = []
    for _ in range(600):
        loads = rng.multinomial(2000, shares / shares.sum())
        most.append(rng.permutation(loads).reshape(8, 8).sum(axis=1).max())
    assert np.mean(most) <= even.busiest(2000, 8) <= 1.34 * np.mean(most)


def test_imbalance_is_the_busiest_over_the_mean():
    cost = ExpertCost(64, 4, 8, 1.0, 0.0, 0.0, skew=0.8)
    mean = 1000 * 4 / 8
    assert cost.imbalance(1000) == pytest.approx(popularity(64, 4, 0.8).busiest(1000, 8) / mean)
    assert cost.busiest(1000) == pytest.approx(cost.imbalance(1000) * mean)
    assert cost._replace(skew=0.0).imbalance(10**9) == pytest.approx(1.0, rel=1e-3)
    assert cost._replace(groups=1).imbalance(1000) == 1.0


@pytest.mark.parametrize("tokens", [1, 30, 5000])
def test_more_skew_never_helps_ep(tokens):
    costs = [ExpertCost(64, 4, 8, 1.0, 0.0, 0.0, skew=skew) for skew in (0.0, 0.2, 0.5, 1.0, 2.0)]
    times = [cost.busiest(tokens) for cost in costs]
    assert times == sorted(times)
    touched = [cost.touched(tokens) for cost in costs]
    assert all(a >= b * (1 - 1e-12) for a, b in pairwise(touched))


def test_the_most_popular_expert_and_a_fair_part_of_the_others_bound_its_group():
    """All of 1,000 tokens choose the first of 8; the other 1,000 choices fall on 7, 3 beside it."""
    chosen = Popularity((1.0, *[1 / 7] * 7), spread=0.0)
    assert chosen.busiest(1000, 2) == pytest.approx(1000 + 1000 * 3 / 7)
