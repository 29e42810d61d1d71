"""Rows of JSON that cost more than they look."""

import json

import pytest

from factorysim.errors import TraceError
from factorysim.workload import rows
from factorysim.workload.lines import BadRow
from factorysim.workload.rows import parse_object
from factorysim.workload.traces import read_trace


@pytest.mark.parametrize("value", ["[]", "{}", "1.5", '"aa"'])
def test_a_row_of_millions_of_small_values_is_refused_before_they_are_made(monkeypatch, value):
    monkeypatch.setattr(rows._DECODER, "decode", lambda _: pytest.fail("it was read"))
    text = '{"a": [' + f"{value}," * 6_000_000 + "0]}"
    with pytest.raises(BadRow) as caught:
        parse_object(text)
    assert "whose values would take" in caught.value.problems[0].found


def test_the_longest_row_of_a_session_fits():
    ids = json.dumps(list(range(1_000_000, 8_000_000)))
    assert 60 * 2**20 < len(ids) < 64 * 2**20
    rows.weigh(f'{{"hash_ids": {ids}}}')


@pytest.mark.parametrize("depth", [100, 970, 20_000])
def test_spans_nested_without_end_are_refused_as_a_row(tmp_path, depth):
    path = tmp_path / "t.json"
    nested = "[" * depth + "]" * depth
    path.write_text(f'{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{"x": {nested}}}]}}]}}]}}')
    with pytest.raises(TraceError, match=r"t\.json:1"):
        list(read_trace(path, "otel"))
