"""Arrivals as users write them: what is refused, and what comes back from a file."""

import pytest
from pydantic import ValidationError

from factorysim.spec.stream import StreamSpec


def stream(**keys):
    return StreamSpec.model_validate({"llm": "l", "agent": "chat"} | keys)


def refused(**keys):
    with pytest.raises(ValidationError) as bad:
        stream(**keys)
    [error] = bad.value.errors()
    told = error.get("ctx", {})
    return told.get("key", ""), told.get("expected", "") + told.get("cure", "") + error["msg"]


RATED = {"process": "poisson", "rate": "2/s"}
HOURS = [1.0] * 24
STATES = {"a": {"rate": "1/s", "sojourn": "1 s"}, "b": {"rate": "2/s", "sojourn": "1 s"}}


@pytest.mark.parametrize(
    ("arrivals", "key", "message"),
    [
        (RATED | {"start": "3 h"}, "start", "profile"),
        (RATED | {"profile": {"hours": [-1.0, *HOURS[1:]]}}, "hours.0", "from 0"),
        (RATED | {"profile": {"hours": [0.0] * 24}}, "hours", "above 0"),
        (RATED | {"profile": {"hours": HOURS, "days": [0.0] * 7}}, "days", "above 0"),
        ({"process": "weibull", "rate": "1/s", "cv": 2.0, "shape": 0.5}, "shape", "one"),
        (
            {"process": "mmpp", "states": STATES | {"c": STATES["a"] | {"to": {"d": 1.0}}}},
            "states.c.to.d",
            "another state: a, b",
        ),
        (
            {"process": "mmpp", "states": {n: s | {"rate": "0/s"} for n, s in STATES.items()}},
            "states",
            "above 0",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(arrivals, key, message):
    found, told = refused(arrivals=arrivals)
    assert found == key
    assert message in told


def test_a_state_that_nothing_leads_to_is_refused():
    states = {
        "a": STATES["a"] | {"to": {"b": 1.0}},
        "b": STATES["b"] | {"to": {"a": 1.0}},
        "c": STATES["a"] | {"to": {"a": 1.0}},
    }
    key, told = refused(arrivals={"process": "mmpp", "states": states})
    assert key == "states.c"
    assert "no share of the time" in told


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        ({"mode": "open", "arrivals": RATED}, "mode", "no trace"),
        ({"loop": {}, "arrivals": RATED}, "loop", "no trace"),
        ({"arrivals": {"process": "fitted"}}, "arrivals.process", "no trace"),
        ({"agent": None, "trace": "t", "block_length": "1 s"}, "block_length", "block_bootstrap"),
        ({"agent": None, "trace": "t", "replicate": "block_bootstrap"}, "block_length", "5 min"),
        (
            {
                "agent": None,
                "trace": "t",
                "replicate": "block_bootstrap",
                "block_length": "1 s",
                "arrivals": RATED,
            },
            "replicate",
            "resample_sessions",
        ),
        (
            {"agent": None, "trace": "t", "loop": {"period": "1 h"}, "arrivals": RATED},
            "loop.period",
            "poisson",
        ),
        (
            {"agent": None, "trace": "t", "mode": "open", "slo": {"turn": "9 s"}},
            "slo.turn",
            "ttft and tpot",
        ),
        ({"agent": None, "clients": {"folder": "f"}, "arrivals": RATED}, "arrivals", "times"),
        ({"clients": {"folder": "f"}}, "", "exactly one"),
    ],
)
def test_replay_and_arrivals_go_together(keys, key, message):
    found, told = refused(**keys)
    assert found == key
    assert message in told


@pytest.mark.parametrize(
    "arrivals",
    [
        RATED | {"profile": "servegen_m_large", "start": "3 h"},
        RATED | {"spikes": {"x": {"at": "1 min", "length": "9 s", "times": 10.0}}},
        {"process": "mmpp", "states": STATES},
        {"process": "population", "rate": "3/s", "clients": 9},
        {"process": "fixed_concurrency", "concurrency": 3, "think": "5 s"},
        {
            "process": "fixed_concurrency",
            "concurrency": 3,
            "think": {"kind": "lognormal", "mean": "5 s", "cv": 2.0},
        },
    ],
)
def test_specs_come_back_from_what_is_written_down(arrivals):
    spec = stream(arrivals=arrivals)
    assert StreamSpec.model_validate(spec.model_dump(mode="json", by_alias=True)) == spec


def test_streams_tell_whether_their_rate_changes():
    assert stream(arrivals=RATED | {"profile": {"hours": HOURS}}).varies
    assert not stream(arrivals=RATED).varies
    assert not stream(arrivals={"process": "mmpp", "states": STATES}).varies
    assert StreamSpec.model_validate({"llm": "l", "clients": {"folder": "f"}}).varies
