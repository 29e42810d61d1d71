"""Every routing policy by hand: what it chooses from what it sees."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from factorysim.policies.routing import Ask, Load, affinity, power_of_two, prefix_aware, routing
from factorysim.spec.router import RouterSpec


def load(*calls: int, tokens: tuple[int, ...] | None = None) -> Load:
    return Load(np.array(calls), np.array(tokens or calls), np.full(len(calls), 1000))


def ask(home: int | None = None, u: float = 0.5, hits: tuple[int, ...] = ()) -> Ask:
    return Ask(0, 0, 100, 0, home, u, np.array(hits, dtype=np.int64))


def test_power_of_two_takes_the_less_loaded_of_two_and_draws_all_pairs_alike():
    draws = [power_of_two(load(3, 2, 1, 0), ask(u=(i + 0.5) / 1200)) for i in range(1200)]
    # Of the 6 pairs the last replica wins 3, the one before it 2, and so on.
    assert Counter(draws) == {3: 600, 2: 400, 1: 200}


def test_power_of_two_breaks_ties_by_the_order_of_the_draw():
    draws = [power_of_two(load(5, 5, 5), ask(u=(i + 0.5) / 600)) for i in range(600)]
    assert Counter(draws) == {0: 200, 1: 200, 2: 200}


def test_power_of_two_reaches_both_ends_and_needs_no_second():
    draws = [power_of_two(load(0, 1), ask(u=u)) for u in (2**-54, 0.5, 1 - 2**-53)]
    assert draws == [0, 0, 0]
    assert power_of_two(load(7), ask(u=1 - 2**-53)) == 0


@pytest.mark.parametrize(("home", "calls", "chosen"), [(None, (2, 1, 1), 1), (0, (3, 1, 1), 0)])
def test_affinity_stays_at_home_up_to_the_spill(home, calls, chosen):
    assert affinity(load(*calls), ask(home=home), spill=2) == chosen


def test_affinity_spills_to_the_least_loaded():
    assert affinity(load(4, 1, 1), ask(home=0), spill=2) == 1
    assert affinity(load(0, 1, 1), ask(home=0), spill=0) == 0


def test_spill_comes_from_the_spec_or_from_its_source():
    assert routing(RouterSpec(policy="affinity", spill=3))(load(4, 0), ask(home=0)) == 1
    default = routing(RouterSpec(policy="affinity"))
    assert [default(load(n, 0), ask(home=0)) for n in (64, 65)] == [0, 1]


def test_prefix_aware_takes_the_longest_prefix_and_of_several_the_fewest_calls():
    assert prefix_aware(load(5, 9, 0), ask(hits=(64, 80, 0))) == 1
    assert prefix_aware(load(5, 4, 0, 4), ask(hits=(80, 80, 0, 80))) == 1


def test_prefix_aware_ignores_short_prefixes_and_crowded_replicas():
    assert prefix_aware(load(5, 1), ask(hits=(30, 0)), threshold=0.3) == 1
    assert prefix_aware(load(5, 1), ask(hits=(31, 0)), threshold=0.3) == 0
    assert prefix_aware(load(5, 1), ask(hits=(99, 0)), spill=3) == 1
    assert prefix_aware(load(5, 1), ask(hits=(99, 0)), spill=4) == 0
    spec = RouterSpec(policy="prefix_aware", threshold=0.9, spill=2)
    assert [routing(spec)(load(n, 0), ask(hits=(95, 0))) for n in (2, 3)] == [0, 1]


@pytest.mark.parametrize(
    ("weights", "chosen"),
    [
        ({"prefix": 1, "calls": 0, "kv": 0}, 0),
        ({"prefix": 0, "calls": 1, "kv": 0}, 1),
        ({"prefix": 0, "calls": 0, "kv": 1}, 2),
        # 0.8 + 0 + 0.1; 0 + 1 + 0.2; 0.2 + 0.5 + 0.9
        ({"prefix": 1, "calls": 1, "kv": 1}, 2),
        # 3.2 + 0 + 0.1; 0 + 1 + 0.2; 0.8 + 0.5 + 0.9
        ({"prefix": 4, "calls": 1, "kv": 1}, 0),
    ],
)
def test_score_weighs_prefix_calls_and_kv(weights, chosen):
    seen = load(4, 2, 3, tokens=(900, 800, 100))
    policy = routing(RouterSpec(policy="score", weights=weights))
    assert policy(seen, ask(hits=(80, 0, 20))) == chosen


def test_score_of_equals_and_of_overfull_caches_goes_by_index():
    policy = routing(RouterSpec(policy="score"))
    assert policy(load(1, 1, 1), ask(hits=(0, 0, 0))) == 0
    assert policy(load(1, 1, tokens=(5000, 3000)), ask(hits=(0, 0))) == 0
