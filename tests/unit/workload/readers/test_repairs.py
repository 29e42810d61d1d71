"""Of every format: with repair a bad row is dropped and counted, and the others are read."""

import pytest

from factorysim.workload.repair import Repairs
from factorysim.workload.traces import read_trace
from tests.unit.workload.readers.samples import SAMPLES, chat, request, rows


@pytest.mark.parametrize("name", SAMPLES)
def test_a_bad_row_is_dropped_and_counted(tmp_path, name):
    path = tmp_path / "trace"
    lines = SAMPLES[name].text.splitlines()
    lines.insert(1, '{"broken": ' if lines[0].startswith("{") else "broken")
    path.write_text("\n".join(lines))
    repairs = Repairs()
    sessions = list(read_trace(path, name, repair=repairs))
    assert len(sessions) == SAMPLES[name].sessions
    assert [(kind.what, kind.count) for kind in repairs.kinds] == [("row dropped", 1)]


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        (
            "agentic_mooncake",
            rows(
                request("a", "s", 640, range(10), timestamp=1),
                request("b", "t", 640, range(10), timestamp=2),
                request("c", "t", 640, range(10), wait_for=["gone"]),
            ),
            "s",
        ),
        (
            "bailian",
            rows(chat(1, -1, 5, 16, [1]), chat(2, -1, 9, 16, [1]), chat(3, 2, 6, 16, [1])),
            "1",
        ),
    ],
)
def test_a_session_that_does_not_hold_together_is_dropped_whole(tmp_path, name, text, kept):
    path = tmp_path / "trace"
    path.write_text(text)
    repairs = Repairs()
    assert [session.sid for session in read_trace(path, name, repair=repairs)] == [kept]
    assert [(kind.what, kind.count) for kind in repairs.kinds] == [("session dropped", 1)]
