"""The YAML of docs/arrivals.md and docs/replay.md is what a stream takes."""

import re
from itertools import islice
from pathlib import Path
from textwrap import dedent

import pytest

from factorysim.spec.stream import StreamSpec
from factorysim.workload.demand import build_demand
from factorysim.yaml_reader import parse_yaml

DOCS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
ROWS = "".join(
    f'{{"timestamp": {700 * i * i}, "input_length": 99, "output_length": 9}}\n' for i in range(40)
)


def examples():
    for page in ("arrivals", "replay"):
        for block in BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8")):
            text = dedent(block)
            if not text.startswith("#"):
                yield pytest.param(text, id=f"{page}: {text.split(chr(10))[0][:40]}")


@pytest.mark.parametrize("text", [*examples()])
def test_examples_are_streams_whose_sessions_come(text, tmp_path):
    keys = parse_yaml(text, "the page").plain()
    assert isinstance(keys, dict)
    if not {"trace", "clients"} & keys.keys():
        keys["agent"] = "chat"
    spec = StreamSpec.model_validate({"llm": "l", **keys})
    if spec.clients is not None:
        return  # the folder is the reader's own
    path = tmp_path / "t.jsonl"
    path.write_text(ROWS)
    if spec.mode is not None:
        spec = spec.model_copy(update={"mode": "open"})  # rows of one call
    demand = build_demand("s", spec, seed=1, replication=0, trace_path=path)
    seen = list(islice(demand.sessions(), 10))
    assert len({one.sid for one in seen}) == 10
