"""Capacity on a queue of one server: what it finds, what it says, and why not."""

import json

import pytest

import factorysim
from factorysim.errors import SpecError
from factorysim.metrics.inputs import Window
from factorysim.spec.arrivals import FixedConcurrency
from factorysim.spec.stream import SloSpec
from factorysim.study.attained import Attained, Point, is_inside
from factorysim.study.capacity import OPEN_END, OVERLOAD_BINDS, _binds, _nowhere, as_json, capacity
from tests.unit.run.builders import mm1


def queue(slo=None, arrivals=None, **run):
    """An M/M/1 queue of a mean second with another SLO, or other arrivals."""
    base = mm1(**{"replications": 3, "window": "100 s"} | run)
    update = {} if slo is None else {"slo": slo}
    update |= {} if arrivals is None else {"arrivals": arrivals}
    return base.model_copy(
        update={"streams": {"calls": base.streams["calls"].model_copy(update=update)}}
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("capacity") / "new"
    return capacity(queue(), tolerance=0.1, out=out, workers=1, name="mine"), out


def at(rate, **run):
    """Run the same queue at another rate."""
    from factorysim.run import simulate

    arrivals = queue().streams["calls"].arrivals.model_copy(update={"rate": rate})
    return simulate(queue(arrivals=arrivals, **run), workers=1)


def test_a_run_at_the_capacity_meets_its_slo_and_just_above_it_misses(found):
    result, _ = found
    inside, outside = (at(rate).manifest["slo"]["calls"] for rate in (result.rate, result.outside))
    assert result.outside <= result.rate * 1.1
    assert outside["share"] < inside["attain"] <= inside["share"]
    assert at(result.rate * 1.1).manifest["slo"]["calls"]["share"] < inside["attain"]


def test_every_point_is_what_a_run_of_it_says(found):
    result, _ = found
    for point in (one for one in result.points if one.rate in (result.rate, result.outside)):
        run, seen = at(point.rate), point.streams["calls"]
        table = run.metrics[run.metrics.by == "stream"].sort_values("replication")
        shares = table[table.name == "slo.sessions"]
        assert tuple(shares.value) == seen.shares
        assert shares.n.sum() == seen.sessions
        assert seen.share == run.manifest["slo"]["calls"]["share"]
        assert point.overload == run.manifest["overload"]["state"]
        assert point.saturation == run.summary["saturation"].value
        assert point.bottleneck == run.summary["bottleneck"].value
        late = table[table.name == "slo.missed.ttft"].value
        assert seen.missed["ttft"] == pytest.approx(late.mean())


def test_the_bracket_is_what_the_points_say(found):
    result, _ = found
    assert result.rate == max(one.rate for one in result.points if one.inside)
    assert result.outside == min(one.rate for one in result.points if not one.inside)
    assert [one.rate for one in result.points] == sorted({one.rate for one in result.points})
    for one in result.points:
        seen = one.streams["calls"]
        assert seen.share == pytest.approx(sum(seen.shares) / 3)
        assert one.inside == (seen.share >= 0.5 and one.overload != "overloaded")
    assert result.scale == pytest.approx(result.rate / 0.5)


def test_the_interval_is_that_of_the_points_and_holds_the_bracket(found):
    from factorysim.study.crossing import Asked, Tried, ends

    result, _ = found
    tried = [Tried(p.rate, [Asked(p.streams["calls"].shares, 0.5)]) for p in result.points]
    low, high = ends(tried)
    assert result.ci_low == pytest.approx(min(low, result.rate))
    assert result.ci_high == pytest.approx(max(high, result.outside))
    assert result.ci_low < result.rate < result.outside < result.ci_high
    assert (result.n, result.reason) == (3, None)


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
    assert len(told["points"]) == len(result.points)
    assert {path.name for path in out.iterdir()} == {"capacity.json"}


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_number_of_workers(found):
    assert capacity(queue(), tolerance=0.1, workers=2, name="mine") == found[0]


def test_without_a_tight_slo_overload_binds():
    result = capacity(
        queue(SloSpec(ttft="1000 h"), window="400 s", replications=1), tolerance=0.2, workers=1
    )
    assert result.binds.threshold == "overload"
    assert 0.8 < result.rate < 2.0  # the server takes one a second
    assert result.ci_low is None
    assert "one replication" in result.reason


@pytest.mark.slow
def test_overload_has_no_interval():
    """Sustained by the test over all replications, as `run` has it: no spread between them."""
    result = capacity(queue(SloSpec(ttft="1000 h"), window="400 s"), tolerance=0.2, workers=1)
    assert result.binds.threshold == "overload"
    assert (result.ci_low, result.ci_high, result.reason) == (None, None, OVERLOAD_BINDS)


def test_an_interval_beyond_the_rates_that_may_be_tried_is_not_told():
    result = capacity(queue(replications=2), low=0.7, high=1.2, tolerance=0.8, workers=1)
    assert (result.rate, result.outside) == (0.7, 1.2)
    assert (result.ci_low, result.ci_high, result.reason) == (None, None, OPEN_END)


def test_an_open_end_is_looked_for_a_step_further():
    """The scenario's own rate is just inside, so nothing below it is of the search."""
    base = queue(arrivals=queue().streams["calls"].arrivals.model_copy(update={"rate": 0.8}))
    result = capacity(base, tolerance=0.1, workers=1)
    assert result.points[0].rate == pytest.approx(0.4)
    assert result.ci_low is not None


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
    assert result.outside == 7.0
    assert (result.own_rate, result.rate, result.ci_low, result.ci_high) == (3.0, 6.0, 6.0, 6.0)


def test_where_every_rate_is_inside_there_is_a_reason_and_no_number():
    result = capacity(queue(), high=0.6, low=0.1, workers=1)
    assert result.rate is None
    assert result.binds is None
    assert "SLOs are met at every rate up to 0.6" in result.reason
    assert {one.rate for one in result.points} == {0.5, 0.6}


def test_where_no_rate_is_inside_there_is_a_reason_and_no_number():
    result = capacity(queue(SloSpec(ttft="1 ms", attain=0.99)), low=0.2, workers=1)
    assert result.rate is None
    assert "SLOs are missed at every rate down to 0.2" in result.reason
    assert result.binds.threshold == "ttft"


def test_a_drain_that_is_too_short_decides_nothing():
    """Sojourns of a second and more within windows of two: few calls end, and none misses."""
    short = queue(
        SloSpec(session="50 s", attain=0.9), window="2 s", drain="0 s", kind="terminating"
    )
    result = capacity(short, low=0.4, high=4.0, workers=1)
    assert (result.rate, result.ci_low) == (None, None)
    assert result.reason.startswith("SLOs are met so far at every rate up to 4 sessions/s")
    [note] = [note for note in result.notes if "still under way" in note]
    assert "sure to be met at none of these rates and to be missed at none" in note
    assert {one["judgement"] for one in as_json(result)["points"]} == {"so_far"}


def test_where_no_session_ends_nothing_is_said_to_be_missed():
    never = queue(SloSpec(session="50 s", attain=0.9), window="20 ms", drain="0 s",
                  kind="terminating", replications=2)  # fmt: skip
    result = capacity(never, low=20, high=100, workers=1)
    assert result.rate is None
    assert "it is not decided at every rate down to 20 sessions/s" in result.reason


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
    good, bad = (
        Attained(0.96, 0.96, 0.96, 0.95, 100, (0.96,), {}),
        Attained(0.94, 0.94, 0.94, 0.95, 100, (0.94,), {}),
    )
    unseen = Attained(None, None, None, 0.95, 0, (None,), {})
    assert is_inside([good, good], "steady")
    assert is_inside([good, unseen], None)
    assert is_inside([good], "unsettled")
    assert not is_inside([good, bad], "steady")
    assert not is_inside([good], "overloaded")
    assert not is_inside([unseen], "steady")


def test_an_attainment_that_rises_is_told(monkeypatch):
    """A queue that serves better when it is fuller contradicts what bisection assumes."""
    from factorysim.study import capacity as study

    genuine = study._Hunt._judged

    def odd(self, replications):
        one = genuine(self, replications)
        share = 0.7 if one.scale < 1.5 else 0.95 if one.scale < 3 else 0.1
        seen = {"calls": Attained(share, share, share, 0.5, 1000, (share,), {"ttft": 1 - share})}
        return one._replace(streams=seen, inside=share >= 0.5, overload="steady")

    monkeypatch.setattr(study._Hunt, "_judged", odd)
    result = capacity(queue(window="20 s", replications=1), tolerance=0.5, workers=1)
    rising = [note for note in result.notes if "rises with the rate" in note]
    assert len(rising) == 1
    assert "from 70.0% at 0.5 to 95.0% at 1 sessions/s" in rising[0]


def test_it_is_a_public_name():
    assert factorysim.capacity is capacity
    assert isinstance(capacity(queue(replications=1), high=0.6, workers=1).window, Window)


def seen(rate, share, state="steady", least=None, most=None):
    bounds = (share if least is None else least, share if most is None else most)
    one = Attained(share, *bounds, 0.5, 10, (share,), {"ttft": 0.5})
    return Point(rate, rate, is_inside([one], state), {"calls": one}, state, None, "")


MISSED, NOBODY, OPEN = seen(4.0, 0.1), seen(1.0, None), seen(2.0, None, least=0.0, most=1.0)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([NOBODY, MISSED], "SLOs are missed at every rate down to 0.1"),
        ([seen(4.0, 0.9, "overloaded"), MISSED], "SLOs are missed at every rate"),
        ([NOBODY], "no session came at every rate"),
        ([OPEN, MISSED], "it is not decided at every rate"),
    ],
)
def test_the_reason_counts_no_rate_at_which_nobody_came(points, said):
    assert _nowhere(points, 0.1, "sessions/s").startswith(said)


def test_what_binds_is_not_told_where_nobody_knows():
    scenario = queue()
    assert _binds(OPEN, scenario) is None
    assert _binds(OPEN._replace(overload="overloaded"), scenario).threshold == "overload"
    assert _binds(MISSED, scenario).threshold == "ttft"
