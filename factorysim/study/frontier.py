"""Which points no other point beats in both of two ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Find the points that no other equals or beats in both values, of which more is better.

    Returns
    -------
    Their places, by falling first value. Of equal points the first is kept.

    Examples
    --------
    >>> frontier([(1.0, 9.0), (2.0, 5.0), (1.5, 4.0), (3.0, 5.0)])
    [3, 0]
    """
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1], i))
    kept: list[int] = []
    best = float("-inf")
    for place in order:
        if points[place][1] > best:
            kept.append(place)
            best = points[place][1]
    return kept
