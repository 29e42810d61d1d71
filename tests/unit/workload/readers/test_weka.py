"""Weka sessions: what they become, and every way in which they are refused."""

import gzip
import json

import pytest

from factorysim.errors import TraceError
from factorysim.workload import lines
from factorysim.workload.detect import detect_format
from factorysim.workload.fswrite import write_fstrace
from factorysim.workload.inspect import summarize
from factorysim.workload.readers import weka
from factorysim.workload.readers.weka import read_weka, weka_files, weka_line, write_weka
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from factorysim.workload.traces import read_trace, trace_meta

S = 10**9


def request(t: float, prompt: int = 130, **changes) -> dict:
    blocks = list(range(prompt // 64))
    row = {"t": t, "type": "n", "model": "m", "in": prompt, "out": 5, "hash_ids": blocks}
    row |= {"input_types": ["text"], "output_types": ["text"], "stop": "end_turn"}
    row |= {"api_time": 2.0, "think_time": 0.0}
    return row | changes


def brings(t: float, prompt: int, think: float, **changes) -> dict:
    return request(t, prompt, think_time=think, input_types=["tool_result"], **changes)


def session(*requests: dict, **changes) -> str:
    data = {"id": "trace_1", "models": ["m"], "block_size": 64, "hash_id_scope": "local"}
    data |= {"tool_tokens": 10, "system_tokens": 20, "totals": {}, "requests": list(requests)}
    return json.dumps(data | changes)


def read(tmp_path, text: str, name: str = "a.json"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()))
    return list(read_weka(path))


def faults(tmp_path, text: str):
    with pytest.raises(TraceError) as caught:
        read(tmp_path, text)
    return caught.value.faults


def test_requests_follow_tools_and_the_user_by_what_they_bring(tmp_path):
    text = session(request(0), brings(5, 200, 3.0), request(60, 300, think_time=53.0))
    [told] = read(tmp_path, text)
    assert (told.sid, told.at_ns, told.hash_scope) == ("trace_1", 0, "session")
    common = {"block_tokens": 64}
    assert told.nodes == [
        LlmNode(130, 5, hashes=((0, 2),), **common),
        ToolNode("tool", remote_ns=3 * S, after=(0,)),
        LlmNode(200, 5, 128, (1,), 0, 5 * S, "tool", ((0, 3),), **common),
        GapNode(53 * S, after=(2,)),
        LlmNode(300, 5, 192, (3,), 0, 60 * S, "user", ((0, 4),), **common),
    ]


def test_sub_agents_run_side_by_side_between_the_call_and_its_result(tmp_path):
    """A marker stands where its sub-agent ended: two of them began at 2.5 s, after the answer."""

    def helper(ended: float, lasted: float | None, *requests: dict) -> dict:
        marker = {"t": ended, "type": "subagent", "subagent_type": "Explore", "agent_id": "x"}
        milliseconds = None if lasted is None else 1000 * lasted
        return marker | {"duration_ms": milliseconds, "requests": list(requests)}

    first = helper(10.5, 8.0, request(0, 64), brings(5, 128, 3.0))
    other = helper(12.5, None, request(100, 64), brings(106, 128, 4.0, api_time=4.0))
    [told] = read(tmp_path, session(request(0), first, other, brings(13, 200, 11.0)))
    calls = [(place, node) for place, node in enumerate(told.nodes) if isinstance(node, LlmNode)]
    assert [place for place, _ in calls] == [0, 1, 3, 4, 6, 7]
    assert [node.after for _, node in calls] == [(), (0,), (2,), (0,), (5,), (3, 6)]
    assert [node.delay_ns / S for _, node in calls] == [0, 0.5, 0, 0.5, 0, 0.5]
    starts = [node.at_ns and node.at_ns / S for _, node in calls]
    assert starts == [None, 2.5, 7.5, 2.5, 8.5, 13.0]
    initiators = [node.initiator for _, node in calls]
    assert initiators == ["user", "agent", "tool", "agent", "tool", "tool"]
    assert [node.prefix_tokens for _, node in calls] == [0, 64, 64, 64, 64, 128]
    marks = told.src["weka"]["subagents"]
    assert [mark["nodes"] for mark in marks] == [[1, 4], [4, 7]]
    assert [mark["marker"]["subagent_type"] for mark in marks] == ["Explore", "Explore"]
    assert [node.context for _, node in calls] == [0, 1, 1, 2, 2, 0]


def test_sub_agents_start_on_the_clock_of_a_session_that_starts_late(tmp_path):
    marker = {"t": 110.5, "type": "subagent", "duration_ms": 8000}
    helper = marker | {"requests": [request(0, 64), brings(5, 128, 3.0)]}
    [told] = read(tmp_path, session(request(100), helper, brings(113, 200, 11.0)))
    starts = [node.at_ns for node in told.nodes if isinstance(node, LlmNode)]
    assert starts == [None, 2.5 * S, 7.5 * S, 13 * S]


def test_a_sub_agent_before_all_else_starts_when_it_did(tmp_path):
    """Nothing came before it, so the session's clock is the file's."""
    marker = {"t": 8.0, "type": "subagent", "duration_ms": 8000}
    helper = marker | {"requests": [request(0, 64), brings(5, 128, 3.0)]}
    [told] = read(tmp_path, session(helper, brings(13, 200, 11.0)))
    starts = [node.at_ns for node in told.nodes if isinstance(node, LlmNode)]
    assert starts == [None, 5 * S, 13 * S]


def test_what_is_not_recorded_is_counted(tmp_path):
    silent = request(9, 200, out=0)
    for key in ("think_time", "api_time"):
        del silent[key]
    [told] = read(tmp_path, session(request(0), silent))
    assert told.nodes[-1].output_tokens == 1
    assert told.nodes[1] == GapNode(7 * S, after=(0,))
    assert told.src["weka"]["outputs_of_0"] == 1
    assert told.src["weka"]["waits_with_service"] == 1


def test_a_session_that_starts_late_starts_at_its_first_request(tmp_path):
    [told] = read(tmp_path, session(request(7), request(9.5)))
    assert [node.at_ns for node in told.nodes if isinstance(node, LlmNode)] == [None, 2.5 * S]


def test_a_folder_is_one_trace_in_order_of_names(tmp_path):
    for name in ("b", "a"):
        text = session(request(0), id=name)
        (tmp_path / f"{name}.json.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "README.md").write_text("no trace")
    assert detect_format(tmp_path) == "weka"
    assert [told.sid for told in read_trace(tmp_path)] == ["a", "b"]
    summary = summarize(read_trace(tmp_path))
    assert summary.block_hit_share == 0, "ids of one session are not those of another"


def test_a_folder_must_hold_traces_of_its_own(tmp_path):
    with pytest.raises(TraceError, match="a folder without traces"):
        weka_files(tmp_path)
    inside = tmp_path / "folder"
    inside.mkdir()
    (tmp_path / "secret.json").write_text(session(request(0)))
    (inside / "a.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(TraceError, match="a link out of its folder"):
        list(read_weka(inside))
    (inside / "a.json").unlink()
    (inside / "a.json").write_text('{"timestamp": 1, "input_length": 2, "output_length": 1}')
    with pytest.raises(TraceError, match="a folder of mooncake traces"):
        detect_format(inside)


def test_it_comes_back_through_fstrace(tmp_path):
    source, middle = tmp_path / "a.json", tmp_path / "m.jsonl"
    source.write_text(session(request(0), brings(5, 200, 3.0), request(60, 300, think_time=53.0)))
    write_fstrace(middle, read_trace(source), trace_meta(source, "weka"))
    assert list(read_trace(middle)) == list(read_trace(source))


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        (session(request(0, hash_ids=[1])), "requests.0.hash_ids", "1 ids"),
        (session(request(0, hash_ids=[1, 2, 3])), "requests.0.hash_ids", "3 ids"),
        (session(request(0, hash_ids=[1, -2])), "requests.0.hash_ids", "something else"),
        (session(request(0), request(1, **{"in": 0})), "requests.1.in", "0"),
        (session(request(-1)), "requests.0.t", "-1"),
        (session(request(0, think_time="x"), request(1)), "requests.0.think_time", "'x'"),
        (session(request(0), hash_id_scope="mine"), "hash_id_scope", "'mine'"),
        (session(request(0), block_size=0), "block_size", "0"),
        (session(), "requests", "a list of 0"),
        (session({"type": "subagent", "t": 1, "requests": 3}), "requests.0.requests", "3"),
        (
            session({"type": "subagent", "t": 1, "requests": [request(0, hash_ids=[1])]}),
            "requests.0.requests.0.hash_ids",
            "1 ids",
        ),
        (
            session({"type": "subagent", "t": 1, "requests": [{"type": "subagent"}]}),
            "requests.0.requests",
            "a sub-agent of a sub-agent",
        ),
    ],
)
def test_faults_are_named_by_file_line_and_key(tmp_path, text, key, found):
    fault = faults(tmp_path, session(request(0)) + "\n" + text)[0]
    assert fault.where.endswith("a.json:2")
    assert fault.key == key
    assert found in fault.found


def test_all_faults_of_all_files_are_told(tmp_path):
    for name in ("a", "b"):
        bad = [request(0, hash_ids=[1]) for _ in range(15)]
        (tmp_path / f"{name}.json").write_text(session(*bad))
    with pytest.raises(TraceError) as caught:
        list(read_weka(tmp_path))
    assert len(caught.value.faults) == 21
    assert caught.value.faults[-1].found == "10 more faults"


def test_the_number_of_faults_of_a_folder_is_not_that_of_its_files(tmp_path):
    for name in ("a", "b", "c"):
        bad = "\n".join(["junk"] * 57)
        (tmp_path / f"{name}.json").write_text(bad)
    with pytest.raises(TraceError) as caught:
        list(read_weka(tmp_path))
    assert caught.value.faults[-1].found == f"{3 * 57 - 20} more faults"


def test_a_file_that_cannot_be_opened_is_one_fault_of_its_folder(tmp_path):
    (tmp_path / "a.json").mkdir()
    (tmp_path / "b.json").write_text("junk")
    with pytest.raises(TraceError) as caught:
        list(read_weka(tmp_path))
    assert [fault.found.split(" (")[0] for fault in caught.value.faults] == [
        "a folder, device or pipe",
        "broken JSON",
    ]


def test_a_session_beyond_bounds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weka, "BLOCKS_MOST", 3)
    fault = faults(tmp_path, session(request(0), request(1)))[0]
    assert fault.found == "a session beyond bounds"


def test_a_session_longer_than_other_rows_may_be_is_told_and_read(tmp_path):
    path = tmp_path / "long.json"
    path.write_text(session(*(request(n) for n in range(3)), totals={"x": " " * lines.ROW_BYTES}))
    assert detect_format(path) == "weka"
    assert len(list(read_trace(path))) == 1


def test_every_field_of_a_session_is_written_back(tmp_path):
    agent = {"type": "subagent", "t": 9.5, "agent_id": "x", "duration_ms": None, "status": "done"}
    rows = [
        request(0.25, ttft=0.125, extra={"a": [1.5]}),
        agent | {"requests": [request(1, model="", hash_ids=[]), request(2, 9, stop="")]},
        agent | {"requests": []},
        agent,
        brings(12.0625, 200, 3.5, out=0),
        request(99, 640, api_time=7),
    ]
    text = session(*rows, block_size=64, totals={"in": 3}, more=None)
    [told] = read(tmp_path, text)
    assert json.loads(weka_line(told)) == json.loads(text)
    middle = tmp_path / "m.jsonl"
    write_fstrace(middle, [told], trace_meta(tmp_path / "a.json", "weka"))
    [again] = read_trace(middle)
    assert again == told
    assert json.loads(weka_line(again)) == json.loads(text)


def test_sessions_from_elsewhere_are_not_written(tmp_path):
    with pytest.raises(TraceError, match=r"src\.weka"):
        write_weka(tmp_path / "o.jsonl", [Session("s", 0, [LlmNode(9, 1)])])
    assert not list(tmp_path.iterdir())
