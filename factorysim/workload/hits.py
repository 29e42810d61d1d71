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

PIECE = 2**18
"""Ids that there is room made for at a time."""

LATEST_S = 2**31 - 2
"""68 years after the trace's time 0. Later instants are taken as that one."""

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
        self.beyond = False
        """Whether any use was after `LATEST_S`: what has been forgotten by then is not known."""
        self._latest_s = 0
        """Until which any block was used."""
        self._dense = array("i")  # negated, so that later is less
        self._sparse: dict[int, int] = {}
        self._touched: list[tuple[int, int]] | None = [] if cleared else None

    def use(self, runs: Runs, now_s: int, until_s: int) -> list[int]:
        """Count the leading blocks held at an instant, then use them all until another.

        Returns
        -------
        Blocks that an endless cache holds, and those of each of `TTL_S`.
        """
        if until_s > LATEST_S:
            self.beyond = True
            now_s, until_s = min(now_s, LATEST_S), LATEST_S
        last = array("i")
        for first, count in runs:
            last.extend(self._read(first, count))
            if last[-1] == _NEVER:
                break  # what comes behind it no cache holds
        held = _held(last, now_s)
        again = until_s < self._latest_s
        for first, count in runs:
            self._write(first, count, -until_s, again)
        self._latest_s = max(self._latest_s, until_s)
        return held

    def clear(self) -> None:
        """Forget all, at a cost of what was used since the last time."""
        assert self._touched is not None
        for first, count in self._touched:
            self._dense[first : first + count] = array("i", [_NEVER]) * count
        self._touched.clear()
        self._sparse.clear()
        self._latest_s = 0

    def _read(self, first: int, count: int) -> array[int]:
        if first + count <= len(self._dense):
            return self._dense[first : first + count]
        if first + count <= DENSE_MOST:
            self._grow(first + count)
            return self._dense[first : first + count]
        if first < DENSE_MOST:
            both = self._read(first, DENSE_MOST - first)
            both.extend(self._read(DENSE_MOST, first + count - DENSE_MOST))
            return both
        seen = self._sparse.get
        return array("i", [seen(block, _NEVER) for block in range(first, first + count)])

    def _grow(self, size: int) -> None:
        """Make room, in small pieces: what is doubled at once is in memory twice."""
        more = min(DENSE_MOST, max(size, len(self._dense) * 9 // 8, 2**12)) - len(self._dense)
        piece = array("i", [_NEVER]) * min(more, PIECE)
        while more > 0:
            self._dense.extend(piece[:more])
            more -= len(piece)

    def _write(self, first: int, count: int, value: int, again: bool) -> None:
        """Note the use of a run; where it may have been used for longer already, the longer one."""
        if first + count <= DENSE_MOST:
            if first + count > len(self._dense):
                self._grow(first + count)
            values = array("i", [value]) * count
            if again:
                values = array("i", map(min, values, self._dense[first : first + count]))
            self._dense[first : first + count] = values
            if self._touched is not None:
                self._touched.append((first, count))
        elif first < DENSE_MOST:
            self._write(first, DENSE_MOST - first, value, again)
            self._write(DENSE_MOST, first + count - DENSE_MOST, value, again)
        elif len(self._sparse) + count <= SPARSE_MOST:
            seen, blocks = self._sparse, range(first, first + count)
            if again:
                seen.update((block, min(value, seen.get(block, _NEVER))) for block in blocks)
            else:
                seen.update(dict.fromkeys(blocks, value))
        else:
            self.full = True


def _held(last: array[int], now_s: int) -> list[int]:
    """Count the leading blocks of a prompt that caches hold, from their last uses.

    A cache holds a block only with all before it: what is held ends at the oldest.
    """
    if len(last) >= 256:
        return _held_of_many(last, now_s)
    if _NEVER in last:
        last = last[: last.index(_NEVER)]
    if not last:
        return [0] * (1 + len(TTL_S))
    if max(last) <= TTL_S[0] - now_s:
        return [len(last)] * (1 + len(TTL_S))
    falling = list(accumulate(last, max))
    return [len(last), *(bisect_right(falling, ttl_s - now_s) for ttl_s in TTL_S)]


def _held_of_many(last: array[int], now_s: int) -> list[int]:
    """Count the same by arithmetic on arrays."""
    import numpy as np

    falling = np.maximum.accumulate(np.frombuffer(last, dtype=np.int32))
    bounds = [_NEVER - 1, *(min(ttl_s - now_s, _NEVER - 1) for ttl_s in TTL_S)]
    ends = np.searchsorted(falling, np.array(bounds, np.int32), side="right")
    return [int(blocks) for blocks in ends]
