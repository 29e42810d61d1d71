"""Flows on random networks, against a fluid model in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.graph.factory import LinkTable, Path
from factorysim.physics.maxmin import Class
from factorysim.records import TransferRow
from factorysim.sim.clock import ARRIVAL, DECISION, Clock
from factorysim.sim.fabric import Fabric, sending_fs
from tests.property.exact_maxmin import exact_rates

FS = 10**15
MS = 10**12
MB = 10**6


@st.composite
def worlds(draw, links=4, flows=8, widest=8):
    """Bandwidths, and flows as (start in ms, links, size, cap); ties are common."""
    count = draw(st.integers(1, links))
    bandwidth = [draw(st.integers(1, widest)) * 1e9 for _ in range(count)]
    ways = st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True).map(tuple)
    sizes = st.integers(1, 20).map(lambda size: size * MB)
    caps = st.integers(1, 2 * widest).map(lambda cap: cap * 5e8)
    one = st.tuples(st.integers(0, 12), ways, sizes, caps)
    return bandwidth, draw(st.lists(one, min_size=1, max_size=flows))


class World:
    """A fabric in which node k sends over the k-th way; latency 1 ms a link."""

    def __init__(self, bandwidth, ways):
        self.env = Clock()
        self.rows: list = []

        def route(src, _dst):
            links = ways[src]
            return Path(links, MS * len(links), min(bandwidth[link] for link in links))

        names = tuple(f"l{k}" for k in range(len(bandwidth)))
        table = LinkTable(names, np.array(bandwidth), np.full(len(names), 1e-3))
        sink = SimpleNamespace(rows=lambda _, new: self.rows.extend(TransferRow(*r) for r in new))
        self.fabric = Fabric(self.env, SimpleNamespace(links=table, routes=route), sink)
        self.landed: dict = {}

    def send(self, k, flow):
        start, _, size, cap = flow

        def land():
            self.landed[k] = self.env.now

        def go(_value):
            self.fabric.transfer(k, 99, size, cap, land)

        self.env.at(start * MS, ARRIVAL, go)


def simulate(bandwidth, flows, order=None):
    """Books, rows and instants of landing by flow."""
    world = World(bandwidth, [links for _, links, _, _ in flows])
    for k in order or range(len(flows)):
        world.send(k, flows[k])
    world.env.run_until(FS)
    world.fabric.flush()
    return world.fabric.books(), {row.src: row for row in world.rows}, world.landed


def fluid(bandwidth, flows, rings=()):
    """Seconds at which each flow has sent all, and bytes of each ring by then, exactly.

    A ring is (links, {ms: demand}).
    """
    left, bytes_of, ends = {}, [Fraction(0)] * len(rings), {}
    instants = {start for start, *_ in flows} | {ms for _, asks in rings for ms in asks}
    todo = sorted(Fraction(ms, 1000) for ms in instants)
    now = Fraction(0)
    demands = [0.0] * len(rings)
    while todo or left:
        if todo and todo[0] <= now:
            ms = todo.pop(0) * 1000
            left |= {k: Fraction(size) for k, (at, _, size, _) in enumerate(flows) if at == ms}
            demands = [
                asks.get(int(ms), old) for (_, asks), old in zip(rings, demands, strict=True)
            ]
        asking = [k for k, demand in enumerate(demands) if demand]
        classes = [Class(flows[k][1], flows[k][3]) for k in left]
        for k in asking:
            links = rings[k][0]
            narrowest = min(bandwidth[link] / links.count(link) for link in links)
            classes.append(Class(links, min(demands[k], narrowest)))
        rates = exact_rates(classes, bandwidth)
        of_flows = dict(zip(left, rates, strict=False))
        of_rings = dict(zip(asking, rates[len(left) :], strict=True))
        until = min([now + left[k] / of_flows[k] for k in left] + todo[:1], default=now)
        for k, rate in of_rings.items():
            bytes_of[k] += rate * (until - now)
        for k in list(left):
            left[k] -= of_flows[k] * (until - now)
            if left[k] <= 0:
                del left[k]
                ends[k] = until
        now = until
    return ends, bytes_of, now


@given(worlds())
def test_flows_land_when_the_exact_fluid_says(world):
    bandwidth, flows = world
    _, rows, landed = simulate(bandwidth, flows)
    for k, end in fluid(bandwidth, flows)[0].items():
        _, links, size, cap = flows[k]
        assert landed[k] / FS == pytest.approx(float(end) + len(links) * 1e-3, rel=1e-12)
        alone = size / min(cap, *(bandwidth[link] for link in links))
        lost = float(end) - flows[k][0] / 1000 - alone
        assert rows[k].slowed_s == pytest.approx(lost, abs=1e-13)


@given(worlds(links=8, flows=40))
def test_bytes_are_conserved_and_no_link_is_too_full(world):
    books, rows, landed = simulate(*world)
    assert len(rows) == len(landed) == len(world[1])
    assert books.sent_bytes == books.landed_bytes == sum(size for _, _, size, _ in world[1])
    assert books.found_bytes == books.short == 0
    for load in books.links:
        assert load.fullest <= 1 + 1e-9
        assert (load.over_s > 0) == (load.peak_ratio > 1 + 1e-9)


@given(worlds(flows=20), st.integers(0, 30))
def test_the_books_balance_at_any_instant(world, ms):
    """Cut short, what is under way is still found, and no link did more than it can."""
    bandwidth, flows = world
    cut = World(bandwidth, [links for _, links, _, _ in flows])
    for k, flow in enumerate(flows):
        cut.send(k, flow)
    cut.env.run_until(ms * MS + 1)
    books = cut.fabric.books()
    assert books.sent_bytes == books.landed_bytes + books.found_bytes
    assert all(load.fullest <= 1 + 1e-9 for load in books.links)


@given(worlds(flows=12), st.randoms(use_true_random=False))
def test_the_order_of_starts_at_one_instant_does_not_matter(world, random):
    bandwidth, flows = world
    order = list(range(len(flows)))
    random.shuffle(order)
    _, _, landed = simulate(bandwidth, flows)
    _, _, other = simulate(bandwidth, flows, order)
    assert all(abs(landed[k] - other[k]) <= 1000 for k in landed)  # a picosecond


@given(worlds(flows=12))
def test_the_same_flows_land_at_the_same_femtoseconds(world):
    assert simulate(*world)[2] == simulate(*world)[2]


@given(worlds(flows=12, widest=8))
def test_flows_that_fit_take_the_closed_form_to_the_bit(world):
    bandwidth, flows = world
    wide = [size * 1e3 for size in bandwidth]
    books, rows, landed = simulate(wide, flows)
    for k, (start, links, size, cap) in enumerate(flows):
        way = Path(links, MS * len(links), min(wide[link] for link in links))
        assert landed[k] == start * MS + sending_fs(way, size, cap) + way.latency_fs
        assert rows[k].slowed_s == 0.0
    assert all(load.over_s == 0.0 for load in books.links)


@given(worlds(links=1, flows=12))
def test_one_link_made_faster_lets_nothing_land_later(world):
    """On several links max-min is not monotone; on a single one it is, flow by flow."""
    bandwidth, flows = world
    _, _, landed = simulate(bandwidth, flows)
    _, _, sooner = simulate([2 * bandwidth[0]], flows)
    assert all(sooner[k] <= landed[k] + 1000 for k in landed)


@st.composite
def rings(draw, links):
    """Demands of standing traffic that change at whole milliseconds, one way or two."""
    way = st.lists(st.integers(0, links - 1), min_size=1, max_size=2, unique=True).map(tuple)
    demands = st.dictionaries(st.integers(0, 20), st.integers(0, 20).map(lambda d: d * 5e8))
    return draw(st.lists(way, min_size=1, max_size=2)), draw(demands)


@given(st.data())
def test_flows_and_standing_traffic_share_as_the_exact_fluid_says(data):
    bandwidth, flows = data.draw(worlds(flows=5))
    standing = data.draw(st.lists(rings(len(bandwidth)), min_size=1, max_size=3))
    ways = [links for _, links, _, _ in flows] + [way for pair, _ in standing for way in pair]
    world = World(bandwidth, ways)
    for k, flow in enumerate(flows):
        world.send(k, flow)
    handles, node = [], len(flows)
    for pair, demands in standing:
        handle = world.fabric.standing([(node + k, 99) for k in range(len(pair))], lambda: None)
        node += len(pair)
        handles.append(handle)
        for ms, demand in demands.items():
            world.env.at(ms * MS, DECISION, handle.set_demand, demand)
    asks = [(tuple(link for way in pair for link in way), demands) for pair, demands in standing]
    ends, bytes_of, last = fluid(bandwidth, flows, asks)
    world.env.run_until(int(last * FS) + 1)
    carried = [handle.carried_bytes() for handle in handles]
    assert carried == pytest.approx([float(size) for size in bytes_of], rel=1e-9, abs=1.0)
    assert all(load.fullest <= 1 + 1e-9 for load in world.fabric.loads())
    world.env.run_until(int(last * FS) + 10 * MS)
    for k, end in ends.items():
        assert world.landed[k] / FS == pytest.approx(
            float(end) + len(flows[k][1]) * 1e-3, rel=1e-12
        )
