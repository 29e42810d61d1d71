"""The KV ledger of one replica: every block is free, held, or cached for whoever comes.

Blocks are counted, not named: which block of memory a sequence holds makes no
difference to anyone. What is named is what cached blocks hold (`prefix`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.sim.prefix import PrefixTree

if TYPE_CHECKING:
    from factorysim.sim.call import Call


class Ledger(PrefixTree):
    """Blocks of one replica. `free + evictable + held == blocks` at any time.

    Held are the private blocks of running calls, and the cached ones that they
    have locked.
    """

    __slots__ = ("block_tokens", "blocks", "free")

    def __init__(self, blocks: int, block_tokens: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.block_tokens = block_tokens
        self.free = blocks

    @property
    def held(self) -> int:
        """Blocks of running sequences."""
        return self.blocks - self.free - self.evictable

    def take(self, blocks: int) -> None:
        """Take blocks that are available: free ones first, then by eviction."""
        free = self.free - blocks
        if free < 0:
            self.evict(-free)
            free = 0
        self.free = free

    def release(self, call: Call, tokens: int) -> None:
        """Free the private blocks of a call that has so many tokens, and unlock its path."""
        self.free += -(-tokens // self.block_tokens) - call.shared
        if call.leaf is not None:
            self.unlock(call)

    def clear(self) -> None:
        """Forget everything: the device failed."""
        super().clear()
        self.free = self.blocks
