"""Capacity of an M/M/1 queue against its formula.

The sojourn of an M/M/1 queue is exponential at rate mu - lambda (Kleinrock, Queueing
Systems I, section 3.2). So a share `attain` has its token within t up to exactly
lambda = mu + ln(1 - attain) / t. The tolerance is three standard errors between
replications and half the bisection's tolerance, and the test says how small that is.
"""

from math import log

import numpy as np
import pytest

from factorysim import theory
from factorysim.spec.stream import SloSpec
from factorysim.study.capacity import capacity
from tests.unit.run.builders import mm1

MU, LIMIT_S, TOLERANCE = 1.0, 4.0, 0.02


@pytest.mark.slow
@pytest.mark.parametrize("attain", [0.5, 0.8])
def test_the_capacity_of_one_server_is_that_of_the_formula(attain):
    exact = MU + log(1 - attain) / LIMIT_S
    assert theory.mm1_sojourn_quantile(exact, 1 / MU, attain) == pytest.approx(LIMIT_S)
    base = mm1(rate="0.5 /s", window="9000 s", warmup="200 s", replications=8)
    stream = base.streams["calls"].model_copy(update={"slo": SloSpec(ttft="4 s", attain=attain)})
    found = capacity(base.model_copy(update={"streams": {"calls": stream}}), tolerance=TOLERANCE)
    rates = [one.rate for one in found.critical]
    error = 3 * np.std(rates, ddof=1) / len(rates) ** 0.5 + TOLERANCE / 2 * exact
    assert error < 0.07 * exact  # else the test could not fail
    assert found.rate == pytest.approx(exact, abs=error)
    assert found.binds.threshold == "ttft"
    # Load of a single server: the saturation just below the capacity.
    assert found.saturation == pytest.approx(found.rate / MU, abs=0.05)
