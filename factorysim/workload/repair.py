"""What was dropped or mended of a trace, counted by kind: nothing is repaired in silence.

A row that cannot be read is dropped, and so is a session whose records do not hold
together. A row that is a little earlier than one above it is held to that one's
instant; one that is earlier by more than `CLOCK_HELD_NS` is dropped, since its clock
says nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from factorysim.errors import Fault

What = Literal[
    "row dropped", "session dropped", "time held", "late row dropped", "rest unread", "file dropped"
]

CLOCK_HELD_NS = 60 * 10**9
"""Rows this far behind are held to the last instant: what clocks of several hosts differ by
and logs written in order of completion are out of order by. An assumption."""
KINDS_MOST = 50
"""Kinds told apart; further ones are told together."""

_DIGITS = re.compile(r"\d+", re.ASCII)


@dataclass(slots=True)
class Repair:
    """One kind of repair."""

    what: What
    count: int
    first: Fault
    """What was wrong the first time, and where."""

    def __str__(self) -> str:
        where, key, found, *_ = self.first
        named = f"{key}: " if key else ""
        times = "once" if self.count == 1 else f"{self.count:,} times"
        return f"{self.what} {times}: first {where}: {named}{found}"


class Repairs:
    """Asks a reader to repair what it can, and counts what it did.

    Examples
    --------
    >>> from factorysim.errors import Fault
    >>> repairs = Repairs()
    >>> repairs.note("row dropped", Fault("a.jsonl:3", "input_length", "0", "at least 1"))
    >>> repairs.note("row dropped", Fault("a.jsonl:9", "input_length", "-2", "at least 1"))
    >>> [str(kind) for kind in repairs.kinds]
    ['row dropped 2 times: first a.jsonl:3: input_length: 0']
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], Repair] = {}

    @property
    def kinds(self) -> list[Repair]:
        """Kinds of repair in the order in which they were first needed."""
        return list(self._kinds.values())

    @property
    def count(self) -> int:
        """Repairs of all kinds."""
        return sum(kind.count for kind in self._kinds.values())

    def note(self, what: What, fault: Fault) -> None:
        """Count one repair."""
        kind = (what, _DIGITS.sub("N", fault.key))
        if kind not in self._kinds and len(self._kinds) >= KINDS_MOST:
            kind = (what, "others")
        if kind in self._kinds:
            self._kinds[kind].count += 1
        else:
            self._kinds[kind] = Repair(what, 1, fault)
