"""Schedulers against what is known of them in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from factorysim.sim.call import Call, Limits
from factorysim.sim.clock import ARRIVAL, Clock
from factorysim.sim.schedulers import scheduler_kind
from tests.unit.sim.builders import MS, UnitLaw

PLACES, LONGEST, BATCHES = 8, 40, 400


def makespan_ms(limits: Limits, outputs: list[int]) -> float:
    """Serve calls that are all there from the start; a prompt is one token."""
    clock = Clock()
    done: list[Call] = []
    law = UnitLaw(token_fs=0)
    replica = scheduler_kind(limits)(clock, 0, law, limits, done.append)
    for number, output in enumerate(outputs):
        clock.at(0, ARRIVAL, replica.submit, Call(number, number, 1, output))
    clock.run_until(10**9 * MS)
    assert len(done) == len(outputs)
    return max(call.last_token_fs or 0 for call in done) / MS


def test_a_static_batch_lasts_as_long_as_its_longest():
    """Batches of B outputs, uniform over 1..m, need E[max] - 1 decode steps each.

    E[max] = sum over k = 0..m-1 of 1 - (k/m)^B: order statistics, e.g. David and Nagaraja,
    "Order Statistics", 2003, section 2.1. Continuous batching needs the mean: the loss of
    request-level scheduling is E[max] / E[mean] (Yu et al., "Orca", OSDI 2022, section 3).
    """
    rng = np.random.default_rng(7)
    outputs = rng.integers(1, LONGEST + 1, PLACES * BATCHES)
    limits = Limits(16, 10_000, 10**6, PLACES, "static")
    per_batch = makespan_ms(limits, outputs.tolist()) / BATCHES
    longest = np.arange(LONGEST)
    mean_of_most = float((1 - (longest / LONGEST) ** PLACES).sum())
    half_width = 3 * outputs.reshape(BATCHES, PLACES).max(axis=1).std(ddof=1) / BATCHES**0.5
    assert abs(per_batch - (mean_of_most - 1)) < half_width
    assert half_width < 0.05 * mean_of_most  # else the test could not fail

    orca = makespan_ms(limits._replace(scheduler="orca"), outputs.tolist()) / BATCHES
    slower = per_batch / orca
    # There a place is busy all the time but in the last calls, and as prompts are free, but
    # beside decodes, a call of n tokens takes n steps.
    assert slower == pytest.approx((mean_of_most - 1) / outputs.mean(), rel=0.02)
    assert slower > 1.6


def test_static_loses_nothing_where_all_outputs_are_as_long():
    limits = Limits(16, 10_000, 10**6, PLACES, "static")
    outputs = [LONGEST] * (PLACES * 20)
    took = [
        makespan_ms(limits._replace(scheduler=scheduler), outputs)
        for scheduler in ("static", "orca")
    ]
    assert took[0] == pytest.approx(20 * (LONGEST - 1), rel=1e-9)
    assert took[1] == pytest.approx(took[0], rel=1e-9)
