"""Queues built from the simulator's own parts, against theory.

A replica that holds one sequence at a time and steps by a fixed law is a single
server; several behind a shared queue are M/M/c. Tolerances are three standard
errors over replications, and each test says how small they are, so that it could
fail: a law that is 5 % off is outside.
"""

from __future__ import annotations

import numpy as np
import pytest

from factorysim import theory
from factorysim.physics.fixed import fixed_law
from factorysim.spec.law import FixedLaw
from factorysim.workload.demand import build_demand
from tests.unit.sim.builders import plan, run, scenario

SERVICE_S = 1.0


def waits(
    kind: str, rate: float, servers: int, replication: int, horizon_s: float, slower: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrivals, waits and services of the calls of one replication, warm-up left out."""
    law = fixed_law(
        FixedLaw.model_validate(
            {"kind": "fixed", "prompt": {"kind": kind, "mean": f"{SERVICE_S * slower} s"}}
        )
    )
    spec = scenario(
        streams={"s": {"arrivals": {"process": "poisson", "rate": f"{rate} /s"}}},
        serving={"max_sequences": 1, "router": {"policy": "shared_queue"}},
        run={"seed": 11},
    )
    demand = build_demand("s", spec.streams["s"], seed=11, replication=replication)
    ran = run(
        spec,
        plan(law, replicas=servers, blocks=10),
        [demand],
        horizon_s=horizon_s,
        replication=replication,
    )
    assert not ran.broken()
    done = sorted((c for c in ran.calls if c.outcome == "completed"), key=lambda c: c.arrived_s)
    table = np.array([(c.arrived_s, c.scheduled_s, c.finished_s) for c in done])
    return table[:, 0], table[:, 1] - table[:, 0], table[:, 2] - table[:, 1]


def estimate(samples: list[float]) -> tuple[float, float]:
    """Mean over replications and three standard errors of it."""
    return float(np.mean(samples)), 3.0 * float(np.std(samples, ddof=1)) / len(samples) ** 0.5


@pytest.mark.parametrize("kind", ["deterministic", "exponential", "lognormal"])
def test_one_server_follows_lindleys_recursion_call_by_call(kind):
    """W(n+1) = max(0, W(n) + S(n) - A(n)): Lindley 1952; exact, so no tolerance for luck."""
    arrived, wait, service = waits(kind, 0.8, 1, 0, 400.0)
    expected = np.zeros(len(wait))
    for n in range(len(wait) - 1):
        gap = arrived[n + 1] - arrived[n]
        expected[n + 1] = max(0.0, expected[n] + service[n] - gap)
    assert len(wait) > 250
    np.testing.assert_allclose(wait, expected, atol=1e-9)


def test_several_servers_follow_the_order_of_arrival():
    """Kiefer and Wolfowitz 1955: each call starts when the first of the servers is free."""
    arrived, wait, service = waits("exponential", 2.4, 3, 0, 200.0)
    free = np.zeros(3)
    for n, at in enumerate(arrived[arrived < 150.0]):  # later, some are still in service
        start = max(at, free.min())
        assert wait[n] == pytest.approx(start - at, abs=1e-9)
        free[free.argmin()] = start + service[n]


def test_drawn_services_have_the_mean_and_spread_they_should():
    _, _, service = waits("exponential", 0.9, 1, 0, 8000.0)
    half_width = 3 / len(service) ** 0.5
    assert half_width < 0.05
    assert service.mean() == pytest.approx(1.0, abs=half_width)
    assert np.mean(service > 1.0) == pytest.approx(np.exp(-1), abs=1.5 / len(service) ** 0.5)


def long_run_waits(kind: str, rate: float, servers: int, slower: float = 1.0) -> list[float]:
    """Mean wait of each of 20 replications, warm-up left out."""
    means = []
    for replication in range(20):
        arrived, wait, _ = waits(kind, rate, servers, replication, 12_000.0, slower)
        means.append(float(wait[arrived > 500.0].mean()))
    return means


CASES = {
    "M/M/1": ("exponential", 0.5, 1, theory.mm1_wait(0.5, 1.0)),
    "M/D/1": ("deterministic", 0.6, 1, theory.md1_wait(0.6, 1.0)),
    "M/M/3": ("exponential", 1.8, 3, theory.mmc_wait(1.8, 1.0, 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_mean_waits_are_those_of_theory(name):
    """Kleinrock, Queueing Systems I, sections 3.2, 3.5 and 5.7."""
    kind, rate, servers, expected = CASES[name]
    mean, half_width = estimate(long_run_waits(kind, rate, servers))
    assert half_width < 0.08 * expected
    assert mean == pytest.approx(expected, abs=half_width)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_servers_that_are_five_per_cent_slower_are_found_out(name):
    kind, rate, servers, expected = CASES[name]
    mean, half_width = estimate(long_run_waits(kind, rate, servers, slower=1.05))
    assert mean > expected + half_width


@pytest.mark.slow
def test_waits_in_mm1_have_the_distribution_of_theory():
    """P(W > t) = rho exp(-(mu - lambda) t): Kleinrock I, section 5.12."""
    tails = {t: [] for t in (0.0, 1.0, 3.0)}
    for replication in range(20):
        arrived, wait, _ = waits("exponential", 0.5, 1, replication, 12_000.0)
        kept = wait[arrived > 500.0]
        for t, samples in tails.items():
            samples.append(float(np.mean(kept > t + 1e-9)))
    for t, samples in tails.items():
        mean, half_width = estimate(samples)
        expected = theory.mm1_wait_tail(0.5, 1.0, t)
        assert half_width < 0.12 * expected
        assert mean == pytest.approx(expected, abs=half_width)
