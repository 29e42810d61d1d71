"""Demand times a factor: who is scaled, by what, and that the same sessions come."""

import pytest

from factorysim.errors import SpecError
from factorysim.load import load
from factorysim.run.prepare import build_demands
from factorysim.spec.arrivals import FixedConcurrency
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
    assert scaled["code"].arrivals.rate == pytest.approx(1.5)
    assert scaled["service"].arrivals.rate == pytest.approx(6.0)
    assert scaled["chat"].speed == 3.0
    assert found.unit == PER_SECOND
    chat = found.extents["chat"]
    assert found.rate == pytest.approx(2.5 + chat.sessions / chat.last_s)


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
