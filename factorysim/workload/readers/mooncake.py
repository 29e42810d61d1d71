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
from typing import TYPE_CHECKING

from factorysim.errors import Fault, TraceError
from factorysim.workload.lines import BadRow, OutOfOrder, Problem, read_blocks
from factorysim.workload.readers.mooncake_block import keep_freed_memory, plain_rows
from factorysim.workload.rows import MAX_NS, MAX_TOKENS, Row, as_list, parse_object
from factorysim.workload.runs import ids_of, runs_of_ids
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.write import lone_call, write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from factorysim.workload.lines import FaultLog, LineReader
    from factorysim.workload.readers.mooncake_block import PlainRows
    from factorysim.workload.repair import Repairs
    from factorysim.workload.runs import Runs

BLOCK_TOKENS = 512
NS_PER_MS = 1_000_000
FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
CLOSED_LOOP = ("delay", "wait_for", "tool_wait_ms", "prefix_reset")
"""Fields of related formats whose rows depend on each other."""


def read_mooncake(path: Path, repair: Repairs | None = None) -> Iterator[Session]:
    """Yield the calls of a Mooncake trace, lazily and in bounded memory.

    Raises
    ------
    TraceError
        When the file ends (or cannot be read on), with every fault of every row.
    """
    return read_blocks(path, _parse, repair=repair)


def _parse(lines: LineReader, log: FaultLog) -> Iterator[Session]:
    keep_freed_memory()
    last_ns = ordinal = 0
    for number, block in lines.blocks():
        rows = _plain_rows(block, last_ns)
        if rows is not None:
            yield from _sessions(rows, ordinal)
            last_ns = int(rows.times_ms[-1]) * NS_PER_MS
            ordinal += len(rows.times_ms)
            continue
        for session in _rows(lines.texts(number, block), log, last_ns, ordinal):
            last_ns = max(last_ns, session.at_ns)
            ordinal += 1
            yield session


def _plain_rows(block: bytes, last_ns: int) -> PlainRows | None:
    """Read a block of rows that are plain and good; None if one row is neither.

    Such a block is left to `_rows`, which tells what is wrong with it, if anything is.
    """
    import numpy as np

    rows = plain_rows(block)
    if rows is None:
        return None
    times, prompts, outputs, named, _ = rows
    low, high = prompts // BLOCK_TOKENS, -(-prompts // BLOCK_TOKENS)
    good = (
        times[0] * NS_PER_MS >= last_ns
        and np.all(times[1:] >= times[:-1])
        and times[-1] <= MAX_NS // NS_PER_MS
        and min(prompts.min(), outputs.min()) >= 1
        and max(prompts.max(), outputs.max()) <= MAX_TOKENS
        and np.all((low <= named) & (named <= high))
    )
    return rows if good else None


def _sessions(rows: PlainRows, ordinal: int) -> Iterator[Session]:
    """Make sessions of plain rows."""
    times, prompts, outputs = (column.tolist() for column in rows[:3])
    columns = zip(times, prompts, outputs, rows.hashes, strict=True)
    for place, (at_ms, prompt, output, hashes) in enumerate(columns, ordinal):
        call = LlmNode(prompt, output, 0, (), 0, None, "user", hashes, BLOCK_TOKENS)
        yield Session(f"r{place}", at_ms * NS_PER_MS, [call])


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
