"""Joules of any runs of steps, against integration step by step and bin by bin."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.graph.plan import FactoryPlan, RackPlan, ReplicaPlan, ServePlan
from factorysim.physics.power import PowerModel, Weights
from factorysim.physics.step import Activity
from factorysim.records import StepRow
from factorysim.sim.power import PowerMeter
from tests.unit.sim.builders import step_chunk

FS = 10**15
MS = 10**12
END_S = 2.0

runs = st.lists(
    st.fixed_dictionaries(
        {
            "replica": st.integers(0, 2),
            "started_s": st.floats(0, 2.2),
            "steps": st.integers(1, 60),
            "step_fs": st.integers(MS // 10, 30 * MS),
            "growth": st.floats(-0.01, 0.3),
            "decodes": st.integers(0, 50),
            "context": st.integers(0, 5000),
            "tokens": st.integers(0, 40),
            "prior": st.integers(0, 300),
        }
    ),
    max_size=5,
)


def activity(steps):
    none = np.zeros(len(steps.steps))
    compute = 2e-4 * steps.steps + 3e-5 * steps.prompt_tokens + 1e-6 * steps.pair_tokens
    memory = 1e-4 * steps.steps + 2e-6 * steps.context_tokens + 1e-6 * steps.prior_tokens
    return Activity(none, none, none, compute, memory, 1e-5 * steps.steps, none)


def step_rows(run):
    """One row a step."""
    at_fs, rows = 0, []
    slope_fs = int(run["step_fs"] * run["growth"])
    for k in range(run["steps"]):
        step_fs = run["step_fs"] + k * slope_fs
        tokens, prior = run["tokens"], run["prior"] + k * run["tokens"]
        values = dict.fromkeys(StepRow._fields, 0) | {
            "replica": run["replica"],
            "started_s": run["started_s"] + at_fs / FS,
            "finished_s": run["started_s"] + (at_fs + step_fs) / FS,
            "steps": 1,
            "step_fs": step_fs,
            "decodes": run["decodes"],
            "prompts": int(tokens > 0),
            "prompt_tokens": tokens,
            "context_tokens": run["decodes"] and run["context"] + k * run["decodes"],
            "pair_tokens": tokens * prior + tokens * (tokens + 1) // 2,
            "prior_tokens": tokens and prior,
        }
        rows.append(StepRow(**values))
        at_fs += step_fs
    return rows


SUMS = ("steps", "prompt_tokens", "context_tokens", "pair_tokens", "prior_tokens")


def run_row(rows):
    """The same steps as one row."""
    slope_fs = rows[1].step_fs - rows[0].step_fs if len(rows) > 1 else 0
    sums = {name: sum(getattr(row, name) for row in rows) for name in SUMS}
    return rows[0]._replace(finished_s=rows[-1].finished_s, slope_fs=slope_fs, **sums)


def plan():
    law = SimpleNamespace(window=None, window_fs=0, activity=activity)
    replicas = (
        ReplicaPlan((0, 1), 0, 0, 1e9),
        ReplicaPlan((2, 3), 1, 0, 1e9),
        ReplicaPlan((4, 5), 0, 0, 1e9),
    )
    serve = ServePlan(
        "d",
        "m",
        "gpu",
        None,
        law,
        PowerModel(50.0, 250.0, Weights(0.75, 0.5, 0.1, 0.15)),
        1,
        replicas,
        2,
    )
    racks = (RackPlan("a", "gpu", 3.0), RackPlan("b", "gpu", 4.0))
    return FactoryPlan((serve,), (), racks, None, None, 1.0, (), rack_of=(0, 0, 1, 1, 0, 1))


def metered(rows, bins):
    meter = PowerMeter(plan(), END_S, bins)
    meter.add_steps(0, step_chunk(rows))
    assert meter.audit().ok, meter.audit()
    return meter


def by_hand(rows, bins):
    """Watts of the factory, one step and one bin at a time."""
    width = END_S / bins
    watts = np.full(bins, 6 * 50.0 + 7.0)
    for row in rows:
        length = row.step_fs / FS
        compute = 2e-4 + 3e-5 * row.prompt_tokens + 1e-6 * row.pair_tokens
        memory = 1e-4 + 2e-6 * row.context_tokens + 1e-6 * row.prior_tokens
        share = min(1.0, 0.15 + (0.75 * compute + 0.5 * memory + 0.1 * 1e-5) / length)
        for i in range(bins):
            inside = min(row.started_s + length, (i + 1) * width) - max(row.started_s, i * width)
            watts[i] += max(0.0, inside) / width * 2 * 200.0 * share
    return watts.tolist()


@settings(max_examples=80, deadline=None)
@given(runs, st.integers(1, 30))
def test_runs_meter_like_their_steps_and_like_arithmetic(drawn, bins):
    """Every bin, every rack, whatever is clipped and wherever the horizon cuts."""
    apart = [step_rows(run) for run in drawn if run["step_fs"] * (1 + 60 * run["growth"]) > 1]
    steps = [row for rows in apart for row in rows]
    one, many = metered([run_row(rows) for rows in apart], bins), metered(steps, bins)
    series = [sample.value for sample in one.samples()]
    assert series == pytest.approx([sample.value for sample in many.samples()], rel=1e-9)
    assert series[-bins:] == pytest.approx(by_hand(steps, bins), rel=1e-9)
    for line, other in zip(one.energy(), many.energy(), strict=True):
        assert line[1:] == pytest.approx(other[1:], rel=1e-9)
    assert sum(series[-bins:]) * END_S / bins == pytest.approx(
        sum(sum(line[1:]) for line in one.energy()), rel=1e-9
    )
