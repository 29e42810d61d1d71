"""Slices of a timeline: what lasted from when until when, on which track, how deep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.store import Labels
    from factorysim.store.tables import Column

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

NS_PER_S = 1e9


def nanoseconds(at_s: Floats) -> Ints:
    """Instants as Perfetto keeps them: whole nanoseconds, the nearest; ties to the even one.

    Exact to half a nanosecond for 52 days of simulated time.

    Examples
    --------
    >>> import numpy as np
    >>> nanoseconds(np.array([0.1, 1.5e-9, 2.5e-9])).tolist()
    [100000000, 2, 2]
    """
    import numpy as np

    return np.rint(at_s * NS_PER_S).astype(np.int64)


class Slices(NamedTuple):
    """Many slices of one kind, as columns; one row a slice."""

    category: str
    name: Labels
    track: Ints
    start_ns: Ints
    end_ns: Ints
    depth: int
    """One that is deeper by 1 lies inside; what counts is the distance to the least there."""
    args: Mapping[str, Column] = {}
    """Told when a slice is selected; a NaN is left out."""
    flows: Mapping[int, Sequence[int]] = {}
    """Row -> numbers of the arrows that begin or end at it."""

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.start_ns)

    def where(self, kept: Bools) -> Slices:
        """Keep some rows; there must be no arrows yet."""
        assert not self.flows, "arrows hold the numbers of rows"
        return self._replace(
            name=self.name.where(kept),
            track=self.track[kept],
            start_ns=self.start_ns[kept],
            end_ns=self.end_ns[kept],
            args={name: rows_of(column, kept) for name, column in self.args.items()},
        )


def rows_of(column: Column, kept: Bools | Ints) -> Column:
    """Keep the rows of a mask, or those at the places given, of a column of words or numbers."""
    from factorysim.store import Labels

    if isinstance(column, Labels):
        return Labels(column.codes[kept], column.words)
    return column[kept]


def one_name(word: str, count: int) -> Labels:
    """Name so many slices alike."""
    import numpy as np

    from factorysim.store import Labels

    return Labels(np.zeros(count, np.int32), (word,))


Edge: TypeAlias = "tuple[int, int, int, bool]"
"""One end of a slice: when in ns, number of its batch, its row there, whether it begins."""


def edges(batches: Sequence[Slices]) -> list[Edge]:
    """Give the ends of all slices by time, so that on every track they nest.

    Perfetto knows no other slices: an end closes what was opened last on its track. At
    one instant, what ends goes before what begins; a slice without length is closed
    before the next is opened.

    Examples
    --------
    >>> import numpy as np
    >>> def batch(depth, *spans):
    ...     start, end = np.array(spans).T
    ...     return Slices("", one_name("", len(spans)), start * 0, start, end, depth)
    >>> [(at, batch, begins) for at, batch, _, begins in edges(
    ...     [batch(0, (0, 4)), batch(1, (0, 2), (2, 4))])]
    [(0, 0, True), (0, 1, True), (2, 1, False), (2, 1, True), (4, 1, False), (4, 0, False)]
    """
    import numpy as np

    sizes = [batch.size for batch in batches]
    start, end, track = (
        np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("start_ns", "end_ns", "track")
    )
    depth = np.repeat([batch.depth for batch in batches], sizes)
    least = np.full(int(track.max(initial=0)) + 1, depth.max(initial=0))
    np.minimum.at(least, track, depth)
    depth -= least[track]
    order = np.lexsort((end, depth, start, track))
    walked = _walked(order.tolist(), track.tolist(), depth.tolist(), end.tolist())
    one = np.array(walked, np.int64)
    begins, one = one >= 0, np.where(one >= 0, one, ~one)
    at = np.where(begins, start[one], end[one])
    batch = np.repeat(np.arange(len(sizes)), sizes)[one]
    row = one - np.cumsum([0, *sizes])[batch]
    by_time = np.argsort(at, kind="stable")
    assert np.all(np.diff(at)[track[one][1:] == track[one][:-1]] >= 0), "slices of a track nest"
    columns = (column[by_time].tolist() for column in (at, batch, row, begins))
    return list(zip(*columns, strict=True))


def _walked(order: list[int], track: list[int], depth: list[int], end: list[int]) -> list[int]:
    """Open and close the slices of one track after the other: `i` opens slice i, `~i` closes it."""
    walked: list[int] = []
    stack: list[int] = []
    for one in order:
        while stack and (track[stack[-1]] != track[one] or len(stack) > depth[one]):
            walked.append(~stack.pop())
        assert len(stack) == depth[one], "a slice lies inside one of the depth above it"
        assert not stack or end[one] <= end[stack[-1]], "a slice ends inside the one around it"
        stack.append(one)
        walked.append(one)
    walked += [~one for one in reversed(stack)]
    return walked
