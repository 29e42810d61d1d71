"""Whatever is in a file, a reader gives sessions or a TraceError, never anything else."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorysim.errors import TraceError
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.traces import read_trace

MOONCAKE = [
    {"timestamp": 3 * i, "input_length": 600 + i, "output_length": 5, "hash_ids": [0, i]}
    for i in range(4)
]
FSTRACE = [
    {"k": "meta", "schema": "fstrace/1", "block_size": 64},
    {"k": "session", "sid": "s", "t": 0, "agent": "a", "src": {"x": 1}},
    {"k": "llm", "sid": "s", "id": "a", "in": 100, "out": 5, "hashes": [[1, 2]], "cached": 0},
    {"k": "tool", "sid": "s", "id": "t", "call": "a", "cls": "x", "dur": 5, "cpu_s": 1e-9},
    {"k": "gap", "sid": "s", "id": "g", "after": ["t"], "delay": 5},
    {"k": "llm", "sid": "s", "id": "b", "after": ["g"], "in": 9, "out": 5, "t": 9},
    {"k": "llm", "t": 5, "in": 9, "out": 5},
]
AZURE = [
    "TIMESTAMP,ContextTokens,GeneratedTokens",
    "2023-11-16 18:15:46.6805900,374,44",
    "2023-11-16 18:15:47.6805900,12,4",
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["s", "a", "b", "t", "llm", "tool", "meta", "1e400"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
many = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def readable(path, data: bytes, trace_format: str) -> None:
    path.write_bytes(data)
    try:
        sessions = list(read_trace(path, trace_format))
    except TraceError as error:
        told = error
    else:
        told = None
    if told is not None:
        assert told.faults
        assert all(fault.where.startswith(str(path)) for fault in told.faults)
        str(told).encode()
        return
    assert sessions
    assert [s.at_ns for s in sessions] == sorted(s.at_ns for s in sessions)
    for session in sessions:
        for place, node in enumerate(session.nodes):
            assert all(before < place for before in node.after)
            if isinstance(node, LlmNode):
                assert min(node.prompt_tokens, node.output_tokens) >= 1
                assert 0 <= node.prefix_tokens <= node.prompt_tokens


@pytest.mark.parametrize("trace_format", ["auto", "mooncake", "azure", "fstrace"])
@many
@given(data=st.binary(max_size=200))
def test_random_bytes(tmp_path, trace_format, data):
    readable(tmp_path / "t", data, trace_format)
    readable(tmp_path / "t", b"\x1f\x8b" + data, trace_format)


@pytest.mark.parametrize("rows", [MOONCAKE, FSTRACE], ids=["mooncake", "fstrace"])
@many
@given(data=st.data())
def test_rows_with_a_field_changed(tmp_path, rows, data):
    rows = [dict(row) for row in rows]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.sampled_from(rows))
        if data.draw(st.booleans()):
            row[data.draw(st.sampled_from(sorted(row)) if row else st.just("k"))] = data.draw(
                values
            )
        elif row:
            del row[data.draw(st.sampled_from(sorted(row)))]
    text = "\n".join(json.dumps(row) for row in rows)
    readable(tmp_path / "t", text.encode(), "auto")


@pytest.mark.parametrize(
    ("rows", "trace_format"),
    [
        ([json.dumps(row) for row in MOONCAKE], "mooncake"),
        ([json.dumps(row) for row in FSTRACE], "fstrace"),
        (AZURE, "azure"),
    ],
)
@many
@given(data=st.data())
def test_bytes_flipped_cut_or_doubled(tmp_path, rows, trace_format, data):
    raw = bytearray("\n".join(rows).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(raw) - 1)))
        match data.draw(st.integers(0, 3)):
            case 0 if raw:
                raw[place] = data.draw(st.integers(0, 255))
            case 1:
                del raw[place:]
            case 2:
                raw[place:place] = raw[place : place + 30]
            case _:
                del raw[place : place + 3]
    readable(tmp_path / "t", bytes(raw), trace_format)
    packed = bytearray(gzip.compress(bytes(raw)))
    packed[data.draw(st.integers(2, len(packed) - 1))] ^= data.draw(st.integers(0, 255))
    readable(tmp_path / "t", bytes(packed), trace_format)


@many
@given(
    lengths=st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 500)), min_size=1, max_size=8),
    gaps=st.lists(st.integers(0, 10**12), min_size=8, max_size=8),
)
def test_what_is_written_is_read(tmp_path, lengths, gaps):
    from factorysim.workload.fswrite import write_fstrace
    from factorysim.workload.readers.fsrecords import Meta

    now, sessions = 0, []
    for (prompt, output), gap in zip(lengths, gaps, strict=False):
        now += gap
        blocks = ((0, prompt // 512),) if prompt >= 512 else ()
        size = 512 if blocks else None
        call = LlmNode(prompt, output, hashes=blocks, block_tokens=size)
        sessions.append(Session(f"s{len(sessions)}", now, [call]))
    write_fstrace(tmp_path / "t", sessions, Meta("x", block_size=512))
    assert list(read_trace(tmp_path / "t")) == sessions
