"""What holds of every arrival process: order, sameness, and that no rate changes who comes."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.spec.stream import StreamSpec
from factorysim.workload.arrivals import arrival_times
from factorysim.workload.demand import build_demand

SPIKES = {"one": {"at": "20 s", "length": "10 s", "times": 5.0}}
PROFILE = {"hours": [1.0, 3.0] * 12, "between": "linear"}
STATES = {"calm": {"rate": "1/s", "sojourn": "30 s"}, "busy": {"rate": "9/s", "sojourn": "5 s"}}
PROCESSES = {
    "poisson": {"process": "poisson", "rate": "2/s"},
    "gamma": {"process": "gamma", "rate": "2/s", "cv": 3.0},
    "weibull": {"process": "weibull", "rate": "2/s", "shape": 0.6},
    "mmpp": {"process": "mmpp", "states": STATES},
    "population": {"process": "population", "rate": "2/s", "clients": 7, "family": "weibull"},
    "fitted": {"process": "fitted", "family": "gamma", "rate": "2/s", "cv": 1.5},
    "profile": {"process": "gamma", "rate": "2/s", "profile": PROFILE, "start": "9.6 h"},
    "spikes": {"process": "weibull", "rate": "2/s", "spikes": SPIKES},
    "all at once": {
        "process": "mmpp",
        "states": STATES,
        "profile": PROFILE,
        "spikes": SPIKES,
    },
    "crowd with a spike": {
        "process": "population",
        "rate": "2/s",
        "clients": 3,
        "spikes": SPIKES,
        "profile": "servegen_m_large",
    },
}
STEADY = ("poisson", "gamma", "weibull", "population", "fitted")


def arrivals(name):
    # A trace is the only source that takes all of them.
    spec = StreamSpec.model_validate({"llm": "l", "trace": "t", "arrivals": PROCESSES[name]})
    return spec.arrivals


@pytest.mark.parametrize("name", PROCESSES)
def test_instants_are_whole_in_order_and_the_same_again(name):
    seen = list(islice(arrival_times(arrivals(name), 7, 0, "s"), 6000))
    assert all(type(at) is int for at in seen[:9])
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert list(islice(arrival_times(arrivals(name), 7, 0, "s"), 50)) == seen[:50]
    assert list(islice(arrival_times(arrivals(name), 7, 1, "s"), 50)) != seen[:50]


@pytest.mark.parametrize("name", PROCESSES)
@settings(max_examples=10, deadline=None)
@given(st.floats(0.05, 50.0))
def test_more_of_it_comes_sooner_and_by_the_same_draws(name, factor):
    """The n-th session never comes later; of a steady process, at the n-th time over the factor."""
    one = arrivals(name)
    slow = list(islice(arrival_times(one, 7, 0, "s"), 300))
    fast = list(islice(arrival_times(one.scaled(factor), 7, 0, "s"), 300))
    assert one.scaled(factor).rate == pytest.approx(one.rate * factor)
    if factor > 1:
        assert all(b <= a for a, b in zip(slow, fast, strict=True))
    if name in STEADY:
        assert all(abs(b * factor - a) <= factor + 1 for a, b in zip(slow, fast, strict=True))


@pytest.mark.parametrize("name", [name for name in PROCESSES if name != "fitted"])
@settings(max_examples=5, deadline=None)
@given(st.floats(0.1, 10.0), st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_neither_rate_nor_share_changes_who_comes(name, factor, share, other):
    """Session n is one session, whatever else is asked for; a smaller share is part of a larger."""

    def drawn(process, kept):
        spec = StreamSpec.model_validate(
            {"llm": "l", "agent": "chat", "arrivals": process, "share": kept}
        )
        demand = build_demand("s", spec, seed=3, replication=0)
        return {one.sid: (list(one.nodes), one.client) for one in islice(demand.sessions(), 12)}

    one = PROCESSES[name]
    scaled = arrivals(name).scaled(factor).model_dump(mode="json", by_alias=True)
    assert drawn(one, 1.0) == drawn(scaled, 1.0)
    few, many = sorted((share, other))
    some, more = drawn(one, few), drawn(one, many)
    last = max(int(sid.partition("-")[2]) for sid in more)
    for sid, session in some.items():
        assert int(sid.partition("-")[2]) > last or more[sid] == session
