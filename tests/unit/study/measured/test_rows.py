"""Files of measurements, good and bad."""

import pytest

from factorysim.errors import SpecError
from factorysim.study.measured.rows import Row, read_rows

HEAD = "id,model,hardware,scenario,metric,value,notes\n"


def read(tmp_path, text, name="mine.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_rows(path)


def test_rows_keep_their_line_and_words(tmp_path):
    rows, skipped = read(tmp_path, HEAD + 'a,llm,gpu,server,ttft_ms,12.5,"one, two"\n')
    assert skipped == []
    assert (rows[0].id, rows[0].line, rows[0].value, rows[0].notes) == ("a", 2, 12.5, "one, two")
    assert rows[0].engine == ""


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", 'its value is "", no number'),
        ("fast", 'its value is "fast", no number'),
        ("-3", "its value is -3, expected more than 0"),
        ("nan", "its value is nan, expected more than 0"),
        ("inf", "its value is inf, expected more than 0"),
    ],
)
def test_a_value_that_is_none_is_set_aside(tmp_path, value, reason):
    rows, skipped = read(tmp_path, HEAD + f"a,llm,gpu,server,ttft_ms,{value},\n")
    assert rows == []
    assert skipped[0].reason == reason
    assert skipped[0].line == 2


def test_the_second_row_of_an_id_is_set_aside(tmp_path):
    line = "a,llm,gpu,server,ttft_ms,1,\n"
    rows, skipped = read(tmp_path, HEAD + line + line)
    assert len(rows) == 1
    assert skipped[0].reason == "its id is that of line 2"


def test_more_fields_than_columns_are_set_aside(tmp_path):
    _, skipped = read(tmp_path, HEAD + "a,llm,gpu,server,ttft_ms,1,,,,\n")
    assert skipped[0].reason == "it has more fields than there are columns"


def test_a_row_without_an_id_is_called_by_its_line(tmp_path):
    rows, _ = read(tmp_path, HEAD + ",llm,gpu,server,ttft_ms,1,\n")
    assert rows[0].id == "line 2"


def test_missing_columns_are_told_at_once(tmp_path):
    with pytest.raises(SpecError) as caught:
        read(tmp_path, "id,value\n")
    missing = [fault.key for fault in caught.value.faults]
    assert missing == ["model", "hardware", "scenario", "metric"]
    assert caught.value.faults[0].where.endswith("mine.csv:1")


@pytest.mark.parametrize("text", [b"\xff\xfe\x00rubbish", HEAD + 'a,"unclosed\n', ""])
def test_what_is_no_table_is_refused(tmp_path, text):
    with pytest.raises(SpecError):
        read(tmp_path, text)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(SpecError):
        read_rows(tmp_path)


def test_a_byte_order_mark_does_not_matter(tmp_path):
    rows, _ = read(tmp_path, b"\xef\xbb\xbf" + HEAD.encode() + b"a,llm,gpu,server,ttft_ms,1,\n")
    assert rows[0].id == "a"


def test_what_a_row_was_measured_on_is_one_line():
    row = Row(2, "a", 1.0, model="llm", precision="fp8", hardware="gpu", scenario="server")
    assert row.what == "llm, fp8, gpu, server"
    more = row._replace(n_gpus="8", parallelism="TP8", engine="vLLM", osl="9")
    told = more._replace(concurrency_or_batch="64").what
    assert told == "llm, fp8, 8 x gpu, TP8, vLLM, server 64, ? + 9 tokens"
