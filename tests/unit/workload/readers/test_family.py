"""Sub-agents that are sessions of their own in a file, as contexts of their parent."""

import json

import pytest

from factorysim.errors import TraceError
from factorysim.workload.fswrite import write_fstrace
from factorysim.workload.readers.fsrecords import Meta
from factorysim.workload.readers.fstrace import read_fstrace
from factorysim.workload.repair import Repairs
from factorysim.workload.session import LlmNode, ToolNode

META = {"k": "meta", "schema": "fstrace/1"}
PARENT = [
    {"k": "session", "sid": "p", "t": 5, "agent": "lead"},
    {"k": "llm", "sid": "p", "id": "l1", "in": 100, "out": 10},
    {"k": "tool", "sid": "p", "id": "t1", "call": "l1", "cls": "subagent", "dur": 900},
    {"k": "llm", "sid": "p", "id": "l2", "after": ["t1"], "in": 200, "out": 10},
]


def child(sid, parent="p", tool="t1"):
    return [
        {
            "k": "session",
            "sid": sid,
            "t": 7,
            "agent": "helper",
            "parent": {"sid": parent, "tool": tool},
        },
        {"k": "llm", "sid": sid, "in": 50, "out": 5},
        {"k": "tool", "sid": sid, "id": "x", "call": "n0", "cls": "shell", "dur": 30},
        {"k": "llm", "sid": sid, "after": ["x"], "in": 70, "out": 5, "cached": 50},
    ]


def read(tmp_path, *records, repair=None):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [META, *records]))
    return list(read_fstrace(path, repair))


def helpers(session):
    """Calls of the first sub-agent."""
    return [n for n in session.nodes if isinstance(n, LlmNode) and n.context == 1]


def follows(session, place):
    """What a node waits for, directly or not."""
    found, todo = set(), list(session.nodes[place].after)
    while todo:
        place = todo.pop()
        if place not in found:
            found.add(place)
            todo += session.nodes[place].after
    return found


def test_a_subagent_runs_while_its_tool_does(tmp_path):
    [session] = read(tmp_path, *PARENT, *child("c"))
    calls = [(i, n) for i, n in enumerate(session.nodes) if isinstance(n, LlmNode)]
    contexts = {n.prompt_tokens: n.context for _, n in calls}
    assert contexts == {100: 0, 200: 0, 50: 1, 70: 1}
    places = {n.prompt_tokens: i for i, n in calls}
    assert session.nodes[places[50]].after == (places[100],)
    assert places[70] in follows(session, places[200])
    tools = {n.cls: n for n in session.nodes if isinstance(n, ToolNode)}
    assert (tools["subagent"].remote_ns, tools["shell"].remote_ns) == (0, 30)
    assert tools["shell"].context == 1
    kept = session.src["sub_sessions"]
    assert kept == [{"sid": "c", "t": 7, "agent": "helper", "parent": {"sid": "p", "tool": "t1"}}]


def test_what_was_brought_together_survives_the_file(tmp_path):
    sessions = read(tmp_path, *PARENT, *child("c"), *child("d", "c", "x"))
    out = tmp_path / "b.jsonl"
    write_fstrace(out, sessions, Meta("n"))
    assert list(read_fstrace(out)) == sessions


def test_nested_and_parallel_subagents_are_all_awaited(tmp_path):
    [session] = read(tmp_path, *PARENT, *child("c"), *child("d"), *child("e", "c", "x"))
    places = {}
    for i, node in enumerate(session.nodes):
        if isinstance(node, LlmNode):
            places[node.context, node.prompt_tokens] = i
    last = follows(session, places[0, 200])
    assert {places[1, 70], places[2, 70], places[3, 70]} <= last
    assert places[3, 70] in follows(session, places[1, 70])
    assert places[2, 50] not in follows(session, places[1, 70])


def test_a_tool_that_does_not_block_keeps_its_time_and_awaits_nobody(tmp_path):
    parent = [row | ({"blocking": False} if row.get("id") == "t1" else {}) for row in PARENT]
    [session] = read(tmp_path, *parent, *child("c"))
    places = {n.prompt_tokens: i for i, n in enumerate(session.nodes) if isinstance(n, LlmNode)}
    assert places[70] not in follows(session, places[200])
    assert next(n for n in session.nodes if isinstance(n, ToolNode)).remote_ns == 900


def test_a_subagent_without_a_tool_begins_with_its_parent(tmp_path):
    alone = child("c")
    alone[0] = alone[0] | {"parent": {"sid": "p"}}
    [session] = read(tmp_path, *PARENT, *alone)
    assert [n.after for n in session.nodes if isinstance(n, LlmNode)].count(()) == 2


def test_a_subagent_keeps_the_start_that_its_record_tells(tmp_path):
    [session] = read(tmp_path, *PARENT, *child("c"))
    starts = {n.prompt_tokens: n.at_ns for n in session.nodes if isinstance(n, LlmNode)}
    assert starts == {100: None, 200: None, 50: 2, 70: None}
    late = child("c")
    late[1] = late[1] | {"delay": 40}
    [session] = read(tmp_path, *PARENT, *late)
    assert [n.at_ns for n in helpers(session)][:1] == [42]
    told = child("c")
    told[1] = told[1] | {"t": 11}
    [session] = read(tmp_path, *PARENT, *told)
    assert [n.at_ns for n in helpers(session)][:1] == [6]


def test_a_start_before_the_parents_is_of_another_clock(tmp_path):
    early = child("c")
    early[0] = early[0] | {"t": 3}
    [session] = read(tmp_path, *PARENT, *early)
    assert [n.at_ns for n in helpers(session)][:1] == [None]


def test_elsewhere_it_is_a_session_of_its_own(tmp_path):
    other = [{"k": "llm", "sid": "o", "t": 6, "in": 9, "out": 1}]
    sessions = read(tmp_path, *PARENT, *other, *child("c"))
    assert [session.sid for session in sessions] == ["p", "o", "c"]
    assert sessions[2].src["fstrace"]["session"] == {"parent": {"sid": "p", "tool": "t1"}}


def test_a_parent_without_a_record_of_its_own_takes_in_too(tmp_path):
    bare = [{**row, "t": 5} if row.get("id") == "l1" else row for row in PARENT[1:]]
    [session] = read(tmp_path, *bare, *child("c"))
    assert (session.sid, session.at_ns, len(session.nodes)) == ("p", 5, 6)


def test_an_unknown_tool_is_refused_or_its_subagent_dropped(tmp_path):
    with pytest.raises(TraceError, match=r"parent\.tool"):
        read(tmp_path, *PARENT, *child("c", tool="t9"))
    repairs = Repairs()
    [session] = read(tmp_path, *PARENT, *child("c", tool="l1"), repair=repairs)
    assert len(session.nodes) == 3
    assert [(kind.what, kind.count) for kind in repairs.kinds] == [("session dropped", 1)]
