"""Traces in Vidur form: CSV, a row a request, lengths and perhaps when it came.

Columns are ``num_prefill_tokens`` and ``num_decode_tokens``, and in traces with times
``arrived_at`` in seconds. Files of lengths alone are a batch: all at 0, unless the
stream has arrivals of its own. Other columns are kept in `src`.

References
----------
.. [1] Agrawal et al., "Vidur", MLSys 2024; microsoft/vidur, `data/processed_traces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.lines import BadRow
from factorysim.workload.readers.fields import S, columns, note, rest
from factorysim.workload.readers.mooncake import unsorted
from factorysim.workload.rows import Row
from factorysim.workload.session import LlmNode, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.lines import FaultLog

COLUMNS = ("num_prefill_tokens", "num_decode_tokens")
ARRIVED = "arrived_at"


def parse_vidur(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the requests of a Vidur trace, lazily and in bounded memory."""
    parse = columns(lines, log, COLUMNS)
    if parse is None:
        return
    ordinal = last_ns = 0
    for number, text in lines:
        try:
            session = _session(Row(parse(text)), ordinal)
        except BadRow as bad:
            note(log, number, bad)
            continue
        if session.at_ns < last_ns:
            log.add(number, unsorted(ARRIVED, session.at_ns, last_ns, "s", 1e9))
        last_ns = max(last_ns, session.at_ns)
        ordinal += 1
        yield session


def _session(row: Row, ordinal: int) -> Session:
    at_ns = row.nanoseconds(ARRIVED, S) if ARRIVED in row.data else 0
    call = LlmNode(row.tokens(COLUMNS[0]), row.tokens(COLUMNS[1]))
    src = rest(row, (*COLUMNS, ARRIVED))
    row.close()
    return Session(f"r{ordinal}", at_ns, [call], src=src)
