"""Whether an SLO is met: as ever where all has ended, and never said of what can still turn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.metrics.inputs import Window
from factorysim.metrics.slo import goodput
from factorysim.spec.stream import SloSpec
from tests.unit.metrics.builders import session, tables, values

WINDOW, END_S = Window(0.0, 50.0), 50.0
STREAMS = ("a", "b")
ATTAIN = st.fixed_dictionaries({name: st.sampled_from([0.0, 0.5, 0.9, 1.0]) for name in STREAMS})
ENDED = st.tuples(st.sampled_from(STREAMS), st.sampled_from([1.0, 9.0]), st.just("completed"))
FLYING = st.tuples(st.sampled_from(STREAMS), st.sampled_from([1.0, 9.0]), st.just("censored"))

LATER = {turn_s: st.sampled_from([turn_s, 9.0]) for turn_s in (1.0, 9.0)}
"""The longest turn that one in flight may end with."""


def found(rows, attain):
    slos = {name: SloSpec(turn="5 s", attain=share) for name, share in attain.items()}
    sessions = [
        session(number, stream=stream, turn_max_s=turn_s, outcome=outcome)
        for number, (stream, turn_s, outcome) in enumerate(rows)
    ]
    return goodput(tables(sessions, end_s=END_S), WINDOW, slos)


@settings(deadline=None)
@given(st.lists(ENDED, min_size=1, max_size=12), ATTAIN)
def test_where_all_has_ended_the_share_alone_decides(rows, attain):
    metrics = found(rows, attain)
    shares = {
        one.key: one.value for one in metrics if (one.name, one.by) == ("slo.sessions", "stream")
    }
    met = all(share >= attain[stream] for stream, share in shares.items())
    assert values(metrics)["slo.met"] == met
    for name in ("slo.least", "slo.most"):
        assert values(metrics)[name] == values(metrics)["slo.sessions"]


@settings(deadline=None)
@given(st.lists(ENDED | FLYING, min_size=1, max_size=12), ATTAIN, st.data())
def test_what_is_said_holds_however_those_in_flight_end(rows, attain, data):
    said = values(found(rows, attain)).get("slo.met")
    ends = [
        (stream, turn_s if out == "completed" else data.draw(LATER[turn_s]), "completed")
        for stream, turn_s, out in rows
    ]
    later = values(found(ends, attain))["slo.met"]
    assert said is None or said == later


def test_it_is_withheld_of_one_that_can_still_turn():
    rows = [("a", 1.0, "completed")] * 9 + [("a", 1.0, "censored")]
    assert "slo.met" not in {
        k for k, v in values(found(rows, {"a": 0.95})).items() if v is not None
    }
    assert values(found(rows, {"a": 0.9}))["slo.met"] == pytest.approx(1.0)
