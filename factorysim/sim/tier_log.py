"""Rows of KV tiers as they are written, and what they add up to: in all, and by call."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from factorysim.sim.clock import S_PER_FS

if TYPE_CHECKING:
    from factorysim.sim.call import Call

HBM = "hbm"
_CUT_OFF = frozenset({"failed", "cancelled"})
"""Outcomes of calls that may leave before what they fetch, or what their leg found, is theirs."""


class Told:
    """What was written down of one call, that what the call itself says is held to."""

    __slots__ = ("found_tokens", "landed_blocks", "waits_fs")

    def __init__(self) -> None:
        self.found_tokens: Counter[str] = Counter()
        """Of its prompt, by tier."""
        self.landed_blocks: Counter[str] = Counter()
        """Fetched for it, by tier."""
        self.waits_fs: dict[int, int] = {}
        """Of its fetches, by when they began: when the last of their tiers had sent."""


class Log:
    """Rows of `records.TierRow`, and counts of what they say, kept apart from the stores.

    Parameters
    ----------
    block_tokens
        By which tokens found are held to blocks fetched.
    """

    def __init__(
        self, rows: list[tuple[object, ...]] | None = None, *, block_tokens: int = 1
    ) -> None:
        self.rows = [] if rows is None else rows
        """Whoever owns the list drains it."""
        self.count = 0
        self.stored_blocks: Counter[str] = Counter()
        """Of stores that have landed, by tier."""
        self.noted_bytes: defaultdict[str, float] = defaultdict(float)
        """Of rows, by event and tier."""
        self.noted_blocks: Counter[str] = Counter()
        self.noted_fs: Counter[str] = Counter()
        """From their start to their end."""
        self.hits_amiss: list[str] = []
        """Calls whose hits are not what was found for them, in HBM and in the tiers."""
        self.waits_amiss: list[str] = []
        """Calls that waited for another time than their fetches took."""
        self.found_tokens = self.hit_tokens = 0
        """Of calls that were checked: as noted here, and as they say."""
        self.noted_wait_fs = self.waited_fs = 0
        self._block_tokens = block_tokens
        self._told: defaultdict[int, Told] = defaultdict(Told)
        """Of calls that are not back."""

    def note(
        self,
        event: str,
        tier: str,
        blocks: int,
        times_fs: tuple[int, int],
        *,
        size_bytes: float = 0.0,
        replica: int = -1,
        call: int = -1,
        hit_tokens: int = 0,
    ) -> None:
        """Write down one event."""
        key = f"{event}_{tier}"
        start_fs, end_fs = times_fs
        self.count += 1
        self.noted_bytes[key] += size_bytes
        self.noted_blocks[key] += blocks
        self.noted_fs[key] += end_fs - start_fs
        if call >= 0:
            told = self._told[call]
            told.found_tokens[tier] += hit_tokens
            told.landed_blocks[tier] += blocks
            if event == "fetch":
                told.waits_fs[start_fs] = max(end_fs, told.waits_fs.get(start_fs, 0))
        self.rows.append(
            (
                start_fs * S_PER_FS,
                end_fs * S_PER_FS,
                tier,
                event,
                replica,
                call,
                blocks,
                size_bytes,
                hit_tokens,
            )
        )

    def found_in_hbm(self, call: Call, tokens: int) -> None:
        """Count tokens of a prompt that no tier has brought; `calls` has their row."""
        self._told[call.number].found_tokens[HBM] += tokens

    def check(self, call: Call, fetching_fs: int | None = None) -> None:
        """Hold what a call that is back, or in flight at the end, says to what is noted of it.

        Parameters
        ----------
        fetching_fs
            When the fetch began that it waits for still.
        """
        told = self._told.pop(call.number, None) or Told()
        if call.outcome in _CUT_OFF:
            return
        self._check_hits(call, told)
        ended = [end - start for start, end in told.waits_fs.items() if start != fetching_fs]
        waited_fs = sum(ended)
        self.noted_wait_fs += waited_fs
        self.waited_fs += call.fetch_fs
        if waited_fs != call.fetch_fs:
            self.waits_amiss.append(
                f"call {call.number}: {call.fetch_fs} fs, its {len(ended)} fetches {waited_fs} fs"
            )

    def _check_hits(self, call: Call, told: Told) -> None:
        tokens, blocks = told.found_tokens, told.landed_blocks
        found = tokens.total()
        self.found_tokens += found
        self.hit_tokens += call.hit_tokens
        much = [tier for tier in tokens if tokens[tier] > blocks[tier] * self._block_tokens]
        if found != call.hit_tokens or [tier for tier in much if tier != HBM]:
            parts = ", ".join(
                f"{tokens[tier]} in {tier} ({blocks[tier]} blocks)" for tier in tokens
            )
            self.hits_amiss.append(f"call {call.number}: {call.hit_tokens} hit, found {parts or 0}")
