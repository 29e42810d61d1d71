"""Demand as a closed loop: how sessions are shared, how long it takes, when it is steady."""

from types import SimpleNamespace

import numpy as np
import pytest

from factorysim.errors import SpecError
from factorysim.load import load
from factorysim.run.prepare import prepare
from factorysim.spec.arrivals import FixedConcurrency
from factorysim.store import Labels
from factorysim.study.in_flight import (
    Shares,
    expected_s,
    in_flight,
    look,
    need_of,
    only_stream,
    sample,
    shares_of,
)

QUICK = load("quickstart", overrides=["streams.code.arrivals.rate=30 /min"])


def test_streams_share_by_their_rates_and_each_has_a_session():
    shares = shares_of(only_two())
    assert shares.weights == pytest.approx({"code": 0.5, "service": 2.0})
    assert shares.of(2) == {"code": 1, "service": 1}
    assert shares.of(10) == {"code": 2, "service": 8}
    assert sum(Shares({"a": 1, "b": 1, "c": 1}).of(100).values()) == 100


def only_two():
    streams = {name: QUICK.streams[name] for name in ("code", "service")}
    return QUICK.model_copy(update={"streams": streams})


def fixed(stream, **more):
    arrivals = FixedConcurrency(process="fixed_concurrency", concurrency=4, **more)
    return stream.model_copy(update={"arrivals": arrivals})


def test_numbers_of_sessions_are_not_shared_with_rates():
    streams = only_two().streams
    mixed = QUICK.model_copy(update={"streams": streams | {"code": fixed(streams["code"])}})
    with pytest.raises(SpecError, match="--stream NAME"):
        shares_of(mixed)
    assert shares_of(only_stream(mixed, "code")).weights == {"code": 1.0}


def test_a_stream_that_is_not_there_is_refused():
    with pytest.raises(SpecError, match="it has chat, code, service"):
        only_stream(QUICK, "cod")


def test_a_closed_loop_goes_on_and_keeps_its_users_pause():
    streams = only_two().streams
    code = fixed(streams["code"], think="3 s").model_copy(update={"limit": 9})
    base = QUICK.model_copy(update={"streams": streams | {"code": code}})
    closed = in_flight(base, {"code": 7, "service": 5}).streams
    assert closed["code"].arrivals.think == 3.0
    assert [s.arrivals.concurrency for s in closed.values()] == [7, 5]
    assert closed["code"].limit is None


def test_the_guess_is_of_the_order_of_what_a_session_takes():
    """One call of 512 and 512 tokens alone: `predict` says 3.70 s."""
    prepared = prepare(load("active-path"))
    sampled = sample(prepared, "calls")
    assert (sampled.calls, sampled.output_tokens, sampled.shortest) == (1, 512, 1023)
    assert expected_s(prepared.plan.serve[0], sampled, 1, 1024) == pytest.approx(3.70, rel=0.02)


def test_pauses_of_tools_and_users_count():
    prepared = prepare(QUICK)
    assert sample(prepared, "service").paused_s > 10
    assert sample(prepared, "code").calls > 5


def tables(finished, ttft=None):
    """Sessions of one call each, in order, all of the stream `s`."""
    count = len(finished)
    stream = Labels(np.zeros(count, np.int32), ("s",))
    ends = np.array(finished, float)
    first = np.array([0.5] * count if ttft is None else ttft, float)
    sessions = {"stream": stream, "finished_s": ends}
    calls = {"stream": stream, "session": np.arange(count), "arrived_s": np.zeros(count)}
    return SimpleNamespace(sessions=sessions, calls=calls | {"first_token_s": first})


def test_the_window_is_whole_waves_after_the_start():
    need = need_of(2, 1.0, 20)
    assert (need.look, need.measured, need.behind) == (60, 20, 4)
    seen = look(tables(range(1, need.most + 1)), {"s": need})
    assert (seen.window.start_s, seen.window.end_s) == (4.0, 24.0)
    assert not seen.drifts


def test_a_start_that_is_slow_is_left_out():
    need = need_of(2, 1.0, 20)
    slow = [9.0 if n < 12 else 0.5 + 0.01 * (n % 3) for n in range(need.most)]
    seen = look(tables(range(1, need.most + 1), slow), {"s": need})
    assert seen.window.start_s == 16.0


def test_a_run_that_is_too_short_must_go_on():
    need = need_of(2, 1.0, 20)
    done = need.most // 2
    seen = look(tables([*range(1, done + 1), np.nan, np.nan]), {"s": need})
    assert (seen.window, seen.ran_out) == (None, "")
    assert seen.share == pytest.approx(0.5)
    assert look(tables(range(1, done + 1)), {"s": need}).ran_out == "s"
