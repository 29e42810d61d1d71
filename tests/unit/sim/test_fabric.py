"""The fabric: delays, order of landing, and links asked for more than they have."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from factorysim.graph.factory import LinkTable, Path
from factorysim.physics.maxmin import max_min
from factorysim.records import TransferRow
from factorysim.sim import traffic
from factorysim.sim.clock import Clock
from factorysim.sim.fabric import LATENCY_ONLY_BYTES, Fabric, sending_fs

FS = 10**15
US = 10**9


class Bench:
    """Node n reaches node 9 over its own link n and the shared link 0."""

    def __init__(self, bandwidth=1e9):
        self.env = Clock()
        self.rows: list = []
        self.landed: list = []
        names = ("shared", "one", "two", "three")
        plan = SimpleNamespace(
            links=LinkTable(names, np.full(4, bandwidth), np.full(4, 1e-6)),
            routes=lambda a, b: Path((a, 0) if a else (0,), 2 * US, bandwidth),
        )
        sink = SimpleNamespace(rows=lambda _, new: self.rows.extend(TransferRow(*r) for r in new))
        self.fabric = Fabric(self.env, plan, sink)

    def send(self, at_s, src, size, cap=None):
        def go(_value):
            self.fabric.transfer(src, 9, size, cap, lambda: self.landed.append((src, self.env.now)))

        self.env.at(round(at_s * FS), 0, go)

    def run(self):
        self.env.run_until(100 * FS)
        self.fabric.flush()
        return {load.name: load for load in self.fabric.loads()}


def test_sending_takes_bytes_over_the_narrower_of_cap_and_path():
    way = Path((0,), 2 * US, 1e9)
    assert sending_fs(way, 10**6) == 10**12
    assert sending_fs(way, 10**6, cap=4e9) == 10**12
    assert sending_fs(way, 10**6, cap=2.5e8) == 4 * 10**12


def test_small_messages_cost_latency_only():
    way = Path((0,), 2 * US, 1e9)
    assert sending_fs(way, LATENCY_ONLY_BYTES - 1, cap=1.0) == 0
    assert sending_fs(way, LATENCY_ONLY_BYTES) > 0


def test_64_000_bytes_are_the_first_that_take_time():
    """The limit that the docstring of `fabric` takes from Velho et al.; 1 GB/s: 1 ns a byte."""
    way = Path((0,), 2 * US, 1e9)
    assert [sending_fs(way, size) for size in (63_999, 64_000)] == [0, 64 * US]


def test_a_node_reaches_itself_at_once():
    assert sending_fs(Path((), 0, float("inf")), 10**12) == 0


def test_a_transfer_lands_after_its_delay_and_leaves_a_row():
    bench = Bench()
    bench.send(1.0, 1, 10**6)
    loads = bench.run()
    assert bench.landed == [(1, FS + 2 * US + 10**12)]
    assert bench.rows == [("message", 1, 9, 10**6, 1.0, pytest.approx(1.001002), 0.0)]
    assert loads["one"].carried_bytes == loads["shared"].carried_bytes == 10**6


def test_transfers_that_land_together_land_in_the_order_they_were_sent():
    bench = Bench()
    for src in (3, 1, 2):
        bench.send(0.0, src, 10**6)
    bench.run()
    assert [src for src, _ in bench.landed] == [3, 1, 2]


def test_flows_that_fit_leave_no_mark():
    bench = Bench()
    bench.send(0.0, 1, 10**9, cap=5e8)  # 0 to 2 s
    bench.send(0.0, 2, 10**9, cap=5e8)
    bench.send(2.0, 3, 10**9)  # starts as they end: 2 to 3 s
    shared = bench.run()["shared"]
    assert (shared.over_s, shared.peak_ratio) == (0.0, 1.0)


def test_a_link_has_carried_what_was_sent_by_an_instant():
    """Half of a lone message; of two that share a link, what it can; of a small one none."""
    bench = Bench()
    bench.send(0.0, 1, 10**9)
    bench.env.run_until(FS // 2)
    assert bench.fabric.carried_bytes() == pytest.approx({0: 5e8, 1: 5e8})
    bench.send(0.5, 2, 10**9)
    bench.send(0.5, 3, 5_000)
    bench.env.run_until(FS)
    assert bench.fabric.carried_bytes() == pytest.approx({0: 10**9, 1: 7.5e8, 2: 2.5e8, 3: 0})
    bench.run()
    assert bench.fabric.carried_bytes() == {0: 2 * 10**9, 1: 10**9, 2: 10**9, 3: 0}


def test_what_is_reserved_counts_as_carried():
    bench = Bench()
    standing = bench.fabric.standing([(1, 9)], lambda: None)
    standing.set_demand(4e8)
    bench.env.run_until(2 * FS)
    assert bench.fabric.carried_bytes() == pytest.approx({0: 8e8, 1: 8e8})


def test_a_link_that_two_reserved_ways_cross_carries_both():
    bench = Bench()
    bench.fabric.standing([(1, 9), (2, 9)], lambda: None).set_demand(4e8)
    bench.env.run_until(2 * FS)
    assert bench.fabric.carried_bytes() == pytest.approx({0: 16e8, 1: 8e8, 2: 8e8})
    assert [load.carried_bytes for load in bench.fabric.loads()] == [
        16 * 10**8,
        8 * 10**8,
        8 * 10**8,
    ]


def test_flows_that_do_not_fit_are_told_with_seconds_and_peak():
    bench = Bench()
    bench.send(0.0, 1, 10**9)  # 0 to 1 s
    bench.send(0.5, 2, 10**9, cap=5e8)  # 0.5 to 2.5 s, at its cap: half is its share
    bench.send(2.0, 3, 10**9)  # 2 to 3.25 s
    loads = bench.run()
    assert loads["shared"].over_s == pytest.approx(1.0 + 0.5)  # the first ends at 1.5 s
    assert loads["shared"].peak_ratio == pytest.approx(1.5)
    assert loads["one"].over_s == 0.0


def test_small_messages_take_no_share_of_a_link():
    bench = Bench()
    for _ in range(3):
        bench.send(0.0, 1, 1000)
    assert bench.run()["shared"] == ("shared", 1e9, 3000, 0.0, 0.0, 0.0)


def test_flows_that_share_a_link_take_twice_as_long_and_say_so():
    bench = Bench()
    bench.send(0.0, 1, 10**6)
    bench.send(0.0, 2, 10**6)
    bench.run()
    assert bench.landed == [(1, 2 * 10**12 + 2 * US), (2, 2 * 10**12 + 2 * US)]
    assert [row.slowed_s for row in bench.rows] == [1e-3, 1e-3]


def test_a_flow_that_comes_late_slows_the_rest_of_the_first():
    bench = Bench()
    bench.send(0.0, 1, 10**9)  # half of it alone, half at half the rate: 1.5 s
    bench.send(0.5, 2, 10**9)  # 0.5e9 by 1.5 s, then alone: 2 s
    bench.run()
    assert bench.landed == [(1, 3 * FS // 2 + 2 * US), (2, 2 * FS + 2 * US)]
    assert [row.slowed_s for row in bench.rows] == [0.5, 0.5]


def test_a_flow_at_its_cap_on_a_full_link_lands_to_the_femtosecond():
    """Its share is more than its cap: who slows whom is not symmetric."""
    bench = Bench()
    bench.send(0.0, 1, 10**7 + 1, cap=3e8)
    bench.send(0.001, 2, 10**9)
    bench.run()
    assert bench.landed[0] == (1, sending_fs(Path((), 0, 1e9), 10**7 + 1, 3e8) + 2 * US)
    assert bench.rows[0].slowed_s == 0.0
    assert bench.rows[1].slowed_s > 0.0


@pytest.fixture
def solved(monkeypatch):
    """Links of the classes of each solve."""
    seen: list = []

    def watch(classes, bandwidth):
        seen.append([one.links for one in classes])
        return max_min(classes, bandwidth)

    monkeypatch.setattr(traffic, "max_min", watch)
    return seen


def test_flows_that_start_at_one_instant_are_solved_once(solved):
    bench = Bench()
    for src in (1, 2, 3, 1):
        bench.send(0.0, src, 10**6)
    bench.run()
    assert solved == [[(1, 0), (2, 0), (3, 0)]]  # and all end at one instant


def test_caps_that_just_fill_a_link_are_not_solved(solved):
    bench = Bench()
    for src, cap in ((1, 1e8), (1, 2e8), (2, 7e8)):
        bench.send(0.0, src, 10**6, cap=cap)
    bench.run()
    assert solved == []


def test_what_no_full_link_joins_is_left_alone(solved):
    bench = Bench()
    bench.fabric._plan.routes = lambda a, b: Path((a,), 2 * US, 1e9)
    for src in (1, 1, 2, 2):
        bench.send(0.0, src, 10**7)
    bench.send(0.001, 2, 10**6)
    bench.run()
    assert solved[:2] == [[(1,)], [(2,)]]
    assert solved[2:] == [[(2,)], [(2,)]]


def test_classes_without_flows_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(traffic, "CLASSES_KEPT", 4)
    bench = Bench()
    bench.fabric._traffic._keep = 4
    for k in range(100):
        for src in (1, 2):
            bench.send(k, src, 10**6, cap=1e8 + k)
    bench.run()
    assert len(bench.landed) == 200
    assert len(bench.fabric._traffic._classes) <= 4


def test_a_flow_that_has_landed_is_forgotten():
    """Also by a class that is never slowed: its flows meet others, and fit."""
    bench = Bench()
    for k in range(100):
        for src in (1, 2, 3):
            bench.send(k / 1000, src, 10**6, cap=3e8)
    bench.run()
    assert len(bench.landed) == 300
    held = [one.ends + one.targets for one in bench.fabric._traffic._classes.values()]
    assert held == [[], [], []]


class Ring(Bench):
    """Standing traffic of node 1 over its own link and the shared one."""

    def __init__(self, **options):
        super().__init__(**options)
        self.told: list = []
        self.ring = self.fabric.standing([(1, 9)], lambda: self.told.append(self.env.now / FS))

    def ask(self, at_s, rate):
        self.env.at(round(at_s * FS), 1, lambda _: self.ring.set_demand(rate))

    def sample(self, at_s):
        found = []
        self.env.at(round(at_s * FS), 2, lambda _: found.append(self.ring.sample()))
        return found


def test_a_demand_that_fits_has_its_share_and_slows_nobody():
    bench = Ring()
    bench.ask(0.0, 4e8)
    bench.send(1.0, 2, 10**6, cap=6e8)
    at_start = bench.sample(1.0)
    loads = bench.run()
    assert at_start == [1.0]
    assert bench.rows[0].slowed_s == 0.0
    assert loads["shared"].carried_bytes == 100 * 4 * 10**8 + 10**6
    assert bench.told == []


def test_a_share_is_sampled_at_the_instant_of_the_change():
    bench = Ring()
    bench.ask(0.0, 8e8)
    bench.send(1.0, 2, 10**9)  # half each: 2 s
    before, during, after = (bench.sample(at) for at in (0.5, 1.0, 3.5))
    bench.run()
    assert (before, during, after) == ([1.0], [0.625], [1.0])
    assert bench.told == [pytest.approx(3.0)]  # it was sampled when it fell, not when it rose


def test_a_share_that_changes_by_more_than_two_percent_is_told_once():
    bench = Ring()
    bench.ask(0.0, 8e8)
    bench.send(1.0, 2, 10**6, cap=2.1e8)  # leaves 7.9e8 of 8e8: 1.25 % less
    bench.send(2.0, 2, 10**6, cap=3e8)  # leaves 7e8: 12.5 % less
    bench.send(3.0, 2, 10**6, cap=3e8)
    bench.run()
    assert bench.told == [2.0]


def test_a_finer_refresh_is_told_of_less():
    bench = Ring()
    bench.fabric._refresh = 0.002
    bench.ring = bench.fabric.standing([(1, 9)], lambda: bench.told.append(bench.env.now / FS))
    bench.ask(0.0, 8e8)
    bench.send(1.0, 2, 10**6, cap=2.1e8)
    bench.run()
    assert bench.told == [1.0]


def test_a_demand_that_ends_gives_the_link_back():
    bench = Ring()
    bench.ask(0.0, 8e8)
    bench.ask(1.0, 0.0)
    bench.send(0.5, 2, 10**9)  # 0.25e9 by 1 s, then alone
    loads = bench.run()
    assert bench.landed == [(2, 7 * FS // 4 + 2 * US)]
    assert loads["shared"].carried_bytes == pytest.approx(10**9 + 0.5 * 8e8 + 0.5 * 5e8)
    assert bench.ring.share() == 1.0


def test_ways_over_the_same_link_count_as_often():
    """Two ways of 4e8 through the shared link beside a flow: a third of it each."""
    bench = Bench()
    ring = bench.fabric.standing([(1, 9), (2, 9)], lambda: None)
    ring.set_demand(4e8)
    bench.send(0.0, 3, 10**9)
    bench.env.run_until(FS // 2)
    assert ring.share() == pytest.approx(1e9 / 3 / 4e8)


def test_a_demand_is_never_more_than_the_narrowest_link():
    """What a step loses to a slow link without any others is in its law already."""
    ring = Bench().fabric.standing([(1, 9), (2, 9)], lambda: None)
    ring.set_demand(9e9)
    assert ring.sample() == 1.0


def test_a_heavier_demand_gets_more():
    bench = Bench()
    ring = bench.fabric.standing([(1, 9)], lambda: None, weight=3)
    ring.set_demand(1e9)
    bench.send(0.0, 2, 10**9)
    bench.env.run_until(FS // 2)
    assert ring.share() == pytest.approx(0.75)


def test_traffic_inside_a_node_has_all_that_it_asks_for():
    bench = Bench()
    bench.fabric._plan.routes = lambda a, b: Path((), 0, float("inf"))
    ring = bench.fabric.standing([(1, 1)], lambda: None)
    ring.set_demand(1e12)
    assert ring.sample() == 1.0


def test_a_demand_that_changes_by_less_than_the_threshold_is_left_as_it_is():
    bench = Ring()
    bench.ask(0.0, 5e8)
    bench.ask(50.0, 5.1e8)
    assert bench.run()["one"].carried_bytes == 100 * 5 * 10**8
    bench.ring.set_demand(5.11e8)
    bench.env.run_until(101 * FS)
    assert bench.ring.carried_bytes() == pytest.approx(100 * 5e8 + 5.11e8)
