"""Max-min rates on networks small enough to be solved by hand."""

from __future__ import annotations

import math

import pytest

from factorysim.physics.maxmin import Class, certificate, max_min


def test_flows_of_one_link_share_it_evenly():
    assert max_min([Class((0,), 9e9), Class((0,), 9e9)], [1e9]) == [5e8, 5e8]


def test_a_class_counts_as_often_as_it_has_flows():
    assert max_min([Class((0,), 9e9, flows=3), Class((0,), 9e9)], [1e9]) == [2.5e8, 2.5e8]


def test_a_weight_is_so_many_shares():
    assert max_min([Class((0,), 9e9, weight=3), Class((0,), 9e9)], [1e9]) == [7.5e8, 2.5e8]


def test_what_a_cap_leaves_goes_to_the_others():
    assert max_min([Class((0,), 1e8), Class((0,), 9e9)], [1e9]) == [1e8, 9e8]


def test_caps_that_fit_are_given_to_the_bit():
    caps = [0.1, 0.2, 1 / 3]
    assert max_min([Class((0, 1), cap) for cap in caps], [1.0, 1.0]) == caps


def test_a_way_without_links_gives_the_cap():
    assert max_min([Class((), 7.0)], []) == [7.0]


def test_a_link_crossed_twice_is_used_twice():
    assert max_min([Class((0, 0), 9.0), Class((0,), 9.0)], [6.0]) == [2.0, 2.0]


def test_the_parking_lot():
    """One flow over all of n links against one on each: all get half.

    Bertsekas and Gallager, Data Networks, section 6.5.2.
    """
    classes = [Class((0, 1, 2), math.inf), *(Class((k,), math.inf) for k in range(3))]
    assert max_min(classes, [1.0] * 3) == [0.5] * 4


def test_what_the_tighter_link_holds_back_is_left_on_the_other():
    """Three share link 1; one of them crosses link 0 too, and leaves 2/3 of that."""
    ways = [(0,), (1,), (0, 1), (1,)]
    rates = max_min([Class(links, math.inf) for links in ways], [1.0, 1.0])
    assert rates == pytest.approx([2 / 3, 1 / 3, 1 / 3, 1 / 3])


def test_a_faster_link_can_slow_a_flow_elsewhere():
    """Max-min is not monotone: flow 0 loses what flow 1 no longer leaves."""
    classes = [Class((1,), math.inf), Class((0, 1), math.inf)]
    assert max_min(classes, [1.0, 10.0]) == [9.0, 1.0]
    assert max_min(classes, [4.0, 10.0]) == [6.0, 4.0]


def test_a_certificate_tells_what_holds_each_class():
    classes = [Class((0,), 9.0), Class((0, 1), 9.0), Class((0,), 1.0)]
    bandwidth = [6.0, 1.0]
    rates = max_min(classes, bandwidth)
    assert rates == [4.0, 1.0, 1.0]
    assert certificate(classes, bandwidth, rates).held_by == [0, 1, "cap"]


@pytest.mark.parametrize("rates", [[3.0, 1.0], [4.0, 2.0], [2.0, 4.0]])
def test_a_certificate_is_not_given_to_other_rates(rates):
    """Of the fair 3 and 3: too little, unfair to the one, unfair to the other."""
    found = certificate([Class((0,), 9.0), Class((0,), 9.0)], [6.0], rates)
    assert "nothing" in found.held_by


def test_a_certificate_tells_of_a_link_that_is_too_full():
    assert certificate([Class((0,), 9.0)], [6.0], [9.0]).fullest == 1.5
