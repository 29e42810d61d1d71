"""Modes of replay: what each takes of a recorded session."""

from itertools import islice
from pathlib import Path

import pytest

from factorysim.errors import TraceError
from factorysim.workload.replay import LOOKED_AT, replayed, sped
from factorysim.workload.session import Attempt, GapNode, LlmNode, Session, ToolNode

S = 10**9
PATH = Path("t.jsonl")


def recorded() -> Session:
    """A call, its tool, a join with a sub-agent that has no start of its own, a user, a call."""
    return Session(
        "s0",
        100 * S,
        [
            LlmNode(100, 5),
            ToolNode("shell", cpu_s=0.5, remote_ns=2 * S, after=(0,), delay_ns=S),
            LlmNode(50, 5, after=(0,), delay_ns=3 * S, context=1),
            LlmNode(120, 5, after=(1, 2), delay_ns=4 * S, at_ns=30 * S),
            GapNode(60 * S, after=(3,)),
            GapNode(9 * S, "client", after=(4,)),
            LlmNode(140, 5, after=(5,), at_ns=100 * S),
        ],
    )


def one(mode, session=None):
    [replay] = replayed(iter([session or recorded()]), mode, PATH)
    return replay


@pytest.mark.parametrize("mode", [None, "closed"])
def test_closed_is_what_was_recorded(mode):
    assert one(mode) == recorded()


def test_open_starts_at_the_recorded_instants():
    nodes = one("open").nodes
    calls = [node for node in nodes if isinstance(node, LlmNode)]
    assert [(call.at_ns, call.after, call.delay_ns) for call in calls] == [
        (0, (), 0),
        (None, (0,), 3 * S),
        (30 * S, (), 0),
        (100 * S, (), 0),
    ]
    assert [call.prompt_tokens for call in calls] == [100, 50, 120, 140]


def test_open_keeps_tools_at_their_calls_and_drops_gaps_that_a_start_holds():
    nodes = one("open").nodes
    assert [type(node).__name__ for node in nodes] == [
        "LlmNode",
        "ToolNode",
        "LlmNode",
        "LlmNode",
        "LlmNode",
    ]
    tool = nodes[1]
    assert isinstance(tool, ToolNode)
    assert (tool.after, tool.delay_ns, tool.remote_ns, tool.cpu_s) == ((0,), S, 2 * S, 0.5)


def test_open_keeps_a_gap_that_something_without_a_start_waits_for():
    nodes = [
        LlmNode(10, 1),
        GapNode(S, after=(0,)),
        GapNode(2 * S, after=(1,)),
        LlmNode(20, 1, after=(2,)),
        GapNode(3 * S, after=(3,)),
        LlmNode(30, 1, after=(4,), at_ns=9 * S),
    ]
    opened = one("open", Session("s", 0, nodes)).nodes
    assert [node.after for node in opened] == [(), (0,), (1,), (2,), ()]


def test_open_takes_the_delay_of_a_first_node_for_its_start():
    opened = one("open", Session("s", 0, [LlmNode(10, 1, delay_ns=7)])).nodes[0]
    assert (opened.at_ns, opened.delay_ns) == (7, 0)


def test_think_only_keeps_every_wait_and_takes_tools_off_the_hosts():
    nodes = one("think_only").nodes
    before = recorded().nodes
    assert [node.delay_ns for node in nodes] == [node.delay_ns for node in before]
    assert [node.after for node in nodes] == [node.after for node in before]
    assert (nodes[1].remote_ns, nodes[1].cpu_s) == (2.5 * S, 0.0)
    assert [node for node in nodes if node is not nodes[1]] == [*before[:1], *before[2:]]


def test_think_only_gives_a_tool_all_the_time_that_its_attempts_took():
    failed = (Attempt(3.0, S, 7), Attempt(0.0, 2 * S, 0))
    tool = ToolNode("test", cpu_s=6.0, cores=2.0, remote_ns=S, after=(0,), failed=failed)
    session = Session("s", 0, [LlmNode(10, 1), tool])
    [_, told] = one("think_only", session).nodes
    assert told.failed == (Attempt(0.0, S + 1_500_000_000, 7), Attempt(0.0, 2 * S, 0))
    assert (told.cpu_s, told.remote_ns) == (0.0, 4 * S)
    assert (tool.cpu_s, tool.failed) == (6.0, failed)


def test_think_only_takes_failed_attempts_off_the_hosts_of_a_tool_that_only_waits():
    tool = ToolNode("test", remote_ns=S, after=(0,), failed=(Attempt(3.0, S, 7),))
    [_, told] = one("think_only", Session("s", 0, [LlmNode(10, 1), tool])).nodes
    assert told.failed == (Attempt(0.0, 4 * S, 7),)
    assert (told.cpu_s, told.remote_ns) == (0.0, S)


def test_think_only_is_closed_where_no_work_of_tools_is_told():
    def session():
        return Session("s", 0, [LlmNode(10, 1), ToolNode("t", remote_ns=S, after=(0,))])

    assert one("think_only", session()) == one("closed", session())


def test_a_mode_does_not_change_what_it_was_given():
    for mode in ("open", "think_only"):
        before = recorded()
        nodes = before.nodes
        one(mode, before)
        assert nodes == recorded().nodes


def singles(count):
    return (Session(f"r{i}", i * S, [LlmNode(10, 1)]) for i in range(count))


@pytest.mark.parametrize("mode", ["closed", "think_only"])
def test_a_mode_of_dependencies_is_refused_where_nothing_waits(mode):
    with pytest.raises(TraceError, match=rf"t\.jsonl: mode: found {mode}.*first 3 sess") as bad:
        replayed(singles(3), mode, PATH)
    assert "mode: open" in str(bad.value)
    assert len(list(replayed(singles(3), None, PATH))) == 3
    assert len(list(replayed(singles(3), "open", PATH))) == 3


def test_open_is_refused_where_no_start_was_recorded():
    session = Session("x", 0, [LlmNode(10, 1), LlmNode(20, 1, after=(0,))])
    with pytest.raises(TraceError, match=r"(?s)found x, whose calls wait.*mode: closed"):
        one("open", session)


def test_a_trace_is_looked_at_lazily():
    taken = 0

    def many():
        nonlocal taken
        for session in singles(10_000):
            taken += 1
            yield session

    assert len(list(islice(replayed(many(), "open", PATH), 3))) == 3
    assert taken <= LOOKED_AT + 1


def test_speed_compresses_the_clock_and_keeps_the_pace_of_what_waits():
    closed = sped(one("closed"), 10.0)
    assert closed.at_ns == 10 * S
    assert [node.delay_ns for node in closed.nodes] == [n.delay_ns for n in recorded().nodes]
    opened = sped(one("open"), 10.0)
    starts = [node.at_ns for node in opened.nodes if isinstance(node, LlmNode)]
    assert starts == [0, None, 3 * S, 10 * S]
