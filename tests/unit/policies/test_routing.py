"""Every routing policy by hand: what it chooses from what it sees."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from factorysim.policies.routing import Ask, Load, affinity, power_of_two, routing
from factorysim.spec.scenario import RouterSpec


def load(*calls: int, tokens: tuple[int, ...] | None = None) -> Load:
    return Load(np.array(calls), np.array(tokens or calls))


def ask(ordinal: int = 0, home: int | None = None, u: float = 0.5) -> Ask:
    return Ask(ordinal, 0, 100, 0, home, u)


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
