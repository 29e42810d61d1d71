"""Sandboxes: starts, sharing, memory, warm pools, time-outs, and whom nobody lets wait for ever."""

from __future__ import annotations

import pytest

from factorysim.sim.sandboxes import Holders, SandboxPool
from tests.unit.sim.box_builders import Boxes, FixedStarts, host, sandbox, tool_plan


def test_the_first_tool_waits_for_the_start_and_the_next_does_not():
    boxes = Boxes(tool_plan(sandbox()))
    first = boxes.add(0.0, 1, session=5)
    boxes.add(3.0, 2, session=5)
    assert boxes.run() == {1: 2.0, 2: 4.0}
    assert first.owner.served == 2


def test_tools_of_one_start_share_it():
    boxes = Boxes(tool_plan(sandbox()))
    for number in range(3):
        boxes.add(0.2 * number, number, session=5)
    assert boxes.run() == {0: 2.0, 1: 2.0, 2: 2.0}
    assert boxes.pools[0].begun == 1


def test_a_session_stays_on_the_host_of_its_sandbox():
    """The emptier host is the other one's, but the sandbox is here."""
    boxes = Boxes(tool_plan(sandbox(), host(), host()))
    jobs = [boxes.add(0.0, 1, session=1), boxes.add(0.1, 2, session=2)]
    later = boxes.add(5.0, 3, session=1)
    boxes.run()
    assert [job.host for job in jobs] == [0, 1]
    assert later.host == jobs[0].host


def test_whoever_finds_no_room_waits_in_line_until_a_session_ends():
    boxes = Boxes(tool_plan(sandbox()))  # room for 2 beside the burst: (10 - 4) // 3
    for session in range(4):
        boxes.add(0.1 * session, session, session)
    boxes.over(8.0, session=1)
    boxes.over(9.0, session=0)
    assert boxes.run() == {0: 2.0, 1: 2.1, 2: 10.0, 3: 11.0}
    assert [box.session for box in boxes.in_line] == [2, 3]
    assert [(session, why) for _, session, why, _ in boxes.ended] == [
        (1, "given_back"),
        (0, "given_back"),
    ]


def test_each_call_may_have_a_sandbox_of_its_own():
    boxes = Boxes(tool_plan(sandbox("call")))
    boxes.add(0.0, 1, session=5)
    boxes.add(3.0, 2, session=5)
    assert boxes.run() == {1: 2.0, 2: 5.0}
    assert [why for _, _, why, _ in boxes.ended] == ["used", "used"]


def test_sub_agents_have_their_own_and_give_them_back_when_they_are_done():
    boxes = Boxes(tool_plan(sandbox("agent"), host(memory=20)))
    jobs = [boxes.add(0.0, number, session=5, context=number) for number in range(3)]
    boxes.at(4.0, lambda: boxes.holders.agent_over(5, 2))
    boxes.at(5.0, lambda: boxes.holders.agent_over(5, 1))
    boxes.add(6.0, 7, session=5)
    assert boxes.run() == {0: 2.0, 1: 2.0, 2: 2.0, 7: 7.0}
    assert len({id(job.owner) for job in jobs}) == 3
    assert [(number, at) for number, _, _, at in boxes.ended] == [(2, 4.0), (1, 5.0)]


def test_a_warm_sandbox_is_taken_at_once_and_replaced_at_the_price_of_its_start():
    boxes = Boxes(tool_plan(sandbox(warm=1), host(cores=1)))
    first = boxes.add(0.0, 1, session=1)
    boxes.add(0.5, 2, session=2, cpu_s=0.25)  # the next one is being started: cold
    done = boxes.run()
    assert first.owner.warm
    # Two on one core: the tool of 1 s and the start that replaces the sandbox.
    assert done[1] > 1.5
    assert boxes.pools[0].begun == 4  # two kept ready, of which one was taken, and two asked for
    assert boxes.ended[0][2] == "taken"


def test_a_replacement_goes_to_whoever_waits():
    boxes = Boxes(tool_plan(sandbox(warm=1), host(memory=10)))
    boxes.add(0.0, 1, session=1)  # takes the warm one; the host's last room is its replacement's
    waits = boxes.add(0.1, 2, session=2)
    assert boxes.run() == {1: 1.0, 2: 2.0}  # the replacement is ready at 1.0
    assert waits.owner.warm


def test_an_idle_sandbox_times_out_and_the_next_tool_starts_another():
    boxes = Boxes(tool_plan(sandbox(idle_s=2.0)))
    boxes.add(0.0, 1, session=5)
    boxes.add(3.5, 2, session=5)  # idle since 2.0: in time
    boxes.add(7.0, 3, session=5)  # idle since 4.5: too late
    assert boxes.run() == {1: 2.0, 2: 4.5, 3: 9.0}
    assert [(why, at) for _, _, why, at in boxes.ended] == [("timed_out", 6.5), ("timed_out", 11.0)]


@pytest.mark.parametrize("held", [True, False])
def test_a_gap_gives_a_sandbox_back_or_not(held):
    boxes = Boxes(tool_plan(sandbox(through_gaps=held)))
    boxes.add(0.0, 1, session=5)
    boxes.at(3.0, lambda: boxes.holders.gap(5))
    boxes.add(4.0, 2, session=5)
    assert boxes.run() == {1: 2.0, 2: 5.0 if held else 6.0}


def test_a_sandbox_in_use_outlives_its_session_until_it_is_idle():
    boxes = Boxes(tool_plan(sandbox()))
    boxes.add(0.0, 1, session=5, cpu_s=4.0)
    boxes.over(2.0, session=5)
    assert boxes.run() == {1: 5.0}
    assert boxes.ended == [(0, 5, "given_back", 5.0)]


def test_tools_get_the_memory_that_sandboxes_leave_them():
    """Two sandboxes of 3 of 10 bytes, and tools of 3 each: one at a time."""
    boxes = Boxes(tool_plan(sandbox()))
    for number in range(2):
        boxes.add(0.0, number, session=number, memory=3)
    assert boxes.run() == {0: 2.0, 1: 3.0}


def test_a_tool_larger_than_what_is_left_is_rejected():
    boxes = Boxes(tool_plan(sandbox()))
    job = boxes.add(0.0, 1, session=5, memory=5)
    boxes.run()
    assert job.outcome == "rejected"


def test_memory_that_tools_use_keeps_a_sandbox_waiting():
    boxes = Boxes(tool_plan(sandbox(), host(memory=10)))
    boxes.add(0.0, 1, session=1, cpu_s=5.0, memory=4)
    boxes.add(0.0, 2, session=1, cpu_s=5.0, memory=3)
    boxes.add(2.0, 3, session=2)  # 3 of the sandbox + 4 + 3 are all there is, until 6.0
    assert boxes.run()[3] == 8.0


def crossed():
    """Two sessions that hold a sandbox on one deployment each, and ask for the other's."""
    one_box = sandbox(memory=6)
    boxes = Boxes(tool_plan(one_box, name="a"), tool_plan(one_box, name="b"))
    for session in (0, 1):
        boxes.add(0.0, 10 * session, session, pool=session)
        boxes.add(5.0, 10 * session + 1, session, pool=1 - session, last=True)
    return boxes


def test_sessions_that_wait_for_each_others_sandboxes_both_go_on():
    assert crossed().run() == {0: 2.0, 10: 2.0, 11: 7.0, 1: 9.0}


def test_without_the_rule_they_would_wait_for_ever(monkeypatch):
    monkeypatch.setattr(Holders, "waits", lambda self, s: self._waiting.update([s]))
    assert set(crossed().run()) == {0, 10}


def test_a_parent_whose_sub_agents_find_no_room_gives_its_own_back():
    boxes = Boxes(tool_plan(sandbox("agent", memory=6)))
    boxes.add(0.0, 1, session=5)
    boxes.add(4.0, 2, session=5, context=1)
    boxes.add(4.0, 3, session=5, context=2)
    assert boxes.run() == {1: 2.0, 2: 6.0, 3: 8.0}


def test_a_host_whose_memory_is_lost_is_found():
    boxes = Boxes(tool_plan(sandbox()))
    boxes.add(0.0, 1, session=5)
    boxes.run()
    boxes.stations[0].keep_memory(0, 1)
    assert boxes.pools[0].astray() == 1


def test_a_sandbox_that_gets_lost_breaks_littles_law():
    boxes = Boxes(tool_plan(sandbox()))
    boxes.add(0.0, 1, session=5)
    boxes.run()
    boxes.pools[0]._all.clear()
    line = boxes.pools[0].line()
    assert line.area_s != line.sojourn_s
    assert boxes.pools[0].astray()


def test_a_time_out_counts_from_the_last_rest_alone():
    """The first would be due at 5, but a tool came between."""
    boxes = Boxes(tool_plan(sandbox(idle_s=3.0)))
    boxes.add(0.0, 1, session=5)  # idle since 2
    boxes.add(4.0, 2, session=5, cpu_s=0.5)  # idle since 4.5: due at 7.5
    boxes.add(6.0, 3, session=5)
    assert boxes.run() == {1: 2.0, 2: 4.5, 3: 7.0}
    assert [(why, at) for _, _, why, at in boxes.ended] == [("timed_out", 10.0)]


def test_a_start_takes_as_long_whoever_came_before(monkeypatch):
    """Its draw belongs to the session and the tool: common random numbers of two factories."""
    monkeypatch.setattr(FixedStarts, "_start_job", SandboxPool._start_job)
    took = []
    for before in ((), (7, 8, 9)):
        boxes = Boxes(tool_plan(sandbox(memory=1, burst=1), host(cores=100, memory=100)))
        for session in before:
            boxes.add(0.0, session, session)
        boxes.add(0.5, 1, session=1)
        boxes.add(0.5, 2, session=2)
        done = boxes.run()
        took.append((done[1], done[2]))
    assert took[0] == took[1]
    assert took[0][0] != took[0][1]
