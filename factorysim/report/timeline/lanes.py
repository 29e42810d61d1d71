"""Lanes: as many tracks side by side as there are things at once, and the pauses between."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]


def lanes(group: Ints, start: Ints, end: Ints) -> Ints:
    """Give each span the first lane of its group that is free when it starts.

    So there are as many lanes in a group as spans that overlap at some instant.

    Examples
    --------
    >>> import numpy as np
    >>> lanes(np.array([0, 0, 0, 1]), np.array([0, 1, 3, 1]), np.array([3, 2, 4, 9])).tolist()
    [0, 1, 0, 0]
    """
    import numpy as np

    order = np.lexsort((end, start, group))
    of, since, until = group[order], start[order], end[order]
    again = of[1:] == of[:-1]
    lane = np.zeros(len(order), np.int64)
    crowded = np.isin(of, of[1:][again & (since[1:] < until[:-1])])
    for i in np.flatnonzero(crowded).tolist():
        if i == 0 or of[i] != of[i - 1]:
            free: list[int] = []
        at = next((k for k, busy in enumerate(free) if busy <= since[i]), len(free))
        free[at : at + 1] = [int(until[i])]
        lane[i] = at
    given = np.empty_like(lane)
    given[order] = lane
    return given


def pauses(
    group: Ints, start: Ints, end: Ints, since: Ints, until: Ints
) -> tuple[Ints, Ints, Ints]:
    """Find when nothing of a group goes on.

    Parameters
    ----------
    group, start, end
        Of each span; groups are numbered from 0.
    since, until
        Of each group: what is asked about, around all of its spans.

    Returns
    -------
    Group, start and end of each pause.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.array
    >>> found = pauses(one([0, 0]), one([1, 2]), one([3, 4]), one([0]), one([9]))
    >>> [column.tolist() for column in found]
    [[0, 0], [0, 4], [1, 9]]
    """
    import numpy as np

    groups = np.arange(len(since))
    of = np.concatenate([group, groups])
    begin = np.concatenate([start, until])
    stop = np.concatenate([end, until])
    order = np.lexsort((begin, of))
    of, begin, stop = of[order], begin[order], stop[order]
    busy = since.copy()
    before = np.empty_like(begin)
    for i, (one, ends) in enumerate(zip(of.tolist(), stop.tolist(), strict=True)):
        before[i] = busy[one]
        busy[one] = max(busy[one], ends)
    idle = begin > before
    return of[idle], before[idle], begin[idle]
