"""Formats whose rows wait for each other: agentic Mooncake, Dynamo's events, Bailian's chats."""

import pytest

from factorysim.workload.session import GapNode, LlmNode, ToolNode
from tests.unit.workload.readers.samples import (
    AGENTIC_MOONCAKE,
    BAILIAN,
    BIG,
    DYNAMO_AGENT,
    chat,
    dynamo,
    ended,
    event,
    faults,
    read,
    request,
    rows,
)

MS = 10**6
S = 10**9


def by_name(session):
    """Nodes by the names that the source gives them."""
    carried = session.src["fstrace"]
    names = carried.get("ids", [f"n{place}" for place in range(len(session.nodes))])
    return dict(zip(names, session.nodes, strict=True)), names


def waits(session):
    nodes, names = by_name(session)
    return {name: {names[place] for place in node.after} for name, node in nodes.items()}


def test_agentic_rows_wait_for_rows_and_tools(tmp_path):
    first, other = read(tmp_path, AGENTIC_MOONCAKE, "agentic_mooncake")
    assert (first.sid, first.at_ns, other.sid, other.at_ns) == ("main", 0, "other", S)
    assert waits(first) == {
        "r1": set(),
        "w1": {"r1"},
        "r2/0": {"r1", "w1"},
        "r2/1": {"r1", "w1"},
        "r2/2": {"r2/0", "r2/1"},
        "r2": {"r2/2"},
        "r3/0": {"r2"},
        "r3": {"r3/0"},
    }
    nodes, _ = by_name(first)
    assert (nodes["w1"].context, nodes["w1"].delay_ns, nodes["w1"].initiator) == (
        1,
        5 * MS,
        "agent",
    )
    assert (nodes["r2"].delay_ns, nodes["r2"].at_ns) == (20 * MS, None)
    assert nodes["r2/1"].delay_ns == 50 * MS
    assert nodes["r2"].prefix_tokens == 640
    assert nodes["r3"].prefix_tokens == 300
    assert nodes["r3/0"] == ToolNode("tool", remote_ns=40 * MS, after=nodes["r3/0"].after)
    kept = first.src["fstrace"]["nodes"]
    assert kept["r2"]["src"] == {"timestamp": 3, "tool_wait_ms": 150}
    assert kept["r1"]["src"] == {"timestamp": 1000, "branches": ["w1"]}
    assert kept["r3"]["src"]["prefix_reset"] is True


def test_tools_of_a_row_take_their_union(tmp_path):
    """Dispatch is at the last dependency + delay + tool_wait_ms, the union of the spans."""
    [first, _] = read(tmp_path, AGENTIC_MOONCAKE, "agentic_mooncake")
    nodes, names = by_name(first)
    ended_ns: dict[str, int] = {}
    for name, node in nodes.items():
        begin = max((ended_ns[names[place]] for place in node.after), default=0) + node.delay_ns
        ended_ns[name] = begin + (node.remote_ns if isinstance(node, ToolNode) else 0)
    assert ended_ns["r2"] == ended_ns["w1"] + (20 + 150) * MS


def test_a_branch_without_a_time_follows_the_row_that_names_it(tmp_path):
    text = rows(
        request("r1", "main", 64, range(1), timestamp=1, branches=["w1", "gone"]),
        request("w1", "worker", 640, range(10)),
    )
    [told] = read(tmp_path, text, "agentic_mooncake")
    assert waits(told)["w1"] == {"r1"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (request("b", "s", 640, range(10), wait_for=["zz"]), ":2: wait_for: found 'zz'"),
        (request("b", "s", 640, range(10), wait_for=["b"]), ":2: wait_for: found a cycle"),
        (request("a", "s", 640, range(10)), ":2: found 'a' again (first on line 1)"),
        (request("b", "s", 640, range(10), wait_for="a"), ":2: wait_for"),
        (request("b", "s", 640, range(10), tool_events=[{"tool_class": "x"}]), ":2: tool_events.0"),
        (request("b", "s", 640, range(30), wait_for=["a"]), ":2: hash_ids: found 30 ids"),
        (request("b", "s", -4, range(0)), ":2: input_length"),
    ],
)
def test_bad_agentic_rows_are_told_by_line(tmp_path, row, told):
    first = request("a", "s", 640, range(10), timestamp=5)
    assert faults(tmp_path, rows(first, row), "agentic_mooncake")[0].startswith(told)


def test_a_block_size_that_cannot_be_told_is_refused(tmp_path):
    row = request("a", "s", 100, range(1), timestamp=1)
    [told] = faults(tmp_path, rows(row), "agentic_mooncake")
    assert "lists that fit blocks of 64 or 128 or" in told


def test_events_of_dynamo_become_requests_tools_and_sub_agents(tmp_path):
    [told] = read(tmp_path, DYNAMO_AGENT, "dynamo_agent")
    assert (told.sid, told.agent, told.at_ns) == ("s1", "coder", 0)
    assert waits(told) == {
        "r1": set(),
        "c1100": {"r1"},
        "c1200": {"r1"},
        "w1": {"r1"},
        "r2": {"c1100", "c1200", "w1"},
    }
    nodes, _ = by_name(told)
    assert (nodes["c1100"].delay_ns, nodes["c1200"].delay_ns) == (100 * MS, 200 * MS)
    assert nodes["w1"].context == 1
    assert nodes["r1"].hashes == ((BIG + 5, 2),)
    assert nodes["r2"].prefix_tokens == 128
    assert told.src["dynamo_agent"]["tools_without_end"] == 1
    assert told.src["fstrace"]["nodes"]["c1200"]["status"] == "error"


def test_parents_that_name_each_other_make_no_cycle(tmp_path):
    text = rows(
        dynamo("request_end", 10, "a", ended("r1", 64, [1]), parent_trajectory_id="b"),
        dynamo("request_end", 10, "b", ended("r2", 64, [1]), parent_trajectory_id="a"),
        dynamo("request_end", 20, "b", ended("r3", 64, [1]), parent_trajectory_id="b"),
    )
    [told] = read(tmp_path, text, "dynamo_agent")
    assert len(told.nodes) == 3


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"timestamp": 1}, ":1: event"),
        (dynamo("nap", 1, "a", {}), ":1: event.event_type"),
        (dynamo("request_end", 1, "a", {"request_id": "r"}), ":1: event.request.output_tokens"),
        (dynamo("request_end", 1, "a", ended("r", 64, [1, 2, 3])), ":1: event.request.replay."),
        (dynamo("tool_end", 1, "a", event(5, -3)), ":1: event.tool.duration_ms"),
    ],
)
def test_bad_events_are_told_by_line(tmp_path, row, told):
    assert faults(tmp_path, rows(row), "dynamo_agent")[0].startswith(told)


def test_chats_follow_their_parents(tmp_path):
    first, second, cut = read(tmp_path, BAILIAN, "bailian")
    assert (first.at_ns, second.at_ns, cut.at_ns) == (0, S // 2, round(30.5 * S))
    size = {"block_tokens": 16}
    assert first.nodes == [
        LlmNode(40, 10, hashes=((1, 3),), **size),
        GapNode(round(19.75 * S), after=(0,)),
        LlmNode(60, 10, 32, (1,), 0, round(19.75 * S), hashes=((1, 2), (4, 2)), **size),
        GapNode(round(29.5 * S), after=(0,)),
        LlmNode(60, 10, 0, (3,), 0, round(29.5 * S), hashes=((1, 2), (6, 2)), context=1, **size),
    ]
    assert first.src["bailian"]["waits_with_service"] == 2
    assert cut.src["bailian"]["parents_outside"] == 1
    assert cut.src["fstrace"]["nodes"]["5"]["src"] == {
        "type": "text", "turn": 5, "parent_chat_id": 99,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (chat(2, 1, 3, 16, [1]), ":2: timestamp: found 2 s before its parent"),
        (chat(2, 2, 9, 16, [1]), ":2: parent_chat_id: found a cycle"),
        (chat(1, -1, 9, 16, [1]), ":2: found '1' again"),
        (chat(2, 1, 9, 16, [1, 2]), ":2: hash_ids"),
        (chat(2, 1, 9, 16, [1.5]), ":2: hash_ids"),
        (chat(2, 1, -9, 16, [1]), ":2: timestamp"),
    ],
)
def test_bad_chats_are_told_by_line(tmp_path, row, told):
    text = rows(chat(1, -1, 5, 16, [1]), row)
    assert any(line.startswith(told) for line in faults(tmp_path, text, "bailian"))
