"""Azure rows: exact times, optional columns, and every way in which they are refused."""

import pytest

from factorysim.errors import TraceError
from factorysim.workload.detect import detect_format
from factorysim.workload.readers.azure import azure_epoch, read_azure, write_azure
from factorysim.workload.session import LlmNode, Session

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
GOOD = "2023-11-16 18:15:46.6805900,374,44"


def read(tmp_path, *rows: str, end="\r\n"):
    path = tmp_path / "t.csv"
    path.write_bytes("".join(row + end for row in rows).encode())
    return list(read_azure(path))


def faults(tmp_path, *rows: str):
    with pytest.raises(TraceError) as caught:
        read(tmp_path, *rows)
    return caught.value.faults


def test_times_are_exact_to_the_seventh_decimal(tmp_path):
    sessions = read(tmp_path, HEADER, GOOD, "2023-11-17 00:00:00.0000001,9,1")
    assert [s.at_ns for s in sessions] == [0, 20_653_319_410_100]
    assert sessions[0].nodes == [LlmNode(374, 44)]
    assert azure_epoch(tmp_path / "t.csv") == "2023-11-16T18:15:46.6805900Z"


@pytest.mark.parametrize("text", ["2024-02-29 23:59:59", "2024-05-12T00:00:00.001163+00:00"])
def test_times_of_the_later_releases_are_read(tmp_path, text):
    assert len(read(tmp_path, HEADER, f"{text},1,1")) == 1


def test_columns_may_come_in_any_order_and_images_are_kept(tmp_path):
    header = "NumImages,GeneratedTokens,TIMESTAMP,ContextTokens"
    [session] = read(tmp_path, header, "2,44,2025-01-01 00:00:00,374", end="\n")
    assert session.src == {"NumImages": 2}
    assert session.nodes == [LlmNode(374, 44)]


@pytest.mark.parametrize(
    ("row", "key", "found"),
    [
        ("2023-11-16 18:15:50,0,44", "ContextTokens", "'0'"),
        ("2023-11-16 18:15:50,3,-1", "GeneratedTokens", "'-1'"),
        ("2023-11-16 18:15:50,3,1e400", "GeneratedTokens", "'1e400'"),
        ("2023-11-16 18:15:50,3," + "9" * 9000, "GeneratedTokens", "'9999"),
        ("2023-11-16 18:15:50,nan,2", "ContextTokens", "'nan'"),
        ("2023-11-16 18:15:50,3,", "GeneratedTokens", "''"),
        ("2023-11-16 18:15:50,٣,4", "ContextTokens", "'٣'"),
        ("2023-11-16 18:15:50,3", "", "2 columns"),
        ("2023-11-16 18:15:50,3,4,5", "", "4 columns"),
        ("2023-13-16 18:15:50,3,4", "TIMESTAMP", "'2023-13"),
        ("2023-02-29 18:15:50,3,4", "TIMESTAMP", "'2023-02"),
        ("2023-11-16 25:15:50,3,4", "TIMESTAMP", "'2023-11"),
        ("1700158546,3,4", "TIMESTAMP", "'1700158546'"),
        ("2023-11-16 10:00:00,3,4", "TIMESTAMP", "-2"),
    ],
)
def test_a_bad_row_is_refused_at_its_line(tmp_path, row, key, found):
    told = faults(tmp_path, HEADER, GOOD, row, GOOD)
    assert [fault.where for fault in told] == [f"{tmp_path / 't.csv'}:3"]
    assert told[0].key == key
    assert found in told[0].found


@pytest.mark.parametrize(
    "header",
    ["TIMESTAMP,ContextTokens", "a,b,c", HEADER + ",Strange", HEADER + ",TIMESTAMP", "x"],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path, header):
    told = faults(tmp_path, header, GOOD)
    assert told[0].where.endswith(":1")
    assert "TIMESTAMP, ContextTokens, GeneratedTokens" in told[0].expected


def test_a_header_alone_is_no_trace(tmp_path):
    assert faults(tmp_path, HEADER)[0].found == "no rows"
    assert faults(tmp_path)[0].found == "no rows"
    assert azure_epoch(tmp_path / "t.csv") is None


def test_rows_come_back_as_they_were(tmp_path):
    for header, rows in [
        (HEADER, [GOOD, "2023-11-16 23:59:59.9999999,9,1", "2023-11-17 00:00:00.0000000,9,1"]),
        (f"{HEADER},NumImages", [f"{GOOD},0", "2023-12-31 18:15:46.680590001,374,44,3"]),
    ]:
        sessions = read(tmp_path, header, *rows)
        out = tmp_path / "o.csv"
        assert write_azure(out, sessions, azure_epoch(tmp_path / "t.csv")) == len(rows) + 1
        assert out.read_text().splitlines() == [header, *rows]


def test_what_rows_cannot_say_is_refused_by_its_name(tmp_path):
    epoch = "2023-11-16T18:15:46Z"
    call = LlmNode(9, 1, prefix_tokens=3, hashes=((0, 1),), block_tokens=16)
    with pytest.raises(TraceError) as caught:
        write_azure(tmp_path / "o", [Session("s", 0, [call], "chat", src={"model": "m"})], epoch)
    assert [fault.key for fault in caught.value.faults] == [
        "agent",
        "hashes",
        "cached",
        "src.model",
    ]
    two = Session("s", 0, [LlmNode(9, 1), LlmNode(9, 1)])
    with pytest.raises(TraceError, match="2 nodes"):
        write_azure(tmp_path / "o", [two], epoch)
    with pytest.raises(TraceError, match="epoch"):
        write_azure(tmp_path / "o", [Session("s", 0, [LlmNode(9, 1)])], None)
    mixed = [
        Session("a", 0, [LlmNode(9, 1)]),
        Session("b", 0, [LlmNode(9, 1)], src={"NumImages": 1}),
    ]
    with pytest.raises(TraceError, match="NumImages"):
        write_azure(tmp_path / "o", mixed, epoch)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_cells_may_be_quoted(tmp_path):
    head = ",".join(f'"{name}"' for name in HEADER.split(","))
    one, two = read(tmp_path, head, '"2023-11-16 18:15:46.6805900","374","44"', GOOD)
    assert one.nodes == two.nodes
    assert azure_epoch(tmp_path / "t.csv") == "2023-11-16T18:15:46.6805900Z"
    assert detect_format(tmp_path / "t.csv") == "azure"
    assert [fault.key for fault in faults(tmp_path, head, '"374')] == [""]
