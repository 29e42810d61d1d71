"""After a spike, a single server against the fluid of its queue."""

import numpy as np
import pytest

from factorysim.metrics.inputs import Spike, Window
from factorysim.metrics.recovery import recovery_values
from factorysim.physics.fixed import fixed_law
from factorysim.spec.law import FixedLaw
from factorysim.workload.demand import build_demand
from tests.unit.metrics.builders import layout, tables, values
from tests.unit.sim.builders import plan, run, scenario

AT_S, LENGTH_S, TIMES = 400.0, 60.0, 10.0
WINDOW = Window(0.0, 1500.0)


def felt_s(rate: float, replication: int) -> float:
    """Time until as few wait as before, at one server that takes a second a call."""
    law = fixed_law(
        FixedLaw.model_validate(
            {"kind": "fixed", "prompt": {"kind": "deterministic", "mean": "1 s"}}
        )
    )
    spikes = {"launch": {"at": f"{AT_S} s", "length": f"{LENGTH_S} s", "times": TIMES}}
    arrivals = {"process": "poisson", "rate": f"{rate} /s", "spikes": spikes}
    spec = scenario(
        streams={"s": {"arrivals": arrivals}},
        serving={"max_sequences": 1},
        run={"kind": "terminating", "seed": 3},
    )
    demand = build_demand("s", spec.streams["s"], seed=3, replication=replication)
    ran = run(spec, plan(law, blocks=10), [demand], horizon_s=WINDOW.end_s, replication=replication)
    assert not ran.broken()
    launch = Spike("s", "launch", AT_S, AT_S + LENGTH_S)
    data = tables(sessions=ran.sessions, calls=ran.calls, end_s=WINDOW.end_s)
    got = values(recovery_values(data, WINDOW, layout(spikes=(launch,))))
    assert got["recovery_s.waiting"] is not None
    return float(got["recovery_s.waiting"])


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_a_backlog_drains_at_what_the_server_has_left(rate):
    """(10 lambda - mu) T / (mu - lambda): Newell, Applications of Queueing Theory, chapter 2.

    It grows by what comes beyond the service rate, and drains by what the service rate has
    beyond what comes. Some calls are there before, and a level of a few is what ends it: both
    are a few calls of the hundred and more that wait.
    """
    felt = [felt_s(rate, replication) for replication in range(24)]
    grown = (TIMES * rate - 1.0) * LENGTH_S
    level = 3.0
    fluid = grown / (1.0 - rate)
    half_width = 3.0 * np.std(felt, ddof=1) / len(felt) ** 0.5 + level / (1.0 - rate)
    assert half_width < 0.2 * fluid
    assert abs(np.mean(felt) - fluid) < half_width
