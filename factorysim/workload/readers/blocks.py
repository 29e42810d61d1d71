"""Ids of a prompt's blocks as traces list them, and the size of the blocks where it is not told."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from factorysim.workload.rows import as_list
from factorysim.workload.runs import head_of, runs_of_ids

if TYPE_CHECKING:
    from factorysim.workload.rows import Row
    from factorysim.workload.runs import Runs

SIZES = tuple(2**power for power in range(3, 14))
"""Tokens of a block that are looked for where a trace does not say: powers of two."""


def listed_ids(row: Row, key: str) -> list[int]:
    """Take a list of block ids of any size; none if it is not there."""
    ids = cast("list[int] | None", as_list(row.data.get(key, [])))
    if ids is None or not set(map(type, ids)) <= {int} or min(ids, default=0) < 0:
        row.bad(key, "something else", "a list of whole numbers, none below 0")
        return []
    return ids


def take_blocks(row: Row, key: str, prompt_tokens: int, size: int) -> Runs:
    """Take a prompt's block ids: one for each block, whose last may be left out unless full."""
    ids = listed_ids(row, key)
    if row.problems or not ids:
        return ()
    if not prompt_tokens // size <= len(ids) <= -(-prompt_tokens // size):
        expected = f"one for each {size} tokens of a prompt of {prompt_tokens:,}, or none at all"
        row.bad(key, f"{len(ids):,} ids", expected)
        return ()
    return runs_of_ids(ids)


def full_blocks(blocks: Runs, prompt_tokens: int, size: int) -> Runs:
    """Leave out the id of a last block that is not full.

    Examples
    --------
    >>> full_blocks(((7, 3),), 20, 8)
    ((7, 2),)
    """
    return head_of(blocks, prompt_tokens // size)


class BlockSize:
    """Finds out how many tokens a block has from lengths of prompts and of their lists.

    Parameters
    ----------
    usual
        Taken where the lists leave more than one size, this among them.

    Examples
    --------
    >>> size = BlockSize(usual=512)
    >>> size.see(600, 2)
    >>> size.tokens
    512
    >>> size = BlockSize()
    >>> size.see(640, 10)
    >>> size.tokens
    64
    """

    def __init__(self, usual: int | None = None) -> None:
        self.fitting = set(SIZES)
        self._usual = usual

    def see(self, prompt_tokens: int, blocks: int) -> None:
        """Leave out the sizes that such a list does not fit, unless none would be left."""
        if not blocks:
            return
        fitting = {
            size
            for size in self.fitting
            if prompt_tokens // size <= blocks <= -(-prompt_tokens // size)
        }
        self.fitting = fitting or self.fitting

    def take(self, row: Row, key: str, prompt_tokens: int) -> tuple[Runs, int | None]:
        """Take a prompt's block ids, and how many tokens a block has; None without ids."""
        if not row.data.get(key):
            return (), None
        if self.tokens is None:
            sizes = " or ".join(str(size) for size in sorted(self.fitting))
            cure = "convert it to fstrace/1, which says the size"
            row.bad(key, f"lists that fit blocks of {sizes} tokens", "one size", cure)
            return (), None
        return take_blocks(row, key, prompt_tokens, self.tokens), self.tokens

    @property
    def tokens(self) -> int | None:
        """Of a block; None if that cannot be told."""
        if self._usual in self.fitting:
            return self._usual
        return next(iter(self.fitting)) if len(self.fitting) == 1 else None
