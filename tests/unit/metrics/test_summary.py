"""Summaries: intervals, reasons, names, order."""

import json

import pytest

from factorysim.metrics.inputs import Value, Window
from factorysim.metrics.names import METRICS, metric
from factorysim.metrics.overload import Overload
from factorysim.metrics.replication import Replication, replication_metrics
from factorysim.metrics.statistics import t_interval
from factorysim.metrics.summary import as_json, summarise
from factorysim.spec.stream import SloSpec
from tests.unit.metrics.builders import call, layout, session, step, tables, watts

STABLE = Overload("steady", 0.0, 0.5, 0.3)


def replication(*values):
    return Replication(list(values), [], [1.0] * 40, 1.0, 10.0)


def test_a_mean_has_a_t_interval_between_replications():
    numbers = [1.0, 2.0, 4.0]
    line = summarise([replication(Value("ttft_s.mean", x)) for x in numbers], STABLE, 0)[
        "ttft_s.mean"
    ]
    assert (line.value, line.ci_low, line.ci_high) == t_interval(numbers)
    assert (line.n, line.reason) == (3, None)


def test_one_replication_has_no_interval_and_says_why():
    line = summarise([replication(Value("ttft_s.mean", 1.0))], STABLE, 0)["ttft_s.mean"]
    assert (line.value, line.ci_low, line.ci_high, line.n) == (1.0, None, None, 1)
    assert line.reason is not None
    assert "one replication" in line.reason


def test_a_value_that_one_replication_withholds_is_withheld():
    found = [
        replication(Value("ttft_s.p99", 1.0)),
        replication(Value("ttft_s.p99", None, 3, "few")),
    ]
    line = summarise(found, STABLE, 0)["ttft_s.p99"]
    assert (line.value, line.n, line.reason) == (None, 1, "replication 1: few")


def test_overload_withholds_what_has_no_steady_value():
    found = [
        replication(Value("ttft_s.mean", 1.0), Value("tokens.output_per_s", 5.0)) for _ in range(3)
    ]
    summary = summarise(found, Overload("overloaded", 0.2, 1e-6, 0.97), 0)
    assert summary["ttft_s.mean"].value is None
    assert str(summary["ttft_s.mean"].reason).startswith("overloaded: 20%")
    assert summary["tokens.output_per_s"].value == 5.0


def test_a_replayed_trace_has_no_interval():
    found = [replication(Value("ttft_s.mean", 1.0))]
    line = summarise(found, STABLE, 0, "conditional on this trace")["ttft_s.mean"]
    assert (line.value, line.ci_low, line.reason) == (1.0, None, "conditional on this trace")


def test_words_are_put_to_the_vote():
    found = [replication(Value("bottleneck", w)) for w in ("a: KV", "b: cores", "a: KV")]
    line = summarise(found, STABLE, 7)["bottleneck"]
    assert (line.value, line.n) == ("a: KV", 2)
    assert summarise(found, STABLE, 7)["assumed_facts"].value == 7


def a_replication():
    data = tables(
        [session(i) for i in range(50)],
        [call(i) for i in range(50)],
        steps=[step(10.0, 60.0)],
        series=watts([1000.0] * 10),
        extra={"flops": [1e12], "bytes_moved": [1e12], "active_j": [1.0]},
    )
    return replication_metrics(data, Window(10.0, 60.0), layout(), {"code": SloSpec(ttft="2 s")})


def test_every_value_has_a_name_of_the_table_and_every_name_a_value():
    summary = summarise([a_replication()] * 2, STABLE, 3)
    for name in summary:
        assert metric(name).unit
    families = {
        name.partition(".")[0] if any(w in name for w in ("POOL", "LAW", "THRESHOLD")) else name
        for name in METRICS
    }
    found = set(summary) | {name.partition(".")[0] for name in summary}
    assert families <= found
    assert json.loads(json.dumps(as_json(summary), allow_nan=False))


def test_output_rate_is_that_of_the_steps_in_the_window():
    rate = next(v for v in a_replication().values if v.name == "tokens.output_per_s")
    assert rate.value == pytest.approx(40 / 50)


def test_no_value_goes_without_a_reason():
    for name, line in summarise([a_replication()] * 2, STABLE, 3).items():
        assert line.value is not None or line.reason, name


def test_names_come_in_the_order_of_the_table():
    names = list(summarise([a_replication()] * 2, STABLE, 3))
    assert names.index("sessions.arrived") < names.index("ttft_s.mean") < names.index("itl_s.p50")
    assert names.index("utilization.nvl72") < names.index("power.it_w.mean")


def test_an_unknown_name_is_refused():
    with pytest.raises(KeyError):
        metric("no.such")
    with pytest.raises(KeyError):
        metric("utilization")


def test_a_run_that_ends_before_its_window_is_refused():
    with pytest.raises(ValueError, match="before its window"):
        replication_metrics(tables(end_s=5.0), Window(10.0, 60.0), layout(), {})
