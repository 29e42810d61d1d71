"""Closed forms against independent computations: balance equations, sums, transforms."""

import math

import numpy as np
import pytest

from factorysim import theory


def stationary(rate, service_s, servers, room):
    """Probabilities of 0..room present in an M/M/c/room birth-death chain, by its balance."""
    weights = [1.0]
    for n in range(1, room + 1):
        weights.append(weights[-1] * rate * service_s / min(n, servers))
    return np.array(weights) / sum(weights)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (3, 2.0), (10, 9.0), (50, 40.0)])
def test_erlang_b_is_the_last_state_of_the_chain(servers, load):
    assert theory.erlang_b(servers, load) == pytest.approx(
        stationary(load, 1.0, servers, servers)[-1]
    )


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (3, 2.0), (10, 9.0)])
def test_mmc_against_its_balance_equations(servers, load):
    chain = stationary(load, 1.0, servers, 2000)
    present = np.arange(len(chain))
    assert theory.erlang_c(servers, load) == pytest.approx(chain[servers:].sum())
    waiting = (np.maximum(present - servers, 0) * chain).sum()
    assert theory.little(load, theory.mmc_wait(load, 1.0, servers)) == pytest.approx(waiting)
    assert theory.mmc_sojourn(load, 1.0, servers) == pytest.approx((present * chain).sum() / load)


def test_mm1_is_mmc_with_one_server():
    assert theory.mm1_wait(0.8, 1.0) == pytest.approx(theory.mmc_wait(0.8, 1.0, 1))
    assert theory.mm1_sojourn(3.0, 0.25) == pytest.approx(1 / (4 - 3))


@pytest.mark.parametrize(("rate", "service_s", "servers"), [(0.5, 1.0, 1), (8.0, 0.5, 6)])
def test_tails_integrate_to_the_mean_wait(rate, service_s, servers):
    t = np.linspace(0, 200 * service_s, 100_001)
    tail = [theory.mmc_wait_tail(rate, service_s, servers, x) for x in t]
    mean = float(np.trapezoid(tail, t))
    assert mean == pytest.approx(theory.mmc_wait(rate, service_s, servers), rel=1e-4)


@pytest.mark.parametrize("q", [0.3, 0.9, 0.99])
def test_quantiles_invert_tails(q):
    at = theory.mmc_wait_quantile(5.0, 0.5, 3, q)
    tail = theory.mmc_wait_tail(5.0, 0.5, 3, at)
    assert tail == pytest.approx(min(1 - q, theory.erlang_c(3, 2.5)))
    one = theory.mm1_wait_quantile(0.8, 1.0, q)
    assert theory.mm1_wait_tail(0.8, 1.0, one) == pytest.approx(min(1 - q, 0.8))
    assert theory.mm1_sojourn_quantile(0.8, 1.0, q) == pytest.approx(-math.log(1 - q) / 0.2)


def test_pollaczek_khinchine_by_the_embedded_chain():
    """M/D/1 by the chain of numbers left behind: Poisson arrivals in a fixed service."""
    rate, size = 0.6, 400
    arrivals = [math.exp(-rate)]
    for k in range(1, size):
        arrivals.append(arrivals[-1] * rate / k)
    chain = np.zeros((size, size))
    for n in range(size):
        start = max(n - 1, 0)
        chain[n, start:] = arrivals[: size - start]
        chain[n, -1] += 1 - chain[n].sum()
    left = np.zeros(size)
    left[0] = 1.0
    for _ in range(300):
        left = left @ chain
    present = float(left @ np.arange(size))
    assert theory.md1_wait(rate, 1.0) == pytest.approx(present / rate - 1.0, rel=1e-6)


def test_waits_of_general_service():
    assert theory.mg1_wait(0.5, 1.0, 1.0) == theory.mm1_wait(0.5, 1.0)
    assert theory.mg1_wait(0.5, 1.0, 0.0) == theory.mm1_wait(0.5, 1.0) / 2
    assert theory.mg1_wait(2.0, 0.2, 1.5) == pytest.approx(0.4 * 0.2 * 3.25 / 2 / 0.6)


def test_processor_sharing_is_proportional_and_insensitive():
    assert theory.mg1_ps_sojourn(0.8, 1.0) == pytest.approx(theory.mm1_sojourn(0.8, 1.0))
    assert theory.mg1_ps_sojourn(0.8, 1.0, size_s=0.1) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: theory.mm1_wait(1.0, 1.0),
        lambda: theory.mmc_wait(2.0, 1.0, 2),
        lambda: theory.mg1_wait(1.1, 1.0, 1.0),
        lambda: theory.mg1_ps_sojourn(1.0, 1.0),
        lambda: theory.mmc_wait_quantile(3.0, 1.0, 2, 0.5),
    ],
)
def test_a_station_that_is_not_stable_is_refused(call):
    with pytest.raises(ValueError, match="not stable"):
        call()
