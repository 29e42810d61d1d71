"""Reading of a trace that is refused ends early; one that is repaired is read to its end."""

import pytest

from factorysim.errors import TraceError
from factorysim.workload.lines import FAULTS_MOST, LineReader
from factorysim.workload.repair import Repairs
from factorysim.workload.traces import read_trace

ROWS = 5 * FAULTS_MOST
META = '{"k": "meta", "schema": "fstrace/1"}\n'
HEADS = {
    "fstrace": META,
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n",
    "vidur": "arrived_at,num_prefill_tokens,num_decode_tokens\n",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n",
}
JSONL = (
    *("mooncake", "weka", "tracelab", "aiperf", "aiperf_delta", "agentic_mooncake"),
    *("dynamo_agent", "bailian", "copilot", "llmservingsim", "servegen_offline"),
)


@pytest.fixture
def lines_read(monkeypatch):
    """Count the lines that come out of the reader."""
    read = []
    texts = LineReader.texts

    def counted(self, number, block):
        for line in texts(self, number, block):
            read.append(line[0])
            yield line

    monkeypatch.setattr(LineReader, "texts", counted)
    return read


@pytest.mark.parametrize("known", [*HEADS, *JSONL])
def test_a_trace_full_of_faults_is_not_read_on(tmp_path, known, lines_read):
    path = tmp_path / "bad"
    path.write_text(HEADS.get(known, "") + '{"x": 1}\n' * ROWS)
    with pytest.raises(TraceError) as caught:
        list(read_trace(path, known))
    *shown, last = caught.value.faults
    assert len(shown) == 20
    assert len(lines_read) <= FAULTS_MOST + 2  # a header; every row has a fault
    assert last.where == f"{path}:{lines_read[-1]}"
    assert "over 1,000 faults" in last.found
    assert "reading stopped there" in last.found
    assert "more faults" not in last.found  # nobody knows how many


def test_up_to_the_most_faults_are_all_counted(tmp_path):
    path = tmp_path / "bad"
    path.write_text("junk\n" * FAULTS_MOST)
    with pytest.raises(TraceError) as caught:
        list(read_trace(path, "mooncake"))
    assert caught.value.faults[-1].found == f"{FAULTS_MOST - 20:,} more faults"


def test_faults_of_sessions_end_the_reading_too(tmp_path):
    """Each row is good alone; its session waits for what is not there."""
    row = '{"k":"llm","sid":"s%d","id":"a","t":0,"after":["b"],"in":5,"out":5}\n'
    path = tmp_path / "bad"
    path.write_text(META + "".join(row % number for number in range(ROWS)))
    with pytest.raises(TraceError) as caught:
        list(read_trace(path, "fstrace"))
    assert "reading stopped there" in caught.value.faults[-1].found


def test_repair_reads_on_and_counts_all(tmp_path):
    good = '{"timestamp": 5, "input_length": 600, "output_length": 8}\n'
    path = tmp_path / "bad"
    path.write_text("junk\n" * ROWS + good)
    repairs = Repairs()
    assert len(list(read_trace(path, "mooncake", repair=repairs))) == 1
    assert repairs.count == ROWS
