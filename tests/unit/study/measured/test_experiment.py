"""Experiments: what a run of one gives, and what a row reads off it."""

import numpy as np
import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.efficiency import efficiency
from factorysim.study.measured.compare import compare_rows, read_experiments, run_all
from factorysim.study.measured.experiment import observe, read_metric_of, run_experiment
from factorysim.study.measured.fit import (
    fit_group,
    groups_of,
    usable,
    with_factors,
)
from factorysim.study.measured.retime import subject_of, walked

HEAD = (
    "id,model,hardware,n_gpus,parallelism,engine,precision,scenario,isl,osl,"
    "concurrency_or_batch,metric,value,notes\n"
)
CLOSED = "Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,server,512,64,8"
STATIC = "Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,static,512,32,4"


@pytest.fixture
def table(tmp_path):
    def write(*lines):
        path = tmp_path / "mine.csv"
        path.write_text(HEAD + "".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def experiments(path):
    return read_experiments(path, load_catalog())[0]


def test_rows_of_one_run_share_an_experiment(table):
    path = table(
        f"a,{CLOSED},ttft_ms,20,",
        f"b,{CLOSED},tpot_ms,5,",
        f"c,{STATIC},tpot_ms,5,",
    )
    assert [len(one.rows) for one in experiments(path)] == [2, 1]


def test_metrics_of_a_closed_loop_agree_with_each_other(table):
    """Little's law: calls in flight = calls per second x latency, but for the two ends."""
    [one] = experiments(
        table(f"a,{CLOSED},ttft_ms,20,", f"b,{CLOSED},output_tokens_per_s_total,1,")
    )
    outcome = run_experiment(one.conditions, load_catalog())
    in_flight = outcome.output_per_s / 64 * outcome.latency_s.mean()
    assert in_flight == pytest.approx(8, rel=0.05)
    assert outcome.latency_s.mean() == pytest.approx(
        (outcome.ttft_s + np.mean(outcome.tpot_s) * 63).mean(), rel=0.01
    )


def test_a_static_batch_times_prompts_and_decodes_apart(table):
    path = table(
        f"a,{STATIC},input_tokens_per_s_total,1,", f"b,{STATIC},output_tokens_per_s_total,1,"
    )
    [one] = experiments(path)
    catalog = load_catalog()
    seen = observe(one.conditions, catalog)
    law = seen.prepared.plan.serve[0].law
    prompts = law.base(0, 4 * 512, 4, 4) + 4 * law.chunk(512, 0)
    assert seen.outcome.ttft_s.max() >= prompts * 1e-15
    assert seen.outcome.ttft_s.max() == pytest.approx(prompts * 1e-15, abs=0.006)  # the front end
    middle = 4 * (512 + 16)
    step = law.base(4, 0, 0, 4) + law.piece(4, middle).slope_fs * middle
    assert seen.outcome.tpot_s.mean() == pytest.approx(step * 1e-15, rel=0.01)


def test_no_experiment_beats_the_roofline_of_its_data_sheet(table):
    """8.03e9 weights in FP8, less the embedding table, are read in every decode step."""
    [one] = experiments(table(f"a,{STATIC},tpot_ms,5,"))
    catalog = load_catalog()
    floor_s = (8.03e9 - 128256 * 4096) / catalog.device("h100_sxm").memory_bandwidth
    assert run_experiment(one.conditions, catalog).tpot_s.min() > floor_s


def test_comparing_says_how_far_off(table):
    path = table(f"a,{STATIC},tpot_ms,5,", f"b,{STATIC},ttft_ms,5,")
    [one] = experiments(path)
    rows = compare_rows(one, load_catalog())
    assert [row.id for row in rows] == ["a", "b"]
    for row in rows:
        assert row.error == pytest.approx(row.got / 5.0 - 1.0)


def test_what_does_not_fit_is_set_aside_with_the_arithmetic(table):
    big = CLOSED.replace("Llama-3.1-8B-Instruct", "Llama-3.1-405B-Instruct")
    [one] = experiments(table(f"a,{big},tpot_ms,5,"))
    [row] = compare_rows(one, load_catalog())
    assert row.got is None
    assert "GB of weights" in row.reason


def test_the_number_of_workers_changes_nothing(table):
    path = table(f"a,{CLOSED},tpot_ms,5,", f"b,{STATIC},tpot_ms,5,")
    found, catalog = experiments(path), load_catalog()
    assert run_all(found, catalog, 1) == run_all(found, catalog, 2)


def test_retiming_says_what_simulating_anew_says(table):
    [one] = experiments(table(f"a,{STATIC},tpot_ms,5,"))
    catalog = load_catalog()
    seen = observe(one.conditions, catalog)
    base = efficiency(catalog, catalog.device("h100_sxm"), "vllm")
    walk = walked(subject_of(seen.prepared, "llama_3_1_8b"), seen.steps, base)
    assert walk.ratio(base) == pytest.approx(np.ones(len(walk.steps)))
    slower = with_factors(base, {"weight_bandwidth": base.weight_bandwidth / 2})
    told = {"efficiency.vllm.hopper.weight_bandwidth": base.weight_bandwidth / 2}
    again = observe(one.conditions, catalog.with_values(told))
    decoding = walk.prompts == 0
    before = (walk.seconds * walk.steps)[decoding].sum()
    after = (walk.seconds * walk.steps * walk.ratio(slower))[decoding].sum()
    assert after / before == pytest.approx(
        again.outcome.tpot_s.mean() / seen.outcome.tpot_s.mean(), rel=1e-6
    )
    assert after > 1.3 * before


def batches(metric="tpot_ms"):
    for batch in (1, 2, 4, 8, 16, 32, 64, 128, 192, 256):
        yield f"b{batch},{STATIC.removesuffix('4')}{batch},{metric},1,"


def test_a_fit_finds_the_factors_that_made_the_data(table):
    """Rows made by the simulator with other factors: the fit must come back to them."""
    catalog = load_catalog(fitted=False)
    true = {"sequence_s": 1.2e-4, "block_s": 2.5e-5}
    made = catalog.with_values({f"efficiency.vllm.hopper.{k}": v for k, v in true.items()})
    lines = []
    for one in experiments(table(*batches())):
        tpot_ms = 1e3 * run_experiment(one.conditions, made).tpot_s.mean()
        row = one.rows[0].row
        where = STATIC.removesuffix("4") + row.concurrency_or_batch
        lines.append(f"{row.id},{where},tpot_ms,{tpot_ms},")
    [group] = groups_of(experiments(table(*lines)), catalog)
    factors = {one.name: one for one in fit_group(group, catalog)}
    assert factors.keys() == true.keys()
    for name, value in true.items():
        assert factors[name].value == pytest.approx(value, rel=0.03)
        assert factors[name].low < value < factors[name].high


def test_few_rows_carry_no_factor(table):
    catalog = load_catalog()
    [group] = groups_of(experiments(table(*list(batches())[:7])), catalog)
    assert fit_group(group, catalog) == []


def test_a_run_measured_again_is_no_further_row(table):
    catalog = load_catalog()
    line = next(batches()).removesuffix("1,")
    lines = [f"r{k}{line}{1 + k / 50}," for k in range(9)]
    [group] = groups_of(experiments(table(*lines)), catalog)
    assert (len(group.rows), group.told) == (9, 1)
    assert fit_group(group, catalog) == []


def test_times_to_the_first_token_under_load_are_not_fitted(table):
    [one] = experiments(table(f"a,{CLOSED},ttft_ms,20,"))
    assert not usable(one.rows[0])
    [one] = experiments(table(f"a,{STATIC},ttft_ms,20,"))
    assert usable(one.rows[0])


def test_a_clock_is_set_once(table):
    """Arithmetic binds a prompt of 4,096 tokens, and takes 1.25 times as long at 0.8 of the clock.

    The front end, kernels' starts and memory do not; set twice, the clock would be 0.64.
    """
    line = "Llama-3.1-70B-Instruct,{},1,TP1,TensorRT-LLM,fp8,static,4096,1,4,ttft_ms,5,"
    times = []
    for name in ("H200-SXM-141GB", "H200-SXM-141GB (power-capped MaxQ)"):
        [one] = experiments(table(f"a,{line.format(name)}"))
        times.append(run_experiment(one.conditions, load_catalog()).ttft_s.max())
    assert 1.18 < times[1] / times[0] < 1.25


def test_limits_that_no_rate_keeps_are_told(table):
    notes = "10 samples/s; p99 limits TTFT 2000 ms TPOT 0.001 ms"
    line = "Llama-3.1-8B-Instruct,H100-SXM-80GB,1,TP1,vLLM,fp8,server,64,8,max valid QPS"
    [one] = experiments(table(f"a,{line},output_tokens_per_s_total,5,{notes}"))
    [row] = compare_rows(one, load_catalog())
    assert row.got is None
    assert "limits that a rate keeps" in row.reason


def test_calls_per_second_follow_littles_law(table):
    [one] = experiments(table(f"a,{CLOSED},request_throughput,1,", f"b,{CLOSED},ttft_ms,20,"))
    outcome = run_experiment(one.conditions, load_catalog())
    calls_per_s = read_metric_of(outcome, one.rows[0].metric, one.conditions)
    assert calls_per_s * outcome.latency_s.mean() == pytest.approx(8, rel=0.05)
