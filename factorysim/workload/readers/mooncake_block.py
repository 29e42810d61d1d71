"""Many plain Mooncake rows at once, by arithmetic on their bytes.

Rows without their digits are alike, but for how many ids they list. So where a row
less its digits is one of the known skeletons, and every number stands where a number
may stand, the row is JSON of known keys and whole numbers, and its numbers can be
computed as arrays: three times as fast as a JSON decoder in C, many times as fast as
reading rows with care. Anything else is left to the careful way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.workload.runs import runs_of_array

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.workload.runs import Runs

    Ints = npt.NDArray[np.int64]

FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
STYLES = tuple(
    (
        "{{{}[".format(comma.join(f'"{name}"{colon}' for name in FIELDS)).encode(),
        comma.encode(),
        b"]}",
    )
    for colon, comma in ((": ", ", "), (":", ","))
)
"""Of a row without its digits: what comes before the ids, between two, and after them. As
`json.dumps` writes it, and with no blanks."""
CACHED = 1024
"""Bytes of a skeleton that is kept, at most: some 500 ids."""
DIGITS_MOST = 15
"""Of a number, so that all are exact as floats too."""
WORD = 8
"""Digits that are read at once; a row begins with more bytes than that before any digit."""

_DIGITS = b"0123456789"
_AFTER = np.zeros(256, dtype=bool)
_AFTER[list(b",]")] = True
_OF_DIGITS = np.array(
    [
        0x0F0F0F0F0F0F0F0F >> 8 * (WORD - digits) << 8 * (WORD - digits)
        for digits in range(WORD + 1)
    ],
    dtype=np.uint64,
)
"""What the last so many bytes of a word keep: of every ASCII digit its value."""
_JOINS = tuple(
    (np.uint64(bits), np.uint64(base), np.uint64(kept))
    for bits, base, kept in (
        (8, 10, 0x00FF00FF00FF00FF),
        (16, 100, 0x0000FFFF0000FFFF),
        (32, 10_000, 0xFFFFFFFF),
    )
)
FREED_BYTES = 2**24
"""That glibc keeps for later once so much was taken and given back in one piece."""
_known: dict[bytes, int] = {}


class PlainRows(NamedTuple):
    """Columns of rows."""

    times_ms: Ints
    prompts: Ints
    outputs: Ints
    named: Ints
    """Ids of a row, at least one."""
    hashes: list[Runs]


def keep_freed_memory() -> None:
    """Let arrays of a block be put where those of the last one were.

    glibc gives pieces of over 128 kB back to the system, and takes them from it anew, page by
    page: a quarter of the time of reading. A larger piece that was given back moves that
    bound to its size (`mallopt`, M_MMAP_THRESHOLD). With other libraries nothing happens.
    """
    np.empty(FREED_BYTES, dtype=np.uint8)


def plain_rows(block: bytes) -> PlainRows | None:
    r"""Read a block of whole lines; None if one of them is anything but plain.

    Examples
    --------
    >>> row = b'{"timestamp": 5, "input_length": 600, "output_length": 8, "hash_ids": [3, 4]}'
    >>> plain_rows(row + b"\n" + row).hashes
    [((3, 2),), ((3, 2),)]
    >>> plain_rows(row.replace(b"5", b"5.5")) is None
    True
    """
    skeletons = block.removesuffix(b"\n").translate(None, _DIGITS).split(b"\n")
    listed = [_known.get(line) or _numbers_in(line) for line in skeletons]
    if not all(listed):
        return None
    counts = np.array(listed, dtype=np.int64)
    numbers = _numbers(np.frombuffer(block, dtype=np.uint8), int(counts.sum()))
    if numbers is None:
        return None
    begins = np.cumsum(counts) - counts
    ids = np.ones(len(numbers), dtype=bool)
    columns = [begins, begins + 1, begins + 2]
    for column in columns:
        ids[column] = False
    named = counts - len(columns)
    times, prompts, outputs = (numbers[column] for column in columns)
    return PlainRows(times, prompts, outputs, named, runs_of_array(numbers[ids], named))


def _numbers_in(skeleton: bytes) -> int:
    """Count the numbers of a row without its digits; 0 if it is no plain row."""
    for head, comma, tail in STYLES:
        commas = (len(skeleton) - len(head) - len(tail)) // len(comma)
        if skeleton == head + comma * commas + tail:
            count = len(FIELDS) + commas
            if len(skeleton) <= CACHED:
                _known[skeleton] = count
            return count
    return 0


def _numbers(text: npt.NDArray[np.uint8], count: int) -> Ints | None:
    """Read so many numbers that are written as JSON has them; None if they are not."""
    digit = (text - ord("0")) < 10
    (edges,) = np.nonzero(digit[1:] != digit[:-1])
    if len(edges) != 2 * count:  # a row has no digit at its ends
        return None
    begins, ends = edges[::2] + 1, edges[1::2] + 1
    lengths = ends - begins
    # A skeleton has as many commas and brackets that a number may stand before as it has
    # numbers: where each stands before one, each has its own, and what is before it is right.
    placed = _AFTER[text[ends]].all()
    padded = ((text[begins] == ord("0")) & (lengths > 1)).any()
    if not placed or padded or lengths.max() > DIGITS_MOST:
        return None
    values = _read_digits(text, ends, np.minimum(lengths, WORD))
    (long,) = np.nonzero(lengths > WORD)
    if len(long):
        high = _read_digits(text, ends[long] - WORD, lengths[long] - WORD)
        values[long] += high * 10**WORD
    return values


def _read_digits(text: npt.NDArray[np.uint8], ends: Ints, lengths: Ints) -> Ints:
    """Read numbers of up to eight digits, each as the eight bytes up to where it ends.

    Digits lie in a word from the lowest byte on. Neighbours are joined to pairs, pairs to
    fours and fours to a number, all in one word, as decoders of JSON do it in C [1]_.

    References
    ----------
    .. [1] Lemire, "Quickly parsing eight digits", lemire.me, 2018.
    """
    at_any_byte = np.ndarray(len(text) - WORD + 1, dtype="<u8", buffer=text, strides=(1,))
    words = at_any_byte[ends - WORD].astype(np.uint64)
    words &= _OF_DIGITS[lengths]
    for bits, base, kept in _JOINS:
        words = (words * base + (words >> bits)) & kept
    return words.astype(np.int64)
