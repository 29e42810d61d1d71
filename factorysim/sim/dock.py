"""KV between replicas, as one of them sees it: what comes in from others, what waits to leave.

Where prompts are computed apart, a call's blocks are set aside at the replica that will
decode it, and its KV lands in them. At the one that computes its prompt they are kept until
then. When any of this happens, and what moves in between, is for `handoff` to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.sim.call import MOVING, by_number

if TYPE_CHECKING:
    from factorysim.sim.call import Call
    from factorysim.sim.decodes import Decodes
    from factorysim.sim.kv import Ledger


class Dock:
    """Calls of one replica whose KV has come, or is yet to leave."""

    __slots__ = ("kept", "landed")

    def __init__(self) -> None:
        self.landed: list[Call] = []
        """Whose KV has come in, to decode from the next step on."""
        self.kept: dict[int, Call] = {}
        """Calls that the replica is done with, by number, whose KV is yet to leave."""

    def clear(self) -> None:
        """Forget everybody: the device failed."""
        self.landed.clear()
        self.kept.clear()

    def reserve(self, call: Call, ledger: Ledger) -> int | None:
        """Set blocks aside for KV that is to come; returns the tokens that need not come.

        None: there are too few blocks.
        """
        handoff, size = call.handoff, ledger.block_tokens
        assert handoff is not None
        context = handoff.context
        found = ledger.match(call.content, context // size) if call.content else None
        hits, unlocked = (0, 0) if found is None else found[:2]
        blocks = -(-context // size) - hits
        if blocks > ledger.free + ledger.evictable - unlocked:
            return None
        if found is not None and hits:
            ledger.lock(call, found)
        ledger.take(blocks)
        call.context = context
        call.peak = call.prompt_tokens
        call.state = MOVING
        return hits * size

    def land(self, call: Call) -> bool:
        """Note that the KV of a call has come; False: it has left in the meantime."""
        if call.state != MOVING:
            return False
        self.landed.append(call)
        return True

    def join(self, ledger: Ledger, decodes: Decodes, now_fs: int) -> None:
        """Let the calls decode whose KV has come."""
        landed, self.landed = self.landed, []
        for call in sorted(landed, key=by_number):
            handoff = call.handoff
            assert handoff is not None
            handoff.joins(now_fs)
            if call.content:
                copies = ledger.register(call, call.context // ledger.block_tokens)
                ledger.free += copies
            decodes.join(call)

    def forget(self, call: Call) -> None:
        """Let a call go that was to decode."""
        if call in self.landed:
            self.landed.remove(call)

    def let_go(self, call: Call, ledger: Ledger) -> bool:
        """Free the blocks of a call whose KV has left; False: they were lost with the device."""
        if self.kept.pop(call.number, None) is None:
            return False
        ledger.release(call, call.context)
        return True
