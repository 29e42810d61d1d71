"""Means over bins hold what the rows hold; distribution functions are those of the sample."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.metrics.curves import empirical
from factorysim.metrics.over_time import BinMeans

TIMES = st.integers(-40, 160).map(lambda n: n / 4)
ROWS = st.lists(st.tuples(TIMES, TIMES, st.integers(-5, 50)), min_size=1, max_size=12).map(
    lambda rows: [(min(a, b), max(a, b), float(v)) for a, b, v in rows]
)
EDGES = st.lists(st.integers(0, 120).map(lambda n: n / 4), min_size=2, max_size=9, unique=True).map(
    lambda edges: np.array(sorted(edges))
)
SAMPLES = st.lists(st.floats(0.0, 1e6, allow_subnormal=False), min_size=1, max_size=250)


def overlap(row, low, high):
    return max(0.0, min(row[1], high) - max(row[0], low)) * row[2]


def means(edges, rows):
    bins = BinMeans(edges)
    since, until, value = (np.array(column, float) for column in zip(*rows, strict=True))
    bins.add(since, until, value)
    return bins.means()


@given(EDGES, ROWS)
def test_a_mean_is_what_the_rows_cover_of_a_bin(edges, rows):
    expected = [
        sum(overlap(row, low, high) for row in rows) / (high - low) for low, high in pairwise(edges)
    ]
    np.testing.assert_allclose(means(edges, rows), expected, rtol=1e-12, atol=1e-9)


@given(EDGES, ROWS)
def test_nothing_is_lost_between_bins(edges, rows):
    area = float((means(edges, rows) * np.diff(edges)).sum())
    assert area == pytest.approx(sum(overlap(r, edges[0], edges[-1]) for r in rows), abs=1e-9)


@given(EDGES, ROWS.filter(lambda rows: len(rows) > 1))
def test_rows_come_in_any_order_and_number(edges, rows):
    apart = BinMeans(edges)
    for since, until, value in reversed(rows):
        apart.add(np.array([since]), np.array([until]), value)
    np.testing.assert_allclose(apart.means(), means(edges, rows), atol=1e-9)


@given(st.lists(st.floats(0.0, 90.0), min_size=1, max_size=50))
def test_what_has_gone_leaves_nothing_behind(since):
    bins = BinMeans(np.linspace(0.0, 100.0, 11))
    bins.add(np.array(since), np.array(since) + 0.1)
    assert bins.means()[-1] >= 0.0
    empty = BinMeans(np.linspace(0.0, 100.0, 11))
    empty.add(np.array(since), np.array(since))
    assert not empty.means().any()


def test_who_never_leaves_stays_to_the_end():
    bins = BinMeans(np.array([0.0, 1.0, 2.0]))
    bins.add(np.array([0.5]), np.array([np.nan]))
    assert bins.means().tolist() == [0.5, 1.0]


@given(SAMPLES, st.integers(0, 50))
def test_a_curve_is_the_distribution_function_at_its_corners(sample, censored):
    known = np.array(sample)
    curve = empirical(known, censored)
    assert (np.diff(curve.value) >= 0).all()
    assert (np.diff(curve.share) > 0).all()
    assert curve.n == len(sample) + censored
    assert curve.share[-1] == (curve.n - censored) / curve.n
    assert curve.value[0] == known.min()
    assert curve.value[-1] == known.max()
    for value, share in zip(curve.value, curve.share, strict=True):
        at_most, less = (known <= value).sum(), (known < value).sum()
        assert less < round(share * curve.n) <= at_most  # ties: one of their ranks


@given(st.permutations(range(40)), st.integers(0, 3))
def test_without_ties_and_of_few_every_corner_is_drawn(sample, censored):
    known = np.array(sample, float)
    curve = empirical(known, censored)
    assert curve.value.tolist() == sorted(known)
    brute = [(known <= value).sum() / curve.n for value in curve.value]
    assert curve.share.tolist() == pytest.approx(brute)


def test_many_are_drawn_through_few_corners_close_in_the_tail():
    curve = empirical(np.arange(1e5), points=200)
    assert len(curve.value) <= 200
    assert np.diff(curve.share).max() < 0.016
    assert np.diff(curve.share[curve.share > 0.99]).max() < 2e-4


@given(st.integers(1, 3000), st.integers(0, 5))
def test_by_decades_the_last_one_of_all_has_its_corner_and_none_is_lost(n, censored):
    known = np.arange(float(n))
    curve, plain = empirical(known, censored, decades=True), empirical(known, censored)
    assert set(plain.value) <= set(curve.value)
    assert {float(n - 1), max(0.0, n - 2.0)} <= set(curve.value)
    assert (np.diff(curve.share) > 0).all()
    assert curve.share.tolist() == pytest.approx((curve.value + 1) / (n + censored))


def test_the_tail_of_a_million_is_drawn_down_to_its_last():
    left = 1.0 - empirical(np.arange(1e6), decades=True).share[:-1]
    assert left[-1] == pytest.approx(1e-6)
    for least in (1e-6, 1e-5, 1e-4, 1e-3):
        assert ((left >= 0.99 * least) & (left < 9.99 * least)).sum() >= 5
    assert len(left) < 300


def test_a_share_is_reached_at_its_corner():
    curve = empirical(np.array([1.0, 2.0, 3.0]), 1)
    assert [curve.reached(share) for share in (0.0, 0.25, 0.26, 0.75, 0.9)] == [1, 1, 2, 3, 3]


def test_a_sample_of_which_none_ended_has_no_corner():
    curve = empirical(np.zeros(0), 5)
    assert (len(curve.value), curve.n, curve.censored) == (0, 5, 5)
