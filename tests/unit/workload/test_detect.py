"""Formats are told from content; what is not read is named, never guessed."""

import gzip

import pytest

from factorysim.errors import TraceError
from factorysim.workload.detect import detect_format


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
        ('{"chat_id": 1, "timestamp": 1, "input_length": 2}', "Qwen-Bailian"),
        ('{"round_index": 0}', "TraceLab"),
        ('{"id": "a", "requests": []}', "id"),
        ("Timestamp,Model,Request tokens,Response tokens,Total tokens", "BurstGPT"),
        ("arrived_at,num_prefill_tokens,num_decode_tokens", "Vidur"),
        ('{"a": 1}', "'a'"),
        ("hello", "'hello'"),
        ("[1]", "[1]"),
        ("", "no rows"),
    ],
)
def test_other_formats_are_named_and_refused(tmp_path, text, named):
    with pytest.raises(TraceError) as caught:
        detect_format(write(tmp_path, text))
    assert named in caught.value.faults[0].found


def test_a_cut_off_first_row_is_told_as_such(tmp_path):
    with pytest.raises(TraceError, match="broken JSON"):
        detect_format(write(tmp_path, '{"timestamp": 1, "inp'))
