"""Lists of block ids as runs of consecutive ones: what a thousand blocks hold in two numbers.

Ids of a prompt's blocks mostly count up, since a trace numbers blocks as it meets
them. An id means the same tokens after the same blocks.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""Block ids in order: of each run the first, and how many (at least one). No run goes on
where the one before it ends: there is one way to write a list."""


def runs_of(pieces: Iterable[tuple[int, int]]) -> Runs:
    """Join runs, or ids given as runs of one, where one goes on where the last ends.

    Examples
    --------
    >>> runs_of([(4, 1), (5, 2), (9, 1)])
    ((4, 3), (9, 1))
    """
    runs: list[tuple[int, int]] = []
    for first, count in pieces:
        if runs and first == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + count)
        else:
            runs.append((first, count))
    return tuple(runs)


def runs_of_ids(ids: Iterable[int]) -> Runs:
    """Write ids as runs.

    Examples
    --------
    >>> runs_of_ids([4, 5, 6, 9])
    ((4, 3), (9, 1))
    """
    runs: list[tuple[int, int]] = []
    first = end = -1
    for block in ids:  # millions of them: a comparison each
        if block != end:
            if end != first:
                runs.append((first, end - first))
            first = block
        end = block + 1
    if end != first:
        runs.append((first, end - first))
    return tuple(runs)


def runs_of_lists(lists: Sequence[Sequence[int]]) -> list[Runs]:
    """Write many lists of ids as runs, at once: half the time of one by one.

    Raises
    ------
    OverflowError
        If an id is beyond 64 bits; `runs_of_ids` takes it.

    Examples
    --------
    >>> runs_of_lists([[4, 5, 6, 9], [], [10]])
    [((4, 3), (9, 1)), (), ((10, 1),)]
    """
    import numpy as np

    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    ids = np.fromiter(chain.from_iterable(lists), np.int64, int(lengths.sum()))
    return runs_of_array(ids, lengths)


def runs_of_array(ids: Ints, lengths: Ints) -> list[Runs]:
    """Write lists of ids that stand one behind another, of so many each, as runs."""
    import numpy as np

    ends = np.cumsum(lengths)
    begins = np.ones(len(ids) + 1, dtype=bool)  # and one behind the last
    np.not_equal(ids[1:], ids[:-1] + 1, out=begins[1:-1])
    begins[ends] = True
    (places,) = np.nonzero(begins)
    runs = list(zip(ids[places[:-1]].tolist(), np.diff(places).tolist(), strict=True))
    until = np.searchsorted(places, ends).tolist()
    return [tuple(runs[a:b]) for a, b in zip([0, *until], until, strict=False)]


def lengthened(runs: Runs, first: int, count: int) -> Runs:
    """Add a run to others: to the last of them if it goes on where that ends.

    Examples
    --------
    >>> lengthened(((4, 3),), 7, 2), lengthened(((4, 3),), 8, 2)
    (((4, 5),), ((4, 3), (8, 2)))
    """
    if runs:
        begin, before = runs[-1]
        if begin + before == first:
            return (*runs[:-1], (begin, before + count))
    return (*runs, (first, count))


def ids_of(runs: Runs) -> Iterator[int]:
    """Go through the ids of runs, in order.

    Examples
    --------
    >>> list(ids_of(((4, 3), (9, 1))))
    [4, 5, 6, 9]
    """
    for first, count in runs:
        yield from range(first, first + count)


def blocks_in(runs: Runs) -> int:
    """Count the blocks of runs.

    Examples
    --------
    >>> blocks_in(((4, 3), (9, 1)))
    4
    """
    return sum(count for _, count in runs)


def head_of(runs: Runs, blocks: int) -> Runs:
    """Cut runs after so many of their blocks.

    Examples
    --------
    >>> head_of(((4, 3), (9, 2)), 4)
    ((4, 3), (9, 1))
    """
    head = []
    for first, count in runs:
        if blocks <= 0:
            break
        head.append((first, min(count, blocks)))
        blocks -= count
    return tuple(head)


def common_blocks(a: Runs, b: Runs) -> int:
    """Count the leading blocks that two lists of ids have in common.

    Examples
    --------
    >>> common_blocks(((4, 3), (9, 2)), ((4, 3), (9, 1), (12, 1)))
    4
    """
    common = 0
    for (first, count), (other, others) in zip(a, b, strict=False):
        if first != other:
            break
        common += min(count, others)
        if count != others:  # runs go on as far as they can: what follows differs
            break
    return common
