"""The fabric: delays, order of landing, and links asked for more than they have."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from factorysim.graph.factory import LinkTable, Path
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
        sink = SimpleNamespace(rows=lambda table, rows: self.rows.extend(rows))
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
    assert bench.rows == [("message", 1, 9, 10**6, 1.0, pytest.approx(1.001002))]
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


def test_flows_that_do_not_fit_are_told_with_seconds_and_peak():
    bench = Bench()
    bench.send(0.0, 1, 10**9)  # 0 to 1 s
    bench.send(0.5, 2, 10**9, cap=5e8)  # 0.5 to 2.5 s
    bench.send(2.0, 3, 10**9)  # 2 to 3 s
    loads = bench.run()
    assert loads["shared"].over_s == pytest.approx(0.5 + 0.5)
    assert loads["shared"].peak_ratio == pytest.approx(1.5)
    assert loads["one"].over_s == 0.0


def test_small_messages_take_no_share_of_a_link():
    bench = Bench()
    for _ in range(3):
        bench.send(0.0, 1, 1000)
    assert bench.run()["shared"] == ("shared", 1e9, 3000, 0.0, 0.0)
