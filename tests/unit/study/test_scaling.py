"""Demand times a factor: who is scaled, by what, and that the same sessions come."""

import pytest

from factorysim.errors import SpecError
from factorysim.load import load
from factorysim.run.prepare import build_demands
from factorysim.spec.arrivals import FixedConcurrency
from factorysim.spec.stream import StreamSpec
from factorysim.study import scaling
from factorysim.study.scaling import AT_ONCE, PER_SECOND, Extent, scaling_of
from tests.unit.run.builders import mm1


def closed(**concurrency):
    """Streams of so many sessions at any time."""
    base = mm1()
    stream = base.streams["calls"]
    return base.model_copy(
        update={
            "streams": {
                name: stream.model_copy(
                    update={
                        "arrivals": FixedConcurrency(
                            process="fixed_concurrency", concurrency=number
                        )
                    }
                )
                for name, number in concurrency.items()
            }
        }
    )


@pytest.fixture(scope="module")
def quickstart():
    return load("quickstart")


def test_all_streams_are_scaled_by_one_factor(quickstart):
    found = scaling_of(quickstart, None)
    scaled = found.at(3.0).streams
    assert scaled["code"].arrivals.rate == pytest.approx(3 * 10 / 60)
    assert scaled["service"].arrivals.rate == pytest.approx(6.0)
    assert scaled["chat"].speed == 3.0
    assert found.unit == PER_SECOND
    chat = found.extents["chat"]
    assert found.rate == pytest.approx(10 / 60 + 2.0 + chat.sessions / chat.last_s)


def test_one_stream_can_be_scaled_alone(quickstart):
    found = scaling_of(quickstart, "service")
    scaled = found.at(3.0).streams
    assert found.rate == pytest.approx(2.0)
    assert scaled["service"].arrivals.rate == pytest.approx(6.0)
    assert {name: scaled[name] for name in ("code", "chat")} == {
        name: quickstart.streams[name] for name in ("code", "chat")
    }


def test_the_same_sessions_come_closer_together(quickstart):
    """Common random numbers: at twice the rate, half the instants and the same calls."""
    found = scaling_of(quickstart, None)
    for own, twice in zip(
        build_demands(found.at(1.0), 0), build_demands(found.at(2.0), 0), strict=True
    ):
        for _, a, b in zip(range(50), own.sessions(), twice.sessions(), strict=False):
            assert a.sid == b.sid
            assert b.at_ns == pytest.approx(a.at_ns / 2, abs=1)
            assert len(a.nodes) == len(b.nodes)


def test_concurrency_is_scaled_to_whole_sessions():
    found = scaling_of(closed(a=8, b=2), None)
    assert (found.rate, found.unit, found.units) == (10.0, AT_ONCE, 8)
    streams = found.at(11 / 8).streams
    assert [streams[name].arrivals.concurrency for name in "ab"] == [11, 3]
    assert found.at(1 / 8).streams["b"].arrivals.concurrency == 1


def test_a_trace_that_runs_out_is_told(quickstart):
    found = scaling_of(quickstart, None)
    last_s = found.extents["chat"].last_s
    assert found.run_out(1.0, last_s) == {}
    assert found.run_out(2.0, last_s) == {"chat": last_s / 2}
    alone = scaling_of(quickstart, "service")
    assert alone.run_out(2.0, last_s) == {}


def test_a_limit_runs_out_when_its_last_session_has_come():
    base = mm1()
    limited = base.streams["calls"].model_copy(update={"limit": 40})
    spec = base.model_copy(update={"streams": {"calls": limited}})
    last = list(build_demands(spec, 0)[0].sessions())[-1]
    assert scaling_of(spec, None).extents == {"calls": Extent(40, last.at_ns / 1e9)}


def test_an_unknown_stream_is_refused_with_the_nearest(quickstart):
    with pytest.raises(SpecError, match=r'did you mean "service"\?'):
        scaling_of(quickstart, "servise")


def test_a_trace_of_one_instant_is_refused(quickstart, monkeypatch):
    monkeypatch.setattr(scaling, "_extent", lambda *_: Extent(3, 0.0))
    with pytest.raises(SpecError, match="all come at once"):
        scaling_of(quickstart, "chat")
    assert scaling_of(quickstart, "service").rate == pytest.approx(2.0)


def terminating():
    base = mm1()
    run = base.run.model_copy(update={"kind": "terminating"})
    return base.model_copy(update={"run": run})


STATES = {"calm": {"rate": "1/s", "sojourn": "30 s"}, "busy": {"rate": "4/s", "sojourn": "15 s"}}


@pytest.mark.parametrize(
    ("arrivals", "rate"),
    [
        ({"process": "weibull", "rate": "3/s", "cv": 2.0}, 3.0),
        ({"process": "mmpp", "states": STATES}, 2.0),
        ({"process": "population", "rate": "5/s", "clients": 4}, 5.0),
        ({"process": "gamma", "rate": "3/s", "profile": "servegen_m_large"}, 3.0),
    ],
)
def test_every_process_is_scaled_by_its_rate_and_a_share_of_it(arrivals, rate):
    spec = terminating()
    one = StreamSpec.model_validate(
        {"llm": "l", "agent": "chat", "arrivals": arrivals, "share": "50 %"}
    )
    scaling = scaling_of(spec.model_copy(update={"streams": {"s": one}}), None)
    assert (scaling.rate, scaling.unit) == (pytest.approx(rate / 2), "sessions/s")
    assert scaling.at(3.0).streams["s"].arrivals.rate == pytest.approx(3 * rate)


def test_a_loop_for_ever_does_not_run_out_and_is_as_fast_as_its_trace(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = (
        f'{{"timestamp": {1000 * i}, "input_length": 9, "output_length": 1}}\n' for i in range(11)
    )
    path.write_text("".join(rows))
    for loop, extents in (({}, 0), ({"times": 2}, 1)):
        one = StreamSpec.model_validate({"llm": "l", "trace": str(path), "loop": loop})
        scaling = scaling_of(mm1().model_copy(update={"streams": {"s": one}}), None)
        assert scaling.rate == pytest.approx(1.1, rel=0.05)
        assert len(scaling.extents) == extents
        assert scaling.at(2.0).streams["s"].speed == 2.0


def test_clients_are_scaled_by_their_times(tmp_path):
    (tmp_path / "chunk-1-trace.csv").write_text("0,2,1,Gamma,1,1\n600,0,0,,0,0\n")
    (tmp_path / "chunk-1-dataset.json").write_text(
        '{"0": {"input_tokens": "{9: 1.0}", "output_tokens": "{9: 1.0}"}}'
    )
    one = StreamSpec.model_validate({"llm": "l", "clients": {"folder": str(tmp_path)}})
    spec = terminating().model_copy(update={"streams": {"s": one}})
    scaling = scaling_of(spec, None)
    assert scaling.rate == 1.0
    assert scaling.at(2.5).streams["s"].clients.times == 2.5
