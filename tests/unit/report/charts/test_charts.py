"""Charts draw the numbers of the summary: the same laws, from the rows themselves."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from factorysim.metrics.curves import empirical
from factorysim.metrics.quantiles import distribution
from factorysim.report.charts.energy import energy_ladder
from factorysim.report.charts.latency import latency_charts
from factorysim.report.charts.over_time import Series, TimeChart, racks_together, time_charts
from factorysim.report.charts.paired import paired_chart
from factorysim.report.charts.pools import pool_bars, utilizations
from factorysim.report.charts.source import Source
from factorysim.report.charts.time_shares import ALL, time_shares
from factorysim.run import simulate
from factorysim.study.compare import Comparison, Pair
from factorysim.study.pairing import pair_runs
from tests.unit.run.builders import mm1

EXACT = {"window": "200 s", "warmup": "40 s", "drain": "60 s"}
"""Bins of 1.25 s: the window begins and ends where bins do."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("charts") / "run"
    return Source(simulate(mm1(rate="0.8 /s", **EXACT), out=folder, workers=1))


@pytest.fixture(scope="module")
def over_time(source):
    return {chart.name: chart for chart in time_charts(source)}


def of(source, name):
    """Values of a metric, by replication."""
    table = source.run.metrics
    table = table[(table["name"] == name) & (table["by"] == "all")]
    return table.sort_values("replication")["value"].to_numpy()


def in_window(source, chart, name):
    """Mean of a line over the window, of each replication."""
    line = next(one for one in chart.series if one.name == name)
    window, edges = source.window, chart.edges_s
    weight = np.clip(np.minimum(edges[1:], window.end_s) - np.maximum(edges[:-1], window.start_s),
                     0.0, None)  # fmt: skip
    return (line.values * weight).sum(axis=1) / weight.sum()


def test_the_window_begins_and_ends_with_bins(source, over_time):
    edges = over_time["queue"].edges_s
    for instant in (source.window.start_s, source.window.end_s):
        assert np.abs(edges - instant).min() < 1e-9


def test_the_line_of_the_queue_is_its_mean(source, over_time):
    found = in_window(source, over_time["queue"], "queue")
    np.testing.assert_allclose(found, of(source, "queue.gpu.mean"), rtol=1e-9)
    assert found.min() > 0.5


def test_the_line_of_power_is_its_mean(source, over_time):
    found = in_window(source, over_time["power"], "factory")
    np.testing.assert_allclose(found, of(source, "power.it_w.mean"), rtol=5e-3)
    racks = in_window(source, over_time["power"], "gpu/0")
    assert (racks <= found + 1e-6).all()


def test_one_server_holds_one_sequence_while_it_is_busy(source, over_time):
    found = in_window(source, over_time["batch"], "queue")
    np.testing.assert_allclose(found, of(source, "utilization.gpu"), rtol=1e-9)
    assert over_time["batch"].series[0].most == 1.0


def test_kv_is_a_share_of_the_cache(source, over_time):
    """A call of two tokens holds one block as long as it is in a step."""
    kv = over_time["kv"].series[0]
    assert kv.most == 1.0
    [place] = source.places
    found = in_window(source, over_time["kv"], "queue")
    expected = of(source, "utilization.gpu") / (place.replicas * place.kv_blocks)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_sessions_are_there_from_arrival_to_end(source, over_time):
    chart = over_time["sessions"]
    width = np.diff(chart.edges_s)
    for place, replication in enumerate(source.replications):
        table = source.run.sessions
        mine = table[table["replication"] == replication]
        left = mine["finished_s"].fillna(source.end_s(replication))
        spent = float((left - mine["arrived_s"]).sum())
        assert (chart.series[0].values[place] * width).sum() == pytest.approx(spent, rel=1e-9)


def test_what_a_factory_lacks_has_no_line_but_a_reason(over_time):
    assert over_time["tools"].series == ()
    assert over_time["tools"].reason


def test_curves_are_of_all_measured_calls_and_sessions(source):
    charts = {chart.name: chart for chart in latency_charts(source)}
    calls = source.run.calls
    window = source.window
    mine = calls[(calls["arrived_s"] >= window.start_s) & (calls["arrived_s"] < window.end_s)]
    known = (mine["first_token_s"] - mine["arrived_s"]).dropna().to_numpy()
    (one,) = charts["ttft_s"].curves
    waiting = int(mine["first_token_s"].isna().sum())
    expected = empirical(known, waiting)
    assert (one.stream, one.limit_s, one.curve.censored) == ("calls", 4.0, waiting)
    assert one.curve.n == len(mine)
    assert one.curve.value.tolist() == expected.value.tolist()
    assert one.curve.share.tolist() == expected.share.tolist()
    assert charts["tpot_s"].curves == ()  # of one token each
    (sessions,) = charts["session_s"].curves
    assert sessions.curve.n == of(source, "sessions.arrived").sum()


def test_the_middle_of_a_curve_is_the_median(source):
    (one,) = latency_charts(source)[0].curves
    calls = source.run.calls
    mine = calls[calls["arrived_s"].between(source.window.start_s, source.window.end_s)]
    known = (mine["first_token_s"] - mine["arrived_s"]).dropna().to_numpy()
    told = {v.name: v.value for v in distribution("ttft_s", known, one.curve.censored)}
    middle = np.interp(0.5, one.curve.share, one.curve.value)
    assert middle == pytest.approx(told["ttft_s.p50"], rel=0.03)


def test_shares_of_time_add_up_and_are_the_summary_s(source):
    chart = time_shares(source)
    assert [bar.stream for bar in chart.bars] == [ALL, "calls"]
    for bar in chart.bars:
        assert sum(bar.shares.values()) == pytest.approx(1.0, abs=1e-9)
        assert sum(bar.without_gaps.values()) == pytest.approx(1.0, abs=1e-9)
        for kind, share in bar.shares.items():
            line = source.run.summary[f"time_share.{kind}"]
            assert share == pytest.approx(np.nanmean(of(source, f"time_share.{kind}")))
            assert line.value is None or share == pytest.approx(line.value)
    assert dict(chart.withheld).keys() == {"fetching KV"}


def test_the_ladder_rises_and_says_what_is_not_modelled(source):
    known = [rung for rung in energy_ladder(source) if rung.joules is not None]
    assert [rung.name for rung in known] == ["accelerator", "host", "idle", "facility"]
    assert all(one.joules <= other.joules for one, other in pairwise(known))
    for rung in known:
        line = source.run.summary[f"energy.j_per_output_token.{rung.name}"]
        assert (rung.joules, rung.low, rung.high) == (line.value, line.ci_low, line.ci_high)
    withheld = [rung for rung in energy_ladder(source) if rung.joules is None]
    assert [bool(rung.reason) for rung in withheld] == [True]


def test_bars_of_pools_are_the_summary_s(source):
    for bar in pool_bars(source):
        assert bar.line == source.run.summary[f"{bar.measure}.{bar.pool}"]
    assert utilizations(source)["gpu"] == source.run.summary["utilization.gpu"].value


def test_racks_of_a_kind_are_added_up():
    ones = np.ones((2, 3))
    names = ("hgx/0", "hgx/1", "fabric/0")
    series = tuple(Series(name, ones * (n + 1), None) for n, name in enumerate(names))
    chart = racks_together(TimeChart("power", "", "W", np.arange(4.0), series, ""))
    assert [one.name for one in chart.series] == ["hgx (2 racks)", "fabric"]
    assert chart.series[0].values.tolist() == (3 * ones).tolist()
    assert chart.series[1].values.tolist() == (3 * ones).tolist()


def test_differences_are_those_of_the_summaries(source, tmp_path):
    two = simulate(mm1(rate="0.8 /s", servers=2, **EXACT), out=tmp_path / "two", workers=1)
    a, b = source.run.summary, two.summary
    found = paired_chart(pair_runs([source.run, two])[0]).differences
    assert {"ttft_s.mean", "power.it_w.mean"} <= {one.name for one in found}
    for one in (one for one in found if one.name in a):
        expected = b[one.name].value / a[one.name].value - 1
        assert one.share == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert one.low is None or one.low <= one.share <= one.high


def test_ends_of_an_interval_are_shares_of_the_first_run():
    """All four are of A; what one replication, or an A of 0, leaves open is not drawn."""
    a, b = (SimpleNamespace(manifest={"scenario": {"name": name}}) for name in ("x", "y"))
    pairs = {
        "power.it_w.mean": Pair(200.0, 250.0, 50.0, 30.0, 80.0, 1.25, 2.0, None),
        "ttft_s.mean": Pair(4.0, 3.0, -1.0, None, None, 0.75, None, "one replication"),
        "kv.hit_rate": Pair(0.0, 0.3, 0.3, 0.2, 0.4, None, None, None),
    }
    chart = paired_chart(Comparison(a, b, pairs, "", ("a note",)))
    assert (chart.a, chart.b, chart.notes) == ("x", "y", ("a note",))
    found = {one.name: (one.share, one.low, one.high) for one in chart.differences}
    assert found.keys() == {"power.it_w.mean", "ttft_s.mean"}
    assert found["power.it_w.mean"] == pytest.approx((0.25, 0.15, 0.4))
    assert found["ttft_s.mean"] == (-0.25, None, None)
    assert [reason for _, reason in chart.withheld] == ["it is 0 in A"]
