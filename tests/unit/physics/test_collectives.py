import pytest

from factorysim.physics.collectives import (
    Links,
    Protocol,
    all_gather,
    all_reduce,
    all_to_all,
)

LINKS = Links(bandwidth=1e11, latency_s=1e-6, devices=8)
PROTOCOL = Protocol(efficiency=0.8, fixed_s=5e-6, hop_s=2e-6)
EXACT = {"rel": 1e-12}


def test_all_reduce_by_hand():
    """Two phases of log2(8) hops of 3 us, and twice 7/8 of the bytes at 80 GB/s."""
    wire_s = 2 * (7 / 8) * 1e6 / 8e10
    assert all_reduce(1e6, 8, LINKS, PROTOCOL) == pytest.approx(5e-6 + 6 * 3e-6 + wire_s, **EXACT)


def test_an_all_gather_is_half_an_all_reduce():
    wire_s = (7 / 8) * 1e6 / 8e10
    expected = 5e-6 + 3 * 3e-6 + wire_s
    assert all_gather(1e6, 8, LINKS, PROTOCOL) == pytest.approx(expected, **EXACT)


def test_all_to_all_goes_straight():
    wire_s = (7 / 8) * 1e6 / 8e10
    assert all_to_all(1e6, 8, LINKS, PROTOCOL) == pytest.approx(5e-6 + 3e-6 + wire_s, **EXACT)


@pytest.mark.parametrize("ranks", [2, 3, 5, 8, 72])
def test_hops_round_up(ranks):
    hops = {2: 1, 3: 2, 5: 3, 8: 3, 72: 7}[ranks]
    assert all_gather(0.0, ranks, LINKS, PROTOCOL) == pytest.approx(5e-6 + hops * 3e-6, **EXACT)


def test_one_device_needs_nobody():
    assert all_reduce(1e9, 1, LINKS, PROTOCOL) == 0.0


def test_more_bandwidth_never_slows():
    times = [all_reduce(1e7, 8, LINKS._replace(bandwidth=b), PROTOCOL) for b in (1e10, 1e11, 1e12)]
    assert times == sorted(times, reverse=True)
