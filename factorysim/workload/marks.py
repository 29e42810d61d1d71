"""Ids that have come before, by the million: eight bytes each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

RECENT = 2**17
"""Hashes in a set, some 60 bytes each, before they are put in order."""
FILTER_BITS = 27
"""Of 16 MB that tell of most new hashes that they are new."""


class Marks:
    """Hashes of ids, each taken once.

    Examples
    --------
    >>> marks = Marks()
    >>> [marks.first(hash(sid)) for sid in ("a", "b", "a")]
    [True, True, False]
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._sorted: list[npt.NDArray[np.int64]] = []
        self._filter = bytearray()

    def first(self, mark: int) -> bool:
        """Take a hash; tell whether it comes for the first time."""
        if mark in self._recent or (self._sorted and self._known(mark)):
            return False
        self._recent.add(mark)
        if len(self._recent) >= RECENT:
            self._fold()
        return True

    def _known(self, mark: int) -> bool:
        place = mark & ((1 << FILTER_BITS) - 1)
        if not self._filter[place >> 3] >> (place & 7) & 1:
            return False
        for marks in self._sorted:
            at = marks.searchsorted(mark)
            if at < len(marks) and marks[at] == mark:
                return True
        return False

    def _fold(self) -> None:
        import numpy as np

        if not self._filter:
            self._filter = bytearray(1 << (FILTER_BITS - 3))
        marks = np.fromiter(self._recent, np.int64, len(self._recent))
        self._recent.clear()
        marks.sort()
        self._sorted.append(marks)
        places = marks & ((1 << FILTER_BITS) - 1)
        bits = np.left_shift(1, places & 7).astype(np.uint8)
        np.bitwise_or.at(np.frombuffer(self._filter, np.uint8), places >> 3, bits)
