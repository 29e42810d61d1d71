"""Calls that are too long: counted against the LLM that would serve them, in one reading."""

import json

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import UserError
from factorysim.run.context import long_calls, repair_notes
from factorysim.run.prepare import rehearse
from factorysim.spec.scenario import ScenarioSpec
from factorysim.spec.stream import StreamSpec
from factorysim.workload import traces

LLMS = {"big": "mistral_small_4", "small": "llama_3_1_8b"}  # 262,144 and 131,072 tokens
SIZES = (5_000, 200_000, 100, 300_000)


@pytest.fixture
def trace(tmp_path):
    """Calls that users set off, of so many prompt tokens; each makes eight."""
    rows = [
        {
            "timestamp": 5 * i,
            "input_length": n,
            "output_length": 8,
            "hash_ids": list(range(-(-n // 512))),
        }
        for i, n in enumerate(SIZES)
    ]
    path = tmp_path / "calls.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def stream(trace, **changes):
    return StreamSpec.model_validate({"llm": "big", "trace": str(trace)} | changes)


def told(given):
    llms = {key: load_catalog().llm(name) for key, name in LLMS.items()}
    return long_calls("all", given, llms, 0)


def test_calls_count_against_the_llm_of_their_step(trace):
    (line,) = told(stream(trace))
    assert line.startswith("streams.all: 1 of 4 calls are longer than the 262,144 tokens")
    (line,) = told(stream(trace, llm_by_step={"user": "small"}))
    assert line.startswith("streams.all: 2 of 4 calls to small are longer than the 131,072 tokens")
    assert "(the longest has 300,008)" in line
    (line,) = told(stream(trace, llm="small", llm_by_step={"user": "big"}))
    assert "1 of 4 calls to big" in line
    (line,) = told(stream(trace, llm_by_step={"tool": "small"}))
    assert "1 of 4 calls to big" in line


def test_a_limit_keeps_the_first_calls_and_faults_behind_it_are_told(trace):
    assert told(stream(trace, limit=3)) == []
    with trace.open("a") as file:
        file.write("{}\n")
    with pytest.raises(UserError, match=r"calls\.jsonl:5"):
        told(stream(trace, limit=3))


def test_a_trace_is_read_once(trace, monkeypatch):
    opened = []
    plain = traces.read_trace
    monkeypatch.setattr(
        traces,
        "read_trace",
        lambda path, *form, **how: opened.append(path) or plain(path, *form, **how),
    )
    warnings = rehearse(
        ScenarioSpec.model_validate(
            {
                "schema": "factorysim.scenario/1",
                "question": "Are calls too long?",
                "topology": {
                    "schema": "factorysim.topology/1",
                    "racks": {"gpu": {"rack": "hgx_h200"}},
                    "fabric": {"kind": "none"},
                },
                "llms": {"big": {"llm": "llama_3_1_8b"}},
                "deployments": {"serve": {"llm": "big", "pool": "gpu", "replicas": 1}},
                "streams": {"all": {"llm": "big", "trace": str(trace)}},
            }
        )
    )
    assert len(warnings) == 1
    assert opened == [trace]


def test_what_is_repaired_is_told(trace):
    with trace.open("a") as file:
        file.write("{}\n")
    with pytest.raises(UserError, match=r"calls\.jsonl:5"):
        told(stream(trace))
    lines = told(stream(trace, repair=True))
    assert lines[0].startswith(f"streams.all: row dropped once: first {trace}:5: timestamp")
    assert len(lines) == 2
    assert repair_notes({"all": stream(trace, repair=True), "b": stream(trace)}) == lines[:1]
