"""Metrics by what they are broken down by, as the table of metrics has them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factorysim.report.broken_down import broken_down, mean

ROWS = [
    ("all", "", "ttft_s.mean", 9.0),
    ("stream", "b", "ttft_s.mean", 1.0),
    ("stream", "a", "ttft_s.mean", 2.0),
    ("stream", "a", "ttft_s.p99", None),
    ("stream", "a", "ttft_s.mean", 4.0),
    ("llm", "a", "ttft_s.mean", 7.0),
]


class Written:
    """A run of which only the place is looked at."""

    def __init__(self, path):
        self.path = path
        by, key, name, value = zip(*ROWS, strict=True)
        words = {"by": by, "key": key, "name": name}
        table = {one: pa.array(column).dictionary_encode() for one, column in words.items()}
        pq.write_table(pa.table(table | {"value": list(value)}), path / "metrics.parquet")


@pytest.fixture
def run(tmp_path):
    return Written(tmp_path)


def test_values_of_one_breakdown_are_those_of_its_rows(run):
    found = broken_down(run, "stream")
    assert found == {"b": {"ttft_s.mean": [1.0]},
                     "a": {"ttft_s.mean": [2.0, 4.0], "ttft_s.p99": []}}  # fmt: skip
    assert list(found) == ["b", "a"], "in the order of the table"
    assert mean(found["a"]["ttft_s.mean"]) == 3.0


def test_the_whole_run_has_no_name(run):
    assert broken_down(run, "all") == {"": {"ttft_s.mean": [9.0]}}
    assert broken_down(run, "tenant") == {}
