"""Repair: what is bad is dropped or mended and counted by kind, and the rest is as it was."""

import gzip
import json

import pytest

from factorysim.errors import TraceError
from factorysim.workload import lines
from factorysim.workload.lines import FaultLog, LineReader, OutOfOrder
from factorysim.workload.repair import KINDS_MOST, Repairs
from factorysim.workload.traces import read_trace

S = 10**9


def row(at_ms: int = 5, **changes) -> str:
    data = {"timestamp": at_ms, "input_length": 600, "output_length": 8, "hash_ids": [3, 4]}
    return json.dumps(data | changes)


def repaired(path, text: str | bytes, trace_format="auto"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    repairs = Repairs()
    sessions = list(read_trace(path, trace_format, repair=repairs))
    return sessions, {(kind.what, kind.first.key, kind.count) for kind in repairs.kinds}, repairs


def test_bad_rows_are_dropped_and_counted_by_what_was_wrong(tmp_path):
    bad = [row(input_length=0, output_length=0), "junk", row(output_length="8"), row()[:-9]]
    text = "\n".join([row(1), *bad, row(2), bad[0], row(3)])
    sessions, kinds, repairs = repaired(tmp_path / "t", text)
    assert [session.at_ns for session in sessions] == [10**6, 2 * 10**6, 3 * 10**6]
    assert kinds == {
        ("row dropped", "input_length", 2),
        ("row dropped", "", 2),
        ("row dropped", "output_length", 1),
    }
    assert repairs.count == 5
    first = repairs.kinds[0]
    assert str(first) == f"row dropped 2 times: first {tmp_path / 't'}:2: input_length: 0"


def test_a_whole_trace_needs_no_repair_and_is_the_same(tmp_path):
    text = "\n".join(row(at) for at in range(5))
    sessions, kinds, _ = repaired(tmp_path / "t", text)
    assert not kinds
    assert sessions == list(read_trace(tmp_path / "t"))


def test_a_late_row_is_held_and_one_far_behind_is_dropped(tmp_path):
    text = "\n".join(row(at) for at in (0, 100_000, 40_000, 39_999, 100_001))
    sessions, kinds, repairs = repaired(tmp_path / "t", text)
    assert [session.at_ns // 10**6 for session in sessions] == [0, 100_000, 100_000, 100_001]
    assert kinds == {("time held", "timestamp", 1), ("late row dropped", "timestamp", 1)}
    assert [kind.first.where for kind in repairs.kinds] == [f"{tmp_path / 't'}:{n}" for n in (3, 4)]


def test_azure_rows_are_repaired_too(tmp_path):
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46.5,374,44"]
    rows += ["2023-11-16 18:15:47.5,374", "2023-11-16 18:15:45.5,12,4"]
    sessions, kinds, _ = repaired(tmp_path / "t", "\n".join(rows))
    assert [session.at_ns for session in sessions] == [0, 0]
    assert kinds == {("row dropped", "", 1), ("time held", "TIMESTAMP", 1)}


def fstrace(*records: dict) -> str:
    meta = {"k": "meta", "schema": "fstrace/1"}
    return "\n".join(json.dumps(record) for record in (meta, *records))


def call(sid: str, name: str, **changes) -> dict:
    return {"k": "llm", "sid": sid, "id": name, "in": 9, "out": 5} | changes


@pytest.mark.parametrize(
    ("bad", "whats"),
    [
        ([call("b", "x", after=["y"]), call("b", "y", after=["x"])], ["session"]),
        ([call("b", "x", after=["none"])], ["session"]),
        ([call("b", "x"), call("b", "x")], ["session"]),
        ([call("b", "x", out=-1), call("b", "y", after=["x"])], ["row", "session"]),
        ([{"k": "session", "sid": "b", "t": -1}, call("b", "x")], ["row", "row"]),
        ([call("a", "again")], ["session"]),
    ],
    ids=["cycle", "unknown parent", "id twice", "bad parent", "bad head", "torn apart"],
)
def test_sessions_that_do_not_hold_together_are_dropped(tmp_path, bad, whats):
    text = fstrace(call("a", "x"), call("q", "x"), *bad, call("z", "x"))
    sessions, _, repairs = repaired(tmp_path / "t", text)
    assert [session.sid for session in sessions] == ["a", "q", "z"]
    assert [kind.what for kind in repairs.kinds] == [f"{what} dropped" for what in whats]
    assert [kind.count for kind in repairs.kinds] == [1] * len(whats)


def test_a_session_goes_on_without_a_bad_record_that_nothing_waits_for(tmp_path):
    text = fstrace(call("a", "x"), call("a", "y", out=True), call("a", "z", after=["x"]))
    [session], kinds, _ = repaired(tmp_path / "t", text)
    assert len(session.nodes) == 2
    assert kinds == {("row dropped", "out", 1)}


def test_weka_sessions_and_files_are_dropped_one_by_one(tmp_path):
    request = {"t": 0, "in": 9, "out": 5}
    good = {"id": "a", "block_size": 64, "hash_id_scope": "local", "requests": [request]}
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(good))
    (folder / "b.json").write_text(json.dumps(good | {"requests": [request | {"in": -1}]}))
    (folder / "c.json").write_text("")
    (folder / "d.json").write_text(json.dumps(good | {"id": "d"}))
    repairs = Repairs()
    assert [one.sid for one in read_trace(folder, repair=repairs)] == ["a", "d"]
    told = [(kind.what, kind.first.key, kind.count) for kind in repairs.kinds]
    assert told == [("session dropped", "requests.0.in", 1), ("file dropped", "", 1)]


def test_what_follows_a_cut_is_told_to_be_unread(tmp_path):
    packed = gzip.compress("\n".join(row(at) for at in range(20_000)).encode())
    sessions, kinds, _ = repaired(tmp_path / "t", packed[: len(packed) // 2])
    assert kinds == {("rest unread", "", 1)}
    assert 5_000 < len(sessions) < 15_000


def test_rows_that_are_too_long_are_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "ROW_BYTES", 1000)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 700)
    text = "\n".join([row(1), "x" * 5000, row(2), "y" * 1200, row(3), "z" * 5000])
    sessions, kinds, repairs = repaired(tmp_path / "t", text, "mooncake")
    assert [session.at_ns // 10**6 for session in sessions] == [1, 2, 3]
    assert kinds == {("row dropped", "", 3)}
    assert repairs.kinds[0].first.where.endswith(":2")


def test_a_bomb_is_refused_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "FREE_BYTES", 100_000)
    packed = gzip.compress(b"\n".join([row(1).encode()] * 20_000))
    with pytest.raises(TraceError, match="expands more than 200 times"):
        repaired(tmp_path / "t", packed)


def test_where_nothing_is_left_the_trace_is_refused(tmp_path):
    with pytest.raises(TraceError, match=r"nothing that could be kept \(row dropped 3 times"):
        repaired(tmp_path / "t", "junk\n" * 3, "mooncake")
    with pytest.raises(TraceError, match="no rows"):
        repaired(tmp_path / "t", "\n", "mooncake")


def test_kinds_are_bounded_whatever_the_keys():
    from factorysim.errors import Fault

    repairs = Repairs()
    for n in range(5 * KINDS_MOST):
        repairs.note("row dropped", Fault("t:1", "k" * (n + 1), "x", "y"))
    assert len(repairs.kinds) == KINDS_MOST + 1
    assert repairs.count == 5 * KINDS_MOST


def test_a_reader_s_own_word_on_order_is_not_counted_twice(tmp_path):
    log = FaultLog(tmp_path, Repairs())
    log.add(3, OutOfOrder("t", "1 s below 2 s", "rows in order"))
    assert log.repair is not None
    assert log.repair.count == 0
    LineReader(tmp_path, log)


def weka_row(sid, prompt=70):
    request = {"t": 0, "type": "n", "model": "m", "in": prompt, "out": 2, "hash_ids": [1]}
    return json.dumps(
        {"id": sid, "block_size": 64, "hash_id_scope": "local", "requests": [request]}
    )


def test_what_a_bomb_hides_behind_a_bad_row_of_a_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("factorysim.workload.lines.FREE_BYTES", 2**20)
    blanks = "\n" * 2**22
    text = f"{weka_row('b1')}\n{weka_row('b2', -5)}\n{blanks}{weka_row('b3')}\n"
    (tmp_path / "a.jsonl").write_text(weka_row("a"))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text.encode(), 9))
    repairs = Repairs()
    assert [one.sid for one in read_trace(tmp_path, "weka", repair=repairs)] == ["a", "b1"]
    assert [kind.what for kind in repairs.kinds] == ["session dropped", "rest unread"]
    assert "expands" in repairs.kinds[1].first.found


def test_an_id_that_another_file_has_is_dropped_and_counted(tmp_path):
    (tmp_path / "a.jsonl").write_text(f"{weka_row('a')}\n{weka_row('b')}")
    (tmp_path / "b.json").write_text(weka_row("a", 99))
    repairs = Repairs()
    kept = list(read_trace(tmp_path, "weka", repair=repairs))
    assert [(one.sid, one.nodes[0].prompt_tokens) for one in kept] == [("a", 70), ("b", 70)]
    assert [(kind.what, kind.first.key) for kind in repairs.kinds] == [("session dropped", "id")]
    with pytest.raises(TraceError, match=r"b\.json:1: id: found 'a' again"):
        list(read_trace(tmp_path, "weka"))


def test_blocks_of_blank_lines_are_passed_over_and_counted(tmp_path):
    path = tmp_path / "t"
    path.write_text("\n" * 600_000 + "here\n" + " \n" * 300_000 + "and there")
    with LineReader(path, FaultLog(path)) as reader:
        assert len(list(reader.blocks())) < 4
    with LineReader(path, FaultLog(path)) as reader:
        assert list(reader) == [(600_001, "here"), (900_002, "and there")]
