"""The KV ledger of one replica: every block is free, held, or kept for a session.

Blocks are counted, not named: which block a sequence holds makes no difference
to anyone. What a finished call leaves behind is an extent of its session,
evictable: the least recently kept goes first, from its tail, block by block.
"""

from __future__ import annotations

from collections import OrderedDict


class Ledger:
    """Blocks of one replica. `free + evictable + held == blocks` at any time."""

    __slots__ = ("block_tokens", "blocks", "evictable", "evicted", "free", "kept")

    def __init__(self, blocks: int, block_tokens: int) -> None:
        self.blocks = blocks
        self.block_tokens = block_tokens
        self.free = blocks
        self.evictable = 0
        """Blocks of the kept extents."""
        self.evicted = 0
        """Blocks evicted so far."""
        self.kept: OrderedDict[int, tuple[int, int]] = OrderedDict()
        """Session -> tokens and blocks kept for it, least recently kept first."""

    @property
    def held(self) -> int:
        """Blocks of running sequences."""
        return self.blocks - self.free - self.evictable

    def take(self, blocks: int) -> None:
        """Take blocks that are available: free ones first, then by eviction."""
        free = self.free - blocks
        if free < 0:
            self._evict(-free)
            free = 0
        self.free = free

    def _evict(self, blocks: int) -> None:
        """Take `blocks` from the kept extents, oldest first, each from its tail."""
        assert blocks <= self.evictable, "more blocks taken than are available"
        self.evictable -= blocks
        self.evicted += blocks
        kept = self.kept
        while blocks:
            session, (tokens, size) = kept.popitem(last=False)
            if size > blocks:
                size -= blocks
                kept[session] = (min(tokens, size * self.block_tokens), size)
                kept.move_to_end(session, last=False)
                return
            blocks -= size

    def keep(self, session: int, tokens: int, blocks: int) -> None:
        """Keep held blocks for a session's next call, as the most recent extent."""
        self.drop(session)
        self.kept[session] = (tokens, blocks)
        self.evictable += blocks

    def adopt(self, session: int, hit_blocks: int) -> None:
        """Hand the head of a session's extent to its next call; the rest is free."""
        _, size = self.kept.pop(session)
        self.evictable -= size
        self.free += size - hit_blocks

    def drop(self, session: int) -> None:
        """Free what is kept for a session, if anything is."""
        if session in self.kept:
            self.adopt(session, 0)

    def clear(self) -> None:
        """Forget everything: the device failed."""
        self.free = self.blocks
        self.evictable = 0
        self.kept.clear()
