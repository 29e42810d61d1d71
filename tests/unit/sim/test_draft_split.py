"""Drafts on LPUs in the whole simulator: both clocks, joules of both pools, and leaks."""

import numpy as np
import pytest

from factorysim.catalog import load_catalog
from factorysim.run.activity import step_columns
from factorysim.run.prepare import layout_of, prepare
from factorysim.sim.power import PowerMeter
from factorysim.spec.scenario import ScenarioSpec
from tests.unit.sim.test_splits import replicate
from tests.unit.sim.test_splits import scenario as split_scenario

HORIZON_S = 3.0
FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}
DRAFTS = {
    "method": "draft_model",
    "draft_tokens": 4,
    "acceptance": 0.7,
    "draft": {"llm": "llama_3_1_8b", "precision": FP8},
}


def scenario(clock="run_length", **split):
    data = split_scenario(clock).model_dump(by_alias=True, exclude_unset=True)
    data["llms"] = {"chat": {"llm": "llama_3_1_70b", "precision": FP8}}
    data["deployments"] = {
        "chat": {
            "llm": "chat",
            "pool": "gpu",
            "parallel": {"tp": 8},
            "speculation": DRAFTS,
            "split": {"kind": "draft", "pool": "lpx", "sram": {"kv_tokens": 60_000}} | split,
        }
    }
    return ScenarioSpec.model_validate(data)


@pytest.fixture(scope="module")
def runs():
    return [replicate(scenario(clock), HORIZON_S) for clock in ("run_length", "stepwise")]


def test_runs_of_verifies_are_the_verifies(runs):
    """Bit for bit, on a link of the topology as well: latency alone is nobody else's."""
    (run, rows), (step, single) = runs
    assert run.steps == step.steps > 100
    assert len(rows.columns("steps")["steps"]) < len(single.columns("steps")["steps"])
    assert sum(rows.columns("steps")["accepted_tokens"].tolist()) > 50
    for name in ("first_token_s", "finished_s", "output_tokens"):
        one, other = rows.columns("calls")[name], single.columns("calls")[name]
        assert one.tolist() == pytest.approx(other.tolist(), rel=0, abs=0, nan_ok=True)


def test_both_clocks_meter_both_racks_alike(runs):
    (run, _), (step, _) = runs
    assert [line.place for line in run.energy] == ["gpu/0", "lpx/0", "fabric/0"]
    for one, other in zip(run.energy, step.energy, strict=True):
        assert one.accelerator_j == pytest.approx(other.accelerator_j, rel=1e-9)
    assert all(line.accelerator_j > 0 for line in run.energy[:2])
    assert all(line.ok for line in (*run.audit, *step.audit))
    names = [line.name for line in run.audit]
    assert "drafts of steps = drafts of calls" in names


def test_metrics_know_that_the_experts_are_where_drafts_are_verified():
    (station,) = prepare(scenario()).layout.stations
    assert station.partner.pool == "lpx"
    assert station.expert_pool == "gpu"


def test_a_step_by_hand():
    """One call decodes alone: two ways of 8 us, four drafts on LPUs, and a verify of 5 tokens."""
    plan = prepare(scenario(link_latency="8 us", link_bandwidth="100 GB/s")).plan
    law = plan.serve[0].law
    drafts = 4 * law.draft.base(1, 0, 0, 1)
    verify = law.verify.base(1, 4, 0, 5)
    sent = round(1e15 * 36 / 72e9)
    assert law.base(1, 0, 0, 1) == pytest.approx(verify + drafts + 16 * 10**9 + sent, abs=1)
    # A draft step: 9.1 GB over 24 LPUs of 150 TB/s and what hops and starts of blocks take.
    assert 9.08e9 / (24 * 150e12) < law.draft.base(1, 0, 0, 1) / 1e15 < 150e-6


@pytest.mark.parametrize("microseconds", [10, 100])
def test_the_latency_of_the_link_is_in_every_verify(microseconds):
    """5 % more of it are 10 % of a way for each step that decodes, all else equal."""
    first_fs = []
    for more in (1.0, 1.05):
        _, sink = replicate(scenario(link_latency=f"{microseconds * more:.6g} us"))
        table = sink.columns("steps")
        decoding = [n == 1 for n in table["decodes"].tolist()].index(True)
        first_fs.append(int(table["step_fs"][decoding]))
    assert first_fs[1] - first_fs[0] == 10**9 * microseconds // 10


def test_a_slower_draft_llm_slows_every_step():
    """Half the chips a stage: the draft's layers take longer to read, and its verifies to come.

    Whole runs differ by more than that, since answers meet other answers then.
    """
    laws = [prepare(scenario(parallel={"tp": tp})).plan.serve[0].law for tp in (8, 4, 2)]
    for decodes in (1, 4, 16):
        steps = [law.base(decodes, 0, 0, decodes) for law in laws]
        slopes = [law.piece(decodes, 2000 * decodes).slope_fs for law in laws]
        assert steps == sorted(steps)
        assert steps[2] > 1.005 * steps[0]
        assert slopes == sorted(slopes)


def test_rows_of_steps_have_the_joules_that_the_meter_has(runs):
    """Two accounts: closed forms by row in `steps.parquet`, and the meter's parts by rack."""
    (closing, sink), _ = runs
    plan = prepare(scenario()).plan
    table = sink.columns("steps")
    inside = np.minimum(HORIZON_S, table["finished_s"]) - table["started_s"]
    share = inside / (table["finished_s"] - table["started_s"])
    derived = step_columns(plan).compute(table)
    idle_w = plan.serve[0].partner.power.idle_w * plan.serve[0].partner.devices_per_replica
    (lpx,) = [line for line in closing.energy if line.place == "lpx/0"]
    told = float((derived["partner_active_j"] * share).sum()) + idle_w * float(inside.sum())
    # A run of steps that goes on beyond the horizon counts by its share here.
    assert told == pytest.approx(lpx.accelerator_j, rel=1e-6)
    assert derived["partner_flops"].sum() > 0


def test_the_other_pool_is_told_of():
    spec = scenario()
    prepared = prepare(spec)
    layout = layout_of(spec, load_catalog(), prepared.plan)
    (station,) = layout.serving()
    assert station.partner.pool == "lpx"
    assert station.partner.peak_flops == 1.2e15
    assert station.decode_tokens == 5


def test_the_audit_finds_a_side_that_was_not_metered(monkeypatch):
    plain = PowerMeter.add_steps

    def one_side(self, deployment, rows):
        plan = self._plan
        bare = tuple(serve._replace(partner=None) for serve in plan.serve)
        self._plan = plan._replace(serve=bare)
        plain(self, deployment, rows)
        self._plan = plan

    monkeypatch.setattr(PowerMeter, "add_steps", one_side)
    closing, _ = replicate(scenario())
    broken = [line.name for line in closing.audit if not line.ok]
    assert broken == ["metered device-seconds of splits = busy"]


def test_the_audit_finds_joules_of_drafts_that_leak(monkeypatch):
    plain = PowerMeter.add_steps

    def leaky(self, deployment, rows):
        plain(self, deployment, rows)
        self._partner_j *= 0.999

    monkeypatch.setattr(PowerMeter, "add_steps", leaky)
    closing, _ = replicate(scenario())
    assert [line.name for line in closing.audit if not line.ok] == ["energy of parts = meter"]


def test_blocks_are_held_for_the_smaller_side(runs):
    """60,000 tokens on three stages: what the LPUs hold, not what the GPUs could."""
    (run, _), _ = runs
    plan = prepare(scenario()).plan
    assert 60_000 <= 16 * plan.serve[0].kv_blocks < 120_000
    assert all(line.ok for line in run.audit)
