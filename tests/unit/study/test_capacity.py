"""Capacity on a queue of one server: what it finds, what it says, and why not."""

import json

import pytest

import factorysim
from factorysim.errors import SpecError
from factorysim.metrics.inputs import Window
from factorysim.spec.arrivals import FixedConcurrency
from factorysim.spec.stream import SloSpec
from factorysim.study.capacity import (
    Attained,
    Evaluation,
    as_json,
    capacity,
    is_inside,
)
from tests.unit.run.builders import mm1


def queue(slo=None, arrivals=None, **run):
    """An M/M/1 queue of a mean second with another SLO, or other arrivals."""
    base = mm1(**{"replications": 2, "window": "100 s"} | run)
    update = {} if slo is None else {"slo": slo}
    update |= {} if arrivals is None else {"arrivals": arrivals}
    return base.model_copy(
        update={"streams": {"calls": base.streams["calls"].model_copy(update=update)}}
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("capacity") / "new"
    return capacity(queue(), tolerance=0.1, out=out, workers=1, name="mine"), out


def test_capacity_is_the_mean_of_the_replications_critical_rates(found):
    result, _ = found
    rates = [one.rate for one in result.critical]
    assert len(set(rates)) == result.n == 2
    assert result.rate == pytest.approx(sum(rates) / 2)
    # Student's t with one degree of freedom at 95 %: 12.706.
    half = 12.706 * abs(rates[0] - rates[1]) / 2
    assert result.ci_high - result.rate == pytest.approx(half, rel=1e-4)
    assert result.scale == pytest.approx(result.rate / 0.5)


def test_every_bracket_is_what_its_evaluations_say(found):
    result, _ = found
    for one in result.critical:
        mine = [e for e in result.evaluations if e.replication == one.replication]
        assert one.inside == max(e.rate for e in mine if e.inside)
        assert one.outside == min(e.rate for e in mine if not e.inside)
        assert one.inside < one.rate < one.outside <= one.inside * 1.1
        for e in mine:
            share = e.streams["calls"].share
            assert e.inside == (share >= 0.5 and e.overload != "overloaded")


def test_what_binds_is_the_threshold_that_sessions_miss(found):
    binds = found[0].binds
    assert (binds.stream, binds.threshold, binds.limit_s) == ("calls", "ttft", 4.0)
    assert binds.share < binds.attain == 0.5
    assert binds.missed == pytest.approx(1 - binds.share)
    assert found[0].bottleneck == "gpu: sequences of a step"


def test_the_file_holds_the_same_as_the_result(found):
    result, out = found
    told = json.loads((out / "capacity.json").read_text())
    assert told == json.loads(json.dumps(as_json(result), allow_nan=False))
    assert told["schema"] == "factorysim.capacity/1"
    assert len(told["evaluations"]) == len(result.evaluations)
    assert {path.name for path in out.iterdir()} == {"capacity.json"}


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_number_of_workers(found):
    assert capacity(queue(), tolerance=0.1, workers=2, name="mine") == found[0]


def test_a_rate_that_was_found_is_what_a_run_of_it_says(found):
    """The point just inside, run on its own, has the attainment that the search saw."""
    from factorysim.run import simulate

    seen = max((e for e in found[0].evaluations if e.replication == 0 and e.inside),
               key=lambda e: e.rate)  # fmt: skip
    arrivals = queue().streams["calls"].arrivals.model_copy(update={"rate": seen.rate})
    table = simulate(queue(arrivals=arrivals), workers=1).metrics
    share = table[
        (table.name == "slo.sessions") & (table.by == "stream") & (table.replication == 0)
    ]
    assert share.value.tolist() == [seen.streams["calls"].share]


def test_without_a_tight_slo_overload_binds():
    result = capacity(
        queue(SloSpec(ttft="1000 h"), window="400 s", replications=1), tolerance=0.2, workers=1
    )
    assert result.binds.threshold == "overload"
    assert 0.8 < result.rate < 2.0  # the server takes one a second
    assert result.ci_low is None
    assert "one replication" in result.reason


def test_a_fixed_concurrency_is_found_to_the_session():
    """With a deterministic second each, the nth of n calls at once waits n seconds."""
    base = queue(SloSpec(ttft="6500 ms", attain=0.9),
                 FixedConcurrency(process="fixed_concurrency", concurrency=3))  # fmt: skip
    law = base.deployments["queue"].law
    steady = law.model_copy(
        update={"prompt": law.prompt.model_copy(update={"kind": "deterministic"})}
    )
    deployment = base.deployments["queue"].model_copy(update={"law": steady})
    scenario = base.model_copy(update={"deployments": {"queue": deployment}})
    result = capacity(scenario, tolerance=0.001, workers=1)
    assert result.unit == "sessions at any time"
    assert [one.rate for one in result.critical] == [6.0, 6.0]
    assert [one.outside for one in result.critical] == [7.0, 7.0]
    assert (result.own_rate, result.rate, result.ci_low, result.ci_high) == (3.0, 6.0, 6.0, 6.0)


def test_where_every_rate_is_inside_there_is_a_reason_and_no_number():
    result = capacity(queue(), high=0.6, low=0.1, workers=1)
    assert result.rate is None
    assert result.binds is None
    assert "meet their SLOs at every rate up to 0.6" in result.reason
    assert {one.rate for one in result.evaluations} == {0.5, 0.6}


def test_where_no_rate_is_inside_there_is_a_reason_and_no_number():
    result = capacity(queue(SloSpec(ttft="1 ms", attain=0.99)), low=0.2, workers=1)
    assert result.rate is None
    assert "miss their SLOs at every rate down to 0.2" in result.reason
    assert result.binds.threshold == "ttft"


def test_a_scenario_without_slo_is_refused():
    with pytest.raises(SpecError, match="no SLO") as refused:
        capacity(queue(SloSpec()))
    assert "slo: {ttft" in refused.value.faults[0].cure


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"low": 2.0, "high": 1.0}, "--high"),
        ({"low": 0.0}, "--low"),
        ({"low": float("nan")}, "--low"),
        ({"high": float("inf")}, "--high"),
        ({"tolerance": 0.0}, "--tolerance"),
        ({"tolerance": float("nan")}, "--tolerance"),
        ({"stream": "call"}, "--stream"),
    ],
)
def test_bad_options_are_refused_by_name(options, named):
    with pytest.raises(SpecError) as refused:
        capacity(queue(), **options)
    assert refused.value.faults[0].where == named


def test_inside_needs_every_stream_and_no_overload():
    good, bad = Attained(0.96, 0.95, 100, {}), Attained(0.94, 0.95, 100, {})
    unseen = Attained(None, 0.95, 0, {})
    assert is_inside([good, good], "steady")
    assert is_inside([good, unseen], None)
    assert is_inside([good], "unsettled")
    assert not is_inside([good, bad], "steady")
    assert not is_inside([good], "overloaded")
    assert not is_inside([unseen], "steady")


def test_an_attainment_that_rises_is_told(monkeypatch):
    """A queue that serves better when it is fuller contradicts what bisection assumes."""
    from factorysim.study import capacity as study

    genuine = study._Hunt._evaluated

    def odd(self, outcome, scale):
        one: Evaluation = genuine(self, outcome, scale)
        share = 0.7 if scale < 1.5 else 0.95 if scale < 3 else 0.1
        seen = {"calls": Attained(share, 0.5, 1000, {"ttft": 1 - share})}
        return one._replace(streams=seen, inside=share >= 0.5, overload="steady")

    monkeypatch.setattr(study._Hunt, "_evaluated", odd)
    result = capacity(queue(window="20 s", replications=1), tolerance=0.5, workers=1)
    rising = [note for note in result.notes if "rises with the rate" in note]
    assert len(rising) == 1
    assert "from 70.0% at 0.5 to 95.0% at 1 sessions/s" in rising[0]


def test_it_is_a_public_name():
    assert factorysim.capacity is capacity
    assert isinstance(capacity(queue(replications=1), high=0.6, workers=1).window, Window)
