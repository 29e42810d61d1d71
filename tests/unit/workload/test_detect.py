"""Formats are told from content; what is not read is named, never guessed."""

import gzip
from pathlib import Path

import pytest

from factorysim.errors import TraceError
from factorysim.workload.detect import detect, detect_format


def write(tmp_path, text: str):
    path = tmp_path / "trace.bin"
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"k":"meta","schema":"fstrace/1"}\n', "fstrace"),
        ('\n{"timestamp": 1, "input_length": 2}\n', "mooncake"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\r\n", "azure"),
        ('{"id": "a", "block_size": 64, "requests": []}', "weka"),
    ],
)
def test_formats_are_told_from_the_first_row(tmp_path, text, expected):
    assert detect_format(write(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"id": "a", "requests": []}', "id"),
        ('{"play_id": 1, "timestamp": 1}', "version 2"),
        ('{"conversations": []}', "ShareGPT"),
        ("request_id,prompt_size,token_size", "Splitwise"),
        ('{"a": 1}', "'a'"),
        ("hello", "'hello'"),
        ("[1]", "[1]"),
        ("", "no rows"),
        ("0,0,0,,0,0", "ServeGen"),
        ("600,0.5,1.2,Gamma,0.7,2e3", "ServeGen"),
        ('{\n "0": {\n  "input_tokens": "{}"', "ServeGen"),
        ("model,task,attempt,n_llm_calls", "sums of AgentCgroup"),
        ("PK\x03\x04", "a zip archive"),
        ("PAR1", "a Parquet file"),
        ("\0" * 257 + "ustar", "a tar archive"),
    ],
)
def test_other_formats_are_named_and_refused(tmp_path, text, named):
    with pytest.raises(TraceError) as caught:
        detect_format(write(tmp_path, text))
    assert named in caught.value.faults[0].found
    assert caught.value.faults[0].cure or not text


def test_rows_that_fit_several_formats_are_refused_with_the_options(tmp_path):
    row = '{"chat_id": 1, "session_id": "a", "timestamp": 1, "input_length": 2, "output_length": 3}'
    with pytest.raises(TraceError) as caught:
        detect_format(write(tmp_path, row))
    [fault] = caught.value.faults
    assert fault.found == "rows that may be bailian or aiperf"
    assert "--format bailian or --format aiperf" in fault.cure


def test_later_rows_tell_what_the_first_one_lacks(tmp_path):
    first = '{"request_id": "a", "session_id": "s", "timestamp": 1, "input_length": 9}'
    then = '{"request_id": "b", "session_id": "s", "wait_for": ["a"], "input_length": 9}'
    assert detect_format(write(tmp_path, f"{first}\n{then}\n")) == "agentic_mooncake"
    assert detect_format(write(tmp_path, f'{{"cut": \n{first}\n{then}')) == "agentic_mooncake"


def test_a_chosen_format_is_not_looked_for():
    assert detect(Path("nowhere"), "bailian").format == "bailian"


def test_a_folder_of_other_traces_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"round_index": 1}')
    with pytest.raises(TraceError, match="a folder of tracelab traces"):
        detect_format(tmp_path)


def test_a_cut_off_first_row_is_told_as_such(tmp_path):
    with pytest.raises(TraceError, match="broken JSON"):
        detect_format(write(tmp_path, '{"timestamp": 1, "inp'))
