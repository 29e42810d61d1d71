"""An id of a session comes once, in formats whose rows are sessions."""

import json

import pytest

from factorysim.errors import TraceError
from factorysim.workload.repair import Repairs
from factorysim.workload.traces import read_trace
from tests.unit.workload.readers.samples import SAMPLES


@pytest.mark.parametrize(
    ("name", "key"), [("copilot", "session_id"), ("llmservingsim", "session_id")]
)
def test_an_id_that_comes_twice_is_refused_or_dropped(tmp_path, name, key):
    first = next(row for row in SAMPLES[name].text.splitlines() if key in json.loads(row))
    path = tmp_path / "t.jsonl"
    path.write_text(f"{first}\n{first}\n")
    with pytest.raises(TraceError, match=r"t\.jsonl:2: session_id: found .* again"):
        list(read_trace(path, name))
    repairs = Repairs()
    assert len(list(read_trace(path, name, repair=repairs))) == 1
    assert [kind.count for kind in repairs.kinds] == [1]
