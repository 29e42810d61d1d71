"""A split replica in the whole simulator: both clocks, both pools, and what the audit finds."""

import pytest

from factorysim.run.prepare import build_demands, prepare
from factorysim.sim.factory import run_replication
from factorysim.sim.power import PowerMeter
from factorysim.spec.scenario import ScenarioSpec
from factorysim.store import MemorySink

FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}


def scenario(clock="run_length", **split):
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "Do both sides agree?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": {"gpu": {"rack": "hgx_h200"}, "lpx": {"rack": "groq3_lpx"}},
                "fabric": {"kind": "leaf_spine", "leaf": "spectrum6", "spine": "spectrum6"},
            },
            "llms": {"chat": {"llm": "gpt_oss_120b", "precision": FP8}},
            "deployments": {
                "chat": {
                    "llm": "chat",
                    "pool": "gpu",
                    "parallel": {"tp": 8},
                    "split": {"kind": "afd", "pool": "lpx"} | split,
                }
            },
            "streams": {
                "all": {
                    "llm": "chat",
                    "calls": {
                        "prompt_tokens": {"kind": "uniform", "mean": 600, "spread": 0.9},
                        "output_tokens": {"kind": "uniform", "mean": 60, "spread": 0.9},
                    },
                    "arrivals": {"process": "poisson", "rate": "25/s"},
                }
            },
            "serving": {"max_sequences": 32},
            "run": {"clock": clock, "bins": 20},
        }
    )


def replicate(spec, horizon_s=0.6):
    prepared = prepare(spec)
    sink = MemorySink()
    closing = run_replication(
        spec,
        prepared.plan,
        build_demands(spec, 0),
        replication=0,
        horizon_s=horizon_s,
        arrivals_end_s=horizon_s,
        sink=sink,
    )
    return closing, sink


@pytest.fixture(scope="module")
def runs():
    # A link of the user's own is not on the fabric, whose share is outside the promise.
    given = {"link_bandwidth": "100 GB/s", "link_latency": "8 us"}
    return [replicate(scenario(clock, **given)) for clock in ("run_length", "stepwise")]


def test_runs_of_steps_are_the_steps_of_a_split(runs):
    (run, rows), (step, single) = runs
    assert run.steps == step.steps > 50
    assert len(rows.columns("steps")["steps"]) < len(single.columns("steps")["steps"])
    for name in ("first_token_s", "finished_s", "output_tokens"):
        one, other = rows.columns("calls")[name], single.columns("calls")[name]
        assert one.tolist() == pytest.approx(other.tolist(), rel=0, abs=0, nan_ok=True)


def test_both_clocks_meter_both_racks_alike(runs):
    (run, _), (step, _) = runs
    assert [line.place for line in run.energy] == ["gpu/0", "lpx/0", "fabric/0"]
    for one, other in zip(run.energy, step.energy, strict=True):
        assert one.accelerator_j == pytest.approx(other.accelerator_j, rel=1e-9)
    gpu, lpx, _ = run.energy
    assert gpu.accelerator_j > 0 < lpx.accelerator_j
    assert all(line.ok for line in (*run.audit, *step.audit))


def test_the_exchange_crosses_the_fabric():
    closing, sink = replicate(scenario())
    assert all(line.ok for line in closing.audit)
    prepared = prepare(scenario())
    (serve,) = prepared.plan.serve
    assert serve.law.link_token_bytes == 36 * 3 * 2880
    assert len(serve.replicas[0].ways) == 64
    assert sum(sink.columns("steps")["steps"].tolist()) == closing.steps


def test_metrics_know_which_pool_holds_the_experts():
    (station,) = prepare(scenario()).layout.stations
    assert (station.pool, station.expert_pool) == ("gpu", "lpx")


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


def test_kv_comes_into_lpus_by_trays():
    """Bytes that cross are those that all chips lack, in one flow a tray."""
    spec = scenario().model_dump(by_alias=True, exclude_unset=True)
    spec["deployments"] = {
        "pre": {"llm": "chat", "role": "prefill", "pool": "gpu", "parallel": {"tp": 8}},
        "dec": {
            "llm": "chat",
            "role": "decode",
            "pool": "lpx",
            "parallel": {"tp": 4},
            "sram": {"kv_tokens": 40_000},
        },
    }
    spec["llms"]["chat"]["llm"] = "gpt_oss_20b"
    spec = ScenarioSpec.model_validate(spec)
    closing, sink = replicate(spec)
    assert all(line.ok for line in closing.audit)
    decode = next(one for one in prepare(spec).plan.serve if one.role == "decode")
    (replica,) = decode.replicas[:1]
    assert sum(devices for _, devices in replica.receivers) == len(replica.devices)
    assert len(replica.receivers) < len(replica.devices)
    moved = sink.columns("transfers")
    kv = moved["size_bytes"][moved["kind"].equal("kv")]
    assert len(kv) >= len(replica.receivers)
    assert kv.sum() == sink.columns("handoffs")["moved_bytes"].sum()
