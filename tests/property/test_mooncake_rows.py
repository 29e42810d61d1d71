"""Mooncake rows read many at once are those read with care, and the same are refused."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.workload.lines import FaultLog, LineReader
from factorysim.workload.readers.mooncake import _plain_rows, _rows, _sessions

many = settings(max_examples=120, deadline=None, derandomize=True)
odd = st.sampled_from(
    [
        *("1.0", "1e0", "true", "null", '"5"', "NaN", "Infinity", "-0", "-0.0", "-1", "05", "+5"),
        *("9" * 15, "9" * 16, "9" * 30, "9" * 5000, "1e400", "[]", "{}", "[1]", "0x5", ".5", ""),
        *(str(2**63 - 1), str(2**63), str(2**64)),
    ]
)
whole = st.integers(0, 10**9).map(str)
ids = st.lists(st.integers(0, 40) | st.sampled_from([2**63 - 1, 2**63, 2**70]), max_size=6)


@st.composite
def fields(draw) -> str:
    """Text of a row: mostly plain, with something odd in some."""
    named = draw(ids)
    prompt = draw(st.integers(max(1, 512 * len(named) - 511), max(1, 512 * len(named))))
    row = [
        ("timestamp", draw(st.integers(0, 20).map(str) | odd)),
        ("input_length", draw(st.just(str(prompt)) | odd | whole)),
        ("output_length", draw(st.just("7") | odd | whole)),
        ("hash_ids", draw(st.just(json.dumps(named)) | odd | odd.map("[1, {}]".format))),
    ]
    change = draw(st.integers(0, 12))
    if change == 0:
        row.append(draw(st.sampled_from([*row, ("extra", "1"), ("delay", "1")])))
    elif change == 1:
        del row[draw(st.integers(0, 3))]
    key = draw(st.sampled_from(['"{}"'] * 9 + ['" {}"', "{}", '"\\u0068{}"', "'{}'"]))
    colon = draw(st.sampled_from([": "] * 9 + [":", " :\t", ":\n", ":\r", ":\x0b"]))
    return "{" + ", ".join(key.format(name) + colon + value for name, value in row) + "}"


def plain(draw, at: int) -> str:
    count = draw(st.integers(0, 4))
    return json.dumps(
        {
            "timestamp": at,
            "input_length": 512 * count + 1,
            "output_length": 3,
            "hash_ids": draw(st.lists(st.integers(0, 9), min_size=count, max_size=count + 1)),
        }
    )


ends = st.sampled_from(
    ["\n"] * 12 + ["\r\n", "\n\n", " \n", ",\n", "", " ", "\x0b\n", "\x00\n", "}"]
)


def agree(block: bytes, last_ns: int) -> bool:
    """Check one block; tell whether it was taken as plain."""
    rows = _plain_rows(block, last_ns)
    if rows is None:
        return False
    path = Path("t")
    log = FaultLog(path)
    slow = list(_rows(LineReader(path, log).texts(2, block), log, last_ns, 3))
    assert not log.faults, block
    assert list(_sessions(rows, 3)) == slow, block
    return True


@many
@given(data=st.data())
def test_rows_with_anything_in_them(data):
    rows = [data.draw(fields()) for _ in range(data.draw(st.integers(1, 3)))]
    block = "".join(row + data.draw(ends) for row in rows)
    agree(block.encode(), data.draw(st.sampled_from([0, 3_000_000])))


@many
@given(data=st.data())
def test_bytes_flipped_cut_doubled_or_moved(data):
    rows = [plain(data.draw, at) for at in range(4)]
    raw = bytearray("\n".join(rows).encode())
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.integers(0, 4)):
            case 0:
                raw[place] = data.draw(st.integers(0, 255))
            case 1:
                del raw[place : place + data.draw(st.integers(1, 30))]
            case 2:
                raw[place:place] = data.draw(
                    st.sampled_from([b"\n", b"{", b"}", b",", b" ", b"}\n{"])
                )
            case 3:
                end = data.draw(st.integers(0, len(raw)))
                raw[place:place] = raw[end : end + 30]
            case _:
                raw = bytearray(bytes(raw).replace(b"\n", data.draw(ends).encode(), 1))
        raw = raw or bytearray(b"x")
    agree(bytes(raw), 0)


of_any_length = st.integers(0, 14).flatmap(lambda digits: st.integers(0, 10 ** (digits + 1) - 1))


@many
@given(named=st.lists(of_any_length, min_size=1, max_size=12))
def test_numbers_of_one_to_fifteen_digits(named):
    row = {"timestamp": named[0] % 10**11, "input_length": 512 * len(named), "output_length": 1}
    text = json.dumps(row | {"hash_ids": named})
    assert agree(f"{text}\n{text}".encode(), 0)


def test_what_is_plain_is_taken_as_plain():
    """Else the tests above say nothing."""
    row = '{"timestamp": 5, "input_length": 600, "output_length": 8, "hash_ids": [3, 4]}'
    assert agree(f"{row}\n{row}\n".encode(), 5_000_000)
    assert agree(row.replace(" ", "").encode(), 0)
    for other in (f"{row} {row}\n", f"{row}\n\n{row}", row.replace("5", "5.5"), row[:-1], "", "\n"):
        assert not agree(other.encode(), 0)
    odd = [row.replace("[3, 4]", ids) for ids in ("[]", "[3, ]", "[ 3,4]", "[03, 4]", "[3,4 5]")]
    empty = odd[0].replace("600", "1")
    for other in (f"{odd[-1]}\n{empty}", row.replace('"t', '"7t'), row.replace("5,", "5 ,7"), *odd):
        assert not agree(other.encode(), 0)
    assert not agree(f"{row}\n".encode(), 6_000_000)
    one_line_less = row.replace("{", "{\n", 1).replace(": 8", ': 8, "x": 1')
    assert not agree(f"{row},{row}\n{one_line_less}".encode(), 0)
    spread = row.replace("{", "{\n")
    assert not agree(f"{row},{row}\n{spread}\n".encode(), 0)
    assert not agree(f'{row[:-1]}\n, "timestamp": 5}}'.encode(), 0)
