"""Intervals of the program cover the truth as often as they say.

500 experiments of five replications each, simulated, windowed and summarised with
the parts that `simulate` uses: an interval of 95 % must hold the true mean sojourn
in 92-98 % of them. The share has a standard error of 1 %, and means of some 300
correlated sojourns are a little skewed.
"""

import numpy as np
import pytest

from factorysim import theory
from factorysim.metrics.inputs import Window
from factorysim.metrics.overload import Overload
from factorysim.metrics.quantiles import distribution
from factorysim.metrics.replication import Replication
from factorysim.metrics.slo import inside
from factorysim.metrics.summary import summarise
from factorysim.records import CallRow
from factorysim.run.prepare import build_demands, prepare
from factorysim.sim.factory import run_replication
from tests.unit.run.builders import mm1

EXPERIMENTS, REPLICATIONS = 500, 5
WINDOW = Window(60.0, 660.0)
HORIZON_S = 700.0
STEADY = Overload("steady", 0.0, 1.0, 0.5)


class Sojourns:
    """Keeps when calls came, and when their one token was there."""

    def __init__(self):
        self.times = []

    def rows(self, table, rows):
        if table == "calls":
            self.times += [(row.arrived_s, row.first_token_s) for row in map(CallRow._make, rows)]


def replicate(prepared, number):
    sink = Sojourns()
    run_replication(
        prepared.scenario,
        prepared.plan,
        build_demands(prepared.scenario, number),
        replication=number,
        horizon_s=HORIZON_S,
        arrivals_end_s=HORIZON_S,
        sink=sink,
    )
    came, there = np.array(sink.times, float).T
    measured = inside(WINDOW, came)
    sojourns = (there - came)[measured]
    flying = int(np.isnan(sojourns).sum())
    values = distribution("ttft_s", sojourns[~np.isnan(sojourns)], flying)
    return Replication(values, [], [], 0.0, WINDOW.length_s)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("servers", "rate", "truth"),
    [(1, 0.5, theory.mm1_sojourn(0.5, 1.0)), (3, 1.8, theory.mmc_sojourn(1.8, 1.0, 3))],
)
def test_intervals_cover_the_mean_sojourn_as_often_as_they_say(servers, rate, truth):
    prepared = prepare(mm1(rate=f"{rate} /s", servers=servers))
    covered = narrow = 0
    for first in range(0, EXPERIMENTS * REPLICATIONS, REPLICATIONS):
        found = [replicate(prepared, first + i) for i in range(REPLICATIONS)]
        line = summarise(found, STEADY, 0)["ttft_s.mean"]
        covered += line.ci_low <= truth <= line.ci_high
        narrow += line.ci_low <= 1.3 * truth <= line.ci_high
    assert 0.92 * EXPERIMENTS <= covered <= 0.98 * EXPERIMENTS
    assert narrow < 0.5 * EXPERIMENTS  # else the intervals would be too wide to fail
