"""Logs of calls: told by their header, replayed as they came, compared as distributions."""

import csv
import json

import numpy as np
import pytest
from scipy.stats import ks_2samp

import factorysim as fs
from factorysim.catalog import load_catalog
from factorysim.errors import SpecError
from factorysim.study.check import as_json, check
from factorysim.study.measured.compare import compare_rows, read_experiments
from factorysim.study.measured.experiment import observe
from factorysim.study.measured.requests import NEEDED, is_log, read_logs

TOLD = {
    "gpu": "H100-SXM-80GB", "model": "Llama-3.1-8B-Instruct", "parallel": "TP1", "engine": "vLLM",
    "precision": "bf16", "max_sequences": "32", "token_budget": "2048", "kv_tokens": "32000",
    "prefix_caching": "off",
}  # fmt: skip
GOOD = {"input_toks": "500", "output_toks": "20", "queued_s": "0", "ttft_s": "0.05", "e2e_s": "0.2"}
METRICS = [
    *(f"{name}_{one}_s" for name in ("ttft", "e2e") for one in ("mean", "p50", "p90", "p99")),
    *("tpot_mean_s", "tpot_p50_s", "ttft_ks", "e2e_ks"),
]


@pytest.fixture
def log(tmp_path):
    """Write rows, each over a good one, with the conditions of all."""

    def write(*rows, name="log.csv", drop=(), **told):
        path = tmp_path / name
        full = [
            TOLD | {"request_id": str(number)} | GOOD | told | row
            for number, row in enumerate(rows, 1)
        ]
        columns = [column for column in full[0] if column not in drop]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(full)
        return path

    return write


def read(path):
    return read_experiments(path, load_catalog())


def test_a_log_is_told_by_its_header(log, tmp_path):
    assert is_log(log({}))
    table = tmp_path / "table.csv"
    table.write_text("id,model,hardware,scenario,metric,value,ttft_s\n")
    assert not is_log(table)
    assert not is_log(tmp_path / "none.csv")


@pytest.mark.parametrize("column", NEEDED)
def test_a_column_that_lacks_is_told(log, column):
    with pytest.raises(SpecError) as told:
        read(log({}, drop=(column,)))
    assert f"log.csv:1: {column}: found no such column" in str(told.value)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"ttft_s": ""}, "it has no ttft_s"),
        ({"request_id": ""}, "it has no request_id"),
        ({"queued_s": "-1"}, "its queued_s is '-1', expected 0 or more"),
        ({"ttft_s": "nan"}, "its ttft_s is 'nan', no number"),
        ({"e2e_s": "inf"}, "its e2e_s is 'inf', no number"),
        ({"e2e_s": "soon"}, "its e2e_s is 'soon', no number"),
        ({"ttft_s": "0"}, "its ttft_s is '0', expected more than 0"),
        ({"input_toks": "12.5"}, "its input_toks is '12.5', expected a whole number"),
        ({"input_toks": "1e300"}, "expected a whole number, more than 0, 1e+08 at most"),
        ({"output_toks": "0"}, "its output_toks is '0', expected a whole number, more than 0"),
        ({"request_id": "1"}, "its request_id is that of line 2"),
        ({"e2e_s": "0.04"}, "it ends after 0.04 s, before its first token at 0.05 s"),
    ],
)
def test_a_bad_row_is_set_aside_with_line_and_reason(log, row, why):
    [run], [aside] = read_logs(log({}, row, {}))
    assert aside.line == 3
    assert why in aside.reason
    assert [call.line for call in run.calls] == [2, 4]


def test_rows_of_other_conditions_are_another_run(log):
    path = log({}, {"kv_tokens": "64000"}, {"parallel": "TP2"}, {"request_id": "1"})
    experiments, unknown, skipped = read(path)
    assert [len(one.conditions.load.calls) for one in experiments] == [1, 1, 1]
    assert unknown == []
    assert [one.line for one in skipped] == [5]
    ids = [row.row.id for one in experiments for row in one.rows]
    run = "H100-SXM-80GB-Llama-3.1-8B-Instruct"
    assert ids[:12] == [f"{run}-TP1.{metric}" for metric in METRICS]
    assert ids[12] == f"{run}-TP1#2.ttft_mean_s"
    assert ids[24] == f"{run}-TP2.ttft_mean_s"


def test_conditions_are_as_told_or_assumed_and_said(log):
    [told], _, _ = read(log({}))
    conditions = told.conditions
    assert (conditions.engine, conditions.weights, conditions.kv) == ("vllm", "bf16", "bf16")
    assert (conditions.max_sequences, conditions.token_budget) == (32, 2048)
    assert conditions.load.kv_tokens == 32_000
    assert told.rows[0].assumed == ("no prompt begins like another: the log tells no content",)
    bare = ("engine", "precision", "max_sequences", "token_budget", "kv_tokens", "prefix_caching")
    [untold], _, _ = read(log({}, drop=bare))
    assert set(untold.rows[0].assumed) >= {
        "max_sequences 1024", "token_budget 8192", "memory_fraction 0.9", "prefix caching off",
        "precision bf16, as published",
    }  # fmt: skip
    assert any("generic overheads" in one for one in untold.rows[0].assumed)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"gpu": "H1000"}, 'device "H1000"'),
        ({"model": "NoSuch"}, 'LLM "NoSuch"'),
        ({"kv_tokens": "-3"}, "its kv_tokens is '-3', expected a whole number above 0"),
        ({"memory_fraction": "1.5", "kv_tokens": ""}, "a share above 0 and at most 1"),
        ({"max_sequences": "4096"}, "its token_budget 2048 is below 4096 sequences"),
        ({"prefix_caching": "maybe"}, "expected on or off"),
        ({"kv_tokens": "9000000"}, "GB of weights and 562500 KV blocks"),
        ({"kv_tokens": "480"}, "2 of 2 calls that no replica can hold"),
        ({"kv_tokens": "3"}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_have_been_is_told_for_every_row(log, told, why):
    found = check(log({}, {"input_toks": "600"}, **told))
    assert len(found.rows) == len(METRICS)
    assert all(row.got is None and why in row.reason for row in found.rows), found.rows[0].reason


def test_times_of_any_epoch_in_any_order_are_the_same_run(log):
    times = [0.0, 0.4, 0.1, 0.25]
    plain = log(*({"queued_s": f"{one}"} for one in sorted(times)))
    [first], _, _ = read(plain)
    late = log(*({"queued_s": f"{1.7e9 + one}"} for one in times), name="late.csv")
    [second], _, _ = read(late)
    at_s = [[call.at_ns / 1e9 for call in one.conditions.load.calls] for one in (first, second)]
    assert at_s[0] == sorted(times)
    assert at_s[1] == pytest.approx(at_s[0], abs=1e-6)


SCENARIO = {
    "schema": "factorysim.scenario/1",
    "question": "What would be logged?",
    "topology": {
        "schema": "factorysim.topology/1",
        "racks": {"gpu": {"rack": "h100_sxm", "count": 1}},
        "fabric": {"kind": "none"},
    },
    "llms": {"llm": {"llm": "llama_3_1_8b", "precision": {"kv": "bf16"}}},
    "deployments": {"serve": {"llm": "llm", "pool": "gpu", "replicas": 1}},
    "streams": {
        "calls": {
            "llm": "llm",
            "calls": {
                "prompt_tokens": {"kind": "lognormal", "mean": 900, "spread": 0.8},
                "output_tokens": {"kind": "lognormal", "mean": 200, "spread": 0.5},
            },
            "arrivals": {"process": "poisson", "rate": "12/s"},
            "limit": 250,
        }
    },
    "serving": {
        "engine": "vllm", "max_sequences": 32, "token_budget": 2048,
        "kv": {"blocks": 2000, "retain": "none"},
    },
    "run": {"kind": "terminating", "window": "60 s", "warmup": "0 s", "drain": "1 h",
            "replications": 1},
}  # fmt: skip


def test_what_a_scenario_did_is_replayed_to_the_last_digit(log, tmp_path):
    """A log of the simulator's own calls, queue and preemptions included, comes back as it was."""
    path = tmp_path / "made.yaml"
    path.write_text(json.dumps(SCENARIO))
    made = fs.simulate(fs.load(path), workers=1)
    calls = made.calls
    assert len(calls) == 250
    assert calls["preemptions"].sum() > 0
    rows = [
        {
            "input_toks": str(call.prompt_tokens),
            "output_toks": str(call.output_tokens),
            "queued_s": f"{call.arrived_s:.12f}",
            "ttft_s": f"{call.first_token_s - call.arrived_s:.12f}",
            "e2e_s": f"{call.finished_s - call.arrived_s:.12f}",
        }
        for call in calls.itertuples()
    ]
    found = check(log(*rows))
    assert [row.metric for row in found.rows] == METRICS
    for row in found.rows:
        assert row.error == pytest.approx(0.0, abs=1e-5 if "ks" not in row.metric else 0.05), row


def test_less_room_makes_calls_wait(log):
    rows = [{"queued_s": f"{0.01 * k}", "output_toks": "100"} for k in range(40)]
    waits = []
    for tokens in ("32000", "3200"):
        [one], _, _ = read(log(*rows, kv_tokens=tokens))
        waits.append(observe(one.conditions, load_catalog()).outcome.ttft_s.mean())
    assert waits[1] > 3 * waits[0]


def test_several_replicas_share_a_log(log):
    rows = [{"queued_s": "0", "output_toks": "100"} for _ in range(32)]
    [one], _, _ = read(log(*rows))
    [two], _, _ = read(log(*rows, parallel="TP1 x 2 replicas"))
    catalog = load_catalog()
    single, double = (observe(e.conditions, catalog).outcome for e in (one, two))
    assert len(double.ttft_s) == 32
    assert double.latency_s.mean() < 0.9 * single.latency_s.mean()


def test_statistics_and_distances_are_those_of_the_log(log):
    ttft = [0.02, 0.05, 0.9, 0.4, 0.03]
    rows = [{"queued_s": f"{k}", "ttft_s": f"{one}", "e2e_s": f"{one + 1.9}"}
            for k, one in enumerate(ttft)]  # fmt: skip
    [one], _, _ = read(log(*rows))
    compared = {row.metric: row for row in compare_rows(one, load_catalog())}
    assert compared["ttft_mean_s"].expected == pytest.approx(np.mean(ttft))
    assert compared["ttft_p90_s"].expected == pytest.approx(np.quantile(ttft, 0.9))
    assert compared["tpot_p50_s"].expected == pytest.approx(0.1)
    outcome = observe(one.conditions, load_catalog()).outcome
    assert compared["ttft_ks"].got == pytest.approx(ks_2samp(ttft, outcome.ttft_s).statistic)
    assert compared["ttft_ks"].error == compared["ttft_ks"].got > 0
    assert compared["ttft_ks"].expected == 0.0


def test_a_check_scores_times_and_distances_apart(log):
    found = check(log(*({"queued_s": f"{k}"} for k in range(3))), only="H100")
    scored = {(score.quantity, score.load): score.rows for score in found.scores}
    assert scored == {
        ("TTFT", "recorded"): 4, ("latency", "recorded"): 4, ("TPOT and ITL", "recorded"): 2,
        ("KS distance", "recorded"): 2,
    }  # fmt: skip
    assert {row["source"] for row in as_json(found)["rows"]} == {"log.csv"}


def test_calls_of_one_token_have_no_tpot(log):
    found = check(log({"output_toks": "1", "e2e_s": "0.05"}))
    assert [row.metric for row in found.rows] == [one for one in METRICS if "tpot" not in one]
    assert all(row.got is not None for row in found.rows)
