"""The power meter against integration step by step, written out in plain Python."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from factorysim.graph.plan import (
    FactoryPlan,
    HostPlan,
    PartnerPlan,
    RackPlan,
    ReplicaPlan,
    ServePlan,
    ToolPlan,
)
from factorysim.physics.power import PowerModel, Weights
from factorysim.physics.step import Activity, Piece
from factorysim.records import StepRow
from factorysim.sim.power import PowerMeter
from tests.unit.sim.builders import step_chunk

FS = 10**15
MS = 10**12


@dataclass(frozen=True)
class LineLaw:
    """Activity linear in every sum that a run has; a window where one is given."""

    compute_per_step: float = 1e-3
    memory_per_context: float = 1e-6
    memory_per_window: float = 0.0
    link_per_step: float = 0.0
    slope: int = 0
    window: int | None = None
    window_fs: int = 0
    draws: bool = False

    def base(self, decodes, prompt_tokens, prompts, emitting):
        return MS

    def piece(self, decodes, context):
        return Piece(0, self.slope, None)

    def chunk(self, tokens, prior):
        return 0

    def chunk_slope(self, tokens):
        return 0

    def prompt(self, u):
        return 0

    def activity(self, runs):
        none = np.zeros(len(runs.steps))
        compute = self.compute_per_step * runs.steps
        memory = (
            self.memory_per_context * (runs.context_tokens + runs.pair_tokens + runs.prior_tokens)
            + self.memory_per_window * runs.window_tokens
        )
        return Activity(none, none, none, compute, memory, self.link_per_step * runs.steps, none)


MODEL = PowerModel(100.0, 500.0, Weights(0.75, 0.5, 0.1, 0.15))


def plan(law=None, *, replicas=None, rack_of=(), hosts=(), racks=2, devices=1):
    if replicas is None:
        replicas = (ReplicaPlan((0,), 0, 0, 1e9), ReplicaPlan((1,), 1, 0, 1e9))
    serve = ServePlan("d", "m", "gpu", None, law or LineLaw(), MODEL, 100, replicas, devices)
    tools = (ToolPlan("tools", "cpu", "ps", 1.0, tuple(hosts)),) if hosts else ()
    return FactoryPlan(
        serve=(serve,),
        tools=tools,
        racks=tuple(RackPlan(f"r{i}", "gpu", 10.0 * (i + 1)) for i in range(racks)),
        links=None,
        routes=None,
        pue=1.1,
        facts=(),
        rack_of=rack_of,
    )


def row(start_s, steps, step_fs, slope_fs=0, *, replica=0, decodes=4, context=100, window=None):
    """A run of decodes that read `context` tokens in their first step."""
    triangle = steps * (steps - 1) // 2
    values = dict.fromkeys(StepRow._fields, 0) | {
        "replica": replica,
        "started_s": start_s,
        "finished_s": start_s + (steps * step_fs + triangle * slope_fs) / FS,
        "steps": steps,
        "step_fs": step_fs,
        "slope_fs": slope_fs,
        "decodes": decodes,
        "emitted_tokens": decodes * steps,
        "context_tokens": steps * context + decodes * triangle,
    }
    if window is not None:
        first, filling = window
        values["window_tokens"] = steps * first + filling * triangle
    return StepRow(**values)


def stepwise(run, *, context=100, window=None):
    """The same run as rows of one step each."""
    rows, start_fs = [], 0
    for k in range(run.steps):
        step_fs = run.step_fs + k * run.slope_fs
        inside = None if window is None else (window[0] + k * window[1], 0)
        rows.append(
            row(
                run.started_s + start_fs / FS,
                1,
                step_fs,
                replica=run.replica,
                decodes=run.decodes,
                context=context + k * run.decodes,
                window=inside,
            )
        )
        start_fs += step_fs
    return rows


def watts(meter, place="factory"):
    return [s.value for s in meter.samples() if s.place == place]


def metered(factory, rows, *, end_s=10.0, bins=40):
    meter = PowerMeter(factory, end_s, bins)
    meter.add_steps(0, step_chunk(rows))
    assert meter.audit().ok, meter.audit()
    return meter


def by_hand(rows, law, end_s, bins):
    """Joules above idle per bin of a device, by the law of the activity, step by step."""
    width = end_s / bins
    joules = [0.0] * bins
    for r in rows:
        length = r.step_fs / FS
        active = 0.75 * law.compute_per_step + 0.1 * law.link_per_step
        memory = law.memory_per_context * r.context_tokens + law.memory_per_window * r.window_tokens
        share = min(1.0, 0.15 + (active + 0.5 * memory) / length)
        for b in range(bins):
            inside = min(r.started_s + length, (b + 1) * width) - max(r.started_s, b * width)
            joules[b] += max(0.0, inside) * 400.0 * share
    return joules


def test_an_idle_factory_draws_idle_and_rest():
    host = HostPlan(9, 1, 4, 4, 1.0, 1e9, 0, 1e9, 50.0, 150.0)
    meter = metered(plan(hosts=[host]), [])
    assert watts(meter, "r0") == pytest.approx([100.0 + 10.0] * 40)
    assert watts(meter, "r1") == pytest.approx([100.0 + 50.0 + 20.0] * 40)
    first, second = meter.energy()
    assert (first.place, first.accelerator_j, first.accelerator_idle_j) == ("r0", 0.0, 1000.0)
    assert (second.host_j, second.host_idle_j, second.rest_j) == (0.0, 500.0, 200.0)


def test_a_step_draws_what_its_activity_says():
    """Share 0.15 + 0.75 * 0.1 + 0.5 * 0.01 = 0.23: power.py of physics."""
    meter = metered(plan(), [row(1.0, 100, 10 * MS, decodes=0)], end_s=4.0, bins=4)
    assert watts(meter, "r0") == pytest.approx([110.0, 110.0 + 400.0 * 0.23, 110.0, 110.0])
    line = meter.energy()[0]
    assert line.accelerator_j == pytest.approx(100.0 + 92.0)
    assert line.accelerator_idle_j == pytest.approx(300.0)


def test_a_clipped_step_draws_the_peak():
    meter = metered(plan(LineLaw(compute_per_step=1.0)), [row(0.0, 5, 200 * MS)], end_s=1.0, bins=1)
    assert watts(meter, "r0") == pytest.approx([510.0])


@pytest.mark.parametrize("slope_fs", [0, MS // 100, -MS // 100])
@pytest.mark.parametrize("memory", [1e-6, 1e-5, 5e-5, 1e-4])
def test_a_run_meters_like_its_steps(slope_fs, memory):
    """Bin by bin, with the clip beginning or ending inside the run."""
    law = LineLaw(memory_per_context=memory)
    run = row(0.33, 450, 9 * MS, slope_fs)
    one = metered(plan(law), [run])
    many = metered(plan(law), stepwise(run))
    assert watts(one) == pytest.approx(watts(many), rel=1e-9)
    hand = np.array(by_hand(stepwise(run), law, 10.0, 40)) / 0.25 + 110.0
    assert watts(one, "r0") == pytest.approx(hand.tolist(), rel=1e-9)


def test_clip_begins_and_ends_inside_these_runs():
    """Else the test above would not see it."""
    law, run = LineLaw(memory_per_context=1e-5), row(0.33, 450, 9 * MS)
    peak = watts(metered(plan(law), [run]), "r0")
    assert max(peak) == pytest.approx(510.0)
    assert any(111.0 < value < 505.0 for value in peak[4:12])


def test_windows_that_fill_are_told_by_the_growth_of_the_steps():
    law = LineLaw(memory_per_window=1e-5, slope=10**7, window=512, window_fs=3 * 10**8)
    slope_fs = 10**7 * 4 + 3 * 10**8 * 3
    run = row(0.1, 300, 9 * MS, slope_fs, window=(200, 3))
    one = metered(plan(law), [run])
    many = metered(plan(law), stepwise(run, window=(200, 3)))
    assert watts(one) == pytest.approx(watts(many), rel=1e-9)


def test_what_runs_past_the_horizon_is_cut_inside_a_step():
    meter = metered(plan(), [row(0.5, 1, 1000 * MS, decodes=0), row(3.0, 1, MS)], end_s=1.0, bins=1)
    share = 0.15 + 0.75 * 1e-3 + 0.5 * 1e-6 * 100
    assert meter.energy()[0].accelerator_j == pytest.approx(0.5 * (100.0 + 400.0 * share))


def test_a_replica_in_two_racks_is_split_by_devices():
    replicas = (ReplicaPlan((0, 1, 2, 3), 0, 0, 1e9),)
    factory = plan(replicas=replicas, rack_of=(0, 1, 1, 1), devices=4)
    meter = metered(factory, [row(0.0, 100, 10 * MS, decodes=0)], end_s=1.0, bins=1)
    assert watts(meter, "r0") == pytest.approx([10.0 + 100.0 + 92.0])
    assert watts(meter, "r1") == pytest.approx([20.0 + 300.0 + 3 * 92.0])
    assert meter.energy()[1].accelerator_j == pytest.approx(300.0 + 3 * 92.0)


def test_busy_hosts_draw_in_proportion_to_their_cores():
    host = HostPlan(9, 1, 4, 8, 1.0, 1e9, 0, 1e9, 50.0, 150.0)
    meter = PowerMeter(plan(hosts=[host, host]), 10.0, 5)
    meter.add_busy(0, [(0, 1.0, 5.0, 2.0), (1, 9.0, 12.0, 4.0)])
    assert meter.audit().ok
    base = 100.0 + 20.0 + 100.0
    assert watts(meter, "r1") == pytest.approx([base + w for w in (25.0, 50.0, 25.0, 0.0, 50.0)])
    assert meter.energy()[1].host_j == pytest.approx(50.0 * 4 + 100.0)


def test_the_audit_finds_a_missing_joule():
    meter = metered(plan(), [row(0.0, 100, 10 * MS)])
    meter._meter_j[0, 0] -= 1.0
    line = meter.audit()
    assert not line.ok
    assert line.expected - line.got == pytest.approx(1.0)
    assert "r0: -1" in line.detail


def split_plan(side, partners=(2, 3, 4)):
    """Device 0 in rack 0, partners 2 in rack 0 and 3, 4 in rack 1; they draw 40 to 240 W."""
    replicas = (ReplicaPlan((0,), 0, 0, 1e9, partners=partners),)
    factory = plan(replicas=replicas, rack_of=(0, 1, 0, 1, 1))
    other = PartnerPlan(
        "lpx",
        None,
        side,
        PowerModel(40.0, 240.0, Weights(0.75, 0.5, 0.1, 0.15)),
        len(partners),
        "fp8",
    )
    (serve,) = factory.serve
    return factory._replace(serve=(serve._replace(partner=other),))


def test_the_other_side_of_a_split_draws_by_its_own_activity():
    """Share 0.15 + 0.75 x 0.4 = 0.45 of 200 W beside 0.23 of 400 W, for a second of four."""
    side = LineLaw(compute_per_step=4e-3, memory_per_context=0.0)
    meter = metered(split_plan(side), [row(1.0, 100, 10 * MS, decodes=0)], end_s=4.0, bins=4)
    base = [110.0 + 40.0, 20.0 + 2 * 40.0]
    for rack, more, name in zip(base, [92.0 + 90.0, 2 * 90.0], ("r0", "r1"), strict=True):
        assert watts(meter, name) == pytest.approx([rack, rack + more, rack, rack])
    first, second = meter.energy()
    assert first.accelerator_j == pytest.approx(100 + 92 + 40 + 90)
    assert second.accelerator_j == pytest.approx(2 * (40 + 90))
    assert second.accelerator_idle_j == pytest.approx(2 * 40 * 3)
    assert (meter.step_s(), meter.partner_s()) == (pytest.approx(1.0), pytest.approx(3.0))


@pytest.mark.parametrize("memory", [1e-6, 1e-4])
def test_the_other_side_meters_like_its_steps(memory):
    factory = split_plan(LineLaw(memory_per_context=memory))
    run = row(0.33, 450, 9 * MS, MS // 100)
    one, many = metered(factory, [run]), metered(factory, stepwise(run))
    for name in ("r0", "r1"):
        assert watts(one, name) == pytest.approx(watts(many, name), rel=1e-9)


def test_the_audit_finds_a_missing_joule_of_the_other_side():
    meter = metered(split_plan(LineLaw()), [row(0.0, 100, 10 * MS)])
    meter._partner_j[0] -= 3.0
    line = meter.audit()
    assert not line.ok
    assert "r0: +1" in line.detail
    assert "r1: +2" in line.detail
