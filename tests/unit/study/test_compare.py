"""Comparisons: the same demand, paired differences, honest verdicts."""

import json

import pytest

from factorysim.errors import SpecError
from factorysim.metrics.in_slo import counted
from factorysim.metrics.summary import Line
from factorysim.study.compare import (
    _demand_notes,
    _slo_verdict,
    _verdict,
    align,
    as_json,
    compare,
    labels,
)
from tests.unit.run.builders import mm1


@pytest.fixture(scope="module")
def one_against_two(tmp_path_factory):
    out = tmp_path_factory.mktemp("compared")
    given = [mm1(rate="0.7 /s"), mm1(rate="0.7 /s", servers=2)]
    found = compare(given, names=["one", "two"], out=out, workers=1)
    return out, found[0]


def test_both_meet_the_same_sessions(one_against_two):
    _, found = one_against_two
    columns = ["replication", "sid", "arrived_s"]
    a, b = (run.sessions[columns].sort_values(columns[:2]) for run in (found.a, found.b))
    assert a.to_numpy().tolist() == b.to_numpy().tolist()


def test_differences_are_paired_by_replication(one_against_two):
    _, found = one_against_two
    pair = found.pairs["ttft_s.mean"]
    per_run = []
    for run in (found.a, found.b):
        table = run.metrics[(run.metrics.name == "ttft_s.mean") & (run.metrics.by == "all")]
        per_run.append(table.set_index("replication").value)
    assert pair.difference == pytest.approx((per_run[1] - per_run[0]).mean())
    assert pair.difference < 0
    assert pair.ratio == pytest.approx(per_run[1].mean() / per_run[0].mean())
    assert pair.variance_reduction is not None


def test_rates_are_given_per_device_and_per_megawatt(one_against_two):
    _, found = one_against_two
    pair, whole = found.pairs["tokens.output_per_s.per_device"], found.pairs["tokens.output_per_s"]
    assert pair.a == pytest.approx(whole.a)
    assert pair.b == pytest.approx(whole.b / 2)
    megawatts = found.b.summary["power.it_w.mean"].value / 1e6
    assert found.pairs["tokens.output_per_s.per_mw"].b == pytest.approx(
        whole.b / megawatts, rel=0.01
    )


def test_the_mismatch_of_power_is_given(one_against_two):
    _, found = one_against_two
    a, b = (run.summary["power.it_w.mean"].value for run in (found.a, found.b))
    assert b > 1.2 * a  # twice the servers, else the next line could not fail
    assert found.power_mismatch == pytest.approx(b / a - 1, rel=1e-12)
    assert as_json(found)["power_mismatch"] == found.power_mismatch
    withheld = found._replace(pairs={**found.pairs, "power.it_w.mean": found.pairs["ttft_s.p99"]})
    assert withheld.power_mismatch is None


def test_what_one_withholds_is_withheld_with_its_reason(one_against_two):
    _, found = one_against_two
    pair = found.pairs["ttft_s.p99"]
    assert pair.a is None
    assert pair.difference is None
    assert "p99 needs" in str(pair.reason)


def test_runs_and_comparison_are_written(one_against_two):
    out, found = one_against_two
    assert {path.name for path in out.iterdir()} == {"one", "two", "comparison.json"}
    written = json.loads((out / "comparison.json").read_text())
    assert written == {"comparisons": [json.loads(json.dumps(as_json(found)))]}
    assert found.verdict == "Both one and two sustain this demand. Both meet their SLOs."


@pytest.mark.slow
def test_one_side_overloaded_gives_no_ratio():
    given = [mm1(rate="1.4 /s", window="300 s"), mm1(rate="1.4 /s", servers=3, window="300 s")]
    found = compare(given, names=["one", "three"], workers=1)[0]
    assert found.verdict == "three sustains this demand, one does not."
    assert all(pair.ratio is None for pair in found.pairs.values())
    assert found.pairs["ttft_s.mean"].a is None


@pytest.mark.slow
def test_different_demand_is_said():
    given = [mm1(), mm1(rate="0.6 /s")]
    assert compare(given, workers=1)[0].notes == ("stream 'calls' differs between them",)


def test_another_llm_or_tenant_is_no_other_demand():
    one = mm1()
    (name,) = one.streams
    other = one.streams[name].model_copy(update={"llm": "x", "tenant": "t"})
    assert _demand_notes(one, one.model_copy(update={"streams": {name: other}})) == []


def test_all_take_the_firsts_clock_and_seed():
    other = align(mm1(seed=99, window="5 s", clock="stepwise"), mm1())
    assert (other.run.seed, other.run.window, other.run.clock) == (7, 200.0, "stepwise")


def test_one_scenario_is_refused():
    with pytest.raises(SpecError, match="two or more"):
        compare([mm1()])


def test_labels_tell_repeats_apart():
    assert labels(["x/a.yaml", "y/a.yaml", "b"]) == ["a", "a-2", "b"]
    assert labels(["a", "a", "a-2", "a"]) == ["a", "a-3", "a-2", "a-4"]
    assert labels([mm1(), mm1()]) == ["scenario-0", "scenario-1"]


SLOS = {
    "met": counted(19, 20, 20),
    "missed": counted(9, 20, 20),
    "so_far": counted(9, 9, 20),
    "undecided": counted(9, 11, 20),
    "unknown": counted(0, 0, 0),
}


class Judged:
    """A run of one stream, of which only its manifest is looked at."""

    def __init__(self, judgement):
        slo = {"ttft": 1.0, "tpot": None, "turn": None, "session": None, "attain": 0.9}
        self.manifest = {"slo": {"calls": slo | SLOS[judgement]._asdict()}}


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("met", "met", "Both meet their SLOs."),
        ("missed", "missed", "Neither meets all its SLOs."),
        ("missed", "met", "B meets its SLOs, A does not."),
        ("undecided", "met", "B meets its SLOs, whether A does is not decided."),
        ("missed", "undecided", "A does not meet its SLOs, whether B does is not decided."),
        ("undecided", "undecided",
         "Whether they meet their SLOs is not decided: too many sessions had not ended."),
        ("met", "so_far", "A meets its SLOs, B does so far."),
        ("so_far", "missed", "B does not meet its SLOs, A does so far."),
        ("so_far", "undecided", "A meets its SLOs so far, whether B does is not decided."),
        ("so_far", "so_far",
         "Both meet their SLOs so far: sessions that had not ended could turn it."),
        ("met", "unknown", ""),
    ],
)  # fmt: skip
def test_who_meets_slos_is_said_only_as_far_as_it_is_decided(a, b, said):
    assert _slo_verdict(Judged(a), Judged(b), ("A", "B")) == said


class Told:
    """A run as far as verdicts read it."""

    def __init__(self, state, found, rejected=0.0):
        slo = {"ttft": 1.0, "tpot": None, "turn": None, "session": None, "attain": 0.9}
        self.manifest = {
            "kind": "steady_state",
            "overload": {"state": state},
            "slo": {"calls": slo | found._asdict()},
        }
        self.summary = {"calls.rejected": Line(rejected, None, None, 1, None)}


@pytest.mark.parametrize(
    ("b", "said"),
    [
        (Told("overloaded", counted(1, 1, 1)), "A sustains this demand, B does not."),
        (Told("steady", counted(1, 1, 1)),
         "Both A and B sustain this demand. Both meet their SLOs."),
        (Told("steady", counted(1, 1, 1), rejected=3.0),
         "Both A and B sustain what is let in of this demand. Both meet their SLOs."),
    ],
)  # fmt: skip
def test_a_demand_that_is_turned_away_is_not_sustained(b, said):
    assert _verdict(Told("steady", counted(1, 1, 1)), b, ("A", "B")) == said


def test_who_sustains_a_demand_may_miss_its_slos_all_the_same():
    misses, over = Told("steady", counted(0, 1, 1)), Told("overloaded", counted(0, 1, 1))
    said = "B sustains this demand without meeting its SLOs, A does not."
    assert _verdict(over, misses, ("A", "B")) == said
