"""Mooncake rows: what they become, and every way in which they are refused."""

import gzip
import json
import os

import pytest

from factorysim.errors import OutputError, TraceError
from factorysim.workload import lines
from factorysim.workload.readers.mooncake import mooncake_line, read_mooncake, write_mooncake
from factorysim.workload.session import LlmNode, Session, ToolNode
from factorysim.workload.traces import read_trace

GOOD = '{"timestamp": 5, "input_length": 600, "output_length": 8, "hash_ids": [3, 4]}'


def row(**changes) -> str:
    data = {"timestamp": 5, "input_length": 600, "output_length": 8, "hash_ids": [3, 4]}
    return json.dumps(data | changes)


def read(tmp_path, content: str | bytes, name="t.jsonl"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_mooncake(path))


def faults(tmp_path, content: str | bytes):
    with pytest.raises(TraceError) as caught:
        read(tmp_path, content)
    return caught.value.faults


def test_a_row_is_a_session_of_one_call_with_its_hashes(tmp_path):
    [session] = read(tmp_path, GOOD)
    assert session.at_ns == 5_000_000
    assert session.nodes == [LlmNode(600, 8, hashes=((3, 2),), block_tokens=512)]


def test_gzip_is_known_by_content_not_by_name(tmp_path):
    assert read(tmp_path, gzip.compress(GOOD.encode())) == read(tmp_path, GOOD, "t.jsonl.gz")


def test_carriage_returns_blank_lines_byte_order_mark_and_no_last_newline(tmp_path):
    text = "\ufeff" + GOOD + "\r\n\r\n" + GOOD
    assert len(read(tmp_path, text)) == 2


def test_decimal_milliseconds_are_exact(tmp_path):
    [session] = read(tmp_path, GOOD.replace("5,", "0.1,", 1))
    assert session.at_ns == 100_000


def test_other_fields_are_kept_in_src_and_written_back(tmp_path):
    [session] = read(tmp_path, row(model="m", extra={"a": [1.5]}))
    assert session.src == {"model": "m", "extra": {"a": [1.5]}}
    assert json.loads(mooncake_line(session)) == json.loads(row(model="m", extra={"a": [1.5]}))


BAD_ROWS = [
    ("junk", "", "broken JSON"),
    (GOOD[:-20], "", "broken JSON"),
    ("[1, 2]", "", "a list of 2"),
    ('{"timestamp": 1, "timestamp": 1, "input_length": 1, "output_length": 1}', "", "a key twice"),
    (row(input_length=0, hash_ids=[]), "input_length", "0"),
    (row(output_length=-3), "output_length", "-3"),
    (row(output_length=2.5), "output_length", "2.5"),
    (row(input_length=True), "input_length", "true"),
    (row(input_length="600"), "input_length", "'600'"),
    (row(input_length=None), "input_length", "nothing"),
    (row(input_length=10**400), "input_length", "1000"),
    (row(input_length=1).replace("1,", "1" * 10_000 + ",", 1), "", "broken JSON"),
    ('{"timestamp": 1e400, "input_length": 9, "output_length": 1}', "timestamp", "1E+400"),
    ('{"timestamp": NaN, "input_length": 9, "output_length": 1}', "", "NaN"),
    ('{"timestamp": -Infinity, "input_length": 9, "output_length": 1}', "", "-Infinity"),
    (row(timestamp=-1), "timestamp", "-1"),
    (row(timestamp=10**30), "timestamp", "1000"),
    (row(hash_ids=[3, 4, 5]), "hash_ids", "3 ids"),
    (row(input_length=1100, hash_ids=[3]), "hash_ids", "1 ids"),
    (row(hash_ids=[3, -4]), "hash_ids", "something else"),
    (row(hash_ids="34"), "hash_ids", "something else"),
    (row(delay=3), "delay", "closed-loop"),
    ("[" * 100_000, "", "broken JSON"),
    (row(extra=[0]).replace("[0]", "[" * 500 + "]" * 500), "extra", "levels"),
    (row(extra=0).replace(": 0}", ": 1e999}"), "extra", "beyond bounds"),
]


@pytest.mark.parametrize(("bad", "key", "found"), BAD_ROWS)
def test_a_bad_row_is_refused_at_its_line(tmp_path, bad, key, found):
    told = faults(tmp_path, f"{GOOD}\n{bad}\n{GOOD}\n")
    assert [fault.where for fault in told] == [f"{tmp_path / 't.jsonl'}:2"]
    assert told[0].key == key
    assert found in told[0].found
    assert told[0].expected


def test_zero_tokens_come_with_a_cure(tmp_path):
    [fault] = faults(tmp_path, row(output_length=0))
    assert "drop the row" in fault.cure


def test_all_problems_of_a_row_and_all_rows_are_told(tmp_path):
    told = faults(tmp_path, f"{row(input_length=0, output_length=0, hash_ids=[])}\njunk\n")
    assert [fault.key for fault in told] == ["input_length", "output_length", ""]


def test_a_missing_column_is_found_to_be_nothing(tmp_path):
    [fault] = faults(tmp_path, '{"timestamp": 1, "input_length": 4}')
    assert (fault.key, fault.found) == ("output_length", "nothing")


def test_unsorted_times_are_refused_with_a_cure_but_ties_are_not(tmp_path):
    rows = [row(timestamp=t) for t in (1, 9, 9, 4, 9)]
    [fault] = faults(tmp_path, "\n".join(rows))
    assert fault.where.endswith(":4")
    assert "sort the rows by timestamp" in fault.cure


def test_twenty_faults_are_shown_and_the_others_counted(tmp_path):
    told = faults(tmp_path, "junk\n" * 57)
    assert len(told) == 21
    assert told[-1].found == "37 more faults"


def test_rows_before_the_first_fault_are_yielded_and_none_after(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(f"{GOOD}\njunk\n{GOOD}\n")
    seen = []
    with pytest.raises(TraceError):
        seen.extend(iter_all(path, seen))
    assert len(seen) == 1


def iter_all(path, seen):
    for session in read_mooncake(path):
        seen.append(session)
    return ()


@pytest.mark.parametrize("content", [b"", b"\n\n  \n", gzip.compress(b"", mtime=0)])
def test_an_empty_trace_is_refused(tmp_path, content):
    [fault] = faults(tmp_path, content)
    assert fault.found == "no rows"


def test_truncated_and_damaged_gzip_is_refused(tmp_path):
    packed = gzip.compress("".join(row(timestamp=t) + "\n" for t in range(3000)).encode())
    told = faults(tmp_path, packed[: len(packed) // 2])
    assert "inside its gzip stream" in told[-1].found
    damaged = packed[:200] + b"\xff" * 40 + packed[240:]
    assert any(
        "gzip" in fault.found or "JSON" in fault.found for fault in faults(tmp_path, damaged)
    )


def test_text_that_is_not_utf_8_is_refused(tmp_path):
    [fault] = faults(tmp_path, GOOD.encode() + b'\n{"\xe9": 1}\n')
    assert fault.where.endswith(":2")
    assert "0xe9" in fault.found


def test_a_row_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "ROW_BYTES", 1000)
    told = faults(tmp_path, GOOD + "\n" + "x" * 5000)
    assert "over 1,000 bytes" in told[0].found


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "FREE_BYTES", 100_000)
    told = faults(tmp_path, gzip.compress(b" " * 999 + b"\n" + (b" " * 999 + b"\n") * 5000))
    assert "expands more than 200 times" in told[0].found


def test_missing_files_folders_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, found in [("none", "no such file"), (".", "a folder"), ("pipe", "a folder")]:
        with pytest.raises(TraceError, match=found):
            list(read_trace(tmp_path / name, "mooncake"))


def test_sessions_that_mooncake_cannot_say_are_not_written(tmp_path):
    out = tmp_path / "out.jsonl"
    two = Session("s", 0, [LlmNode(1, 1), ToolNode("shell", after=(0,))])
    other = Session("s", 0, [LlmNode(1, 1, hashes=((1, 1),), block_tokens=16)])
    for session in (two, other):
        with pytest.raises(TraceError):
            write_mooncake(out, [Session("r", 0, [LlmNode(1, 1)]), session])
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_told_and_nothing_is_left(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        write_mooncake(tmp_path / "no" / "out.jsonl", [])


def test_written_gzip_has_the_same_bytes_at_any_time_and_name(tmp_path):
    sessions = [Session("r", 10**6 * i, [LlmNode(600, 8)]) for i in range(5)]
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        assert write_mooncake(tmp_path / name, sessions) == 5
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert sum(1 for _ in read_trace(tmp_path / "a.jsonl.gz")) == 5
