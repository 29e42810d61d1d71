"""The clock: one order at one instant, for callbacks and for SimPy's own events."""

from __future__ import annotations

import pytest
import simpy

from factorysim.sim.clock import ARRIVAL, COMPLETION, DECISION, TRANSFER, Clock


def test_kinds_go_in_their_order_at_one_instant_whenever_they_were_scheduled():
    clock = Clock()
    seen = []
    for priority in (DECISION, ARRIVAL + 1, COMPLETION + 2, ARRIVAL, TRANSFER, COMPLETION):
        clock.at(5, priority, seen.append, priority)
    clock.run_until(6)
    assert seen == [COMPLETION, COMPLETION + 2, TRANSFER, ARRIVAL, ARRIVAL + 1, DECISION]


def test_what_is_due_at_the_end_waits_and_is_not_lost():
    clock = Clock()
    seen = []
    for at in (3, 7, 9):
        clock.at(at, ARRIVAL, seen.append, at)
    clock.run_until(7)
    assert (seen, clock.now, clock.now_fs, clock.events) == ([3], 7, 7, 1)
    assert sorted(value for _, value in clock.pending()) == [7, 9]
    clock.run_until(10)
    assert (seen, clock.events) == ([3, 7, 9], 3)


def test_events_count_those_that_events_schedule():
    clock = Clock()

    def again(left: int) -> None:
        if left:
            clock.at(clock.now_fs + 1, ARRIVAL, again, left - 1)

    clock.at(0, ARRIVAL, again, 4)
    clock.run_until(100)
    assert clock.events == 5


def test_alone_tells_whether_something_else_is_due_now():
    clock = Clock()
    seen = []
    clock.at(5, ARRIVAL, lambda _: seen.append(clock.alone()))
    clock.at(5, DECISION, lambda _: seen.append(clock.alone()))
    clock.run_until(6)
    assert seen == [False, True]


@pytest.mark.parametrize("run", [lambda env: env.run(until=20), lambda env: env.run_until(20)])
def test_processes_of_simpy_live_in_it(run):
    clock = Clock()
    seen = []

    def process(env):
        yield env.timeout(5)
        seen.append(env.now)
        try:
            yield env.process(failing(env))
        except ValueError:
            seen.append(("caught", env.now))

    def failing(env):
        yield env.timeout(2)
        raise ValueError

    clock.process(process(clock))
    clock.at(6, ARRIVAL, lambda _: seen.append("callback"))
    run(clock)
    assert seen == [5, "callback", ("caught", 7)]
    assert clock.now == 20


def test_what_a_process_raises_and_nobody_catches_comes_out():
    clock = Clock()

    def failing(env):
        yield env.timeout(2)
        raise ValueError("mine")

    clock.process(failing(clock))
    with pytest.raises(ValueError, match="mine"):
        clock.run_until(20)


def test_a_fraction_of_a_femtosecond_is_refused():
    with pytest.raises(TypeError):
        simpy.Timeout(Clock(), 0.5)


def test_an_empty_queue_is_said_in_simpys_words():
    with pytest.raises(simpy.core.EmptySchedule):
        Clock().step()
