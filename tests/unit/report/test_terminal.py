"""Reports fit 80 columns, put the verdict first, and hide nothing that is withheld."""

import io
import re

import pytest
from rich.console import Console

from factorysim.metrics.summary import Line
from factorysim.report.terminal import cell, link_warnings, run_report, said, verdict
from factorysim.report.versus import comparison_report
from factorysim.run import simulate
from factorysim.spec.stream import SloSpec
from factorysim.study.compare import compare
from tests.unit.run.builders import mm1


def rendered(parts, width=80):
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    for part in parts:
        console.print(part)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def run():
    scenario = mm1().model_copy(update={"question": "Does [bold]markup[/bold] stay text?"})
    return simulate(scenario, workers=1, name="mm1")


@pytest.mark.parametrize("width", [80, 120])
def test_a_report_fits_and_says_everything(run, width):
    text = rendered(run_report(run), width)
    assert max(len(line) for line in text.splitlines()) <= width
    for word in ("SLO met", "Sustained", "Bottleneck", "first token (TTFT)", "Pools", "J/tok",
                 "Audit", "Assumed", "3 replications, seed 7"):  # fmt: skip
        assert word in text
    assert "[bold]markup[/bold]" in text


def test_the_verdict_comes_first(run):
    text = rendered(run_report(run))
    assert text.index("SLO met") < text.index("Bottleneck") < text.index("Latency")
    assert "gpu: sequences of a step" in rendered(verdict(run))


@pytest.mark.parametrize("width", [80, 120])
def test_several_streams_are_told_apart_where_time_goes(width):
    one = mm1(window="400 s")
    calls = one.streams["calls"]
    slow = calls.model_copy(update={"llm": "any", "tenant": "other"})
    two = one.model_copy(update={"streams": {"first": calls, "a-stream-of-a-long-name": slow}})
    text = rendered(run_report(simulate(two, workers=1, name="two")), width)
    assert max(len(line) for line in text.splitlines()) <= width
    table = text[text.index("By stream") :].splitlines()
    assert table[1].split() == ["queue", "prefill"]
    rows = [line.split() for line in table[3:5]]
    assert [row[0] for row in rows] == ["first", "a-stream-of-a-long-name"]
    for row in rows:
        assert sum(float(cell.removesuffix("%")) for cell in row[1:]) == pytest.approx(100, abs=0.2)


def test_one_stream_is_not_told_twice(run):
    assert "By stream" not in rendered(run_report(run))


def test_a_run_without_any_slo_says_so_once():
    one = mm1(window="100 s")
    calls = one.streams["calls"].model_copy(update={"slo": SloSpec()})
    free = one.model_copy(update={"streams": {"a": calls, "b": calls}})
    text = rendered(run_report(simulate(free, workers=1, name="free")))
    assert text.count("SLO: ") == 1
    assert "SLO: no stream asks for any" in text


def test_withheld_values_point_to_their_reason(run):
    text = rendered(run_report(run))
    reason = next(line for line in text.splitlines() if "p99 needs 2000" in line)
    number = reason.split()[0]
    assert text.index(number) < text.index(reason)


def test_tools_are_told_of_where_they_fail_or_run_in_sandboxes(run, monkeypatch):
    assert "Tools, per replication" not in rendered(run_report(run))
    known = {"tools.called": 900.0, "tools.failed": 39.0, "tools.retries": 7.0}
    told = run.summary | {n: Line(value, None, None, 1, "one") for n, value in known.items()}
    monkeypatch.setitem(run.__dict__, "summary", told)
    text = rendered(run_report(run))
    assert re.search(r"tools called +900\b.*\n.*failed to the end +39\.0.*\n.* 7\.00", text)
    assert "sandboxes" not in text
    asked = {"sandboxes.asked": Line(92.0, None, None, 1, "one")}
    monkeypatch.setitem(run.__dict__, "summary", told | asked)
    assert re.search(r"sandboxes asked for +92\.0", rendered(run_report(run)))


def test_calls_that_are_not_served_are_told_as_shares_of_all_by_their_reason(run, monkeypatch):
    heads = ("Rejected", "Turned away", "Came again")

    def told(**calls):
        lines = {f"calls.{n}": Line(v, None, None, 3, None) for n, v in calls.items()}
        monkeypatch.setitem(run.__dict__, "summary", run.summary | lines)
        return {one.head: one.text for one in said(run) if one.head in heads}

    found = told(arrived=400.0, rejected=180.0, turned_away=100.0, retried=120.0)
    shares = {head: text.partition(" of calls")[0] for head, text in found.items()}
    assert shares == {"Rejected": "20.0 %", "Turned away": "25.0 %", "Came again": "30.0 %"}
    assert "longer than the KV cache" in found["Rejected"]
    assert "by admission" in found["Turned away"]
    assert told(rejected=100.0, retried=0.0).keys() == {"Turned away"}
    assert told(turned_away=0.0).keys() == {"Rejected"}
    assert told(rejected=0.0) == {}


def test_an_overloaded_run_says_so():
    run = simulate(mm1(rate="1.5 /s", window="300 s"), workers=1, name="busy")
    text = rendered(run_report(run))
    assert "Overloaded: " in text
    assert re.search(r"SLO missed: \S+ % of \w+ sessions met it, \S+ % wanted", text)


def test_intervals_are_half_widths_in_the_values_unit():
    notes: dict[str, int] = {}
    assert cell("ttft_s.mean", Line(0.2, 0.19, 0.21, 5, None), notes) == "200 ±10 ms"
    assert cell("utilization.a", Line(0.5, 0.475, 0.525, 5, None), notes) == "50.0 ±2.5 %"
    assert cell("ttft_s.mean", Line(0.2, None, None, 1, "one"), notes) == "200 ms"
    assert cell("ttft_s.p99", Line(None, None, None, 0, "few"), notes) == "(1)"
    assert cell("ttft_s.p95", Line(None, None, None, 0, "few"), notes) == "(1)"
    assert cell("ttft_s.p50", Line(None, None, None, 0, "none"), notes) == "(2)"


@pytest.fixture(scope="module")
def one_against_two():
    return compare([mm1(), mm1(servers=2)], names=["one", "two"], workers=1)[0]


@pytest.mark.parametrize("width", [80, 120])
def test_a_comparison_fits_and_names_both(one_against_two, width):
    found = one_against_two
    text = rendered(comparison_report(found), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.splitlines()[0] == "Both one and two sustain this demand. Both meet their SLOs."
    for word in ("A = one, B = two", "per device", "TTFT, mean", "paired replications"):
        assert word in text
    a, b = (run.summary["power.it_w.mean"].value for run in (found.a, found.b))
    assert f"IT power differs by +{100 * (b / a - 1):.1f}% (B against A)." in text


def test_a_value_too_small_to_write_has_no_half_width():
    line = Line(2e-6, -1e-6, 4e-6, 2, None)
    assert cell("utilization.x", line, {}) == "<0.001 %"


def test_what_a_spike_left_is_told_only_where_there_is_one(run):
    title = "Time after a spike"
    assert title not in rendered(run_report(run))
    one = mm1(window="300 s")
    calls = one.streams["calls"]
    spike = {"launch": {"at": "100 s", "length": "20 s", "times": 8}}
    arrivals = calls.arrivals.model_dump() | {"spikes": spike}
    told = calls.model_validate(calls.model_dump() | {"arrivals": arrivals})
    burst = one.model_copy(
        update={
            "streams": {"calls": told},
            "run": one.run.model_copy(update={"kind": "terminating"}),
        }
    )
    text = rendered(run_report(simulate(burst, workers=1, name="burst")))
    assert title in text
    assert "wait for a first token" in text


def warned(*seconds):
    """A manifest of replications in which links slowed their flows for so long."""
    lines = [
        [{"name": "link seconds saturated", "got": got, "detail": f"warning: link {n}"}]
        for n, got in enumerate(seconds)
    ]
    quiet = {"name": "KV", "got": 0.0, "detail": ""}
    return {"replications": [{"audit": [quiet, *line]} for line in lines]}


def test_slowed_links_are_told_once_of_the_worst_replication():
    assert link_warnings(warned(0.5, 2.0, 1.0)) == [
        "link seconds saturated: 2 s, most in one of 3 replications (link 1)"
    ]
    assert link_warnings(warned(0.5)) == ["link seconds saturated: 0.5 s (link 0)"]
    assert link_warnings(warned()) == []
