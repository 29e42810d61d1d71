"""The YAML of docs/arrivals.md and docs/replay.md is what a stream takes."""

from itertools import islice

import pytest

from factorysim.spec.stream import StreamSpec
from factorysim.workload.demand import build_demand
from factorysim.yaml_reader import parse_yaml
from tests.acceptance.doc_pages import nested, read_page

ROWS = "".join(
    f'{{"timestamp": {700 * i * i}, "input_length": 99, "output_length": 9}}\n' for i in range(40)
)


def examples():
    """Fragments of streams, as the mark above each says."""
    for page in ("docs/arrivals.md", "docs/replay.md"):
        for block in read_page(page):
            if block.language == "yaml" and block.marks.at.startswith("streams."):
                inside = ".".join(block.marks.at.split(".")[2:])
                yield pytest.param(nested(block.text, inside), id=block.where)


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
