"""Queues built from the simulator's own parts, call by call against the recursions of theory.

A replica that holds one sequence at a time and steps by a fixed law is a single
server; several behind a shared queue are M/M/c. In the long run they are compared
with closed forms by `factorysim.study.theory` (test_theory.py).
"""

from __future__ import annotations

import numpy as np
import pytest

from factorysim.physics.fixed import fixed_law
from factorysim.spec.law import FixedLaw
from factorysim.workload.demand import build_demand
from tests.unit.sim.builders import plan, run, scenario

SERVICE_S = 1.0


def waits(
    kind: str, rate: float, servers: int, replication: int, horizon_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrivals, waits and services of the calls of one replication."""
    law = fixed_law(
        FixedLaw.model_validate(
            {"kind": "fixed", "prompt": {"kind": kind, "mean": f"{SERVICE_S} s"}}
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
