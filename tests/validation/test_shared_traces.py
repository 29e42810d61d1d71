"""Readers on the recorded traces: rows, sums, and figures that others published of them."""

import gzip
from pathlib import Path

import pytest

from factorysim.workload.fswrite import write_fstrace
from factorysim.workload.inspect import summarize
from factorysim.workload.readers.mooncake import write_mooncake
from factorysim.workload.traces import read_trace, trace_meta

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"
MOONCAKE = TRACES / "mooncake_conversation_trace.jsonl.gz"
AZURE = TRACES / "AzureLLMInferenceTrace_conv.csv.gz"


def needs(path: Path):
    return pytest.mark.skipif(not path.exists(), reason=f"{path} is not here")


@needs(MOONCAKE)
def test_mooncake_has_the_published_rows_hits_and_bursts():
    """12,031 rows over 3,537 s; 37.4 % of tokens hit an endless cache; dispersion 2.1."""
    summary = summarize(read_trace(MOONCAKE))
    assert summary.llm_calls == 12_031
    assert summary.duration_s == pytest.approx(3537, abs=0.5)
    assert summary.prompt_tokens.total == 144_793_823
    assert summary.output_tokens.total == 4_122_048
    assert summary.block_hit_share == pytest.approx(0.374, abs=0.0005)
    assert summary.dispersion_10s == pytest.approx(2.1, abs=0.05)
    assert summary.gap_cv == pytest.approx(3.0, abs=0.05)
    assert summary.prompt_tokens.quantiles["p50"] == pytest.approx(6900, abs=50)
    assert summary.output_tokens.quantiles["p90"] == pytest.approx(597, abs=1)


@needs(AZURE)
def test_azure_has_the_published_rows_rate_and_lengths():
    """19,366 rows over 3,502 s, 5.5 a second, CV 1.09, dispersion about 4."""
    summary = summarize(read_trace(AZURE))
    assert summary.llm_calls == 19_366
    assert summary.duration_s == pytest.approx(3502, abs=0.5)
    assert summary.sessions_per_s == pytest.approx(5.5, abs=0.05)
    assert summary.gap_cv == pytest.approx(1.09, abs=0.01)
    assert summary.dispersion_10s == pytest.approx(4.0, abs=0.2)
    assert summary.prompt_tokens.total == 22_361_870
    assert summary.prompt_tokens.quantiles["p50"] == 1020
    assert summary.output_tokens.quantiles["p50"] == 129
    assert summary.output_tokens.quantiles["p90"] == 424


@needs(MOONCAKE)
@pytest.mark.slow
def test_mooncake_comes_back_byte_for_byte_through_fstrace(tmp_path):
    middle, back = tmp_path / "m.jsonl.gz", tmp_path / "b.jsonl"
    write_fstrace(middle, read_trace(MOONCAKE), trace_meta(MOONCAKE, "mooncake"))
    assert list(read_trace(middle)) == list(read_trace(MOONCAKE))
    write_mooncake(back, read_trace(middle))
    assert back.read_bytes() == gzip.decompress(MOONCAKE.read_bytes())


@needs(AZURE)
@pytest.mark.slow
def test_azure_times_survive_fstrace_to_the_tick(tmp_path):
    middle = tmp_path / "a.jsonl"
    write_fstrace(middle, read_trace(AZURE), trace_meta(AZURE, "azure"))
    assert list(read_trace(middle)) == list(read_trace(AZURE))
    ticks = sum(session.at_ns % 100 for session in read_trace(middle))
    assert ticks == 0


@needs(TRACES)
@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("servegen/m-large/chunk-104-trace.csv.gz", "ServeGen"),
        ("agentcgroup_glm_sessions.csv.gz", "AgentCgroup"),
    ],
)
def test_files_that_are_no_traces_are_named(name, named):
    from factorysim.errors import TraceError

    with pytest.raises(TraceError, match=named):
        list(read_trace(TRACES / name))
