"""Files of vLLM's benchmark and of AIPerf become rows of measurements; the rest is told."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.errors import SpecError
from factorysim.study.measured.foreign import read_foreign

VLLM = {
    "date": "20260612-101530", "endpoint_type": "openai", "backend": "vllm", "label": None,
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "tokenizer_id": "meta-llama/Llama-3.1-8B-Instruct", "num_prompts": 200,
    "request_rate": "inf", "burstiness": 1.0, "max_concurrency": 16, "duration": 50.0,
    "completed": 200, "failed": 0, "total_input_tokens": 204_800, "total_output_tokens": 25_600,
    "request_throughput": 4.0, "request_goodput": None, "output_throughput": 512.0,
    "total_token_throughput": 4608.0, "mean_ttft_ms": 210.5, "median_ttft_ms": 180.25,
    "std_ttft_ms": 90.0, "p99_ttft_ms": 700.0, "mean_tpot_ms": 28.0, "median_tpot_ms": 27.5,
    "std_tpot_ms": 1.0, "p99_tpot_ms": 33.0, "mean_itl_ms": 28.1, "median_itl_ms": 25.0,
    "std_itl_ms": 12.0, "p99_itl_ms": 95.0, "mean_e2el_ms": 3766.0, "p99_e2el_ms": 4400.0,
}  # fmt: skip


def times(average, unit="ms"):
    return {
        "unit": unit, "avg": average, "p1": 1.0, "p50": average * 0.9, "p90": average * 1.5,
        "p95": average * 1.8, "p99": average * 2, "min": 0.5, "max": average * 3, "std": 1.0,
    }  # fmt: skip


AIPERF = {
    "schema_version": "1.0",
    "time_to_first_token": times(120.0),
    "inter_token_latency": times(11.0),
    "inter_chunk_latency": times(11.5),
    "request_latency": times(1.5, "sec"),
    "request_throughput": {"unit": "requests/sec", "avg": 6.6},
    "output_token_throughput": {"unit": "tokens/sec", "avg": 845.0},
    "output_token_throughput_per_user": times(90.0, "tokens/sec/user"),
    "request_count": {"unit": "requests", "avg": 100.0},
    "input_sequence_length": times(1000.2, "tokens"),
    "output_sequence_length": times(128.0, "tokens"),
    "input_config": {
        "endpoint": {"model_names": ["Qwen/Qwen3-32B"], "type": "chat"},
        "loadgen": {"concurrency": 10, "request_count": 100},
    },
    "start_time": "2026-06-12T10:15:30.1",
}
CSV = """\
Metric,avg,min,max,p1,p50,p90,p95,p99,std
Inter Token Latency (ms),11.0,9,14,9,10.9,12,13,14,1
Input Sequence Length (tokens),1000.2,990,1010,990,1000,1005,1007,1009,3
Output Sequence Length (tokens),128.0,128,128,128,128,128,128,128,0
Time to First Token (ms),"1,120.0",100,2000,101,900,1500,1700,1900,33

Metric,Value
Output Token Throughput (tokens/sec),845.0
Request Count,100
"""
WHERE = {"hardware": "H100-SXM-80GB", "n_gpus": 2, "parallelism": "TP2", "precision": "bf16"}


def read(tmp_path, content, name="bench.json", **more):
    path = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return read_foreign(path, **WHERE | more)


def values(rows):
    return {row.metric: row.value for row in rows}


def test_a_vllm_result_becomes_rows(tmp_path):
    rows, skipped = read(tmp_path, VLLM)
    assert skipped == []
    assert values(rows) == {
        "output_tokens_per_s_total": 512.0, "total_tokens_per_s_total": 4608.0,
        "ttft_ms": 210.5, "ttft_median_ms": 180.25, "ttft_p99_ms": 700.0,
        "tpot_ms": 28.0, "tpot_median_ms": 27.5, "tpot_p99_ms": 33.0,
        "itl_ms": 28.1, "itl_median_ms": 25.0, "itl_p99_ms": 95.0,
        "e2e_ms": 3766.0, "e2e_p99_ms": 4400.0,
    }  # fmt: skip
    row = rows[0]
    assert (row.model, row.date, row.engine) == (
        "meta-llama/Llama-3.1-8B-Instruct", "2026-06-12", "vllm",
    )  # fmt: skip
    assert (row.isl, row.osl, row.scenario, row.concurrency_or_batch) == (
        "1024", "128", "server", "16",
    )  # fmt: skip
    assert (row.hardware, row.n_gpus, row.parallelism) == ("H100-SXM-80GB", "2", "TP2")
    assert len({one.id for one in rows}) == len(rows)
    assert not any("median" in one.notes for one in rows)  # it would turn means into medians


def test_all_at_once_is_an_offline_run(tmp_path):
    rows, _ = read(tmp_path, VLLM | {"max_concurrency": None})
    assert (rows[0].scenario, rows[0].concurrency_or_batch) == ("offline", "max")
    assert rows[0].notes == "200 requests for 1024/128"


def test_at_a_rate_throughput_is_no_measurement(tmp_path):
    rows, skipped = read(tmp_path, VLLM | {"max_concurrency": None, "request_rate": 3.5})
    assert (rows[0].scenario, rows[0].concurrency_or_batch) == ("server", "3.5 QPS")
    assert "3.5 samples/s" in rows[0].notes
    assert "output_tokens_per_s_total" not in values(rows)
    assert {one.id for one in skipped} == {
        "bench-output_tokens_per_s_total", "bench-total_tokens_per_s_total",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"completed": 0, "num_prompts": 0}, "no call was completed"),
        ({"burstiness": 0.5, "request_rate": 2.0}, "burstiness 0.5"),
        ({"request_rate": 2.0}, "a rate and a bound"),
        ({"request_rate": "fast"}, "request_rate"),
        ({"max_concurrency": 1.5}, "concurrency is 1.5"),
        ({"model_id": None}, "no model"),
        ({"total_input_tokens": None}, "tokens of prompts"),
        ({"total_output_tokens": -4}, "tokens of prompts"),
    ],
)
def test_runs_that_cannot_be_compared_are_set_aside(change, reason, tmp_path):
    rows, (skipped,) = read(tmp_path, VLLM | change)
    assert rows == []
    assert reason in skipped.reason


@pytest.mark.parametrize("value", [0, -1.0, "x", None, [1], True, 10**400])
def test_impossible_numbers_are_set_aside_one_by_one(value, tmp_path):
    rows, (skipped,) = read(tmp_path, VLLM | {"mean_ttft_ms": value})
    assert skipped.id == "bench-ttft_ms"
    assert "ttft_ms" not in values(rows)
    assert len(rows) == 12


def test_results_that_were_appended_are_read_line_by_line(tmp_path):
    lines = [json.dumps(VLLM | {"max_concurrency": n}) for n in (1, 8, 64)]
    rows, _ = read(tmp_path, "\n".join(lines) + "\n")
    assert {row.concurrency_or_batch for row in rows} == {"1", "8", "64"}
    assert {row.line for row in rows} == {1, 2, 3}
    assert len({row.id for row in rows}) == len(rows) == 39


def test_detailed_lengths_and_failures_are_noted(tmp_path):
    more = {"input_lens": [100, 300], "output_lens": [5, 5], "failed": 3}
    rows, _ = read(tmp_path, VLLM | more)
    assert "prompts of 100 to 300 tokens" in rows[0].notes
    assert "3 calls failed" in rows[0].notes


def test_a_model_by_its_folder(tmp_path):
    rows, _ = read(tmp_path, VLLM | {"model_id": "/models/Qwen3-8B/"})
    assert rows[0].model == "Qwen3-8B"
    rows, _ = read(tmp_path, VLLM, model="qwen3_8b", engine="vLLM 0.11")
    assert (rows[0].model, rows[0].engine) == ("qwen3_8b", "vLLM 0.11")


def test_an_aiperf_profile_becomes_rows(tmp_path):
    rows, skipped = read(tmp_path, AIPERF, engine="vllm")
    assert skipped == []
    found = values(rows)
    assert found["ttft_ms"] == 120.0
    assert found["ttft_median_ms"] == pytest.approx(108.0)
    assert found["ttft_p99_ms"] == 240.0
    assert found["tpot_ms"] == 11.0  # its inter-token latency is one value a request
    assert found["itl_ms"] == 11.5
    assert found["e2e_ms"] == 1500.0  # it was in seconds
    assert found["output_tokens_per_s_total"] == 845.0
    row = rows[0]
    assert (row.model, row.isl, row.osl, row.date) == (
        "Qwen/Qwen3-32B",
        "1000",
        "128",
        "2026-06-12",
    )
    assert (row.scenario, row.concurrency_or_batch) == ("server", "10")


def test_earlier_aiperf_has_its_metrics_under_records(tmp_path):
    inner = {key: value for key, value in AIPERF.items() if key != "input_config"}
    old = {"records": inner, "input_config": AIPERF["input_config"]}
    assert values(read(tmp_path, old)[0]) == values(read(tmp_path, AIPERF)[0])


def phase(**more):
    warm = {"name": "warmup", "type": "concurrency", "concurrency": 1, "exclude_from_results": True}
    return {
        "models": {"strategy": "round_robin", "items": [{"name": "Qwen/Qwen3-32B", "weight": 1.0}]},
        "phases": [warm, {"name": "profiling", "exclude_from_results": False, **more}],
    }  # fmt: skip


def test_later_aiperf_has_models_and_phases(tmp_path):
    """AIPerf 0.13 writes its configuration so (`JsonExportData.input_config`)."""
    closed = AIPERF | {"input_config": phase(type="concurrency", concurrency=10)}
    assert read(tmp_path, closed) == read(tmp_path, AIPERF)
    paced = AIPERF | {"input_config": phase(type="poisson", rate=6.6)}
    rows, skipped = read(tmp_path, paced)
    assert (rows[0].scenario, rows[0].concurrency_or_batch) == ("server", "6.6 QPS")
    assert [one.id for one in skipped] == ["bench-output_tokens_per_s_total"]
    for more, reason in (
        ({"type": "gamma", "rate": 3.0}, "'gamma'"),
        ({"type": "poisson", "rate": 3.0, "concurrency": 8}, "a rate and a bound"),
    ):
        rows, (one,) = read(tmp_path, AIPERF | {"input_config": phase(**more)})
        assert rows == []
        assert reason in one.reason
    config = phase(type="concurrency", concurrency=10)
    twice = AIPERF | {"input_config": config | {"phases": config["phases"][1:] * 2}}
    assert "2 phases" in read(tmp_path, twice)[1][0].reason
    cut = closed | {"was_cancelled": True}
    assert "come to its end" in read(tmp_path, cut)[1][0].reason


@pytest.mark.parametrize(
    ("loadgen", "reason"),
    [
        ({}, "neither a concurrency nor a rate"),
        ({"request_rate": 3.0, "request_rate_mode": "constant"}, "only Poisson"),
        ({"request_rate": 3.0, "concurrency": 8}, "a rate and a bound"),
    ],
)
def test_loads_of_aiperf_that_cannot_be_replayed(loadgen, reason, tmp_path):
    config = AIPERF["input_config"] | {"loadgen": loadgen}
    rows, (skipped,) = read(tmp_path, AIPERF | {"input_config": config})
    assert rows == []
    assert reason in skipped.reason


def test_an_unknown_unit_is_set_aside(tmp_path):
    rows, skipped = read(tmp_path, AIPERF | {"time_to_first_token": times(3.0, "fortnights")})
    assert "ttft_ms" not in values(rows)
    assert len(skipped) == 5
    assert "unknown unit" in skipped[0].reason


def test_an_aiperf_table_needs_what_it_does_not_tell(tmp_path):
    rows, (skipped,) = read(tmp_path, CSV, "profile.csv")
    assert rows == []
    assert "concurrency" in skipped.reason
    rows, (skipped,) = read(tmp_path, CSV, "profile.csv", concurrency=10)
    assert "no model" in skipped.reason
    rows, skipped = read(tmp_path, CSV, "profile.csv", concurrency=10, model="Qwen3-32B")
    assert skipped == []
    found = values(rows)
    assert (found["ttft_ms"], found["tpot_ms"]) == (1120.0, 11.0)
    assert found["ttft_median_ms"] == 900.0
    assert found["output_tokens_per_s_total"] == 845.0
    assert (rows[0].isl, rows[0].osl, rows[0].concurrency_or_batch) == ("1000", "128", "10")


@pytest.mark.parametrize(
    "text", ["", "[]", "id,model\n1,2\n", "{}", '{"a": 1}', "[" * 10_000, "\x00"]
)
def test_other_files_are_refused_with_the_formats_known(text, tmp_path):
    with pytest.raises(SpecError, match="AIPerf"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(VLLM)[:-1],
        json.dumps(VLLM).replace("210.5", "NaN"),
        json.dumps(VLLM)[:-1] + ', "x": ' + "[" * 100_000,
        json.dumps(VLLM)[:-1] + ', "date": "twice"}',
    ],
)
def test_broken_files_are_refused(text, tmp_path):
    with pytest.raises(SpecError, match=r"bench\.json"):
        read(tmp_path, text)


JSON = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = JSON | st.lists(JSON, max_size=2) | st.dictionaries(st.text(max_size=3), JSON, max_size=2)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([VLLM, AIPERF]), st.data())
def test_whatever_a_key_holds_rows_are_sound(tmp_path_factory, whole, data):
    key = data.draw(st.sampled_from(sorted(whole)))
    changed = whole | {key: data.draw(JSON)}
    text = json.dumps(changed)
    if "Infinity" in text:
        return
    rows, skipped = read(tmp_path_factory.mktemp("foreign"), text)
    assert rows or skipped
    for row in rows:
        assert 0 < row.value < float("inf")
        assert row.isl.isdigit()
        assert row.osl.isdigit()
