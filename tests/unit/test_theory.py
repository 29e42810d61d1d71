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


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (3, 2.0), (10, 9.0)])
def test_numbers_present_against_balance_equations(servers, load):
    chain = stationary(load, 1.0, servers, 2000)
    lossy = stationary(load, 1.0, servers, servers)
    for n in range(2 * servers):
        assert theory.mmc_present(load, 1.0, servers, n) == pytest.approx(chain[n])
    for n in range(servers + 1):
        assert theory.erlang_b_present(servers, load, n) == pytest.approx(lossy[n])


@pytest.mark.parametrize("rate", [0.3, 0.6, 0.9])
def test_waits_in_md1_start_at_the_load_and_integrate_to_their_mean(rate):
    """Up to a load of 0.6 nothing is left of the tail at 20 services."""
    tail = [theory.md1_wait_tail(rate, 1.0, t) for t in np.linspace(0, 20, 20_001)]
    assert tail[0] == pytest.approx(rate)
    assert np.all(np.diff(tail) < 1e-6)
    if rate <= 0.6:
        mean = float(np.trapezoid(tail, dx=0.001))
        assert mean == pytest.approx(theory.md1_wait(rate, 1.0), rel=1e-3)


def test_md1_tail_refuses_what_it_has_no_digits_for():
    with pytest.raises(ValueError, match="at most 20"):
        theory.md1_wait_tail(0.5, 1.0, 20.5)


def test_waits_in_mh2_integrate_to_pollaczek_khinchine():
    services, share, rate = (0.5, 2.5), 0.75, 0.6
    second = 2 * (share * 0.25 + (1 - share) * 6.25)
    t = np.linspace(0, 200, 100_001)
    tail = np.array([theory.mh2_wait_tail(rate, services, share, x) for x in t])
    assert tail[0] == pytest.approx(rate)
    mean = float(np.trapezoid(tail, t))
    assert mean == pytest.approx(theory.mg1_wait(rate, 1.0, (second - 1) ** 0.5), rel=1e-5)
    # Its second moment is Takacs's: two ways to the same variance.
    third = 6 * (share * 0.125 + (1 - share) * 15.625)
    square = float(np.trapezoid(2 * t * tail, t))
    variance = theory.mg1_wait_variance(rate, (1.0, second, third))
    assert square - mean**2 == pytest.approx(variance, rel=1e-5)


def test_one_present_in_mg1_by_the_embedded_chain():
    """Service 0.5 or 1.5, half each: the number left behind is what somebody who comes finds."""
    rate, size = 0.6, 200
    come = np.zeros(size)
    for service in (0.5, 1.5):
        come += 0.5 * np.exp(
            [k * math.log(rate * service) - rate * service - math.lgamma(k + 1)
             for k in range(size)]
        )  # fmt: skip
    left = np.zeros(size)
    left[0] = 1.0
    for _ in range(300):
        stay = np.append(left[1:], 0.0)
        stay[0] += left[0]
        left = np.convolve(stay, come)[:size]
    transform = (math.exp(-0.3) + math.exp(-0.9)) / 2
    assert theory.mg1_one_present(rate, 1.0, transform) == pytest.approx(left[1], rel=1e-9)


@pytest.mark.parametrize(("servers", "load"), [(2, 1.4), (4, 3.2), (10, 9.0)])
def test_mdc_against_the_approximation_of_cosmetatos(servers, load):
    """Within 2 %: Cosmetatos, Oper. Res. Quarterly 27 (1976)."""
    half = theory.mmc_wait(load, 1.0, servers) / 2
    rho = load / servers
    more = 1 + (1 - rho) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * rho * servers)
    assert theory.mdc_wait(load, 1.0, servers) == pytest.approx(half * more, rel=0.02)


@pytest.mark.parametrize("batch", [2, 4])
def test_a_bulk_server_takes_as_many_as_come(batch):
    """Walked service by service: who is left behind, and for how long (a chain by simulation)."""
    rate, services = 0.5 * batch, 100_000
    come = np.random.default_rng(5).poisson(rate, services)
    left = waiting = idle = 0
    for count in come.tolist():
        idle += left == 0
        stay = max(left - batch, 0)
        waiting += stay
        left = stay + count
    bulk = theory.bulk_wait(rate, 1.0, batch)
    length = services + idle / rate
    assert bulk.idle == pytest.approx(idle / rate / length, rel=0.03)
    assert bulk.wait_s == pytest.approx((waiting + services * rate / 2) / length / rate, rel=0.02)


def test_a_bulk_server_that_takes_all_who_wait():
    """With room for all, the number left behind is Poisson: idle = e^-a / (a + e^-a) by cycles."""
    load = 1.5
    bulk = theory.bulk_wait(load, 1.0, 60)
    alone = math.exp(-load)
    assert bulk.idle == pytest.approx((alone / load) / (1 + alone / load))
    assert bulk.wait_s == pytest.approx(0.5 / (1 + alone / load))


def test_rates_of_an_open_network_solve_its_balance():
    routing = ((0.0, 0.5, 0.2), (0.3, 0.0, 0.3), (0.6, 0.1, 0.0))
    outside = (1.0, 0.5, 0.0)
    rates = theory.open_rates(outside, routing)
    for k, rate in enumerate(rates):
        inflow = outside[k] + sum(rates[i] * routing[i][k] for i in range(3))
        assert rate == pytest.approx(inflow)
    out = sum(rate * (1 - sum(row)) for rate, row in zip(rates, routing, strict=True))
    assert out == pytest.approx(sum(outside))


def test_mean_values_against_the_product_form():
    """Reiser and Lavenberg's recursion and Buzen's convolution come from apart."""
    demands, think, population = (2.0, 1.5, 0.3), 4.0, 6
    solved = theory.mva(population, demands, think)
    for k, demand in enumerate(demands):
        probabilities = [
            theory.closed_present(population, demands, think, k, n) for n in range(population + 1)
        ]
        assert sum(probabilities) == pytest.approx(1.0)
        assert np.arange(population + 1) @ probabilities == pytest.approx(solved.present[k])
        assert 1 - probabilities[0] == pytest.approx(solved.rate * demand)
    assert sum(solved.present) + solved.rate * think == pytest.approx(population)


def test_a_closed_network_reaches_its_bottleneck():
    assert theory.mva(1, (2.0, 1.0), 3.0).rate == pytest.approx(1 / 6)
    assert theory.mva(200, (2.0, 1.0), 3.0).rate == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: theory.mm1_wait(1.0, 1.0),
        lambda: theory.mmc_wait(2.0, 1.0, 2),
        lambda: theory.mg1_wait(1.1, 1.0, 1.0),
        lambda: theory.mg1_ps_sojourn(1.0, 1.0),
        lambda: theory.mmc_wait_quantile(3.0, 1.0, 2, 0.5),
        lambda: theory.mmc_present(2.0, 1.0, 2, 0),
        lambda: theory.mg1_wait_variance(1.0, (1.0, 2.0, 6.0)),
        lambda: theory.mg1_one_present(1.0, 1.0, 0.5),
        lambda: theory.md1_wait_tail(1.0, 1.0, 0.0),
        lambda: theory.mh2_wait_tail(1.0, (1.0, 1.0), 0.5, 0.0),
        lambda: theory.mdc_wait(2.0, 1.0, 2),
        lambda: theory.bulk_wait(4.0, 1.0, 4),
    ],
)
def test_a_station_that_is_not_stable_is_refused(call):
    with pytest.raises(ValueError, match="not stable"):
        call()
