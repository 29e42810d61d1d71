"""Names of metrics, as tables spell them."""

import pytest

from factorysim.study.measured.metrics import read_metric
from factorysim.study.measured.rows import NotUnderstoodError, Row


def read(metric, notes=""):
    return read_metric(Row(line=2, id="r", value=1.0, metric=metric, notes=notes))


@pytest.mark.parametrize(
    ("metric", "quantity", "statistic"),
    [
        ("ttft_ms", "ttft", "mean"),
        ("TTFT_ms", "ttft", "mean"),
        ("TTFT (ms)", "ttft", "mean"),
        ("median_ttft_ms", "ttft", "median"),
        ("ttft_ms_p50", "ttft", "p50"),
        ("ttft_p99_ms", "ttft", "p99"),
        ("p99.9_ttft_ms", "ttft", "p99.9"),
        ("mean_tpot_ms", "tpot", "mean"),
        ("tpot_s", "tpot", "mean"),
        ("avg_itl_ms", "itl", "mean"),
        ("p50_itl_ms", "itl", "median"),
        ("e2el_ms", "latency", "mean"),
        ("p99_e2el_ms", "latency", "p99"),
        ("request_latency_ms", "latency", "mean"),
        ("tokens_per_s_per_user", "tokens_per_s_per_user", "mean"),
        ("tok/s/user", "tokens_per_s_per_user", "mean"),
    ],
)
def test_times(metric, quantity, statistic):
    found = read(metric)
    assert (found.quantity, found.statistic) == (quantity, statistic)


def test_the_unit_of_a_time_ends_its_name_wherever_it_stood():
    assert read("ttft_s_p50").name == "ttft_p50_s"
    assert read("MEDIAN_TTFT_MS").name == "ttft_median_ms"


@pytest.mark.parametrize(
    ("metric", "counts", "per", "node"),
    [
        ("output_tokens_per_s", "output", "all", None),
        ("output_tokens_per_s_total", "output", "all", None),
        ("output_throughput", "output", "all", None),
        ("Output tok/s", "output", "all", None),
        ("output_token_throughput_per_gpu", "output", "device", None),
        ("total_tokens_per_s", "total", "all", None),
        ("total_token_throughput", "total", "all", None),
        ("input_tokens_per_s_per_node8", "input", "node", 8),
        ("requests_per_s", "calls", "all", None),
        ("req/s", "calls", "all", None),
        ("request_throughput", "calls", "all", None),
    ],
)
def test_rates(metric, counts, per, node):
    found = read(metric)
    assert found.quantity == "throughput"
    assert (found.counts, found.per, found.per_node) == (counts, per, node)


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("p99_itl_ms", 'metric "p99_itl_ms": of single gaps only mean and median are predicted'),
        ("mean_ttft_ms_p99", 'metric "mean_ttft_ms_p99" states two statistics'),
        ("tokens/s", 'metric "tokens/s": tokens of outputs, of inputs, or in total?'),
        ("throughput", 'metric "throughput": tokens of outputs, of inputs, or in total?'),
        ("speed", 'metric "speed"'),
        ("ttft", 'metric "ttft"'),
    ],
)
def test_what_is_no_metric_says_why(metric, reason):
    with pytest.raises(NotUnderstoodError) as caught:
        read(metric)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("notes", "wall"),
    [
        ("at the wall", True),
        ("whole-system wall power: mean", True),
        ("measured at a wall plug", True),
        ("node power, mean", True),
        ("mean of a run; wall", True),
        ("60 s of wall-clock time", False),
        ("wall time 60 s", False),
        ("sum of GPUs only", False),
    ],
)
def test_power_at_the_wall_is_not_a_wall_clock(notes, wall):
    assert read("power_w", notes).wall is wall
