"""Rows of one session brought together, wherever they stand in a file, in bounded memory.

Rows of traces that were written as calls came mix the sessions. Here their texts go
to a spool, in memory until it is large and on disk from then on; what stays in memory
is some thirty bytes a row. Keys are told apart by 64 bits of their hash.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, TraceError
from factorysim.workload.lines import BadRow, Problem
from factorysim.workload.rows import Row, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt

    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json

    Numbered = tuple[int, Row]
    """A row and its line."""

SPOOL_BYTES = 64 * 2**20
"""Of texts in memory, before they go to a temporary file."""
SESSION_ROWS = 200_000
"""Of one session, at most: they are in memory together."""
SESSION_BYTES = 64 * 2**20
"""Of one session's texts, at most."""
UNTIMED = 2**63 - 1
"""No time given: any other time of the session comes before it."""


class Place(NamedTuple):
    """Where a row belongs."""

    key: str
    """Of its session, or of a part of it."""
    at_ns: int | None = None
    """Sessions come in order of the first time of any of their rows."""
    ties: tuple[str, ...] = ()
    """Other keys that are of the same session."""


class Gathering:
    """Texts with keys, given back session by session.

    Examples
    --------
    >>> with Gathering() as rows:
    ...     for line, (key, ties) in enumerate([("a", ()), ("b", ()), ("c", ("a",))]):
    ...         rows.add(line, f"row of {key}", Place(key, None, ties))
    ...     [[text for _, text in session] for session in rows.sessions()]
    [['row of a', 'row of c'], ['row of b']]
    """

    def __init__(self, spool_bytes: int | None = None) -> None:
        most = SPOOL_BYTES if spool_bytes is None else spool_bytes
        self._texts = SpooledTemporaryFile(max_size=most)  # noqa: SIM115 - closed on exit
        self._ends = array("Q", [0])
        self._lines = array("Q")
        self._keys = array("Q")
        self._times = array("q")
        self._ties = array("Q")
        """Two by two."""

    def __enter__(self) -> Gathering:
        return self

    def __exit__(self, *_: object) -> None:
        self._texts.close()

    def add(self, line: int, text: str, place: Place) -> None:
        """Take a row."""
        data = text.encode()
        self._texts.write(data)
        self._ends.append(self._ends[-1] + len(data))
        self._lines.append(line)
        key = _digest(place.key)
        self._keys.append(key)
        self._times.append(UNTIMED if place.at_ns is None else place.at_ns)
        for other in place.ties:
            self._ties.extend((key, _digest(other)))

    def sessions(self, log: FaultLog | None = None) -> Iterator[list[tuple[int, str]]]:
        """Yield the rows of each session in the file's order; sessions by their first time.

        A session beyond `SESSION_ROWS` or `SESSION_BYTES` goes to the log instead.
        """
        for rows in self._groups():
            size = sum(self._ends[row + 1] - self._ends[row] for row in rows)
            if log is not None and (len(rows) > SESSION_ROWS or size > SESSION_BYTES):
                found = f"a session of {len(rows):,} rows and {size:,} bytes"
                expected = f"at most {SESSION_ROWS:,} rows and {SESSION_BYTES:,} bytes"
                log.add(self._lines[rows[0]], Problem("", found, expected), "session dropped")
                continue
            yield [self._read(row) for row in rows]

    def _groups(self) -> Iterator[list[int]]:
        import numpy as np

        if not self._keys:
            return
        labels = self._labels()
        _, first = np.unique(labels, return_index=True)
        began = np.full(len(first), UNTIMED, dtype=np.int64)
        np.minimum.at(began, labels, np.frombuffer(self._times, dtype=np.int64))
        began[began == UNTIMED] = 0
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.lexsort((first, began))] = np.arange(len(first))
        ranks = rank[labels]
        order = np.argsort(ranks, kind="stable")
        cuts = np.flatnonzero(np.diff(ranks[order])) + 1
        begin = 0
        for end in (*cuts.tolist(), len(order)):
            yield order[begin:end].tolist()
            begin = end

    def _labels(self) -> npt.NDArray[np.int64]:
        """Give each row the number of its session, from 0 on without holes."""
        import numpy as np

        keys = np.frombuffer(self._keys, dtype=np.uint64)
        if not self._ties:
            return np.unique(keys, return_inverse=True)[1]
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        ties = np.frombuffer(self._ties, dtype=np.uint64)
        names, numbers = np.unique(np.concatenate([keys, ties]), return_inverse=True)
        pairs = numbers[len(keys) :].reshape(-1, 2)
        edges = (np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1]))
        graph = coo_array(edges, shape=(len(names), len(names))).tocsr()
        _, parts = connected_components(graph, directed=False)
        return np.unique(parts[numbers[: len(keys)]], return_inverse=True)[1]

    def _read(self, row: int) -> tuple[int, str]:
        begin, end = self._ends[row], self._ends[row + 1]
        self._texts.seek(begin)
        return self._lines[row], self._texts.read(end - begin).decode()


def _digest(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def by_session(
    lines: Iterator[tuple[int, str]],
    log: FaultLog,
    place: Callable[[Row], Place],
    parse: Callable[[str], dict[str, Json]] = parse_object,
) -> Iterator[list[Numbered]]:
    """Bring the rows of each session together; bad rows go to the log.

    Parameters
    ----------
    place
        Tells where a row belongs; `BadRow` if that cannot be told.
    parse
        Reads the text of a row, once to place it and once for its session.

    Raises
    ------
    TraceError
        If the temporary folder is full.
    """
    with Gathering() as gathering:
        try:
            for line, text in lines:
                try:
                    row = Row(parse(text))
                    where = place(row)
                    row.close()
                except BadRow as bad:
                    for problem in bad.problems:
                        log.add(line, problem)
                    continue
                gathering.add(line, text, where)
        except OSError as error:
            found = f"no room for a copy of its rows ({error.strerror or error})"
            cure = "set TMPDIR to a folder with room for the unpacked trace"
            raise TraceError(Fault(str(log.path), "", found, "room", cure)) from None
        for rows in gathering.sessions(log):
            yield [(line, Row(parse(text))) for line, text in rows]
