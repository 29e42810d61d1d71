"""Decodes that speculate: a step gives each of them the mean number of tokens.

In step like other decodes, so still told by one count of steps. What followed from it
token by token now follows from the token clock, the tokens that a decode from the first
step on would have made (`Pace.made`): it leaps by whole tokens, and by the mean in the
long run. Ends and full windows are still ticks. Blocks go by the token clock, and are
taken for the drafts of a verify too, before it is known which of them stay (vLLM's
lookahead slots): a decode holds blocks for its context and `draft_tokens` + 1 more.

`context` and `open_context` are the means that durations are linear in, in parts of a
token; tokens, and the blocks for them, are whole.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from factorysim.sim.call import DECODING
from factorysim.sim.decodes import NOBODY, Decodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.physics.speculation import Pace
    from factorysim.sim.call import Call


class Drafts(NamedTuple):
    """What became of drafts, counted by call: what is neither here was kept."""

    drafted: int
    rejected: int
    wasted: int
    """Accepted beyond what a call asked for: cut off its last verify."""


class SpeculativeDecodes(Decodes):
    """What a replica must know of its decodes, where each step verifies drafts."""

    __slots__ = (
        "_before",
        "_clock",
        "_fresh",
        "_pace",
        "_rejected",
        "_verifies",
        "_width",
        "accepted",
        "wasted",
    )

    def __init__(
        self, block_tokens: int, window: int | None, pace: Pace, *, note_joiners: bool
    ) -> None:
        self._pace = pace
        self._width = pace.draft_tokens + 1
        """Tokens that a verify computes for a sequence."""
        self._clock = self._before = 0
        """The token clock now, and before the last step."""
        self.accepted = 0
        """Drafts that became output in the run that has just ended."""
        self._verifies = self._rejected = 0
        """Of calls that have left, and drafts of theirs: counted as they leave."""
        self.wasted = 0
        """Accepted beyond what a call asked for: cut off its last verify."""
        super().__init__(block_tokens, window, note_joiners=note_joiners)

    def clear(self) -> None:
        """Forget everybody; the count of steps goes on."""
        super().clear()
        self._fresh = 0
        """Blocks that those need for their first verify that the phases do not tell of."""

    def reads(self) -> tuple[int, int]:
        """Parts of tokens that the next step reads, and by how many the one after reads more."""
        pace = self._pace
        own = self.count * self._width * pace.verifies
        return self.context + own, self.count * pace.tokens

    def join(self, call: Call) -> None:
        """Let a call decode from the next step on."""
        pace, tick, context, size = self._pace, self.tick, call.context, self.block_tokens
        call.known = context + 1
        call.state = DECODING
        call.joined = tick
        self.count += 1
        self.context += context * pace.verifies
        reach = context + pace.draft_tokens
        call.phase = phase = (reach - self._clock) % size
        phases = self.phases
        phases[phase] += 1
        phases[phase + size] += 1
        self._fresh += self._untold(call)
        end = pace.until(self._clock + call.output_tokens - call.output_made)
        heappush(self.ends, (end, call.number, call.preemptions, call))
        if self.joiners is not None:
            self.joiners.append(call)
        window = self.window
        if window is not None and context + self._width < window:
            call.open = True
            self.open += 1
            self.open_context += context * pace.verifies
            fills = tick + pace.until(window - context - self._width)
            heappush(self.fills, (fills, call.number, call.preemptions, call))

    def leave(self, call: Call) -> int:
        """Take a call out, its tokens credited; returns those that it has in the cache."""
        pace, tick = self._pace, self.tick
        steps = tick - call.joined
        made, wanted = self.made(call) - call.output_made, call.output_tokens - call.output_made
        if made > wanted:
            self.wasted += made - wanted
            made = wanted
        self._verifies += steps
        self._rejected += self._rejected_of(call)
        if not steps:
            self._fresh -= self._untold(call)
        call.output_made += made
        self.count -= 1
        mean = call.context * pace.verifies + steps * pace.tokens
        self.context -= mean
        phases, phase = self.phases, call.phase
        phases[phase] -= 1
        phases[phase + self.block_tokens] -= 1
        if call.open:
            call.open = False
            self.open -= 1
            self.open_context -= mean
        return call.context + made

    def made(self, call: Call) -> int:
        """Output tokens of a decode so far; more than it asked for, if its last verify has."""
        return call.output_made + self._clock - self._pace.made(call.joined)

    def drafts(self, running: Iterable[Call]) -> Drafts:
        """Count drafts of all calls, those included that still decode."""
        verifies, rejected = self._verifies, self._rejected
        for call in running:
            if call.state == DECODING:
                verifies += self.tick - call.joined
                rejected += self._rejected_of(call)
        return Drafts(verifies * self._pace.draft_tokens, rejected, self.wasted)

    def _rejected_of(self, call: Call) -> int:
        """Tokens that its verifies computed and did not make, since it last joined."""
        made = self._clock - self._pace.made(call.joined)
        return (self.tick - call.joined) * self._width - made

    def held(self, call: Call) -> int:
        """Tokens that a decode holds blocks for, drafts of its last verify included."""
        if call.joined == self.tick:
            return call.context
        made = self._before - self._pace.made(call.joined)
        return call.context + made + self._width

    def advance(self, steps: int, now_fs: int) -> Sequence[Call]:
        """Move on by so many steps; take out and return who has all tokens now."""
        pace, began = self._pace, self._clock
        self.tick = tick = self.tick + steps
        self._clock = pace.made(tick)
        self._before = pace.made(tick - 1)
        self._fresh = 0
        self.context += self.count * steps * pace.tokens
        if self.open:
            self.open_context += self.open * steps * pace.tokens
        self.token_fs = now_fs
        self.accepted = self.count * (self._clock - began - steps)
        wasted = self.wasted
        if self.ends[0][0] > tick:
            return NOBODY
        done = self.take_ended(now_fs)
        self.accepted -= self.wasted - wasted
        return done

    def blocks_now(self) -> int:
        """Blocks that they need for the next step."""
        return self._fresh + self._blocks_between(self._before, self._clock)

    def later_blocks(self, steps: int) -> int:
        """Blocks that they need in the steps of a run after its first."""
        return self._blocks_between(self._clock, self._pace.made(self.tick + steps - 1))

    def most_later_blocks(self, steps: int) -> int:
        """As many as `later_blocks`, or more: told without looking at phases."""
        tokens = self._pace.made(self.tick + steps - 1) - self._clock
        return self.count * (tokens // self.block_tokens + 1)

    def read_windows(self, window: int, steps: int) -> tuple[int, int]:
        """Sum the parts of tokens that the next step reads in windows; bound a run by the next."""
        pace, tick, fills = self._pace, self.tick, self.fills
        while fills:
            at, _, epoch, call = fills[0]
            live = call.open and call.state == DECODING and call.preemptions == epoch
            if live and at > tick:
                steps = min(steps, at - tick)
                break
            heappop(fills)
            if live:
                call.open = False
                self.open -= 1
                mean = call.context * pace.verifies + (tick - call.joined) * pace.tokens
                self.open_context -= mean
        whole = self.open * self._width + (self.count - self.open) * window
        return self.open_context + whole * pace.verifies, steps

    def windows_grow(self) -> int:
        """Parts of tokens by which the step after the next reads more in windows."""
        return self.open * self._pace.tokens

    def _untold(self, call: Call) -> int:
        """Blocks for the first verify of a call, beyond those that its phase tells of.

        It has blocks for its context, as others would for all that they reached in the
        step before: up to a whole verify more.
        """
        size, context = self.block_tokens, call.context
        reached = context + self._pace.draft_tokens - (self._clock - self._before)
        return reached // size - (context - 1) // size

    def _blocks_between(self, start: int, stop: int) -> int:
        """Blocks that they need as the token clock goes from `start` to `stop`."""
        size = self.block_tokens
        cycles, rest = divmod(stop - start, size)
        blocks = cycles * self.count
        if rest:
            # At t of the clock a block is needed by phase -t: going down from that of start + 1.
            top = (-start - 1) % size + size
            blocks += sum(self.phases[top - rest + 1 : top + 1])
        return blocks
