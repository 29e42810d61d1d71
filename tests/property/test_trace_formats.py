"""Of every format: damaged files are refused or read, and what is read holds together."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.errors import TraceError
from factorysim.workload.detect import detect
from factorysim.workload.fswrite import write_fstrace
from factorysim.workload.readers.fsrecords import Meta
from factorysim.workload.session import GapNode, LlmNode, ToolNode
from factorysim.workload.traces import read_trace
from tests.unit.workload.readers.samples import (
    SAMPLES,
    chat,
    otlp,
    request,
    rows,
    span,
    tool,
    tracelab,
    turn,
)

ODD = st.sampled_from(
    [
        *(None, True, -1, 0, 1, 2**70, 1.5, 1e300),
        *("", "x", "7", "\u2028", "a" * 2000),
        *([], {}, [[1]], [{}]),
    ]
)


def places(value, path=()):
    """Yield the path of every value inside of a JSON value."""
    yield path
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield from places(value[key], (*path, key))


def put(value, path, new):
    """Replace the value at a path."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def damaged(draw, text: str) -> str:
    """Damage a row of a text: a value of another kind, a cut, or a row twice or left out."""
    lines = text.splitlines()
    place = draw(st.integers(0, len(lines) - 1))
    how = draw(st.sampled_from(["value", "value", "value", "cut", "twice", "gone"]))
    line = lines[place]
    if how == "value" and line.startswith("{"):
        row = json.loads(line)
        path = draw(st.sampled_from(list(places(row))[1:]))
        line = json.dumps(put(row, path, draw(ODD)))
    elif how == "value":
        cells = line.split(",")
        cells[draw(st.integers(0, len(cells) - 1))] = str(draw(ODD))
        line = ",".join(cells)
    elif how == "cut":
        line = line[: draw(st.integers(0, len(line)))]
    lines[place : place + 1] = {"twice": [line, line], "gone": []}.get(how, [line])
    return "\n".join(lines)


def check(sessions):
    """Hold sessions to what everything after the readers relies on."""
    assert [session.at_ns for session in sessions] == sorted(s.at_ns for s in sessions)
    for session in sessions:
        assert session.nodes
        assert session.at_ns >= 0
        for place, node in enumerate(session.nodes):
            assert all(0 <= other < place for other in node.after)
            assert node.delay_ns >= 0
            if isinstance(node, LlmNode):
                assert node.prompt_tokens >= 1
                assert node.output_tokens >= 1
                assert 0 <= node.prefix_tokens <= node.prompt_tokens
                assert node.at_ns is None or node.at_ns >= 0
                blocks = sum(count for _, count in node.hashes)
                assert blocks <= -(-node.prompt_tokens // (node.block_tokens or 1))
            elif isinstance(node, ToolNode):
                assert node.remote_ns >= 0
                assert node.cpu_s >= 0


def hold_told(error: TraceError, expected: str = ""):
    """Hold an error to what a user needs."""
    assert error.faults
    assert all(fault.where and fault.found and fault.expected for fault in error.faults)
    assert all(expected in fault.expected for fault in error.faults)


def read(text: str, name: str):
    """Read a text as a trace, check it, and check that fstrace/1 keeps it."""
    with TemporaryDirectory() as folder:
        path, copy = Path(folder, "a"), Path(folder, "b")
        path.write_text(text)
        sessions = list(read_trace(path, name))
        check(sessions)
        write_fstrace(copy, sessions, Meta("a", name))
        assert list(read_trace(copy, "fstrace")) == sessions
        return sessions


@pytest.mark.parametrize("name", SAMPLES)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_damaged_files_are_refused_or_hold_together(name, data):
    text = damaged(data.draw, SAMPLES[name].text)
    try:
        read(text, name)
    except TraceError as error:
        hold_told(error)


@pytest.mark.parametrize("name", SAMPLES)
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_damaged_files_are_told_or_refused(name, data):
    with TemporaryDirectory() as folder:
        path = Path(folder, "a")
        path.write_text(damaged(data.draw, SAMPLES[name].text))
        try:
            detect(path)
        except TraceError as error:
            hold_told(error)


TOKENS = st.integers(1, 5000)
TIMED = st.tuples(st.integers(0, 40), st.integers(0, 9), st.booleans())
SIDS = st.sampled_from("abc")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(SIDS, TOKENS, TOKENS, st.integers(0, 99)), min_size=1, max_size=30))
def test_new_tokens_are_conserved(given_rows):
    """The last prompt of a session is all that was new and all that was answered before it."""
    text = rows(*(turn(sid, new, out, [], delay=ms) for sid, new, out, ms in given_rows))
    sessions = read(text, "aiperf_delta")
    for session in sessions:
        mine = [row for row in given_rows if row[0] == session.sid]
        last = session.nodes[-1]
        whole = sum(new + out for _, new, out, _ in mine)
        assert last.prompt_tokens + last.output_tokens == whole
        assert [node.delay_ns for node in session.nodes] == [ms * 10**6 for *_, ms in mine]


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 25))
def test_agentic_rows_of_any_dag_keep_their_edges_and_tokens(data, count):
    made = []
    for n in range(count):
        wait_ms = data.draw(st.integers(0, 3))
        waits = data.draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else set()
        prompt = data.draw(TOKENS)
        made.append(
            request(
                f"r{n}", data.draw(SIDS), prompt, range(-(-prompt // 64)),
                wait_for=[f"r{other}" for other in waits], tool_wait_ms=wait_ms,
                **({} if waits else {"timestamp": n}),
            )
        )  # fmt: skip
    order = data.draw(st.permutations(made))
    try:
        sessions = read(rows(*order), "agentic_mooncake")
    except TraceError as error:
        hold_told(error, "one size")  # prompts too short to tell
        return
    edges = set()
    for session in sessions:
        ids = session.src["fstrace"]["ids"]
        for name, node in zip(ids, session.nodes, strict=True):
            for other in node.after:
                edges.add((ids[other].split("/")[0], name.split("/")[0]))
    edges = {(a, b) for a, b in edges if a != b}
    assert edges == {(w, row["request_id"]) for row in made for w in row["wait_for"]}
    calls = [node for s in sessions for node in s.nodes if isinstance(node, LlmNode)]
    assert sorted(node.prompt_tokens for node in calls) == sorted(r["input_length"] for r in made)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 25))
def test_chats_of_any_tree_are_sessions_by_their_roots(data, count):
    made, roots = [], []
    for n in range(count):
        parent = data.draw(st.integers(-1, n - 1))
        roots.append(n if parent < 0 else roots[parent])
        made.append(chat(n, parent, n + 1, 40, [1, 2, n + 3]))
    sessions = read(rows(*data.draw(st.permutations(made))), "bailian")
    assert len(sessions) == len(set(roots))
    for session in sessions:
        pauses = [node for node in session.nodes if isinstance(node, GapNode)]
        assert len(pauses) == len(session.nodes) // 2
        contexts = {node.context for node in session.nodes if isinstance(node, LlmNode)}
        assert contexts == set(range(len(contexts)))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 9), st.booleans()), min_size=1, max_size=12
    )
)
def test_spans_replay_at_their_recorded_times(given_spans):
    """With services as recorded, the DAG of delays gives each span the begin it had."""
    spans = [
        span(f"s{n}", "root", "chat" if call else "execute_tool", begin, begin + lasted,
             **({"input": 5, "output": 2} if call else {"tool": "t"}))
        for n, (begin, lasted, call) in enumerate(given_spans)
    ]  # fmt: skip
    [session] = read(rows(otlp(*spans, span("root", "", "invoke_agent", 0, 60))), "otel")
    kept = session.src["fstrace"]["nodes"]
    ends = []
    for place, node in enumerate(session.nodes):
        free = max((ends[other] for other in node.after), default=0)
        begin = free + node.delay_ns if node.after else node.at_ns or 0
        assert begin == (node.at_ns or 0)
        ends.append(begin + kept[f"n{place}"]["obs"]["dur"])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(TOKENS, st.integers(0, 40), st.integers(0, 900)), min_size=1, max_size=9))
def test_rounds_keep_their_tokens_tools_and_order(given_rounds):
    made = [
        tracelab(
            n, prompt, prompt // 2, f"{5 * n:02d}.000", tools=[tool(0, ms, None)] * (chars % 3)
        )
        for n, (prompt, chars, ms) in enumerate(given_rounds)
    ]
    [session] = read(rows(*made[::-1]), "tracelab")
    calls = [node for node in session.nodes if isinstance(node, LlmNode)]
    assert [node.prompt_tokens for node in calls] == [prompt for prompt, _, _ in given_rounds]
    tools = [node.remote_ns for node in session.nodes if isinstance(node, ToolNode)]
    assert tools == [ms * 10**6 for _, chars, ms in given_rounds for _ in range(chars % 3)]
