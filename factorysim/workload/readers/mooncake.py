"""Traces in Mooncake form: JSONL, a row a call, whole prompts in blocks of 512 tokens.

``timestamp`` is in milliseconds, ``input_length`` counts the whole prompt, and
``hash_ids`` names its blocks: one id means the same block after the same prefix.
A row becomes a session of one call; other fields of the row are kept in `src`.

References
----------
.. [1] Qin et al., "Mooncake", FAST 2025, and kvcache-ai/Mooncake, FAST25-release.
"""

from __future__ import annotations

import json
from operator import le
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec

from factorysim.errors import Fault, TraceError
from factorysim.workload.lines import BadRow, OutOfOrder, Problem, read_blocks
from factorysim.workload.rows import MAX_NS, MAX_TOKENS, Row, as_list, parse_object
from factorysim.workload.runs import ids_of, runs_of_ids, runs_of_lists
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.write import lone_call, write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from factorysim.workload.lines import FaultLog, LineReader
    from factorysim.workload.repair import Repairs
    from factorysim.workload.runs import Runs

BLOCK_TOKENS = 512
NS_PER_MS = 1_000_000
FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
CLOSED_LOOP = ("delay", "wait_for", "tool_wait_ms", "prefix_reset")
"""Fields of related formats whose rows depend on each other."""


_Rows: TypeAlias = "list[tuple[_Plain, Runs]]"


def read_mooncake(path: Path, repair: Repairs | None = None) -> Iterator[Session]:
    """Yield the calls of a Mooncake trace, lazily and in bounded memory.

    Raises
    ------
    TraceError
        When the file ends (or cannot be read on), with every fault of every row.
    """
    return read_blocks(path, _parse, repair=repair)


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A row without anything odd, as nearly all are: decoded in C."""

    timestamp: Annotated[int, msgspec.Meta(ge=0, le=MAX_NS // NS_PER_MS)]
    input_length: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)]
    output_length: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)]
    hash_ids: list[Annotated[int, msgspec.Meta(ge=0)]] | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(list[_Plain]).decode


def _parse(lines: LineReader, log: FaultLog) -> Iterator[Session]:
    last_ns = ordinal = 0
    for number, block in lines.blocks():
        rows = _plain_rows(block, last_ns)
        if rows is not None:
            yield from _sessions(rows, ordinal)
            last_ns = rows[-1][0].timestamp * NS_PER_MS
            ordinal += len(rows)
            continue
        for session in _rows(lines.texts(number, block), log, last_ns, ordinal):
            last_ns = max(last_ns, session.at_ns)
            ordinal += 1
            yield session


def _plain_rows(block: bytes, last_ns: int) -> _Rows | None:
    """Read a block of rows that are all plain; None if one row has anything odd.

    What is odd is left to `_rows`, which tells what is wrong with it, if anything is.
    """
    block = block.removesuffix(b"\n")
    try:
        rows = _decode(b"[%b]" % block.replace(b"\n", b","))
        ids = [row.hash_ids or () for row in rows]
        hashes = runs_of_lists(ids)
    except (ValueError, OverflowError, RecursionError):
        return None
    # An object a line: as many as lines, each of which begins with a brace, and an object
    # holds no brace. So the commas put between lines are those between objects.
    alone = block.startswith(b"{") and block.count(b"\n{") == len(rows) - 1 == block.count(b"\n")
    # The keys that are required are there: where there are no more quotes, none comes twice.
    unnamed = sum(row.hash_ids is msgspec.UNSET for row in rows)
    once = block.count(b'"') == 8 * len(rows) - 2 * unnamed
    if alone and once and _fit(rows, ids) and _sorted(rows, last_ns):
        return list(zip(rows, hashes, strict=True))
    return None


def _fit(rows: list[_Plain], ids: Sequence[Sequence[int]]) -> bool:
    """Tell whether every prompt has an id a block, or none at all, as `_hashes` does."""
    import numpy as np

    named = np.fromiter(map(len, ids), np.int64, len(ids))
    prompts = np.fromiter((row.input_length for row in rows), np.int64, len(ids))
    low, high = prompts // BLOCK_TOKENS, -(-prompts // BLOCK_TOKENS)
    return bool(np.all((named == 0) | ((low <= named) & (named <= high))))


def _sorted(rows: list[_Plain], last_ns: int) -> bool:
    times = [row.timestamp for row in rows]
    return times[0] * NS_PER_MS >= last_ns and all(map(le, times, times[1:]))


def _sessions(rows: _Rows, ordinal: int) -> Iterator[Session]:
    """Make sessions of plain rows and their blocks."""
    for place, (row, hashes) in enumerate(rows, ordinal):
        blocks = BLOCK_TOKENS if hashes else None
        call = LlmNode(row.input_length, row.output_length, 0, (), 0, None, "user", hashes, blocks)
        yield Session(f"r{place}", row.timestamp * NS_PER_MS, [call])


def _rows(
    lines: Iterable[tuple[int, str]], log: FaultLog, last_ns: int, ordinal: int
) -> Iterator[Session]:
    """Read any rows, and tell what is wrong with them."""
    for number, text in lines:
        try:
            session = _session(Row(parse_object(text)), ordinal)
        except BadRow as bad:
            for problem in bad.problems:
                log.add(number, problem)
            continue
        if session.at_ns < last_ns:
            log.add(number, unsorted("timestamp", session.at_ns, last_ns, "ms", 1e6))
        last_ns = max(last_ns, session.at_ns)
        ordinal += 1
        yield session


def unsorted(key: str, at_ns: int, last_ns: int, unit: str, unit_ns: float) -> Problem:
    """Tell that a row is earlier than one above it."""
    found = f"{at_ns / unit_ns:g} {unit} below a row of {last_ns / unit_ns:g} {unit}"
    return OutOfOrder(key, found, "rows in order of time", f"sort the rows by {key}")


def _session(row: Row, ordinal: int) -> Session:
    at_ns = row.nanoseconds("timestamp", 1_000_000)
    prompt = row.tokens("input_length")
    output = row.tokens("output_length")
    hashes = () if row.problems else _hashes(row, prompt)
    src: dict[str, object] = {}
    for key in row.data:
        if key in CLOSED_LOOP:
            cure = "convert it to fstrace/1, which says what waits for what"
            row.bad(key, "a field of closed-loop traces", "rows that stand alone", cure)
        elif key not in FIELDS:
            src[key] = row.plain(key)
    row.close()
    blocks = BLOCK_TOKENS if hashes else None
    call = LlmNode(prompt, output, 0, (), 0, None, "user", hashes, blocks)
    return Session(f"r{ordinal}", at_ns, [call], src=src)


def _hashes(row: Row, prompt: int) -> Runs:
    """Take the block ids: one a block of the prompt, whose last may be left out unless full."""
    given = as_list(row.data.get("hash_ids", []))
    ids = [item for item in given or () if type(item) is int and item >= 0]
    if given is None or len(ids) < len(given):
        row.bad("hash_ids", "something else", "a list of whole numbers, none below 0")
        return ()
    if ids and not prompt // BLOCK_TOKENS <= len(ids) <= -(-prompt // BLOCK_TOKENS):
        expected = f"one for each {BLOCK_TOKENS} tokens of input_length {prompt}, or none at all"
        cure = "blocks of another size, or rows with new tokens only, go through fstrace/1"
        row.bad("hash_ids", f"{len(ids)} ids", expected, cure)
    return runs_of_ids(ids)


def mooncake_line(session: Session) -> str:
    """Write a session of one call as a row.

    Raises
    ------
    TraceError
        If it has more than one node, blocks of another size, or what rows cannot say.

    Examples
    --------
    >>> call = LlmNode(600, 5, hashes=((0, 2),), block_tokens=512)
    >>> mooncake_line(Session("r0", 3_000_000, [call]))
    '{"timestamp": 3, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}'
    """
    node = lone_call(
        session, "Mooncake", [key for key in session.src if key != "fstrace"], hashes=True
    )
    if node.block_tokens not in (None, BLOCK_TOKENS):
        expected = f"blocks of {BLOCK_TOKENS} tokens"
        raise TraceError(Fault(session.sid, "bs", f"{node.block_tokens}", expected))
    at_ms = session.at_ns / 1e6
    row: dict[str, object] = {
        "timestamp": int(at_ms) if session.at_ns % 1_000_000 == 0 else at_ms,
        "input_length": node.prompt_tokens,
        "output_length": node.output_tokens,
        "hash_ids": list(ids_of(node.hashes)),
    }
    extra = {key: value for key, value in session.src.items() if key != "fstrace"}
    return json.dumps(row | extra)


def write_mooncake(path: Path, sessions: Iterable[Session]) -> int:
    """Write sessions of one call in Mooncake form.

    The file is packed if its name ends in ``.gz`` or ``.zst``.

    Returns
    -------
    Rows written. The file appears under its name only when it is whole.
    """
    return write_lines(path, (mooncake_line(session) for session in sessions))
