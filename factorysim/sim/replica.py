"""A replica: continuous batching, walked in runs of steps instead of steps.

A run is a maximal repeat of one step composition. Its end is known when it
starts: a sequence finishes, a prompt's last chunk comes up, the KV cache runs
out, a sliding window fills, the law reaches a knot. Something that may change
the composition before that (an arrival, a cancel, a new law) cuts it at the end
of the step in progress. Cutting is always safe, so only *not* cutting needs a
reason: while a head of the queue is blocked, nothing in a run can unblock it,
because available blocks only shrink and every other bound is constant.

Nothing is touched per token or per sequence (`decodes`). Durations are integers
and sums of them exact: walking one step at a time (`Limits.stepwise`) gives the
same instants, bit for bit.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

from factorysim.sim.call import (
    DECODING,
    FETCHING,
    GONE,
    MOVING,
    PARTIAL,
    UNNAMED,
    WAITING,
    by_number,
    by_priority,
)
from factorysim.sim.clock import COMPLETION, DECISION, S_PER_FS
from factorysim.sim.costs import StepCosts
from factorysim.sim.decodes import Decodes
from factorysim.sim.kv import Ledger
from factorysim.sim.speculation import SpeculativeDecodes
from factorysim.sim.tiers import BLOCKED
from factorysim.workload.content import SESSION_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.physics.step import StepLaw
    from factorysim.records import RunNote
    from factorysim.sim.call import Call, Limits
    from factorysim.sim.clock import Clock
    from factorysim.sim.speculation import Drafts
    from factorysim.sim.standing import Standing
    from factorysim.sim.tiers import ReplicaTiers

Chunk: TypeAlias = "tuple[Call, int, int]"
"""Of a prompt in a step: whose, how many tokens, and how many are cached before them."""
NO_CHUNKS: Sequence[Chunk] = ()
_ALONE = 1 << 512
"""Ids of calls that are named when they are preempted: far from all that others give."""


class Replica:
    """One serving copy of an LLM: a queue, a batch, a KV cache, and a law."""

    __slots__ = (
        "_begun",
        "_by_priority",
        "_cancelled",
        "_chunks",
        "_costs",
        "_cut_short",
        "_deciding",
        "_decodes",
        "_drafting",
        "_first_tokens",
        "_generation",
        "_late_gaps",
        "_mixes",
        "_n",
        "_news",
        "_next_law",
        "_notes_joiners",
        "_partial",
        "_prefill_first",
        "_queue",
        "_ration",
        "_start_fs",
        "busy_fs",
        "clock",
        "down",
        "gaps",
        "held",
        "index",
        "landed",
        "law",
        "ledger",
        "limits",
        "longest",
        "lookahead",
        "on_done",
        "on_start",
        "owner",
        "rows",
        "running",
        "standing",
        "steps",
        "steps_lost",
        "tiers",
        "waiting",
    )

    def __init__(
        self,
        clock: Clock,
        index: int,
        law: StepLaw,
        limits: Limits,
        on_done: Callable[[Call], None],
        rows: list[RunNote] | None = None,
        gaps: list[tuple[object, ...]] | None = None,
        owner: Any = None,  # noqa: ANN401
        costs: StepCosts | None = None,
        tiers: ReplicaTiers | None = None,
    ) -> None:
        self.clock = clock
        self.index = index
        self.law = law
        self.limits = limits
        self.on_done = on_done
        self.owner = owner
        """Whatever whoever built it needs to find it by."""
        self.rows: list[RunNote] = [] if rows is None else rows
        """Of `records.RunNote`; whoever owns the list drains it."""
        self.gaps: list[tuple[object, ...]] = [] if gaps is None else gaps
        """Rows of `records.GapRow`."""
        self.ledger = Ledger(limits.blocks, limits.block_tokens) if tiers is None else tiers.ledger
        self.tiers = tiers
        """Where blocks wait that HBM has no room for; None: nowhere. Then `limits.watched`."""
        if tiers is not None:
            assert limits.watched, "a run must not go on where it evicts"
            tiers.index, tiers.on_landed = index, self._take_fetched
        self.busy_fs = 0
        """Inside steps, so far (a run in progress not counted)."""
        self.steps = 0
        """Ended."""
        self.steps_lost = 0
        """To failures, in their midst: at most one each."""
        self.down = False
        self.standing: Standing | None = None
        """Its collectives on the network, where its devices straddle servers."""
        self.held: dict[int, Call] | None = {} if limits.role == "prefill" else None
        """Calls that it is done with, whose KV is yet to leave (role `prefill`)."""
        self.on_start: Callable[[Call], None] | None = None
        """Told of calls whose prompt is about to be computed."""

        self.waiting = 0
        self.running: dict[int, Call] = {}
        self._queue: list[tuple[int, float, Call]] = []
        self._partial: Call | None = None
        pace = limits.pace
        self.lookahead = 0 if pace is None else pace.draft_tokens
        """Drafts that a step verifies for each decode."""
        self.longest = limits.blocks * limits.block_tokens - self.lookahead
        """Tokens that a call may ever have cached: all but its last."""
        if limits.context_tokens is not None:
            self.longest = min(self.longest, limits.context_tokens - 1)
        self._by_priority = limits.order == "priority"
        self._prefill_first = limits.scheduler == "prefill_first"
        self._mixes = True
        """Whether decodes share the budget of a step with chunks (`schedulers`)."""
        self._ration: Callable[[Call, int, int, int], int] | None = None
        """Blocks that a call must have to be admitted, where the scheduler has a word on it:
        by its hit, its tokens in the step, and the blocks of the hit that nobody has locked."""
        holds_up = limits.scheduler in ("prefill_first", "sglang")  # prompts, the decodes
        self._notes_joiners = notes = holds_up or limits.role == "decode"
        size, window = limits.block_tokens, law.window
        self._drafting: SpeculativeDecodes | None = None
        """The decodes, where they speculate."""
        if pace is None:
            self._decodes = Decodes(size, window, note_joiners=notes)
        else:
            self._drafting = SpeculativeDecodes(size, window, pace, note_joiners=notes)
            self._decodes = self._drafting

        self._costs = StepCosts(law) if costs is None else costs
        """Of the law; replicas that have the same may share them."""
        self._next_law: StepLaw | None = None
        self.landed: list[Call] = []
        """Whose KV has come in, to decode from the next step on."""
        self._news = False
        """Whether there is one of the two above."""
        self._generation = 0
        self._deciding = False
        self._cancelled: list[Call] = []
        self._n = 0
        """Steps of the run in progress; 0 when there is none."""
        self._cut_short = False
        self._start_fs = 0
        self._chunks = NO_CHUNKS
        """Of prompts, in the first step."""
        self._begun: tuple[int, ...] = ()
        """What else is to be written down of it: a `records.RunStart`."""
        self._late_gaps: list[tuple[object, ...]] = []
        """Rows of gaps that end with the run's first step (where joiners are noted)."""
        self._first_tokens: list[Call] = []
        """Calls that make their first token in it, since their prompt was computed elsewhere."""

    # What others do to a replica.

    def submit(self, call: Call) -> None:
        """Queue a call, at this instant."""
        limits = self.limits
        call.queued_fs = self.clock.now_fs
        if limits.retain == "none":
            call.content = ()
        most = call.prompt_tokens + call.output_tokens - 1
        if self.down:
            self._leave(call, "failed")
        elif most > self.longest:
            self._leave(call, "rejected")
        else:
            queue = self._queue
            heappush(queue, (call.priority if self._by_priority else 0, call.number, call))
            self.waiting += 1
            if not self._n:
                self._ask()
            elif (
                self._n > 1
                and not self._cut_short
                and self._head() is call
                and len(self.running) < limits.max_sequences
            ):
                self._cut()

    def cancel(self, call: Call) -> None:
        """Let a call go: at once if it waits, else as the step in progress ends."""
        if call.state == GONE:
            return
        if call.state == WAITING:
            self.waiting -= 1
            led = self._head() is call
            self._leave(call, "cancelled")
            # The next of the queue may fit where this one did not.
            if led and self._n and len(self.running) < self.limits.max_sequences and self._head():
                self._cut()
        elif call.state == FETCHING:
            self._leave(call, "cancelled")  # its blocks are free when all have landed
        else:
            self._cancelled.append(call)
            if self._n:
                self._cut()
            else:
                self._drop_cancelled()

    def _head(self) -> Call | None:
        """First of the queue, past those that were cancelled in it."""
        queue = self._queue
        while queue and queue[0][2].state != WAITING:
            heappop(queue)
        return queue[0][2] if queue else None

    def change_law(self, law: StepLaw) -> None:
        """Step by another law from the next step on: a power cap, another clock."""
        self._next_law = law
        self._news = True
        if self._n:
            self._cut()

    def feel_network(self) -> None:
        """Sample the share of the network anew, from the next step on: it has changed."""
        if self._n:
            self._cut()

    def land(self, call: Call) -> None:
        """Take in the KV of a call, which has come: it decodes from the next step on."""
        if call.state != MOVING:
            return  # failed or cancelled in the meantime
        self.landed.append(call)
        self._news = True
        if self._n:
            self._cut()
        else:
            self._ask()

    def let_go(self, call: Call) -> bool:
        """Free the blocks of a call whose KV has left; False: they were lost with the device."""
        assert self.held is not None
        if self.held.pop(call.number, None) is None:
            return False
        self.ledger.release(call, call.context)
        self._use_room()
        return True

    def drop(self, call: Call, outcome: str) -> None:
        """Let a call go whose KV will not come."""
        self._release(call)
        self._leave(call, outcome)
        self._use_room()

    def _use_room(self) -> None:
        """Schedule anew if somebody waits, now that blocks have become free."""
        if len(self.running) < self.limits.max_sequences and self._head():
            if self._n:
                self._cut()
            else:
                self._ask()

    def fail(self) -> None:
        """Lose the device: the step in progress, every call, the whole cache."""
        if self.down:
            return
        self.down = True
        self._cancelled.clear()  # their step never ends: they fail like the others
        if self._n:
            self._lose_step()
        calls = [entry[2] for entry in self._queue if entry[2].state == WAITING]
        for call in self.running.values():
            if call.state == DECODING:
                self._decodes.drop(call)
            calls.append(call)
        if self.tiers is not None:
            calls += self.tiers.fail()
        self._forget()
        if self.standing is not None:
            self.standing.set_demand(0.0)
        for call in sorted(calls, key=by_number):
            self._leave(call, "failed")

    def repair(self) -> None:
        """Take calls again, with an empty cache."""
        self.down = False

    def settle(self) -> None:
        """Credit the steps that ended before now, and stop: the end of a simulation."""
        if self._n:
            elapsed = self.clock.now_fs - self._start_fs
            self._n = self._steps_ended(elapsed - 1) if elapsed else 0
            self._generation += 1
            if self._n:
                self._complete()
            else:
                self.ledger.free += self._step_blocks(0)  # no step has ended

    def padded(self) -> int:
        """Tokens that steps computed for nobody; see `schedulers.StaticReplica`."""
        return 0

    def made(self, call: Call) -> int:
        """Output tokens of a call so far, by the last run that ended."""
        if call.state == DECODING:
            return self._decodes.made(call)
        return call.output_made

    def blocks_of(self, call: Call) -> int:
        """Blocks that a running call holds and the cache does not, between runs."""
        context = call.context
        if call.state == DECODING:
            context = self._decodes.held(call)
        return -(-context // self.limits.block_tokens) - call.shared

    def drafts(self) -> Drafts | None:
        """Count what became of drafts, by call; None where there are none."""
        drafting = self._drafting
        return None if drafting is None else drafting.drafts(self.running.values())

    def _take_fetched(self, call: Call) -> None:
        """Take a call back whose blocks have landed: it, or one behind it, may fit now."""
        if call.state == FETCHING:
            call.state = WAITING
            self._queue_again(call)
            self.waiting += 1
        if self._n:
            self._cut()
        else:
            self._ask()

    # Ends of runs.

    def _wake(self, generation: int) -> None:
        if generation == self._generation:
            self._complete()
            heap = self.clock.heap
            if heap and heap[0][0] == self.clock.now_fs:  # more is due now
                self._ask()
            else:
                self._schedule()

    def _ask(self) -> None:
        """Have the next step scheduled after all else of this instant."""
        if not self._deciding:
            self._deciding = True
            self.clock.at(self.clock.now_fs, DECISION + self.index, self._decide, None)

    def _cut(self) -> None:
        """End the run in progress with the step in progress."""
        if self._cut_short or self._n == 1:
            return
        self._cut_short = True
        now = self.clock.now_fs
        start, first, slope = self._start_fs, self._begun[1], self._begun[2]
        elapsed = now - start
        n = self._steps_ended(elapsed)
        end = start + n * first + slope * (n * (n - 1) // 2)
        if not n or end < now:
            n += 1
            end += first + slope * (n - 1)
        if n < self._n:
            self._n = n
            self._generation = generation = self._generation + 1
            if end > now:
                self.clock.at(end, COMPLETION + self.index, self._wake, generation)
            else:  # a step ended at this very instant, and ends come first
                self._complete()
                self._ask()

    def _steps_ended(self, elapsed: int) -> int:
        """Whole steps of the run in `elapsed` femtoseconds: the sum, inverted."""
        first, slope = self._begun[1], self._begun[2]
        if not slope:
            return elapsed // first
        # The root in floating point, in the form that does not cancel, is off by one at
        # most, which the integers mend; their own root of such numbers takes 2 us.
        half = first - slope / 2
        root = sqrt(half * half + 2.0 * slope * elapsed)
        n = int(2 * elapsed / (half + root) if half > 0 else (root - half) / slope)
        while n * first + slope * (n * (n - 1) // 2) > elapsed:
            n -= 1
        while (n + 1) * first + slope * (n * (n + 1) // 2) <= elapsed:
            n += 1
        return n

    def _complete(self) -> None:
        """Credit the run's steps, and let those that are done go."""
        n, begun = self._n, self._begun
        duration, decodes = begun[1], begun[3]
        self._n = 0
        self.steps += n
        emitted = decodes
        if n != 1:
            duration = n * duration + begun[2] * (n * (n - 1) // 2)
            emitted = n * decodes
            self._take_later_blocks(n)
        start = self._start_fs
        now = start + duration  # of steps cut off by a failure: when the last whole one ended
        self.busy_fs += duration
        done: Sequence[Call] = ()
        accepted = 0
        if decodes:
            done = self._decodes.advance(n, now)
            if self._drafting is not None:
                accepted = self._drafting.accepted
                emitted += accepted
            if self._notes_joiners:
                self._note_first_step(start + begun[1])
        recomputed = 0
        for call, size, prior in self._chunks:
            tokens = n * size
            call.context = reached = prior + tokens
            if call.preemptions:
                recomputed += _compute_again(call, tokens)
            else:
                call.computed_tokens += tokens
            if call.content:
                ledger = self.ledger
                copies = ledger.register(call, reached // ledger.block_tokens)
                ledger.free += copies
            if reached == call.known:
                emitted += 1
                self._emit(call, now)
                if call.output_made == call.output_tokens:
                    done = [*done, call]
                else:
                    self._decodes.join(call)
        self.rows.append(
            (n, start * S_PER_FS, now * S_PER_FS, emitted, recomputed, accepted, begun)
        )
        if done:
            for call in sorted(done, key=by_number) if len(done) > 1 else done:
                self._finish(call)
        if self._cancelled:
            self._drop_cancelled()

    def _note_first_step(self, end: int) -> None:
        """Write down what ends with a run's first step, for those that joined with its start."""
        self.gaps.extend(self._late_gaps)
        for call in self._first_tokens:
            call.first_token_fs = end
        self._late_gaps.clear()
        self._first_tokens.clear()

    def _emit(self, call: Call, now: int) -> None:
        """Credit the token with which a prompt ends."""
        call.output_made += 1
        if call.first_token_fs is None:
            call.first_token_fs = now
            if call.preemptions:
                call.stall_fs += now - call.emitted_fs
                call.first_stall_fs = call.stall_fs
        else:
            gap = now - call.emitted_fs
            call.stall_fs += gap
            self.gaps.append((call.number, now * S_PER_FS, gap * S_PER_FS, "preemption"))
        call.emitted_fs = call.last_token_fs = now
        if self._partial is call:
            self._partial = None

    def _finish(self, call: Call) -> None:
        """Let a call go that has all its tokens; the blocks that it names stay cached."""
        del self.running[call.number]
        ledger = self.ledger
        tokens = call.prompt_tokens + call.output_tokens - 1
        if call.content:
            copies = ledger.register(call, tokens // ledger.block_tokens)
            ledger.free += copies
        if self.held is None:
            if self._drafting is not None and call.state == DECODING:
                tokens = self._drafting.held(call)
            ledger.release(call, tokens)
        else:
            self.held[call.number] = call
        self._leave(call, "completed")

    def _leave(self, call: Call, outcome: str) -> None:
        call.state = GONE
        call.outcome = outcome
        self.on_done(call)

    def _drop_cancelled(self) -> None:
        """Let the cancelled go that have not finished in the meantime."""
        cancelled, self._cancelled = self._cancelled, []
        for call in sorted(cancelled, key=by_number):
            if call.state != GONE:
                self._release(call)
                self._leave(call, "cancelled")

    def _lose_step(self) -> None:
        """Credit the run's ended steps; the one in progress is lost, its time spent."""
        now = self.clock.now_fs
        start, (index, first, slope, decodes, prompts, *_) = self._start_fs, self._begun
        *_, waiting, blocks, _, _, _ = self._begun
        n = self._steps_ended(now - start)
        self._generation += 1
        self._n = n
        if n:
            self._complete()
            blocks = self.ledger.held + self._step_blocks(n)
        self._n = 0
        lost_from = start + n * first + slope * (n * (n - 1) // 2)
        if lost_from < now:
            lost = now - lost_from
            self.busy_fs += lost
            self.steps_lost += 1
            begun = (index, lost, 0, decodes, prompts, *(0,) * 6, waiting, blocks, 0, 0, decodes)
            self.rows.append((1, lost_from * S_PER_FS, now * S_PER_FS, 0, 0, 0, begun))

    def _forget(self) -> None:
        """Empty the batch, the queue and the cache."""
        self.running.clear()
        self._queue.clear()
        self.landed.clear()
        if self.held is not None:
            self.held.clear()
        self._partial = None
        self.waiting = 0
        self._decodes.clear()
        self.ledger.clear()

    def _release(self, call: Call) -> None:
        """Take a running call out of the batch; what it has registered stays cached."""
        del self.running[call.number]
        held = context = call.context
        if call.state == DECODING:
            held = self._decodes.held(call)
            context = self._decodes.drop(call)
        elif self._partial is call:
            self._partial = None
        elif call in self.landed:
            self.landed.remove(call)
        if context > call.peak:
            call.peak = context
        self.ledger.release(call, held)

    def _preempt(self) -> Call:
        """Send the last of the running back to the queue, its cache lost."""
        call = self._victim()
        if call.run == UNNAMED and self.limits.retain != "none":
            self._name(call)
        self._release(call)
        if call.first_token_fs is None and not call.preemptions:
            call.emitted_fs = self.clock.now_fs
        call.state = WAITING
        call.context = 0
        call.known = call.prompt_tokens + call.output_made
        call.preemptions += 1
        call.fetch = None
        self._queue_again(call)
        self.waiting += 1
        return call

    def _victim(self) -> Call:
        """Choose who is preempted."""
        running = self.running
        if self._by_priority:
            call = max(running.values(), key=by_priority)
        else:  # admitted in order of number, and preempted from the end
            call = running[next(reversed(running))]
        return self._last_present(call) if self.limits.role == "decode" else call

    def _queue_again(self, call: Call) -> None:
        """Give a preempted call the place in the queue that it had."""
        key = call.priority if self._by_priority else 0
        heappush(self._queue, (key, call.number, call))

    def _last_present(self, last: Call) -> Call:
        """Go back from the last of the running to one whose KV is here."""
        if last.state != MOVING:
            return last
        present = [call for call in self.running.values() if call.state != MOVING]
        return max(present, key=by_priority) if self._by_priority else present[-1]

    def _name(self, call: Call) -> None:
        """Name the blocks of a call that shares them with nobody, and register its prompt's.

        It is about to lose them, and is the only one that may find them again. Named
        and registered from the first, as those of others, they would be in the same
        place now; most calls are never preempted, and pay nothing.
        """
        size = self.limits.block_tokens
        tokens = call.prompt_tokens
        if self.limits.cache_outputs:
            tokens += call.output_tokens
        blocks = tokens // size
        call.content, call.run = ((_ALONE + (call.number << SESSION_BITS), blocks),), 0
        self.ledger.register(call, call.context // size)

    # Scheduling.

    def _decide(self, _value: None) -> None:
        self._deciding = False
        if not self._n and not self.down:
            self._schedule()

    def _schedule(self) -> None:
        """Form the next step, and the run of steps like it."""
        if self._news:
            self._take_news()
        if self._prefill_first:
            self._decide_prefill_first()
        else:
            self._form_step()
        if self.standing is not None and not self._n:
            self.standing.set_demand(0.0)

    def _take_news(self) -> None:
        """Step by the law that was set, and with the calls whose KV has come."""
        self._news = False
        if self._next_law is not None:
            self._adopt_law(self._next_law)
        landed, self.landed = self.landed, []
        ledger = self.ledger
        for call in sorted(landed, key=by_number):
            handoff = call.handoff
            assert handoff is not None
            handoff.joins(self.clock.now_fs)
            if call.content:
                copies = ledger.register(call, call.context // ledger.block_tokens)
                ledger.free += copies
            self._decodes.join(call)

    def _reserve(self, call: Call) -> bool:
        """Set blocks aside for a call at the queue's head whose KV comes from elsewhere."""
        handoff, ledger = call.handoff, self.ledger
        assert handoff is not None
        context, size = handoff.context, ledger.block_tokens
        found = ledger.match(call.content, context // size) if call.content else None
        hits, unlocked = (0, 0) if found is None else found[:2]
        blocks = -(-context // size) - hits
        if blocks > ledger.free + ledger.evictable - unlocked:
            return False
        heappop(self._queue)
        self.waiting -= 1
        if found is not None and hits:
            ledger.lock(call, found)
        ledger.take(blocks)
        call.context = context
        call.peak = call.prompt_tokens
        call.state = MOVING
        self.running[call.number] = call
        handoff.reserved(hits * size)
        return True

    def _adopt_law(self, law: StepLaw) -> None:
        assert law.window == self.law.window, "another window is another LLM"
        self._next_law = None
        self.law = law
        self._costs = StepCosts(law)
        if self.tiers is not None:
            self.tiers.costs = self._costs

    def _form_step(self) -> None:
        """Schedule decodes, then the partial prompt, then as many of the queue as fit.

        By the rules of vLLM, that is; those of others are in `schedulers`.
        """
        ledger, decodes = self.ledger, self._decodes
        preempted = False
        chunks: Sequence[Chunk] = NO_CHUNKS
        if self._drafting is not None:
            need = decodes.blocks_now()
        else:
            need = decodes.phases[-decodes.tick % decodes.block_tokens]
        if need > ledger.free + ledger.evictable:
            preempted = self._fit(0)
            need = decodes.blocks_now()
        call = self._partial
        if call is not None:
            size, prior = decodes.block_tokens, call.context
            others = decodes.count * (1 + self.lookahead)
            tokens = min(call.known - prior, self.limits.token_budget - others)
            blocks = -(-(prior + tokens) // size) - -(-prior // size)
            if need + blocks > ledger.free + ledger.evictable:
                preempted = self._fit(blocks, call) or preempted
                need = decodes.blocks_now()
            if call.state == PARTIAL:
                need += blocks
                chunks = ((call, tokens, prior),)
        if need:
            ledger.take(need)
        if self.waiting and (not preempted or not (chunks or decodes.count)):
            chunks = self._admit(chunks, chunking=True)
        if chunks or decodes.count:
            self._start(decodes.count, chunks, preempted)

    def _decide_prefill_first(self) -> None:
        """Schedule whole prompts while the head of the queue fits, decodes otherwise."""
        decodes = self._decodes
        chunks: Sequence[Chunk] = NO_CHUNKS
        if self.waiting:
            chunks = self._admit(chunks, chunking=False)
        if chunks:
            self._start(0, chunks, False)
        elif decodes.count:
            preempted = self._fit(0)
            self.ledger.take(decodes.blocks_now())
            if not decodes.count:  # what fetches left no room for any of them
                chunks = self._admit(chunks, chunking=False)
            if chunks or decodes.count:
                self._start(decodes.count, chunks, preempted)

    def _fit(self, blocks: int, partial: Call | None = None) -> bool:
        """Preempt until this step's decodes and `blocks` more fit, or `partial` is out."""
        ledger, decodes = self.ledger, self._decodes
        preempted = False
        while decodes.blocks_now() + blocks > ledger.free + ledger.evictable:
            preempted = True
            if self._preempt() is partial:
                break
        return preempted

    def _admit(self, scheduled: Sequence[Chunk], *, chunking: bool) -> Sequence[Chunk]:
        """Admit from the head of the queue, which blocks those behind it.

        With `chunking` a prompt may be cut to the budget that the scheduled chunk and
        the decodes leave; without, only whole prompts are taken, and the first of a
        step whatever its length. Returns all chunks of the step.
        """
        limits, ledger, tiers = self.limits, self.ledger, self.tiers
        size, queue, running = limits.block_tokens, self._queue, self.running
        chunks = list(scheduled)
        budget = limits.token_budget
        if chunking:
            if self._mixes:
                budget -= self._decodes.count * (1 + self.lookahead)
            if chunks:
                budget -= chunks[0][1]
        while queue and len(running) < limits.max_sequences:
            call = queue[0][2]
            if call.state != WAITING:
                heappop(queue)
                continue
            if call.handoff is not None and not call.preemptions:
                if self._reserve(call):
                    continue
                break
            if chunking and budget <= 0:
                break
            hit = hit_blocks = unlocked = 0
            found = None
            if call.content:
                found = ledger.match(call.content, (call.known - 1) // size)
                if tiers is not None and (fate := tiers.consider(call, found)):
                    if fate == BLOCKED:
                        break
                    heappop(queue)
                    self.waiting -= 1
                    continue
                hit_blocks, unlocked = found[0], found[1]
                hit = hit_blocks * size
            tokens = call.known - hit
            if chunking:
                if tokens > budget:
                    tokens = budget
            elif chunks and tokens > budget:
                break
            blocks = -(-(hit + tokens) // size) - hit_blocks
            if self._ration is not None:
                blocks = self._ration(call, hit, tokens, unlocked)
            if blocks > ledger.free + ledger.evictable - unlocked:
                break
            heappop(queue)
            self.waiting -= 1
            if found is not None and hit:
                ledger.lock(call, found)
                if tiers is not None:
                    tiers.credit(call, call.peak, hit)
                if call.preemptions:
                    _find_again(call, hit)
                else:
                    call.hit_tokens = call.peak = hit
            ledger.take(blocks)
            call.context = hit
            if call.scheduled_fs is None:
                call.scheduled_fs = self.clock.now_fs
                if self.on_start is not None:
                    self.on_start(call)
            call.state = PARTIAL
            running[call.number] = call
            chunks.append((call, tokens, hit))
            budget -= tokens
            if hit + tokens < call.known:
                self._partial = call
        return chunks

    def _start(self, decodes: int, chunks: Sequence[Chunk], preempted: bool) -> None:
        """Start a run of steps of this composition."""
        clock, law, costs, ledger = self.clock, self.law, self._costs, self.ledger
        start = clock.now_fs
        steps = 0  # no bound yet
        first = slope = tokens = pairs = priors = context = in_windows = windows_grow = 0
        emitting = decodes
        if chunks:
            for call, size, prior in chunks:
                tokens += size
                pairs += size * prior + size * (size + 1) // 2
                priors += prior
                fixed, growth = costs.chunks.get(size) or costs.chunk(size)
                first += law.chunk(size, prior) if growth is None else fixed + growth * prior
                if prior + size == call.known:
                    emitting += 1
                    if law.draws:
                        first += law.prompt(call.u)
                    if call.image_tokens and self.limits.encoder is not None:
                        first += self.limits.encoder.time_fs(call.image_tokens)
            steps = 1
            if len(chunks) == 1 and growth is not None and prior + size < call.known:
                steps = (call.known - prior - 1) // size
                slope = growth * size
                if steps > 1 and call.content and (self.limits.watched or ledger.follows(call)):
                    steps = 1  # its copy of a cached block is free as the step ends
        if preempted or self.limits.stepwise:
            steps = 1
        prompts = len(chunks)
        key = (decodes, tokens, prompts, emitting)
        base = costs.bases.get(key)
        if base is None:
            base = costs.base(key)
        first += base
        if decodes:
            batch = self._decodes
            context, grows = batch.context + decodes, decodes
            if self._drafting is not None:
                context, grows = self._drafting.reads()
            fixed, growth, knot = law.piece(decodes, context)
            first += fixed + growth * context
            slope += growth * grows
            if steps != 1:
                left = batch.steps_left() if batch.stale else batch.ends[0][0] - batch.tick
                if not steps or left < steps:
                    steps = left
                if knot is not None:
                    steps = min(steps, (knot - context - 1) // grows + 1)
            if batch.window is not None:
                in_windows, steps = batch.read_windows(batch.window, steps)
                windows_grow = batch.windows_grow()
                first += law.window_fs * in_windows
                slope += law.window_fs * windows_grow
        if self.standing is not None:
            verified = decodes * (1 + self.lookahead)
            first, slope = self._slowed(self.standing, first, slope, verified + tokens)
        survivors = decodes
        stall = apart = 0
        if self._notes_joiners:
            self._late_gaps.clear()
            self._first_tokens.clear()
            survivors, stall, apart = self._decodes.stalls(
                start, first, self._late_gaps, self._first_tokens, decodes
            )
        self._chunks = chunks
        end = start + first
        if steps != 1:
            steps = self._fit_steps(decodes, steps)
            end += (steps - 1) * first + slope * (steps * (steps - 1) // 2)
        self._n = steps
        self._cut_short = False
        self._start_fs = start
        self._begun = (
            self.index, first, slope, decodes, prompts, tokens, pairs, priors,
            context, in_windows, windows_grow, self.waiting,
            ledger.blocks - ledger.free - ledger.evictable, survivors, stall, apart,
        )  # fmt: skip
        self._generation = generation = self._generation + 1
        clock.at(end, COMPLETION + self.index, self._wake, generation)

    def _slowed(self, standing: Standing, first: int, slope: int, tokens: int) -> tuple[int, int]:
        """Stretch a run's steps by the share that its collectives get of the network.

        They ask for what a step sends, over its time. So with a share of a half, which
        is sampled here and holds for the run, what a step sends takes two of its times.
        """
        sent_bytes = tokens * self.law.link_token_bytes / standing.ways
        standing.set_demand(sent_bytes / (first * S_PER_FS))
        share = standing.sample()
        return (first, slope) if share == 1.0 else (round(first / share), round(slope / share))

    # Blocks of a run.

    def _chunk_blocks(self, steps: int) -> int:
        """Blocks that the one chunk of a run needs after its first step."""
        if not self._chunks:
            return 0
        _, tokens, prior = self._chunks[0]
        size = self.limits.block_tokens
        return -(-(prior + tokens * steps) // size) - -(-(prior + tokens) // size)

    def _fit_steps(self, decodes: int, steps: int) -> int:
        """As many of `steps` as the blocks allow; the step after is scheduled anew."""
        available = self.ledger.free
        if not self.limits.watched:
            available += self.ledger.evictable
        batch = self._decodes
        if self._drafting is not None:
            bound = self._drafting.most_later_blocks(steps)
        else:
            bound = decodes * ((steps - 1) // batch.block_tokens + 1)
        if self._chunks:
            bound += self._chunk_blocks(steps)
        if bound <= available:
            return steps
        low, high = 1, steps  # blocks needed never fall with steps
        while low < high:
            middle = (low + high + 1) // 2
            need = self._chunk_blocks(middle)
            if decodes:
                need += batch.later_blocks(middle)
            if need <= available:
                low = middle
            else:
                high = middle - 1
        return low

    def _take_later_blocks(self, steps: int) -> None:
        """Take what the run's steps after the first took, before the tick moves on."""
        blocks = self._chunk_blocks(steps) if self._chunks else 0
        if self._begun[3]:
            blocks += self._decodes.later_blocks(steps)
        if blocks:
            self.ledger.take(blocks)

    def _step_blocks(self, done: int) -> int:
        """Blocks that the run's next step takes, after so many that are done."""
        size = self.limits.block_tokens
        blocks = self._decodes.blocks_now() if self._begun[3] else 0
        for _, tokens, prior in self._chunks:
            before = prior + done * tokens
            blocks += -(-(before + tokens) // size) - -(-before // size)
        return blocks


def _find_again(call: Call, tokens: int) -> None:
    """Credit what a call that was preempted found beyond all that it ever had cached."""
    if tokens > call.peak:
        prompt = call.prompt_tokens
        call.hit_tokens += min(tokens, prompt) - min(call.peak, prompt)
        call.peak = tokens


def _compute_again(call: Call, tokens: int) -> int:
    """Credit tokens of a prompt that was preempted; returns those computed before."""
    fresh = max(min(call.context, call.prompt_tokens) - call.peak, 0)
    call.computed_tokens += fresh
    call.recomputed_tokens += tokens - fresh
    call.peak = max(call.peak, call.context)
    return tokens - fresh
