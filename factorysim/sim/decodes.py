"""The sequences of a replica that make tokens: in step, so told by a count of steps.

A step adds one token to each of them. So a decoding sequence is its join at a
tick: its context, its end, the steps in which it needs a new block and the one in
which its sliding window is full follow from the count, and a run of steps moves
them all by moving the tick.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from factorysim.sim.call import DECODING
from factorysim.sim.clock import S_PER_FS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.sim.call import Call

NOBODY: Sequence[Call] = ()


class Decodes:
    """What a replica must know of its decodes to bound and to credit a run."""

    __slots__ = (
        "block_tokens",
        "context",
        "count",
        "ends",
        "fills",
        "joiners",
        "open",
        "open_context",
        "phases",
        "stale",
        "tick",
        "token_fs",
        "window",
    )

    def __init__(self, block_tokens: int, window: int | None, *, note_joiners: bool) -> None:
        self.block_tokens = block_tokens
        self.window = window
        self.tick = 0
        """Steps with decodes so far."""
        self.token_fs = -1
        """When the decodes last made a token."""
        self.joiners: list[Call] | None = [] if note_joiners else None
        """Joined since then, for who wants to know."""
        self.ends: list[tuple[int, int, int, Call]] = []
        self.fills: list[tuple[int, int, int, Call]] = []
        self.clear()

    def clear(self) -> None:
        """Forget everybody; the count of steps goes on."""
        self.count = 0
        self.context = 0
        """Tokens in the cache over all decodes."""
        self.ends.clear()
        """Heap of ticks at which calls have all their tokens."""
        self.stale = 0
        """Entries of `ends` whose calls no longer decode."""
        self.phases = [0] * (2 * self.block_tokens)
        """Decodes by phase, twice over so that any cycle is a slice."""
        self.fills.clear()
        """Heap of ticks at whose step a sliding window is full."""
        self.open = 0
        """Decodes whose windows still grow."""
        self.open_context = 0
        if self.joiners:
            self.joiners.clear()

    def join(self, call: Call) -> None:
        """Let a call decode from the next step on."""
        tick, context, size = self.tick, call.context, self.block_tokens
        call.known = context + 1
        call.state = DECODING
        call.joined = tick
        self.count += 1
        self.context += context
        call.phase = phase = (context - tick) % size
        phases = self.phases
        phases[phase] += 1
        phases[phase + size] += 1
        end = tick + call.output_tokens - call.output_made
        heappush(self.ends, (end, call.number, call.preemptions, call))
        if self.joiners is not None:
            self.joiners.append(call)
        window = self.window
        if window is not None and context + 1 < window:
            call.open = True
            self.open += 1
            self.open_context += context
            fills = tick + window - 1 - context
            heappush(self.fills, (fills, call.number, call.preemptions, call))

    def leave(self, call: Call) -> int:
        """Take a call out, its tokens credited; returns those that it has in the cache."""
        made = self.tick - call.joined
        context = call.context + made
        call.output_made += made
        self.count -= 1
        self.context -= context
        phases, phase = self.phases, call.phase
        phases[phase] -= 1
        phases[phase + self.block_tokens] -= 1
        if call.open:
            call.open = False
            self.open -= 1
            self.open_context -= context
        return context

    def made(self, call: Call) -> int:
        """Output tokens of a decode so far."""
        return call.output_made + self.tick - call.joined

    def held(self, call: Call) -> int:
        """Tokens that a decode holds blocks for, between runs."""
        return call.context + self.tick - call.joined

    def drop(self, call: Call) -> int:
        """Take out a call before its end, which stays in the heap until it comes up."""
        self.stale += 1
        self.note_last_token(call)
        if self.joiners and call in self.joiners:  # it may join again before anybody decodes
            self.joiners.remove(call)
        return self.leave(call)

    def note_last_token(self, call: Call) -> None:
        """Remember when a decode that is about to leave made its last token."""
        if self.tick > call.joined:
            call.emitted_fs = self.token_fs
        if call.first_token_fs is not None:
            call.last_token_fs = call.emitted_fs

    def advance(self, steps: int, now_fs: int) -> Sequence[Call]:
        """Move on by so many steps; take out and return who has all tokens now."""
        self.tick = tick = self.tick + steps
        self.context += self.count * steps
        if self.open:
            self.open_context += self.open * steps
        self.token_fs = now_fs
        return NOBODY if self.ends[0][0] > tick else self.take_ended(now_fs)

    def take_ended(self, now_fs: int) -> Sequence[Call]:
        """Take out and return who has all tokens, as of the present step."""
        ends, tick = self.ends, self.tick
        done = []
        while ends and ends[0][0] <= tick:
            _, _, epoch, call = heappop(ends)
            if call.state == DECODING and call.preemptions == epoch:
                self.leave(call)
                call.last_token_fs = now_fs
                done.append(call)
            else:
                self.stale -= 1
        return done

    def steps_left(self) -> int:
        """Count the steps until the first of them has all its tokens."""
        ends = self.ends
        if self.stale:
            while ends[0][3].state != DECODING or ends[0][3].preemptions != ends[0][2]:
                heappop(ends)
                self.stale -= 1
        return ends[0][0] - self.tick

    def blocks_now(self) -> int:
        """Blocks that they need for the next step."""
        return self.phases[-self.tick % self.block_tokens]

    def later_blocks(self, steps: int) -> int:
        """Blocks that they need in the steps of a run after its first."""
        size = self.block_tokens
        cycles, rest = divmod(steps - 1, size)
        blocks = cycles * self.count
        if rest:
            # Step j needs phase -(tick + j): going down from that of step 1.
            top = (-self.tick - 1) % size + size
            blocks += sum(self.phases[top - rest + 1 : top + 1])
        return blocks

    def read_windows(self, window: int, steps: int) -> tuple[int, int]:
        """Sum the tokens that the next step reads in windows; bound a run by the next to fill."""
        tick, fills = self.tick, self.fills
        while fills:
            at, _, epoch, call = fills[0]
            live = call.open and call.state == DECODING and call.preemptions == epoch
            if live and at > tick:
                steps = min(steps, at - tick + 1)
                break
            heappop(fills)
            if live:
                call.open = False
                self.open -= 1
                self.open_context -= call.context + tick - call.joined
        return self.open_context + self.open + (self.count - self.open) * window, steps

    def windows_grow(self) -> int:
        """Tokens by which the step after the next reads more in windows."""
        return self.open

    def stalls(
        self,
        start_fs: int,
        first_fs: int,
        gaps: list[tuple[object, ...]],
        firsts: list[Call],
        decodes: int,
    ) -> tuple[int, int, int]:
        """Count those of a run that prompts held up: survivors, how long, and those apart.

        The gaps of those that made a token before this run, but did not decode before
        it, end with its first step and are rows of their own. Those that made none make
        their first in that step: they go into `firsts`, and end no gap.
        """
        if not decodes:
            return (0, 0, 0)
        assert self.joiners is not None
        apart = joined = 0
        end_fs = start_fs + first_fs
        for call in self.joiners:
            if call.state == DECODING and call.joined == self.tick:
                joined += 1
                if call.first_token_fs is None:
                    apart += 1
                    firsts.append(call)
                elif call.emitted_fs < start_fs:
                    apart += 1
                    gap_s = (end_fs - call.emitted_fs) * S_PER_FS
                    cause = "prefill" if call.handoff is None else "hand_off"
                    gaps.append((call.number, end_fs * S_PER_FS, gap_s, cause))
        self.joiners.clear()
        survivors = decodes - joined
        return (survivors, start_fs - self.token_fs if survivors else 0, apart)
