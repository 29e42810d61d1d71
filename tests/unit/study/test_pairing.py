"""Runs that stand already are paired only where they met the same demand."""

import pytest

from factorysim.run import simulate
from factorysim.study.compare import compare
from factorysim.study.pairing import names_of, pair_runs
from tests.unit.run.builders import mm1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")

    def make(name, **settings):
        return simulate(mm1(**settings), out=home / name, workers=1, name="mine")

    return make


def test_runs_of_the_same_demand_are_paired_as_compare_does(tmp_path):
    asked = compare([mm1(), mm1(servers=2)], names=["a", "b"], out=tmp_path, workers=1)
    [before] = asked
    [after] = pair_runs([before.a, before.b])
    assert after.pairs == before.pairs
    assert after.verdict == before.verdict


def test_another_seed_or_window_leaves_no_interval_and_says_why(run):
    first = run("a")
    [found] = pair_runs([first, run("b", seed=8, window="100 s")])
    pair = found.pairs["ttft_s.mean"]
    assert pair.difference == pytest.approx(pair.b - pair.a)
    assert (pair.ci_low, pair.ci_high, pair.variance_reduction) == (None, None, None)
    assert pair.reason.startswith("not paired: other seeds: 7 and 8; other windows")


def test_another_demand_leaves_no_interval_and_is_noted(run):
    [found] = pair_runs([run("c"), run("d", rate="0.4 /s")])
    assert found.pairs["ttft_s.mean"].ci_low is None
    assert found.notes == ("stream 'calls' differs between them",)


def test_runs_of_one_scenario_are_told_apart_by_their_places(run):
    first, other = run("e"), run("f")
    assert names_of([first]) == ["mine"]
    assert names_of([first, other]) == [f"mine in {first.path}", f"mine in {other.path}"]
    assert str(other.path) in pair_runs([first, other])[0].verdict
