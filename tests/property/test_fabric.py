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
from factorysim.sim.clock import ARRIVAL, Clock
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


def simulate(bandwidth, flows, order=None):
    """Books, rows and instants of landing by flow, of the fabric; latency 1 ms a link."""
    env = Clock()
    ways = [links for _, links, _, _ in flows]
    names = tuple(f"l{k}" for k in range(len(bandwidth)))

    def route(src, _dst):
        links = ways[src]
        return Path(links, MS * len(links), min(bandwidth[link] for link in links))

    plan = SimpleNamespace(
        links=LinkTable(names, np.array(bandwidth), np.full(len(names), 1e-3)), routes=route
    )
    rows: list = []
    fabric = Fabric(env, plan, SimpleNamespace(rows=lambda table, new: rows.extend(new)))
    landed: dict = {}

    def start(k):
        def land():
            landed[k] = env.now

        _, _, size, cap = flows[k]
        fabric.transfer(k, 99, size, cap, land)

    for k in order or range(len(flows)):
        env.at(flows[k][0] * MS, ARRIVAL, start, k)
    env.run_until(FS)
    fabric.flush()
    return fabric.books(), {row.src: row for row in rows}, landed


def fluid(bandwidth, flows):
    """Seconds at which each flow has sent all, exactly."""
    left = {}
    now, ends = Fraction(0), {}
    todo = sorted(range(len(flows)), key=lambda k: flows[k][0])
    while todo or left:
        while todo and Fraction(flows[todo[0]][0], 1000) <= now:
            k = todo.pop(0)
            left[k] = Fraction(flows[k][2])
        exact = exact_rates([Class(flows[k][1], flows[k][3]) for k in left], bandwidth)
        rates = dict(zip(left, exact, strict=True))
        then = [now + left[k] / rates[k] for k in left]
        then += [Fraction(flows[k][0], 1000) for k in todo[:1]]
        until = min(then)
        for k in list(left):
            left[k] -= rates[k] * (until - now)
            if left[k] <= 0:
                del left[k]
                ends[k] = until
        now = until
    return ends


@given(worlds())
def test_flows_land_when_the_exact_fluid_says(world):
    bandwidth, flows = world
    _, rows, landed = simulate(bandwidth, flows)
    for k, end in fluid(bandwidth, flows).items():
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
    env = Clock()
    plan = SimpleNamespace(
        links=LinkTable(("l",) * len(bandwidth), np.array(bandwidth), np.zeros(len(bandwidth))),
        routes=lambda src, _: Path(
            flows[src][1], MS, min(bandwidth[link] for link in flows[src][1])
        ),
    )
    fabric = Fabric(env, plan, SimpleNamespace(rows=lambda *_: None))
    for k, (start, _, size, cap) in enumerate(flows):
        env.at(
            start * MS,
            ARRIVAL,
            lambda args: fabric.transfer(*args, lambda: None),
            (k, 99, size, cap),
        )
    env.run_until(ms * MS + 1)
    books = fabric.books()
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
