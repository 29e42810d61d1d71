"""Plain Mooncake rows by arithmetic: what is read, and what is left to the careful way."""

import json

import pytest

from factorysim.workload.readers import mooncake_block
from factorysim.workload.readers.mooncake_block import CACHED, STYLES, plain_rows

STEP = 10**9
"""Between two ids, so that no two of them make a run."""


def row(time, prompt, output, ids, *, blanks=True):
    fields = {"timestamp": time, "input_length": prompt, "output_length": output, "hash_ids": ids}
    return json.dumps(fields, separators=(", ", ": ") if blanks else (",", ":")).encode()


@pytest.mark.parametrize("blanks", [True, False])
def test_numbers_of_every_length_are_read_in_every_column(blanks):
    values = [int("1234567898765432"[:digits]) for digits in range(1, 16)]
    values += [0, 9, 10**7, 10**8 - 1, 10**8, 10**14, 10**15 - 1]
    rows = [
        row(a, b, c, [a, b][: 1 + k % 2], blanks=blanks)
        for k, (a, b, c) in enumerate(
            zip(values, values[1:] + values[:1], values[5:] + values[:5], strict=True)
        )
    ]
    found = plain_rows(b"\n".join(rows) + b"\n")
    told = [json.loads(line) for line in rows]
    assert found.times_ms.tolist() == [line["timestamp"] for line in told]
    assert found.prompts.tolist() == [line["input_length"] for line in told]
    assert found.outputs.tolist() == [line["output_length"] for line in told]
    assert found.named.tolist() == [len(line["hash_ids"]) for line in told]
    ids = [[start + k for start, length in runs for k in range(length)] for runs in found.hashes]
    assert ids == [line["hash_ids"] for line in told]


def test_a_number_of_sixteen_digits_is_left_to_the_careful_way():
    for wide in (row(10**15, 1, 1, [1]), row(1, 1, 1, [5, 10**15])):
        assert plain_rows(row(1, 1, 1, [1]) + b"\n" + wide) is None


PLAIN = b'{"timestamp": 51, "input_length": 62, "output_length": 73, "hash_ids": [84, 95]}'


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace(b"51", b"051"),
        PLAIN.replace(b"84", b"00"),
        PLAIN.replace(b"51,", b"5,1"),
        PLAIN.replace(b" 51", b"51 "),
        PLAIN.replace(b"51", b""),
        PLAIN.replace(b"95]", b"]95"),
        PLAIN.replace(b"timestamp", b"time5tamp").replace(b"51", b""),
        PLAIN.replace(b"timestamp", b"times7tamp"),
        PLAIN.replace(b"84, 95", b"84,  95"),
        PLAIN.replace(b"84, 95", b""),
        PLAIN.replace(b"84, 95", b"84,95"),
        PLAIN.replace(b"timestamp", b"timestomp"),
        PLAIN.replace(b"input", b"x").replace(b"output", b"input").replace(b"x", b"output"),
        PLAIN.replace(b"}", b"]"),
        b"[5]",
        PLAIN[:-1],
        PLAIN + b"1",
        b"1" + PLAIN,
        b"",
    ],
)
def test_a_row_that_is_not_plain_leaves_its_block_to_the_careful_way(other):
    assert plain_rows(PLAIN + b"\n" + PLAIN) is not None
    assert plain_rows(PLAIN + b"\n" + other + b"\n" + PLAIN) is None


def test_skeletons_are_kept_up_to_a_length(monkeypatch):
    known: dict[bytes, int] = {}
    monkeypatch.setattr(mooncake_block, "_known", known)
    head, comma, tail = STYLES[0]
    most = (CACHED - len(head) - len(tail)) // len(comma)
    for count in (2, most + 1, most + 2):
        for _ in range(2):
            found = plain_rows(row(1, 2, 3, [STEP * k for k in range(count)]))
            assert found.named.tolist() == [count]
    assert sorted(known.values()) == [5, most + 4]
