"""The calls of a replica: who waits, who runs, what the steps of a run give them, who leaves.

Nothing is touched per token or per sequence (`decodes`): a run is credited as a whole.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from factorysim.sim.call import (
    DECODING,
    FETCHING,
    GONE,
    MOVING,
    UNNAMED,
    WAITING,
    by_number,
    by_priority,
    compute_again,
    name_alone,
)
from factorysim.sim.clock import S_PER_FS
from factorysim.sim.costs import StepCosts
from factorysim.sim.decodes import Decodes
from factorysim.sim.dock import Dock
from factorysim.sim.kv import Ledger
from factorysim.sim.speculation import SpeculativeDecodes
from factorysim.sim.step_run import blocks_after
from factorysim.sim.walker import Walker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.physics.step import StepLaw
    from factorysim.records import RunNote
    from factorysim.sim.call import Call, Limits
    from factorysim.sim.clock import Clock
    from factorysim.sim.speculation import Drafts
    from factorysim.sim.step_run import Chunk
    from factorysim.sim.tiers import ReplicaTiers


class Batch(Walker):
    """A queue, those who run, and the KV cache that they share.

    Kinds of it say who makes room (`_victim`) and where that one waits (`_queue_again`),
    which blocks steps take (`_chunk_blocks`, `_take_later_blocks`, `_step_blocks`), and
    what else happens as a run ends (`_complete`), a call leaves (`_finish`, `_release`,
    `_leave`), or all is lost (`_forget`).
    """

    __slots__ = (
        "_by_priority",
        "_cancelled",
        "_decodes",
        "_drafting",
        "_keeps_kv",
        "_notes_joiners",
        "_partial",
        "_queue",
        "dock",
        "gaps",
        "ledger",
        "limits",
        "longest",
        "lookahead",
        "on_done",
        "on_preempted",
        "owner",
        "running",
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
        super().__init__(clock, index, law, StepCosts(law) if costs is None else costs, rows)
        self.limits = limits
        self.on_done = on_done
        self.on_preempted: Callable[[Call], None] | None = None
        """Told of a call that has lost its blocks."""
        self.owner = owner
        """Whatever whoever built it needs to find it by."""
        self.gaps: list[tuple[object, ...]] = [] if gaps is None else gaps
        """Rows of `records.GapRow`."""
        self.ledger = Ledger(limits.blocks, limits.block_tokens) if tiers is None else tiers.ledger
        self.tiers = tiers
        """Where blocks wait that HBM has no room for; None: nowhere. Then `limits.watched`."""
        if tiers is not None:
            assert limits.watched, "a run must not go on where it evicts"
            tiers.index, tiers.on_landed = index, self._take_fetched
        self.dock = Dock()
        self._keeps_kv = limits.role == "prefill"
        """Whether the KV of calls that it is done with is yet to leave."""
        self.waiting = 0
        self.running: dict[int, Call] = {}
        self._queue: list[tuple[int, float, Call]] = []
        self._partial: Call | None = None
        self._cancelled: list[Call] = []
        pace = limits.pace
        self.lookahead = 0 if pace is None else pace.draft_tokens
        """Drafts that a step verifies for each decode."""
        self.longest = limits.blocks * limits.block_tokens - self.lookahead
        """Tokens that a call may ever have cached: all but its last."""
        if limits.context_tokens is not None:
            self.longest = min(self.longest, limits.context_tokens - 1)
        self._by_priority = limits.order == "priority"
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

    # What others do to a replica.

    def submit(self, call: Call) -> None:
        """Queue a call, at this instant."""
        limits = self.limits
        call.queued_fs = self.clock.now_fs
        if limits.retain == "none":
            call.content = ()
        if self.down:
            self._leave(call, "failed")
        elif call.prompt_tokens + call.output_tokens - 1 > self.longest:
            self._leave(call, "rejected")
        else:
            key = call.priority if self._by_priority else 0
            heappush(self._queue, (key, call.number, call))
            self.waiting += 1
            run = self.run
            if not run.steps:
                self._ask()
            elif (
                run.may_be_cut and self._head() is call and len(self.running) < limits.max_sequences
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
            if led and self.run.steps:
                self._use_room()
        elif call.state == FETCHING:
            self._leave(call, "cancelled")  # its blocks are free when all have landed
        else:
            self._cancelled.append(call)
            if self.run.steps:
                self._cut()
            else:
                self._drop_cancelled()

    def land(self, call: Call) -> None:
        """Take in the KV of a call, which has come: it decodes from the next step on."""
        if self.dock.land(call):
            self._news = True
            self._look_again()

    def let_go(self, call: Call) -> bool:
        """Free the blocks of a call whose KV has left; False: they were lost with the device."""
        freed = self.dock.let_go(call, self.ledger)
        if freed:
            self._use_room()
        return freed

    def drop(self, call: Call, outcome: str) -> None:
        """Let a call go whose KV will not come."""
        self._release(call)
        self._leave(call, outcome)
        self._use_room()

    def fail(self) -> None:
        """Lose the device: the step in progress, every call, the whole cache."""
        if self.down:
            return
        self.down = True
        self._lose_steps()
        calls = self._let_fall()
        if self.standing is not None:
            self.standing.set_demand(0.0)
        for call in sorted(calls, key=by_number):
            self._leave(call, "failed")

    def padded(self) -> int:
        """Tokens that steps computed for nobody; see `schedulers.StaticReplica`."""
        return 0

    def made(self, call: Call) -> int:
        """Output tokens of a call so far, by the last run that ended."""
        if call.state == DECODING:
            return self._decodes_of(call).made(call)
        return call.output_made

    def blocks_of(self, call: Call) -> int:
        """Blocks that a running call holds and the cache does not, between runs."""
        context = call.context
        if call.state == DECODING:
            context = self._decodes_of(call).held(call)
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
        self._look_again()

    def _head(self) -> Call | None:
        """First of the queue, past those that were cancelled in it."""
        queue = self._queue
        while queue and queue[0][2].state != WAITING:
            heappop(queue)
        return queue[0][2] if queue else None

    def _use_room(self) -> None:
        """Schedule anew if somebody waits, now that there is more room."""
        if len(self.running) < self.limits.max_sequences and self._head():
            self._look_again()

    # Ends of runs.

    def _complete(self) -> None:
        """Credit the run's steps, and let those that are done go."""
        run = self.run
        n, duration, decodes = run.steps, run.step_fs, run.decodes
        run.steps = 0
        self.steps += n
        emitted = decodes
        if n != 1:
            duration = n * duration + run.slope_fs * (n * (n - 1) // 2)
            emitted = n * decodes
            self._take_later_blocks(n)
        start = run.started_fs
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
                self._note_first_step(start + run.step_fs)
        recomputed = 0
        for call, size, prior in run.chunks:
            tokens = n * size
            call.context = reached = prior + tokens
            if call.preemptions:
                recomputed += compute_again(call, tokens)
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
            (n, start * S_PER_FS, now * S_PER_FS, emitted, recomputed, accepted, run.begun)
        )
        if done:
            for call in sorted(done, key=by_number) if len(done) > 1 else done:
                self._finish(call)
        if self._cancelled:
            self._drop_cancelled()

    def _note_first_step(self, end: int) -> None:
        """Write down what ends with a run's first step, for those that joined with its start."""
        run = self.run
        self.gaps.extend(run.late_gaps)
        for call in run.first_tokens:
            call.first_token_fs = end
        run.late_gaps.clear()
        run.first_tokens.clear()

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
        if self._keeps_kv:
            self.dock.kept[call.number] = call
        else:
            if self._drafting is not None and call.state == DECODING:
                tokens = self._drafting.held(call)
            ledger.release(call, tokens)
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

    # Blocks of a run.

    def _chunk_blocks(self, chunk: Chunk, steps: int) -> int:
        """Blocks that a run of one chunk a step needs for it after its first step."""
        _, tokens, prior = chunk
        size = self.limits.block_tokens
        return -(-(prior + tokens * steps) // size) - -(-(prior + tokens) // size)

    def _take_later_blocks(self, steps: int) -> None:
        """Take what the run's steps after the first took, before the tick moves on."""
        run = self.run
        chunks = run.chunks
        blocks = self._chunk_blocks(chunks[0], steps) if chunks else 0
        if run.decodes:
            blocks += self._decodes.later_blocks(steps)
        if blocks:
            self.ledger.take(blocks)

    def _step_blocks(self, done: int) -> int:
        """Blocks that the run's next step takes, after so many that are done."""
        run = self.run
        blocks = blocks_after(run.chunks, done, self.limits.block_tokens)
        return blocks + self._decodes.blocks_now() if run.decodes else blocks

    # Who leaves the batch before its end.

    def _decodes_of(self, call: Call) -> Decodes:
        """Whom a call decodes with."""
        return self._decodes

    def _release(self, call: Call) -> None:
        """Take a running call out of the batch; what it has registered stays cached."""
        del self.running[call.number]
        held = context = call.context
        if call.state == DECODING:
            decodes = self._decodes_of(call)
            held = decodes.held(call)
            context = decodes.drop(call)
        elif self._partial is call:
            self._partial = None
        elif call.state == MOVING:
            self.dock.forget(call)
        if context > call.peak:
            call.peak = context
        self.ledger.release(call, held)

    def _preempt(self) -> Call:
        """Send the last of the running back to the queue, its cache lost."""
        call = self._victim()
        if call.run == UNNAMED and self.limits.retain != "none":
            size = self.limits.block_tokens
            name_alone(call, size, outputs=self.limits.cache_outputs)
            self.ledger.register(call, call.context // size)
        self._release(call)
        if call.first_token_fs is None and not call.preemptions:
            call.emitted_fs = self.clock.now_fs
        call.state = WAITING
        call.context = 0
        call.known = call.prompt_tokens + call.output_made
        call.preemptions += 1
        call.fetch = None
        self._queue_again(call)
        if self.on_preempted is not None:
            self.on_preempted(call)
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
        """Give a call that was out of the queue the place in it that it had."""
        key = call.priority if self._by_priority else 0
        heappush(self._queue, (key, call.number, call))
        self.waiting += 1

    def _last_present(self, last: Call) -> Call:
        """Go back from the last of the running to one whose KV is here."""
        if last.state != MOVING:
            return last
        present = [call for call in self.running.values() if call.state != MOVING]
        return max(present, key=by_priority) if self._by_priority else present[-1]

    # The device fails, or the simulation ends.

    def _lose_steps(self) -> None:
        """Lose what is under way."""
        self._cancelled.clear()  # their step never ends: they fail like the others
        if self.run.steps:
            self._lose_step()

    def _let_fall(self) -> list[Call]:
        """Empty queue, batch and cache; returns the calls that were there."""
        calls = [entry[2] for entry in self._queue if entry[2].state == WAITING]
        for call in self.running.values():
            if call.state == DECODING:
                self._decodes_of(call).drop(call)
            calls.append(call)
        if self.tiers is not None:
            calls += self.tiers.fail()
        self._forget()
        return calls

    def _forget(self) -> None:
        """Empty the batch, the queue and the cache."""
        self.running.clear()
        self._queue.clear()
        self.dock.clear()
        self._partial = None
        self.waiting = 0
        self._decodes.clear()
        self.ledger.clear()

    def _undo_start(self) -> None:
        self.ledger.free += self._step_blocks(0)

    def _blocks_in(self, done: int) -> int:
        return self.ledger.held + self._step_blocks(done)
