"""The JSON Schema and the reader say the same of a line, and all fields come back."""

import json

import pytest

from factorysim.errors import TraceError
from factorysim.workload.fsschema import _FIELDS, fstrace_schema
from factorysim.workload.fswrite import write_fstrace
from factorysim.workload.readers.fstrace import read_fstrace, read_fstrace_meta

jsonschema = pytest.importorskip("jsonschema")
VALID = jsonschema.Draft202012Validator(fstrace_schema())

META = {
    **{"k": "meta", "schema": "fstrace/1", "name": "x", "source": {"repo": "r", "commit": "c"}},
    **{"origin_format": "copilot", "epoch": "2026-06-01T00:00:00Z", "block_size": 64},
    **{"hash_scope": "session", "prompt_mode": "full", "tokenizer": "t"},
    "vocab": {"tool_class": ["shell"]},
}
FULL = [
    {
        **{"k": "session", "sid": "s", "t": 7, "agent": "a", "client": "c", "priority": -2},
        **{"parent": {"sid": "p", "tool": "t9"}, "slo": {"turn": 3}, "src": {"x": [1.5]}},
    },
    {
        **{"k": "llm", "sid": "s", "id": "l1", "n": 3, "t": 9, "delay": 4, "initiator": "agent"},
        **{"in": 200, "out": 50, "reason": 20, "cached": 64, "shared": 10, "hashes": [[5, 2], 9]},
        **{"bs": 64, "context": 1, "role": 2, "step": "planner", "model": "m", "effort": "medium"},
        **{"retain_out": False, "reset": True, "mm": {"images": 1, "image_tokens": 43}},
        **{"finish": "tool_use", "obs": {"ttft": 1, "dur": 5, "status": "ok"}, "src": {"y": 1}},
    },
    {
        **{"k": "tool", "sid": "s", "id": "t1", "t": 90, "call": "l1", "after": ["l1"], "delay": 1},
        **{"cls": "shell", "name": "Bash", "dur": 850_000_000, "cpu_s": 0.4, "cores": 1.0},
        **{"mem": 14e6, "io_r": 1, "io_w": 2, "net": 3, "in_bytes": 168, "out_bytes": 231},
        **{"out_tokens": 60, "status": "failed", "blocking": False, "sandbox": "b1"},
        **{"spawns": ["s2"], "obs": {"t": 0, "worker": "w"}, "src": {"z": None}, "context": 1},
        **{"failed": [{"dur": 9_000_000_000, "cpu_s": 2.5, "backoff": 1_000_000_000}]},
    },
    {"k": "gap", "sid": "s", "id": "g1", "after": ["t1"], "delay": 8, "cls": "user", "src": {}},
]
ODD = [None, True, -1, 0, 1.5, 10**30, "", "x", "x" * 2000, [], [1], ["a"], {}, {"a": 1}, [[1, 0]]]


def write(path, *records: dict):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_field_is_read_and_written_back(tmp_path):
    source = write(tmp_path / "a.jsonl", META, *FULL)
    out = tmp_path / "b.jsonl"
    write_fstrace(out, read_fstrace(source), read_fstrace_meta(source))
    assert lines(out) == [META, *FULL]
    assert list(read_fstrace(out)) == list(read_fstrace(source))
    for line in lines(out):
        VALID.validate(line)


def test_the_full_example_has_every_field():
    for record in (META, *FULL):
        assert set(_FIELDS[record["k"]]) <= set(record)


def takes(path, record: dict) -> bool:
    """Tell whether the reader takes a record alone, or beside what it refers to."""
    others = {
        "meta": [{"k": "llm", "in": 9, "out": 1}],
        "session": [{"k": "llm", "sid": record.get("sid"), "in": 9, "out": 1}],
    }.get(record["k"], [])
    first = [] if record["k"] == "meta" else [META]
    try:
        list(read_fstrace(write(path, *first, record, *others)))
    except TraceError as error:
        return all(
            (fault.found, fault.expected) == ("'l1'", "the id of a record of this session")
            or fault.expected == "the id of a record of this session"
            for fault in error.faults
        )
    return True


CROSSED = {
    # What takes two fields, or the sum of many: the schema cannot say it.
    ("llm", "hashes"): "no more blocks than the prompt has",
    ("tool", "cpu_s"): "at most dur times cores",
    ("tool", "cores"): "at most dur times cores",
    ("tool", "dur"): "at most dur times cores",
    ("llm", "in"): "at least what repeats, and room for the blocks",
    ("llm", "out"): "at least what is reasoning",
    ("llm", "bs"): "no more blocks than the prompt has",
}


@pytest.mark.parametrize("record", [META, *FULL], ids=lambda record: record["k"])
def test_schema_and_reader_refuse_the_same_values(tmp_path, record):
    path = tmp_path / "t"
    assert VALID.is_valid(record)
    assert takes(path, record)
    for key in [*record, "unknown"]:
        if key == "k":
            continue
        for value in ODD:
            changed = record | {key: value}
            schema, reader = VALID.is_valid(changed), takes(path, changed)
            if (record["k"], key) in CROSSED or (value in (10**30,) and key == "src"):
                assert schema or not reader, (key, value)
            else:
                assert schema == reader, (key, value)
    for key in record:
        without = {name: value for name, value in record.items() if name != key}
        if key != "k":
            assert VALID.is_valid(without) == takes(path, without), key


def test_the_command_prints_the_schema():
    from tests.acceptance.program import factorysim

    assert json.loads(factorysim("schema", "fstrace").out) == fstrace_schema()
