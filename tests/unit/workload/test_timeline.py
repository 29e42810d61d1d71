"""When nodes begin and end if nothing queues."""

from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from factorysim.workload.timeline import timeline

S = 10**9


def laid_out(nodes, src=None, **how):
    return timeline(Session("s", 0, nodes, src=src or {}), nodes, **how)


def test_nodes_follow_the_last_of_what_they_wait_for():
    nodes = [
        LlmNode(9, 1),
        ToolNode("a", remote_ns=3 * S, after=(0,)),
        ToolNode("b", cpu_s=4.0, cores=2.0, remote_ns=3 * S, after=(0,), delay_ns=S),
        GapNode(10 * S, after=(1, 2)),
        LlmNode(9, 1, after=(3,), delay_ns=S),
    ]
    times = laid_out(nodes)
    assert [start // S for start in times.starts] == [0, 0, 1, 6, 17]
    assert [end // S for end in times.ends] == [0, 3, 6, 16, 17]
    assert times.served == [None] * 5


def test_recorded_service_passes_and_a_caller_s_where_there_is_none():
    nodes = [LlmNode(9, 1), LlmNode(9, 1, after=(0,))]
    src = {"fstrace": {"ids": ["x", "y"], "nodes": {"y": {"obs": {"dur": 7}}}}}
    assert laid_out(nodes, src).ends == [0, 7]
    assert laid_out(nodes, src, service=lambda node: 2e-9).ends == [2, 9]


def test_recorded_starts_hold_where_nothing_is_waited_for():
    nodes = [LlmNode(9, 1, at_ns=4), LlmNode(9, 1, at_ns=9), LlmNode(9, 1, after=(0,), at_ns=8)]
    assert laid_out(nodes).starts == [4, 9, 4]
