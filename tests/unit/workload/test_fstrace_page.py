"""The example of docs/fstrace.md is a trace, and its rules hold in it."""

import json
import re
from pathlib import Path

import pytest

from factorysim.workload.fswrite import write_fstrace
from factorysim.workload.inspect import summarize
from factorysim.workload.readers.fstrace import read_fstrace, read_fstrace_meta

PAGE = Path(__file__).resolve().parents[3] / "docs" / "fstrace.md"


@pytest.fixture
def example(tmp_path):
    [text] = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "example.jsonl"
    path.write_text(text)
    return path


def test_the_example_is_read_and_written_back(example, tmp_path):
    out = tmp_path / "out.jsonl"
    [session] = read_fstrace(example)
    write_fstrace(out, [session], read_fstrace_meta(example))
    assert list(read_fstrace(out)) == [session]
    assert len(out.read_text().splitlines()) == len(example.read_text().splitlines())
    assert [node.after for node in session.nodes] == [(), (0,), (1,), (2,), (3,)]


def test_prompts_repeat_common_blocks(example):
    told = summarize(read_fstrace(example))
    assert told.prefix_share == pytest.approx((640 + 704) / (640 + 740 + 800))
    assert told.hit_share == told.prefix_share
    assert told.ttl_hit_share["1 min"] == pytest.approx(640 / 2180)


def test_the_example_is_valid(example):
    jsonschema = pytest.importorskip("jsonschema")
    from factorysim.workload.fsschema import fstrace_schema

    for line in example.read_text().splitlines():
        jsonschema.validate(json.loads(line), fstrace_schema())
