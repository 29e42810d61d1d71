"""Rows of one session are brought together, in memory or through a spool on disk."""

import json

import pytest

from factorysim.errors import TraceError
from factorysim.workload import gather
from factorysim.workload.gather import Gathering, Place, by_session
from factorysim.workload.lines import FaultLog


def rows(*keys):
    return iter([(n, json.dumps({"key": key, "n": n})) for n, key in enumerate(keys, 1)])


def place(row):
    return Place(row.text("key"))


def lines_of(log, *keys):
    return [[line for line, _ in session] for session in by_session(rows(*keys), log, place)]


def test_rows_that_interleave_come_together_in_order(tmp_path):
    log = FaultLog(tmp_path / "a")
    assert lines_of(log, "a", "b", "a", "c", "b", "a") == [[1, 3, 6], [2, 5], [4]]
    assert not log.count


def test_sessions_come_by_their_first_time_and_those_without_one_first():
    with Gathering() as gathering:
        for line, (key, at_ns) in enumerate([("a", 9), ("b", None), ("c", 3), ("a", 1)]):
            gathering.add(line, key, Place(key, at_ns))
        assert [[line for line, _ in rows] for rows in gathering.sessions()] == [[1], [0, 3], [2]]


def test_ties_join_keys_even_those_of_no_row():
    with Gathering() as gathering:
        for line, (key, ties) in enumerate(
            [("a", ("x",)), ("b", ()), ("c", ("y", "x")), ("d", ("b",))]
        ):
            gathering.add(line, key, Place(key, None, ties))
        assert [[line for line, _ in rows] for rows in gathering.sessions()] == [[0, 2], [1, 3]]


def test_a_spool_on_disk_gives_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(gather, "SPOOL_BYTES", 20)
    assert lines_of(FaultLog(tmp_path / "a"), "a", "b", "a") == [[1, 3], [2]]


def test_bad_rows_are_told_and_the_others_go_on(tmp_path):
    log = FaultLog(tmp_path / "a")
    lines = iter([(1, '{"key": "a"}'), (2, "junk"), (3, '{"key": 5}'), (4, '{"key": "a"}')])
    assert [[line for line, _ in rows] for rows in by_session(lines, log, place)] == [[1, 4]]
    assert [fault.where[-2:] for fault in log.faults] == [":2", ":3"]


@pytest.mark.parametrize("limit", ["SESSION_ROWS", "SESSION_BYTES"])
def test_a_session_beyond_bounds_is_told_and_left_out(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(gather, limit, {"SESSION_ROWS": 2, "SESSION_BYTES": 50}[limit])
    log = FaultLog(tmp_path / "a")
    assert lines_of(log, "a", "b", "a", "a") == [[2]]
    assert "a session of 3 rows" in log.faults[0].found


def test_a_full_disk_is_told_with_the_cure(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Gathering, "add", full)
    with pytest.raises(TraceError, match="TMPDIR"):
        lines_of(FaultLog(tmp_path / "a"), "a")
