"""What went against the plan, written down at its instant: preemptions, refusals, want of memory.

None of it is a statistic: how long a call was set back, or a sandbox waited, is in the
rows of calls and sandboxes. These rows tell when and where, and whom to look for there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.records import CHUNK_ROWS
from factorysim.sim.clock import S_PER_FS

if TYPE_CHECKING:
    from factorysim.sim.book import Book
    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.sandboxes import Box


class Incidents:
    """Rows of `records.EventRow` that wait to fill a chunk.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from factorysim.sim.clock import Clock
    >>> incidents = Incidents(Clock(), SimpleNamespace(rows=lambda table, rows: print(table, rows)))
    >>> incidents.preempted("decode/3", SimpleNamespace(number=17))
    >>> incidents.close()
    events [(0.0, 'preempted', 'decode/3', 'call 17')]
    """

    def __init__(self, clock: Clock, book: Book) -> None:
        self._clock = clock
        self._book = book
        self._rows: list[tuple[object, ...]] = []
        self.count = 0

    def preempted(self, place: str, call: Call) -> None:
        """Note that a call has lost its KV blocks to others on a replica."""
        self._note("preempted", place, f"call {call.number}")

    def turned_away(self, stream: str, sid: str, refusals: int) -> None:
        """Note that a call was not let in, for the n-th time."""
        self._note("turned_away", stream, f"a call of session {sid}, time {refusals}")

    def no_memory(self, box: Box) -> None:
        """Note that a sandbox waits, since no host of its deployment has memory for it."""
        detail = f"sandbox {box.number} of session {box.session}"
        self._note("no_memory", box.pool.name, detail)

    def close(self) -> None:
        """Hand on what is left."""
        if self._rows:
            rows, self._rows = self._rows, []
            self._book.rows("events", rows)

    def _note(self, kind: str, entity: str, detail: str) -> None:
        self.count += 1
        self._rows.append((self._clock.now_fs * S_PER_FS, kind, entity, detail))
        if len(self._rows) >= CHUNK_ROWS:
            self.close()
