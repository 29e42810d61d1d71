"""Max-min rates on random networks, against an exact solver written from the definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.physics.maxmin import Class, certificate, max_min
from tests.property.exact_maxmin import exact_rates

SIZES = st.integers(1, 12)


@st.composite
def networks(draw, links=6, classes=8):
    """Whole numbers, so that ties between links and caps are common."""
    count = draw(st.integers(1, links))
    bandwidth = [draw(SIZES) for _ in range(count)]
    ways = st.lists(st.integers(0, count - 1), min_size=1, max_size=4)
    members = st.builds(
        Class,
        ways.map(tuple),
        SIZES.map(float),
        st.integers(1, 4),
        st.integers(1, 4),
    )
    return draw(st.lists(members, min_size=1, max_size=classes)), bandwidth


@given(networks())
def test_rates_are_those_of_the_exact_solver(network):
    exact = [float(rate) for rate in exact_rates(*network)]
    assert max_min(*network) == pytest.approx(exact, rel=1e-12)


@given(networks(links=12, classes=30))
def test_every_class_has_a_bottleneck_and_no_link_is_too_full(network):
    """The certificate also means that rates conserve work: what is not full holds nobody."""
    found = certificate(*network, max_min(*network), tolerance=1e-12)
    assert "nothing" not in found.held_by
    assert found.fullest <= 1 + 1e-12


@given(networks(), st.randoms(use_true_random=False))
def test_the_order_of_classes_does_not_matter(network, random):
    classes, bandwidth = network
    order = list(range(len(classes)))
    random.shuffle(order)
    rates = max_min(classes, bandwidth)
    shuffled = max_min([classes[k] for k in order], bandwidth)
    assert shuffled == pytest.approx([rates[k] for k in order], rel=1e-12)


@given(networks())
def test_a_class_of_many_is_as_many_classes_of_one(network):
    classes, bandwidth = network
    apart = [one._replace(flows=1) for one in classes for _ in range(one.flows)]
    rates = iter(max_min(apart, bandwidth))
    for one, rate in zip(classes, max_min(classes, bandwidth), strict=True):
        for _ in range(one.flows):
            assert next(rates) == pytest.approx(rate, rel=1e-12)


@given(networks(), st.data())
def test_more_bandwidth_never_lowers_the_least_level(network, data):
    """Max-min maximises the least rate per weight among flows that no cap holds.

    Single rates are not monotone, so this is what can be asked for: the least over all
    flows of the rate per weight.
    """
    classes, bandwidth = network
    link = data.draw(st.integers(0, len(bandwidth) - 1))
    wider = [size + (k == link) for k, size in enumerate(bandwidth)]

    def least(sizes):
        return min(r / one.weight for one, r in zip(classes, max_min(classes, sizes), strict=True))

    assert least(wider) >= least(bandwidth) * (1 - 1e-12)


@given(st.lists(SIZES.map(float), min_size=1, max_size=10), SIZES, SIZES)
def test_on_one_link_more_bandwidth_slows_nobody(caps, size, more):
    classes = [Class((0,), cap) for cap in caps]
    pairs = zip(max_min(classes, [size + more]), max_min(classes, [size]), strict=True)
    assert all(wider >= narrow * (1 - 1e-12) for wider, narrow in pairs)


@given(networks(), st.data())
def test_one_more_flow_raises_nobody_on_one_link(network, data):
    """On a single link, where max-min is monotone in the population too."""
    classes = [one._replace(links=(0,)) for one in network[0]]
    more = Class((0,), data.draw(SIZES.map(float)))
    before = max_min(classes, [5])
    after = max_min([*classes, more], [5])[:-1]
    assert all(b <= a * (1 + 1e-12) for a, b in zip(before, after, strict=True))
