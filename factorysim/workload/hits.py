"""Prompt tokens that caches without bounds would hold: for ever, or so long after their last use.

Of each block id the last use is kept: four bytes an id where ids count up, as traces
number them, and a dictionary for others. An id stands for its block and all before it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factorysim.workload.runs import Runs

TTL_S = (60, 300, 3600)
"""As in the published sweep of TraceLab, arXiv 2606.30560."""
DENSE_MOST = 2**26
"""Ids below are kept in an array, of 256 MB at most."""
SPARSE_MOST = 2_000_000
"""Of the ids above; some 200 MB. Beyond, nothing is told."""

_NEVER = 2**31 - 1


class BlockTimes:
    """Last uses of blocks, in whole seconds.

    Parameters
    ----------
    cleared
        Whether `clear` will be called: ids begin anew in each session.

    Examples
    --------
    >>> times = BlockTimes()
    >>> times.use(((0, 3),), 0, 0), times.use(((0, 2), (7, 2)), 100, 100)
    ([0, 0, 0, 0], [2, 0, 2, 2])
    """

    def __init__(self, *, cleared: bool = False) -> None:
        self.full = False
        """Whether there were too many ids to go on."""
        self._dense = array("i")  # negated, so that later is less
        self._sparse: dict[int, int] = {}
        self._touched: list[tuple[int, int]] | None = [] if cleared else None

    def use(self, runs: Runs, now_s: int, until_s: int) -> list[int]:
        """Count the leading blocks held at an instant, then use them all until another.

        Returns
        -------
        Blocks that an endless cache holds, and those of each of `TTL_S`.
        """
        last = array("i")
        for first, count in runs:
            last.extend(self._read(first, count))
            if last[-1] == _NEVER:
                break
        # A cache holds a block only with all before it: what is held ends at the oldest.
        oldest = list(accumulate(last, max)) if len(last) < 256 else _running_max(last)
        held = [bisect_right(oldest, _NEVER - 1)]
        held += [bisect_right(oldest, ttl_s - now_s, 0, held[0]) for ttl_s in TTL_S]
        for first, count in runs:
            self._write(first, count, -until_s)
        return held

    def clear(self) -> None:
        """Forget all, at a cost of what was used since the last time."""
        assert self._touched is not None
        for first, count in self._touched:
            self._dense[first : first + count] = array("i", [_NEVER]) * count
        self._touched.clear()
        self._sparse.clear()

    def _read(self, first: int, count: int) -> array[int]:
        if first + count <= len(self._dense):
            return self._dense[first : first + count]
        if first + count <= DENSE_MOST:
            self._grow(first + count)
            return self._dense[first : first + count]
        seen = self._sparse.get
        return array("i", [seen(block, _NEVER) for block in range(first, first + count)])

    def _grow(self, size: int) -> None:
        more = min(DENSE_MOST, max(size, 2 * len(self._dense), 2**12)) - len(self._dense)
        self._dense.extend(array("i", [_NEVER]) * more)

    def _write(self, first: int, count: int, value: int) -> None:
        if first + count <= DENSE_MOST:
            if first + count > len(self._dense):
                self._grow(first + count)
            self._dense[first : first + count] = array("i", [value]) * count
            if self._touched is not None:
                self._touched.append((first, count))
        elif len(self._sparse) + count <= SPARSE_MOST:
            self._sparse.update(dict.fromkeys(range(first, first + count), value))
        else:
            self.full = True


def _running_max(values: array[int]) -> list[int]:
    import numpy as np

    oldest: list[int] = np.maximum.accumulate(np.frombuffer(values, dtype=np.int32)).tolist()
    return oldest
