"""What the blocks of calls hold, told by ids: equal ids after equal ids are equal tokens.

A call names the full blocks of its prompt and of its output, from its first token
on. A session's calls repeat what `prefix_tokens` says of the one before, and else
hold what no other call does.
"""

from __future__ import annotations

from typing import TypeAlias

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""Block ids in order, as runs of consecutive ones: the first, and how many (at least one)."""

SESSION_BITS = 32
"""Ids of one session: more blocks than any session fills."""


class Contents:
    """Block ids of one session, call by call."""

    __slots__ = ("_fresh", "_last", "_named", "block_tokens")

    def __init__(self, session: int, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._fresh = session << SESSION_BITS
        """The next id that nothing has."""
        self._last: Runs = ()
        """Of the previous call."""
        self._named = 0
        """Blocks of it."""

    def next_call(self, prompt_tokens: int, output_tokens: int, prefix_tokens: int) -> Runs:
        """Name the blocks of the session's next call.

        Parameters
        ----------
        prefix_tokens
            Leading prompt tokens that repeat the previous call's prompt and output.
            A block that they fill in part is another block.

        Examples
        --------
        >>> session = Contents(0, block_tokens=10)
        >>> session.next_call(35, 10, 0)
        ((0, 4),)
        >>> session.next_call(60, 10, 45)
        ((0, 7),)
        >>> session.next_call(60, 10, 29)
        ((0, 2), (7, 5))
        """
        size = self.block_tokens
        content, repeated = self._last, self._named
        most = min(prefix_tokens, prompt_tokens) // size
        if most < repeated:
            content, repeated = _head(content, most), most
        self._named = named = (prompt_tokens + output_tokens) // size
        if named > repeated:
            content = _lengthened(content, self._fresh, named - repeated)
            self._fresh += named - repeated
        self._last = content
        return content


def _lengthened(runs: Runs, first: int, count: int) -> Runs:
    """Add blocks to runs: to the last one if they go on where it ends."""
    if runs:
        begin, before = runs[-1]
        if begin + before == first:
            return (*runs[:-1], (begin, before + count))
    return (*runs, (first, count))


def _head(runs: Runs, blocks: int) -> Runs:
    """Cut runs after so many of their blocks."""
    head = []
    for first, count in runs:
        if not blocks:
            break
        count = min(count, blocks)
        head.append((first, count))
        blocks -= count
    return tuple(head)
