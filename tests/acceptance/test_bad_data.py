"""Bad traces, profiles, agents and catalogs are told by their line, with the cure."""

import gzip
import json
import os
from pathlib import Path

import pytest

from factorysim.resources import resource_root
from tests.acceptance.program import SMALL, changed
from tests.acceptance.refusal import ARRIVALS, DEMAND, LAW, ROWS, refused, refused_run, row, write

pytestmark = pytest.mark.usefixtures("folder")


# Traces


AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,374,44\n"
META = '{"k": "meta", "schema": "fstrace/1", "name": "x"}\n'


def node(name, *after):
    record = {"k": "llm", "sid": "s", "id": name, "in": 9, "out": 9, "after": list(after)}
    return json.dumps(record) + "\n"


TRACES = {
    "empty": ("t.jsonl", "", None, "no rows"),
    "blank": ("t.jsonl", "\n\n", None, "no rows"),
    "cut off": ("t.jsonl", ROWS[:-20], 50, "cut off"),
    "unsorted": ("t.jsonl", ROWS + row(3, 9, 9), 51, "sort the rows"),
    "no prompt": ("t.jsonl", ROWS + row(90_000, 0, 9), 51, "drop the row"),
    "no output": ("t.jsonl", ROWS + row(90_000, 9, 0), 51, "drop the row"),
    "negative": ("t.jsonl", ROWS + row(90_000, -9, 9), 51, "input_length"),
    "absurd": ("t.jsonl", ROWS + row(90_000, 9, 10**18), 51, "from 1 to"),
    "in the far future": ("t.jsonl", ROWS + row(10**30, 9, 9), 51, "timestamp"),
    "NaN": ("t.jsonl", ROWS + row(float("nan"), 9, 9), 51, "NaN"),
    "not UTF-8": ("t.jsonl", ROWS.encode() + b"\xff\n", 51, "not UTF-8"),
    "gzip cut off": ("t.jsonl.gz", gzip.compress(ROWS.encode())[:-40], 38, "cut off"),
    "gzip of nothing": ("t.jsonl.gz", b"\x1f\x8b" + b"?" * 100, 1, "broken gzip"),
    "gzip bomb": ("t.jsonl.gz", gzip.compress(bytes(50_000_000)), 1, "shorter rows"),
    "strange": ("t.jsonl", '{"a": 1}\n', 1, "`factorysim trace formats`"),
    "Azure without a time": ("t.csv", AZURE + "yesterday,1,1\n", 3, "a UTC time"),
    "Azure cut off": ("t.csv", AZURE + "2023-11-16 18:17:04,1\n", 3, "cut off"),
    "a cycle": ("t.jsonl", META + node("a", "b") + node("b", "a"), 2, "a cycle"),
    "after nobody": ("t.jsonl", META + node("a") + node("b", "c"), 3, "'c'"),
}


@pytest.mark.parametrize(("name", "content", "line", "words"), TRACES.values(), ids=TRACES)
@pytest.mark.parametrize("command", ["inspect", "convert", "run", "validate"])
def test_a_bad_trace_is_told_by_line_and_cure(command, name, content, line, words):
    write(name, content)
    write("case.yaml", changed(DEMAND + ARRIVALS, f"trace: {name}"))
    commands = {
        "inspect": ("trace", "inspect", name),
        "convert": ("trace", "convert", name, "other.jsonl"),
        "run": ("run", "case.yaml", "--workers", "1"),
        "validate": ("validate", "case.yaml"),
    }
    told = refused(*commands[command])
    assert (f"{name}:{line}: " if line else f"{name}: ") in told
    assert words in told


@pytest.mark.parametrize("name", ["nowhere.jsonl", "pipe", "folder", "/dev/zero"])
def test_what_is_no_trace_file_is_not_opened(name):
    os.mkfifo("pipe")
    Path("folder").mkdir()
    assert name in refused("trace", "inspect", name)
    assert name in refused("trace", "convert", name, "other.jsonl")
    told = refused_run(changed(DEMAND + ARRIVALS, f"trace: {name}"))
    assert f"case.yaml:11: streams.calls.trace: found '{name}'" in told


# Profiles, agents, catalogs


PROFILE = "phase,tokens,context_tokens,step_s\ndecode,1,100,0.010\nprefill,100,0,0.050\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", 1),
        (PROFILE.replace("0.050", "nan"), 3),
        (PROFILE.replace("0.050", "-1"), 3),
        (PROFILE.replace("context_tokens", "context"), 1),
        (PROFILE[:-9], 3),
        (PROFILE + "decode,1,100,0.020\n", 4),
    ],
)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_bad_profile_is_told_by_line(command, content, line):
    write("steps.csv", content)
    write("case.yaml", changed(LAW, "law: {kind: table, file: steps.csv}"))
    assert f"steps.csv:{line}: " in refused(command, "case.yaml")


AGENT = (resource_root("scenarios").parent / "factorysim/catalog/agents/chat.yaml").read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "schema: factorysim.agent/1"),
        (changed("value: 500", "value: -5", AGENT), "a whole number"),
        (changed("60 s,", "60,", AGENT), "a time above zero"),
        (changed("mean: 4.0", "mean: 1e300", AGENT), "a number from 1 to 10000"),
        (changed("calculate: 1.0", "calcluate: 1.0", AGENT), "me.yaml:16: tools.shares.calc"),
        (changed("calculate: 1.0", "calcluate: 1.0", AGENT), 'did you mean "calculate"?'),
        (
            changed(
                "parallel: {shares: {1: 1.0}", "parallel: {shares: {2: 1.0}, tools: [x]", AGENT
            ),
            'me.yaml:17: parallel.tools: found "x", expected classes of tools.shares (calculate)',
        ),
        (changed("turns:", "truns:", AGENT), 'did you mean "turns"?'),
    ],
)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_bad_agent_is_told_in_plain_words(command, content, words):
    write("me.yaml", content)
    write("case.yaml", changed(DEMAND, "agent: me.yaml"))
    told = refused(command, "case.yaml", *(["--workers", "1"] if command == "run" else []))
    assert "me.yaml" in told
    assert words in told
    assert "Input should" not in told


def test_a_bad_catalog_is_told():
    bad = "schema: factorysim.catalog/1\naccelerators:\n  h100_sxm:\n    memory_bandwidth: "
    write("mine.yaml", bad + "{value: -3, unit: TB/s}\n")
    assert "mine.yaml:4: accelerators.h100_sxm" in refused_run(SMALL + "catalog: mine.yaml\n")
