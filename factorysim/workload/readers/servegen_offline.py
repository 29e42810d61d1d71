"""Offline batches of ServeGen: JSONL, a row a request, none of which has a time.

One form has the ids of the prompt's 16-token blocks (`hash_ids`) and no outputs, the
other lengths both ways and how long the request took. All rows come at 0. Where the
output is not recorded a call makes one token, and its node says `output: unknown`.

References
----------
.. [1] "ServeGen", arXiv:2505.09999; alibaba/ServeGen, `data/offline`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.lines import BadRow
from factorysim.workload.readers.blocks import take_blocks
from factorysim.workload.readers.fields import MS, ident, note, present, rest, sources
from factorysim.workload.rows import Row
from factorysim.workload.session import LlmNode, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json

BLOCK_TOKENS = 16
USED = ("request_id", "input_length", "output_length", "hash_ids", "duration")


def parse_servegen_offline(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the requests of an offline batch, lazily and in bounded memory."""
    ordinal = 0
    for number, text in lines:
        try:
            session = _session(Row(present(text)), ordinal)
        except BadRow as bad:
            note(log, number, bad)
            continue
        ordinal += 1
        yield session


def _session(row: Row, ordinal: int) -> Session:
    prompt = row.tokens("input_length")
    known = "output_length" in row.data
    if not known and "hash_ids" not in row.data:
        row.bad("output_length", "nothing", "tokens, or hash_ids of the other form")
    output = row.tokens("output_length") if known else 1
    hashes = take_blocks(row, "hash_ids", prompt, BLOCK_TOKENS)
    src: dict[str, Json] = {"request_id": ident(row, "request_id")} | rest(row, USED)
    kept: dict[str, Json] = {}
    if not known:
        src["output"] = "unknown"
    if "duration" in row.data:
        kept["obs"] = {"dur": row.nanoseconds("duration", MS)}
    row.close()
    call = LlmNode(prompt, output, hashes=hashes, block_tokens=BLOCK_TOKENS if hashes else None)
    carried: dict[str, Json] = {"nodes": {"n0": kept}} if kept else {}
    return Session(f"r{ordinal}", 0, [call], src=sources("servegen_offline", carried, src))
