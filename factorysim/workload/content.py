"""What the blocks of calls hold, told by ids: equal ids after equal ids are equal tokens.

A call names the full blocks of its prompt and of its output, from its first token
on. A session's calls repeat what `prefix_tokens` says of the one before, and else
hold what no other call does.
"""

from __future__ import annotations

from typing import TypeAlias

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""Block ids in order, as runs of consecutive ones: the first, and how many."""

SESSION_BITS = 32
"""Ids of one session: more blocks than any session fills."""


class Contents:
    """Block ids of one session, call by call."""

    __slots__ = ("_fresh", "_last", "block_tokens")

    def __init__(self, session: int, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._fresh = session << SESSION_BITS
        """The next id that nothing has."""
        self._last: Runs = ()
        """Of the previous call."""

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
        runs, blocks = _head(self._last, min(prefix_tokens, prompt_tokens) // size)
        new = (prompt_tokens + output_tokens) // size - blocks
        if new:
            first = self._fresh
            self._fresh += new
            if runs and sum(runs[-1]) == first:
                first, count = runs.pop()
                new += count
            runs.append((first, new))
        self._last = content = tuple(runs)
        return content


def _head(runs: Runs, most: int) -> tuple[list[tuple[int, int]], int]:
    """Return the runs of the first blocks, at most `most`, and how many those are."""
    head = []
    left = most
    for first, count in runs:
        if not left:
            break
        count = min(count, left)
        head.append((first, count))
        left -= count
    return head, most - left
