"""What calls are made of, for the exactness tests: few ids, and most of them shared.

A *text* is an endless row of block ids. Texts fork from one another anywhere, and
may come back to ids of the one they left, which are then other blocks. A call
takes its content from the start of one; calls of one text are a session that
grows, or tell the same thing at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

Runs = tuple[tuple[int, int], ...]

ENDLESS = 1000
"""Blocks: more than any call has."""


@st.composite
def texts(draw: DrawFn) -> list[Runs]:
    """One to four, each new or forked from an earlier one, each as long as is ever needed."""
    told: list[Runs] = []
    for _ in range(draw(st.sampled_from([1, 2, 3, 4]))):
        start: Runs = ()
        if told:
            shared = draw(st.one_of(st.integers(0, 2), st.integers(0, 30)))
            start = first_blocks(draw(st.sampled_from(told)), shared)
        detour = draw(st.lists(st.tuples(st.sampled_from([0, 1, 5, 900]), st.integers(1, 3))))
        told.append((*start, *detour, (draw(st.sampled_from([0, 3, 500])), ENDLESS)))
    return told


@st.composite
def contents(
    draw: DrawFn, told: Sequence[Runs], prompt: int, output: int, block_tokens: int
) -> Runs:
    """The content of a call: nothing, its prompt, or some or all of its output too."""
    if draw(st.sampled_from([False] * 7 + [True])):
        return ()
    full = prompt // block_tokens
    whole = (prompt + output) // block_tokens
    blocks = draw(st.sampled_from([full, full, whole, whole, whole + 3, (full + whole + 1) // 2]))
    runs = first_blocks(draw(st.sampled_from(told)), blocks)
    return cut(runs, draw(st.lists(st.integers(1, 30), max_size=2)))


def first_blocks(runs: Runs, blocks: int) -> Runs:
    """Runs of no more than so many ids."""
    kept: list[tuple[int, int]] = []
    for first, count in runs:
        taken = min(count, blocks)
        if taken > 0:
            kept.append((first, taken))
        blocks -= taken
    return tuple(kept)


def cut(runs: Runs, places: Sequence[int]) -> Runs:
    """The same ids, with runs cut in two where they are longer than a place."""
    for place in places:
        halves = [
            half
            for first, count in runs
            for half in ((first, min(place, count)), (first + place, count - place))
            if half[1] > 0
        ]
        runs = tuple(halves)
    return runs
