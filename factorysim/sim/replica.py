"""A replica: continuous batching, walked in runs of steps instead of steps.

A run is a maximal repeat of one step composition. Its end is known when it
starts: a sequence finishes, a prompt's last chunk comes up, the KV cache runs
out, a sliding window fills, the law reaches a knot. Something that may change
the composition before that (an arrival, a cancel, a new law) cuts it at the end
of the step in progress. Cutting is always safe, so only *not* cutting needs a
reason: while a head of the queue is blocked, nothing in a run can unblock it,
because available blocks only shrink and every other bound is constant.

Nothing is touched per token or per sequence: a decoding sequence is its join at
a step count (`tick`), so its context, its end and its block boundaries follow
from the count. Durations are integers and sums of them exact: walking one step
at a time (`Limits.stepwise`) gives the same instants, bit for bit.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import sqrt
from typing import TYPE_CHECKING, Any

from factorysim.sim.call import DECODING, GONE, PARTIAL, WAITING, by_number, by_priority
from factorysim.sim.clock import COMPLETION, DECISION, S_PER_FS
from factorysim.sim.kv import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from factorysim.physics.step import StepLaw
    from factorysim.sim.call import Call, Limits
    from factorysim.sim.clock import Clock

MOST_BASES = 1 << 16
"""Constants of the law that a replica remembers."""


class Replica:
    """One serving copy of an LLM: a queue, a batch, a KV cache, and a law."""

    __slots__ = (
        "_advancing",
        "_apart",
        "_bases",
        "_by_priority",
        "_cancelled",
        "_chunk_costs",
        "_chunks",
        "_context",
        "_context_read",
        "_cut_short",
        "_deciding",
        "_decodes",
        "_fills",
        "_finishes",
        "_first_fs",
        "_generation",
        "_joiners",
        "_late_gaps",
        "_n",
        "_next_law",
        "_open",
        "_open_context",
        "_partial",
        "_phases",
        "_prefill_first",
        "_queue",
        "_row_blocks",
        "_row_waiting",
        "_slope_fs",
        "_stale",
        "_stall_fs",
        "_start_fs",
        "_survivors",
        "_tick",
        "_token_fs",
        "_window",
        "_window_grows",
        "_window_read",
        "busy_fs",
        "clock",
        "down",
        "gaps",
        "index",
        "law",
        "ledger",
        "limits",
        "on_done",
        "owner",
        "rows",
        "running",
        "steps",
        "waiting",
    )

    def __init__(
        self,
        clock: Clock,
        index: int,
        law: StepLaw,
        limits: Limits,
        on_done: Callable[[Call], None],
        rows: list[tuple[object, ...]] | None = None,
        gaps: list[tuple[object, ...]] | None = None,
        owner: Any = None,  # noqa: ANN401
        bases: dict[tuple[int, int, int, int], int] | None = None,
    ) -> None:
        self.clock = clock
        self.index = index
        self.law = law
        self._window = law.window
        self.limits = limits
        self.on_done = on_done
        self.owner = owner
        """Whatever whoever built it needs to find it by."""
        self.rows: list[tuple[object, ...]] = [] if rows is None else rows
        """Rows of `records.StepRow`; whoever owns the list drains it."""
        self.gaps: list[tuple[object, ...]] = [] if gaps is None else gaps
        """Rows of `records.GapRow`."""
        self.ledger = Ledger(limits.blocks, limits.block_tokens)
        self.busy_fs = 0
        """Inside steps, so far (a run in progress not counted)."""
        self.steps = 0
        self.down = False

        self.waiting = 0
        self.running: dict[int, Call] = {}
        self._queue: list[tuple[int, int, Call]] = []
        self._partial: Call | None = None
        self._tick = 0
        self._decodes = 0
        self._context = 0
        """Tokens in the cache over all decodes."""
        self._finishes: list[tuple[int, int, int, Call]] = []
        self._phases = [0] * (2 * limits.block_tokens)
        """Decodes by phase, twice over so that any cycle is a slice."""
        self._stale = 0
        """Entries of `_finishes` whose calls no longer decode."""
        self._fills: list[tuple[int, int, int, Call]] = []
        self._open = 0
        self._open_context = 0
        self._joiners: list[Call] = []
        """Joined since decodes last advanced (`prefill_first` only)."""
        self._token_fs = -1
        """When decodes last advanced."""
        self._by_priority = limits.order == "priority"
        self._prefill_first = limits.scheduler == "prefill_first"

        self._bases = {} if bases is None else bases
        """What `law.base` gave; replicas with the same law may share it."""
        self._chunk_costs: dict[int, tuple[int, int | None]] = {}
        """By tokens: what a chunk costs, and what more for each prior token."""
        self._next_law: StepLaw | None = None
        self._generation = 0
        self._deciding = False
        self._cancelled: list[Call] = []
        # The run in progress; `_n` is 0 when there is none.
        self._n = 0
        self._cut_short = False
        self._start_fs = 0
        self._first_fs = 0
        self._slope_fs = 0
        self._advancing = 0
        self._chunks: list[tuple[Call, int, int]] = []
        self._context_read = 0
        self._window_read = 0
        self._window_grows = 0
        self._survivors = 0
        self._stall_fs = 0
        self._apart = 0
        self._late_gaps: list[tuple[object, ...]] = []
        """Rows of gaps that end with the run's first step."""
        self._row_waiting = 0
        self._row_blocks = 0

    # What others do to a replica.

    def submit(self, call: Call) -> None:
        """Queue a call, at this instant."""
        limits = self.limits
        call.queued_fs = self.clock.now_fs
        most = call.prompt_tokens + call.output_tokens - 1
        if self.down:
            self._leave(call, "failed")
        elif -(-most // limits.block_tokens) > limits.blocks:
            self._leave(call, "rejected")
        else:
            key = call.priority if self._by_priority else 0
            queue = self._queue
            heappush(queue, (key, call.number, call))
            self.waiting += 1
            if not self._n:
                self._ask()
            elif queue[0][2] is call and len(self.running) < limits.max_sequences:
                self._cut()

    def cancel(self, call: Call) -> None:
        """Let a call go: at once if it waits, else as the step in progress ends."""
        if call.state == GONE:
            return
        if call.state == WAITING:
            self.waiting -= 1
            self._leave(call, "cancelled")
            queue = self._queue
            if queue[0][2] is call:  # the next of the queue may fit where this one did not
                while queue and queue[0][2].state != WAITING:
                    heappop(queue)
                if queue and self._n and len(self.running) < self.limits.max_sequences:
                    self._cut()
        else:
            self._cancelled.append(call)
            if self._n:
                self._cut()
            else:
                self._drop_cancelled()

    def change_law(self, law: StepLaw) -> None:
        """Step by another law from the next step on: a power cap, another clock."""
        self._next_law = law
        if self._n:
            self._cut()

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
                call.output_made += self._tick - call.joined
                self._note_last_token(call)
            calls.append(call)
        self._forget()
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

    def made(self, call: Call) -> int:
        """Output tokens of a call so far, by the last run that ended."""
        if call.state == DECODING:
            return call.output_made + self._tick - call.joined
        return call.output_made

    def blocks_of(self, call: Call) -> int:
        """Blocks that a running call holds, between runs."""
        context = call.context
        if call.state == DECODING:
            context += self._tick - call.joined
        return -(-context // self.limits.block_tokens)

    # Ends of runs.

    def _wake(self, generation: int) -> None:
        if generation == self._generation:
            self._complete()
            if self.clock.alone():
                self._schedule()
            else:
                self._ask()

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
        first, slope = self._first_fs, self._slope_fs
        elapsed = now - self._start_fs
        n = self._steps_ended(elapsed)
        if not n or n * first + slope * (n * (n - 1) // 2) < elapsed:
            n += 1
        if n < self._n:
            self._n = n
            self._generation += 1
            end = self._start_fs + n * first + slope * (n * (n - 1) // 2)
            if end > now:
                self.clock.at(end, COMPLETION + self.index, self._wake, self._generation)
            else:  # a step ended at this very instant, and ends come first
                self._complete()
                self._ask()

    def _steps_ended(self, elapsed: int) -> int:
        """Whole steps of the run in `elapsed` femtoseconds: the sum, inverted."""
        first, slope = self._first_fs, self._slope_fs
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
        n, decodes, chunks = self._n, self._advancing, self._chunks
        start, first, slope = self._start_fs, self._first_fs, self._slope_fs
        self._n = 0
        self.steps += n
        triangle, duration = 0, first
        if n != 1:
            triangle = n * (n - 1) // 2
            duration = n * first + slope * triangle
            self._take_later_blocks(n)
        now = start + duration  # of steps cut off by a failure: when the last whole one ended
        self.busy_fs += duration
        done: list[Call] = []
        tokens = emitted = recomputed = pairs = priors = 0
        if decodes:
            if self._late_gaps:
                self.gaps.extend(self._late_gaps)
            self._tick = tick = self._tick + n
            self._context += decodes * n
            self._open_context += self._open * n
            self._token_fs = now
            emitted = decodes * n
            finishes = self._finishes
            while finishes and finishes[0][0] <= tick:
                _, _, epoch, call = heappop(finishes)
                if call.state == DECODING and call.preemptions == epoch:
                    self._unjoin(call)
                    call.output_made += tick - call.joined
                    call.last_token_fs = now
                    done.append(call)
                else:
                    self._stale -= 1
        for call, size, prior in chunks:
            tokens += size * n
            pairs += n * (size * prior + size * (size + 1) // 2) + size * size * triangle
            priors += n * prior + size * triangle
            before = call.recomputed_tokens
            if self._advance(call, prior + size * n, size * n, now):
                emitted += 1
                if call.output_made == call.output_tokens:
                    done.append(call)
                else:
                    self._join(call)
            recomputed += call.recomputed_tokens - before
        self.rows.append(
            (
                self.index,
                start * S_PER_FS,
                now * S_PER_FS,
                n,
                first,
                slope,
                decodes,
                len(chunks),
                tokens,
                emitted,
                recomputed,
                n * self._context_read + decodes * triangle,
                n * self._window_read + self._window_grows * triangle,
                pairs,
                priors,
                self._row_waiting,
                self._row_blocks,
                self._survivors,
                self._stall_fs,
                self._apart,
            )
        )
        if done:
            if len(done) > 1:
                done.sort(key=by_number)
            for call in done:
                self._finish(call)
        if self._cancelled:
            self._drop_cancelled()

    def _advance(self, call: Call, context: int, tokens: int, now: int) -> bool:
        """Move a prompt on to `context` tokens; True if that makes it emit one."""
        if call.preemptions:
            fresh = max(min(context, call.prompt_tokens) - call.peak, 0)
            call.computed_tokens += fresh
            call.recomputed_tokens += tokens - fresh
            call.peak = max(call.peak, context)
        else:  # all of it is new
            call.computed_tokens += tokens
            call.peak = context
        call.context = context
        if context < call.known:
            return False
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
        return True

    def _finish(self, call: Call) -> None:
        """Let a call go that has all its tokens; its cache stays for its session."""
        del self.running[call.number]
        tokens = call.prompt_tokens + call.output_tokens - 1
        blocks = -(-tokens // self.limits.block_tokens)
        if call.last or self.limits.retain == "none":
            self.ledger.free += blocks
        else:
            self.ledger.keep(call.session, tokens, blocks)
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
        start, first, slope = self._start_fs, self._first_fs, self._slope_fs
        decodes, chunks = self._advancing, self._chunks
        n = self._steps_ended(now - start)
        self._generation += 1
        self._n = n
        if n:
            self._complete()
            self._row_blocks = self.ledger.held + self._step_blocks(n)
        self._n = 0
        lost_from = start + n * first + slope * (n * (n - 1) // 2)
        if lost_from < now:
            self.busy_fs += now - lost_from
            span = (lost_from * S_PER_FS, now * S_PER_FS, 1, now - lost_from, 0)
            nothing = (0,) * 7
            state = (self._row_waiting, self._row_blocks, 0, 0, decodes)
            self.rows.append((self.index, *span, decodes, len(chunks), *nothing, *state))

    def _forget(self) -> None:
        """Empty the batch, the queue and the cache."""
        self.running.clear()
        self._queue.clear()
        self._finishes.clear()
        self._fills.clear()
        self._joiners.clear()
        self._partial = None
        self.waiting = self._decodes = self._context = self._open = self._open_context = 0
        self._stale = 0
        self._phases = [0] * (2 * self.limits.block_tokens)
        self.ledger.clear()

    # The batch.

    def _join(self, call: Call) -> None:
        """Decode from the next step on."""
        tick, context, size = self._tick, call.context, self.limits.block_tokens
        call.known = context + 1
        call.state = DECODING
        call.joined = tick
        self._decodes += 1
        self._context += context
        call.phase = phase = (context - tick) % size
        phases = self._phases
        phases[phase] += 1
        phases[phase + size] += 1
        heappush(
            self._finishes,
            (tick + call.output_tokens - call.output_made, call.number, call.preemptions, call),
        )
        if self._prefill_first:
            self._joiners.append(call)
        window = self._window
        if window is not None and context + 1 < window:
            call.open = True
            call.fills = tick + window - 1 - context
            self._open += 1
            self._open_context += context
            heappush(self._fills, (call.fills, call.number, call.preemptions, call))

    def _unjoin(self, call: Call) -> int:
        """Take a call out of the decodes; returns the tokens that it has in the cache."""
        size = self.limits.block_tokens
        context = call.context + self._tick - call.joined
        self._decodes -= 1
        self._context -= context
        phases, phase = self._phases, call.phase
        phases[phase] -= 1
        phases[phase + size] -= 1
        if call.open:
            call.open = False
            self._open -= 1
            self._open_context -= context
        return context

    def _note_last_token(self, call: Call) -> None:
        """Remember when a decode that is about to leave made its last token."""
        if self._tick > call.joined:
            call.emitted_fs = self._token_fs
        call.last_token_fs = call.emitted_fs

    def _release(self, call: Call) -> None:
        """Take a running call out of the batch and free its blocks."""
        del self.running[call.number]
        context = call.context
        if call.state == DECODING:
            self._stale += 1
            context = self._unjoin(call)
            call.output_made += self._tick - call.joined
            self._note_last_token(call)
        elif self._partial is call:
            self._partial = None
        if context > call.peak:
            call.peak = context
        self.ledger.free += -(-context // self.limits.block_tokens)

    def _preempt(self) -> Call:
        """Send the last of the running back to the queue, its cache lost."""
        running = self.running
        if self._by_priority:
            call = max(running.values(), key=by_priority)
        else:  # admitted in order of number, and preempted from the end
            call = running[next(reversed(running))]
        self._release(call)
        if call.first_token_fs is None and not call.preemptions:
            call.emitted_fs = self.clock.now_fs
        call.state = WAITING
        call.context = 0
        call.known = call.prompt_tokens + call.output_made
        call.preemptions += 1
        key = call.priority if self._by_priority else 0
        heappush(self._queue, (key, call.number, call))
        self.waiting += 1
        return call

    # Scheduling.

    def _decide(self, _value: None) -> None:
        self._deciding = False
        if not self._n and not self.down:
            self._schedule()

    def _schedule(self) -> None:
        """Form the next step, and the run of steps like it."""
        if self._next_law is not None:
            self._adopt_law(self._next_law)
        if self._prefill_first:
            self._decide_prefill_first()
        else:
            self._decide_mixed()

    def _adopt_law(self, law: StepLaw) -> None:
        assert law.window == self._window, "another window is another LLM"
        self._next_law = None
        self.law = law
        self._bases = {}
        self._chunk_costs = {}

    def _decide_mixed(self) -> None:
        """Schedule decodes, then the partial prompt, then as many of the queue as fit."""
        ledger, size = self.ledger, self.limits.block_tokens
        preempted = False
        chunks: list[tuple[Call, int, int]] = []
        need = self._phases[-self._tick % size]
        if need > ledger.free + ledger.evictable:
            preempted = self._fit(0)
        call = self._partial
        budget = self.limits.token_budget - self._decodes
        if call is not None:
            prior = call.context
            tokens = min(call.known - prior, budget)
            blocks = -(-(prior + tokens) // size) - -(-prior // size)
            preempted = self._fit(blocks, call) or preempted
            if call.state == PARTIAL:
                ledger.take(blocks)
                chunks.append((call, tokens, prior))
                budget -= tokens
        if preempted:
            need = self._phases[-self._tick % size]
        if need:
            ledger.take(need)
        if self.waiting and not preempted:
            self._admit(chunks, budget, chunking=True)
        if self._decodes or chunks:
            self._start(self._decodes, chunks, preempted)

    def _decide_prefill_first(self) -> None:
        """Schedule whole prompts while the head of the queue fits, decodes otherwise."""
        chunks: list[tuple[Call, int, int]] = []
        if self.waiting:
            self._admit(chunks, self.limits.token_budget, chunking=False)
        if chunks:
            self._start(0, chunks, False)
        elif self._decodes:
            preempted = self._fit(0)
            self.ledger.take(self._phases[-self._tick % self.limits.block_tokens])
            if self._decodes:
                self._start(self._decodes, chunks, preempted)

    def _fit(self, blocks: int, partial: Call | None = None) -> bool:
        """Preempt until this step's decodes and `blocks` more fit, or `partial` is out."""
        ledger, phases = self.ledger, self._phases
        phase = -self._tick % self.limits.block_tokens
        preempted = False
        while phases[phase] + blocks > ledger.free + ledger.evictable:
            preempted = True
            if self._preempt() is partial:
                break
        return preempted

    def _admit(self, chunks: list[tuple[Call, int, int]], budget: int, *, chunking: bool) -> None:
        """Admit from the head of the queue, which blocks those behind it.

        With `chunking` a prompt may be cut to the budget that is left; without, only
        whole prompts are taken, and the first of a step whatever its length.
        """
        limits, ledger = self.limits, self.ledger
        size, queue, running = limits.block_tokens, self._queue, self.running
        while queue and len(running) < limits.max_sequences:
            call = queue[0][2]
            if call.state != WAITING:
                heappop(queue)
                continue
            hit = 0
            kept = None if call.preemptions else ledger.kept.get(call.session)
            if kept is not None:
                hit = min(call.prefix_tokens, kept[0], call.prompt_tokens - 1) // size * size
            tokens = call.known - hit
            if chunking:
                if budget <= 0:
                    return
                if tokens > budget:
                    tokens = budget
            elif chunks and tokens > budget:
                return
            hit_blocks = hit // size
            blocks = -(-(hit + tokens) // size) - hit_blocks
            if blocks > ledger.free + ledger.evictable - hit_blocks:
                return
            heappop(queue)
            self.waiting -= 1
            if kept is not None:
                ledger.adopt(call.session, hit_blocks)
            ledger.take(blocks)
            call.context = hit
            if hit:
                call.hit_tokens = call.peak = hit
            if call.scheduled_fs is None:
                call.scheduled_fs = self.clock.now_fs
            call.state = PARTIAL
            running[call.number] = call
            chunks.append((call, tokens, hit))
            budget -= tokens
            if hit + tokens < call.known:
                self._partial = call

    def _start(self, decodes: int, chunks: list[tuple[Call, int, int]], preempted: bool) -> None:
        """Start a run of steps of this composition."""
        clock, law = self.clock, self.law
        start = clock.now_fs
        steps = 0  # no bound yet
        slope = prompt_tokens = 0
        emitting = decodes
        first = 0
        for call, size, prior in chunks:
            prompt_tokens += size
            cost = self._chunk_costs.get(size)
            if cost is None:
                cost = self._chunk_cost(size)
            if cost[1] is None:
                first += law.chunk(size, prior)
            else:
                first += cost[0] + cost[1] * prior
            if prior + size == call.known:
                emitting += 1
                if law.draws:
                    first += law.prompt(call.u)
        if chunks:
            steps = 1
            call, size, prior = chunks[0]
            if len(chunks) == 1 and prior + size < call.known:
                growth = self._chunk_costs[size][1]
                if growth is not None:
                    steps = (call.known - prior - 1) // size
                    slope = growth * size
        if preempted or self.limits.stepwise:
            steps = 1
        key = (decodes, prompt_tokens, len(chunks), emitting)
        base = self._bases.get(key)
        if base is None:
            if len(self._bases) >= MOST_BASES:
                self._bases.clear()
            base = self._bases[key] = law.base(*key)
        first += base
        self._context_read = 0
        if self._window is not None:
            self._window_read = self._window_grows = 0
        if decodes:
            tick = self._tick
            read = self._context + decodes
            fixed, growth, knot = law.piece(decodes, read)
            first += fixed + growth * read
            slope += growth * decodes
            if self._stale:
                self._drop_stale()
            left = self._finishes[0][0] - tick
            if not steps or left < steps:
                steps = left
            if knot is not None and steps > 1:
                steps = min(steps, (knot - read - 1) // decodes + 1)
            self._context_read = read
            if self._window is not None:
                steps = self._read_windows(self._window, steps)
                first += law.window_fs * self._window_read
                slope += law.window_fs * self._open
                self._window_grows = self._open
        if steps > 1:
            steps = self._fit_steps(decodes, chunks, steps)
        self._survivors = decodes
        if self._prefill_first:
            self._survivors, self._stall_fs, self._apart = self._stalls(decodes, start, first)
        self._n = steps
        self._cut_short = False
        self._start_fs = start
        self._first_fs = first
        self._slope_fs = slope
        self._advancing = decodes
        self._chunks = chunks
        self._row_waiting = self.waiting
        ledger = self.ledger
        self._row_blocks = ledger.blocks - ledger.free - ledger.evictable
        self._generation = generation = self._generation + 1
        end = start + first
        if steps != 1:
            end = start + steps * first + slope * (steps * (steps - 1) // 2)
        clock.at(end, COMPLETION + self.index, self._wake, generation)

    def _drop_stale(self) -> None:
        """Drop from the heads of ends who was preempted or cancelled since."""
        finishes = self._finishes
        while finishes[0][3].state != DECODING or finishes[0][3].preemptions != finishes[0][2]:
            heappop(finishes)
            self._stale -= 1

    def _chunk_cost(self, tokens: int) -> tuple[int, int | None]:
        """Ask the law once what chunks of a size cost."""
        if len(self._chunk_costs) >= MOST_BASES:
            self._chunk_costs.clear()
        cost = self._chunk_costs[tokens] = (
            self.law.chunk(tokens, 0),
            self.law.chunk_slope(tokens),
        )
        return cost

    def _read_windows(self, window: int, steps: int) -> int:
        """Sum the tokens inside sliding windows; bound the run by the next to fill."""
        tick, fills = self._tick, self._fills
        while fills:
            at, _, epoch, call = fills[0]
            live = call.open and call.state == DECODING and call.preemptions == epoch
            if live and at > tick:
                steps = min(steps, at - tick + 1)
                break
            heappop(fills)
            if live:
                call.open = False
                self._open -= 1
                self._open_context -= call.context + tick - call.joined
        self._window_read = self._open_context + self._open + (self._decodes - self._open) * window
        return steps

    def _later_blocks(self, decodes: int, steps: int) -> int:
        """Blocks that decodes need in the steps of a run after its first."""
        size = self.limits.block_tokens
        cycles, rest = divmod(steps - 1, size)
        blocks = cycles * decodes
        if rest:
            # Step j needs phase -(tick + j): going down from that of step 1.
            top = (-self._tick - 1) % size + size
            blocks += sum(self._phases[top - rest + 1 : top + 1])
        return blocks

    def _chunk_blocks(self, chunks: list[tuple[Call, int, int]], steps: int) -> int:
        """Blocks that the one chunk of a run needs after its first step."""
        if not chunks:
            return 0
        _, tokens, prior = chunks[0]
        size = self.limits.block_tokens
        return -(-(prior + tokens * steps) // size) - -(-(prior + tokens) // size)

    def _fit_steps(self, decodes: int, chunks: list[tuple[Call, int, int]], steps: int) -> int:
        """As many of `steps` as the blocks allow; the step after is scheduled anew."""
        available = self.ledger.free + self.ledger.evictable
        size = self.limits.block_tokens
        bound = decodes * ((steps - 1) // size + 1) + self._chunk_blocks(chunks, steps)
        if bound <= available:
            return steps
        low, high = 1, steps  # blocks needed never fall with steps
        while low < high:
            middle = (low + high + 1) // 2
            need = self._later_blocks(decodes, middle) + self._chunk_blocks(chunks, middle)
            if need <= available:
                low = middle
            else:
                high = middle - 1
        return low

    def _take_later_blocks(self, steps: int) -> None:
        """Take what the run's steps after the first took, before the tick moves on."""
        blocks = self._chunk_blocks(self._chunks, steps)
        if self._advancing:
            blocks += self._later_blocks(self._advancing, steps)
        if blocks:
            self.ledger.take(blocks)

    def _step_blocks(self, done: int) -> int:
        """Blocks that the run's next step takes, after so many that are done."""
        size = self.limits.block_tokens
        blocks = self._phases[-self._tick % size] if self._advancing else 0
        for _, tokens, prior in self._chunks:
            before = prior + done * tokens
            blocks += -(-(before + tokens) // size) - -(-before // size)
        return blocks

    def _stalls(self, decodes: int, start: int, first: int) -> tuple[int, int, int]:
        """Count decodes that prompts held up: survivors, how long, and those apart."""
        if not decodes:
            return (0, 0, 0)
        apart = joined = 0
        self._late_gaps.clear()
        for call in self._joiners:
            if call.state == DECODING and call.joined == self._tick:
                joined += 1
                if call.emitted_fs < start:
                    apart += 1
                    gap = start + first - call.emitted_fs
                    at = (start + first) * S_PER_FS
                    self._late_gaps.append((call.number, at, gap * S_PER_FS, "prefill"))
        self._joiners.clear()
        survivors = decodes - joined
        return (survivors, start - self._token_fs if survivors else 0, apart)
