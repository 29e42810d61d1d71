"""Formats of traces, as a user meets them: listed, inspected, converted, run."""

import json
from pathlib import Path

import pytest

from factorysim.workload.formats import FORMATS
from tests.acceptance.program import changed, factorysim
from tests.unit.workload.readers.samples import OTEL, SAMPLES, growing_turns

DOCS = Path(__file__).resolve().parents[2] / "docs" / "traces.md"


def test_formats_are_listed_within_a_terminal():
    told = factorysim("trace", "formats")
    assert told.code == 0
    assert all(f"{name} " in told.out for name in FORMATS)
    assert max(len(line) for line in told.out.splitlines()) <= 80
    listed = json.loads(factorysim("trace", "formats", "--json").out)
    assert listed["otel"]["status"] == "experimental"


def test_the_page_has_a_row_for_every_format():
    lines = DOCS.read_text().splitlines()
    for name, info in FORMATS.items():
        [row] = [line for line in lines if line.startswith(f"| `{name}` |")]
        assert row.split(" | ")[2].startswith(info.status)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_inspected_and_converted(tmp_path, name):
    source, copy = tmp_path / "trace.txt", tmp_path / "copy.jsonl.gz"
    source.write_text(SAMPLES[name].text)
    told = factorysim("trace", "inspect", source)
    assert told.code == 0, told.err
    assert ("experimental" in told.out) == (FORMATS[name].status == "experimental")
    as_json = json.loads(factorysim("trace", "inspect", source, "--json").out)
    assert as_json["format"] == name
    assert as_json["llm_calls"] == SAMPLES[name].calls
    assert as_json["tool_calls"] == SAMPLES[name].tools
    assert factorysim("trace", "convert", source, copy).code == 0
    again = json.loads(factorysim("trace", "inspect", copy, "--json").out)
    for key in ("sessions", "llm_calls", "tool_calls", "gaps", "prompt_tokens", "prefix_share"):
        assert again[key] == as_json[key], key


def test_a_production_trace_runs_in_a_scenario(tmp_path):
    (tmp_path / "spans.json").write_text(OTEL)
    text = changed(
        "calls: {prompt_tokens: {mean: 1}, output_tokens: {mean: 1}}", "trace: spans.json"
    )
    text = changed("    arrivals: {process: poisson, rate: 0.5 /s}\n", "", text)
    text = changed("kind: steady_state", "kind: terminating", text)
    text = changed("max_sequences: 1, token_budget: 16", "token_budget: 4096", text)
    text = changed("warmup: 20 s, ", "", text)
    (tmp_path / "s.yaml").write_text(text)
    done = factorysim("run", tmp_path / "s.yaml", "--json", "--out", tmp_path / "r")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["calls.completed"]["value"] == SAMPLES["otel"].calls
    assert told["sessions.completed"]["value"] == SAMPLES["otel"].sessions


def test_a_file_that_rows_do_not_settle_is_refused_with_the_option(tmp_path):
    path = tmp_path / "turns.jsonl"
    path.write_text(growing_turns(3))
    told = factorysim("trace", "inspect", path)
    assert told.code == 2
    assert "--format aiperf or --format aiperf_delta" in told.err
    assert factorysim("trace", "inspect", path, "--format", "aiperf").code == 0
    assert factorysim("trace", "inspect", path, "--format", "nothing").code == 2
