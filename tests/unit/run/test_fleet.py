"""Several LLMs and tenants on one pool, from the file to the metrics."""

import numpy as np
import pytest

from factorysim.catalog import load_catalog
from factorysim.report.terminal import verdict
from factorysim.run import simulate
from factorysim.run.prepare import prepare
from factorysim.spec.scenario import ScenarioSpec
from factorysim.study.capacity import capacity

FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}
LLMS = {"large": "mistral_large_3", "small": "mistral_small_4", "tiny": "llama_3_1_8b"}


def fleet(**run):
    """Three LLMs on one rack, one of them with a pool for long prompts."""
    serve = {"role": "serve", "pool": "gpus"}
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "Do three LLMs share a pool?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": {"gpus": {"rack": "vera_rubin_nvl72"}},
                "fabric": {"kind": "none"},
            },
            "llms": {name: {"llm": llm, "precision": FP8} for name, llm in LLMS.items()},
            "deployments": {
                "planner": {**serve, "llm": "large", "replicas": 2, "parallel": {"tp": 4}},
                "long": {**serve, "llm": "small", "replicas": 1, "prompts_above": 9000},
                "worker": {**serve, "llm": "small", "replicas": 2},
                "desk": {**serve, "llm": "tiny", "replicas": 1},
                "tools": {"role": "tools", "pool": "gpus.cpu"},
            },
            "streams": {
                "supply": {
                    "agent": "supply_chain",
                    "llm": "small",
                    "llm_by_step": {"planner": "large"},
                    "tenant": "logistics",
                    "arrivals": {"process": "poisson", "rate": "20 /min"},
                    "slo": {"ttft": "3 s", "attain": 0.5},
                },
                "service": {
                    "agent": "customer_service",
                    "llm": "tiny",
                    "tenant": "support",
                    "arrivals": {"process": "poisson", "rate": "1 /s"},
                    "slo": {"ttft": "1 s", "attain": 0.9},
                },
                "chat": {
                    "agent": "chat",
                    "llm": "tiny",
                    "llm_by_step": {"user": "small"},
                    "tenant": "support",
                    "arrivals": {"process": "poisson", "rate": "1 /s"},
                },
                "loose": {
                    "calls": {"prompt_tokens": {"mean": 100}, "output_tokens": {"mean": 9}},
                    "llm": "large",
                    "arrivals": {"process": "poisson", "rate": "1 /s"},
                },
            },
            "serving": {
                "router": {"policy": "score", "snapshot": "100 ms"},
                "admission": {
                    "token_bucket": {
                        "rate": "60000 tok/s",
                        "burst": 200000,
                        "limits": {"support": {"rate": "6000 tok/s", "burst": 30000}},
                    },
                    "queue_limit": {"calls": 64},
                    "retry": {"attempts": 3, "backoff": "500 ms"},
                },
            },
            "run": {
                "kind": "terminating",
                "window": "30 s",
                "drain": "10 s",
                "replications": 1,
                "seed": 7,
                **run,
            },
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulate(fleet(), out=tmp_path_factory.mktemp("runs") / "fleet", workers=1)


def test_deployments_share_the_pool_and_no_device():
    plan = prepare(fleet()).plan
    taken = [d for serve in plan.serve for one in serve.replicas for d in one.devices]
    assert len(taken) == len(set(taken)) == 2 * 4 + 1 + 2 + 1
    assert {serve.pool for serve in plan.serve} == {"gpus"}
    blocks = {serve.name: serve.kv_blocks for serve in plan.serve}
    assert blocks["long"] == blocks["worker"] != blocks["desk"]


def test_every_call_went_where_its_step_and_length_say(run):
    assert all(run.audit.values())
    calls = run.calls[run.calls.replica >= 0]
    served = calls.groupby("stream").deployment.agg(set)
    assert served["service"] == {"desk"}
    assert served["chat"] == {"worker", "desk"} or served["chat"] == {"worker"}
    assert served["loose"] == {"planner"}
    assert served["supply"] == {"planner", "worker", "long"}
    assert (calls.prompt_tokens[calls.deployment == "long"] > 9000).all()
    assert (calls.prompt_tokens[calls.deployment == "worker"] <= 9000).all()


def values(run, name, by):
    table = run.metrics
    return table[(table.name == name) & (table.by == by)].set_index("key").value


def test_metrics_by_llm_and_tenant_are_those_of_the_rows(run):
    calls = run.calls[run.calls.arrived_s < 30]
    by_llm = values(run, "tokens.prompt", "llm")
    assert set(by_llm.index) == set(LLMS)
    assert by_llm.sum() == calls.prompt_tokens.sum()
    tenants = {"logistics": ["supply"], "support": ["service", "chat"]}
    for tenant, streams in tenants.items():
        its = calls[calls.stream.isin(streams)]
        assert values(run, "tokens.output", "tenant")[tenant] == its.output_tokens.sum()
        assert values(run, "calls.arrived", "tenant")[tenant] == len(its)
        assert values(run, "calls.retries", "tenant")[tenant] == (its.attempts - 1).sum()
        turned_away = (its.outcome == "rejected").sum()
        assert values(run, "calls.rejected", "tenant")[tenant] == turned_away
        sessions = run.sessions[run.sessions.stream.isin(streams) & (run.sessions.arrived_s < 30)]
        failed = (sessions.outcome == "failed").sum()
        assert values(run, "sessions.failed", "tenant")[tenant] == failed
    assert values(run, "calls.retries", "tenant")["support"] > 0
    assert set(values(run, "tokens.output", "tenant").index) == set(tenants)


def test_attainment_of_a_tenant_is_that_of_its_streams(run):
    """Sessions with a verdict count alike; none of the planners' ends within the run."""
    rows = run.metrics[run.metrics.name == "slo.sessions"].set_index(["by", "key"])
    streams = [rows.loc["stream", name] for name in ("service", "chat")]
    support = rows.loc["tenant", "support"]
    assert support.n == sum(row.n for row in streams) > 20
    met = sum(row.value * row.n for row in streams)
    assert support.value == pytest.approx(met / support.n)
    assert rows.loc["tenant", "logistics"].n == rows.loc["stream", "supply"].n == 0
    whole = run.metrics[(run.metrics.name == "goodput.calls_per_s")]
    loose = (run.calls.stream == "loose") & (run.calls.outcome == "completed")
    loose &= run.calls.arrived_s < 30
    by_tenant = whole[whole.by == "tenant"].value.sum()
    assert by_tenant + loose.sum() / 30 == pytest.approx(whole[whole.by == "all"].value.iloc[0])


def test_time_turned_away_is_time_in_queue(run):
    late = run.calls[(run.calls.attempts > 1) & (run.calls.outcome == "completed")]
    assert len(late) > 3
    assert np.all(late.held_s > 0.2)
    door_s = load_catalog().facts["efficiency.generic.neutral.request_s"].value
    queued_s = late.queued_s - late.arrived_s - late.held_s
    assert np.all((queued_s >= 0) & (queued_s < 1.1 * door_s))


def test_the_report_tells_of_admission(run):
    text = " ".join(str(line) for line in verdict(run))
    turned_away = (run.calls.outcome == "rejected") & (run.calls.arrived_s < 30)
    assert (run.calls.replica[turned_away] == -1).all()
    assert run.summary["calls.turned_away"].value == turned_away.sum() > 0
    assert "Turned away: " in text
    assert "Came again: " in text
    assert "longer than the KV cache" not in text


@pytest.mark.slow
def test_capacity_scales_all_llms_of_a_fleet_together():
    found = capacity(fleet(window="20 s"), stream="supply", workers=1, tolerance=0.5, high=4.0)
    assert found.rate is not None or found.reason
