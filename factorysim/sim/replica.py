"""A replica: continuous batching, walked in runs of steps instead of steps.

A run of steps ends when a sequence finishes, a prompt's last chunk comes up, the KV
cache runs out, a sliding window fills, or the law reaches a knot: all known when it
starts. An arrival, a cancel or a new law cuts it (`walker`). While a head of the
queue is blocked, nothing in a run can unblock it, because available blocks only
shrink and every other bound is constant.

Nothing is touched per token or per sequence (`decodes`). Walking one step at a time
(`Limits.stepwise`) gives the same instants, bit for bit.
"""

from __future__ import annotations

from heapq import heappop
from typing import TYPE_CHECKING, Any

from factorysim.sim.batch import Batch
from factorysim.sim.call import PARTIAL, WAITING, find_again
from factorysim.sim.step_run import NO_CHUNKS
from factorysim.sim.tiers import BLOCKED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.physics.step import StepLaw
    from factorysim.sim.call import Call, Limits
    from factorysim.sim.clock import Clock
    from factorysim.sim.step_run import Chunk


class Replica(Batch):
    """One serving copy of an LLM: a batch, a law, and rules for the next step.

    They are those of vLLM, or `prefill_first`. Other kinds override `_form_step`, which
    makes a step out of what `_fit` leaves room for and `_admit` lets in, and gives it to
    `_start`; `_ration`, to admit by blocks of their own counting; and `_fit_steps`, where
    a run must end sooner or steps take no blocks.
    """

    __slots__ = ("_mixes", "_prefill_first", "_ration", "_stepwise", "on_start")

    def __init__(
        self,
        clock: Clock,
        index: int,
        law: StepLaw,
        limits: Limits,
        *given: Any,  # noqa: ANN401
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(clock, index, law, limits, *given, **more)
        self._stepwise = limits.stepwise
        self._prefill_first = limits.scheduler == "prefill_first"
        self._mixes = True
        """Whether decodes share the budget of a step with chunks (`schedulers`)."""
        self._ration: Callable[[Call, int, int, int], int] | None = None
        """Blocks that a call must have to be admitted, where the scheduler has a word on it:
        by its hit, its tokens in the step, and the blocks of the hit that nobody has locked."""
        self.on_start: Callable[[Call], None] | None = None
        """Told of calls whose prompt is about to be computed."""

    def _schedule(self) -> None:
        """Form the next step, and the run of steps like it."""
        if self._news:
            self._take_news()
        if self._prefill_first:
            self._decide_prefill_first()
        else:
            self._form_step()
        if self.standing is not None and not self.run.steps:
            self.standing.set_demand(0.0)

    def _take_news(self) -> None:
        """Step by the law that was set, and with the calls whose KV has come."""
        self._news = False
        if self._next_law is not None:
            self._adopt_law(self._next_law)
        if self.dock.landed:
            self.dock.join(self.ledger, self._decodes, self.clock.now_fs)

    def _adopt_law(self, law: StepLaw) -> None:
        super()._adopt_law(law)
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
                held = self.dock.reserve(call, ledger)
                if held is None:
                    break
                heappop(queue)
                self.waiting -= 1
                running[call.number] = call
                call.handoff.reserved(held)
                continue
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
                    find_again(call, hit)
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
        law, costs, ledger = self.law, self._costs, self.ledger
        steps = 0  # no bound yet
        first = slope = tokens = pairs = priors = context = in_windows = windows_grow = 0
        emitting = decodes
        prompts = len(chunks)
        if prompts:
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
            if prompts == 1 and growth is not None and prior + size < call.known:
                steps = (call.known - prior - 1) // size
                slope = growth * size
                if steps > 1 and call.content and (self.limits.watched or ledger.follows(call)):
                    steps = 1  # its copy of a cached block is free as the step ends
        if preempted:
            steps = 1
        key = (decodes, tokens, prompts, emitting)
        first += costs.bases.get(key) or costs.base(key)
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
        run, clock = self.run, self.clock
        survivors = decodes
        stall = apart = 0
        if self._notes_joiners:
            # A failure may have cut the first step of the run before, and left these.
            run.late_gaps.clear()
            run.first_tokens.clear()
            survivors, stall, apart = self._decodes.stalls(
                clock.now_fs, first, run.late_gaps, run.first_tokens, decodes
            )
        # As `_begin` does, which as a call would be a hundredth of the time of all calls.
        run.started_fs = end = clock.now_fs
        end += first
        if steps != 1:
            steps = 1 if self._stepwise else self._fit_steps(decodes, chunks, steps)
            end += (steps - 1) * first + slope * (steps * (steps - 1) // 2)
        run.steps = steps
        run.may_be_cut = steps != 1
        run.step_fs = first
        run.slope_fs = slope
        run.decodes = decodes
        run.chunks = chunks
        run.begun = (
            self.index, first, slope, decodes, prompts, tokens, pairs, priors,
            context, in_windows, windows_grow, self.waiting,
            ledger.blocks - ledger.free - ledger.evictable, survivors, stall, apart,
        )  # fmt: skip
        self._generation = generation = self._generation + 1
        clock.at(end, self._end_priority, self._wake, generation)

    def _fit_steps(self, decodes: int, chunks: Sequence[Chunk], steps: int) -> int:
        """As many of `steps` as the blocks allow; the step after is scheduled anew."""
        available = self.ledger.free
        if not self.limits.watched:
            available += self.ledger.evictable
        batch = self._decodes
        if self._drafting is not None:
            bound = self._drafting.most_later_blocks(steps)
        else:
            bound = decodes * ((steps - 1) // batch.block_tokens + 1)
        if chunks:
            bound += self._chunk_blocks(chunks[0], steps)
        if bound <= available:
            return steps
        low, high = 1, steps  # blocks needed never fall with steps
        while low < high:
            middle = (low + high + 1) // 2
            need = batch.later_blocks(middle) if decodes else 0
            if chunks:
                need += self._chunk_blocks(chunks[0], middle)
            if need <= available:
                low = middle
            else:
                high = middle - 1
        return low
