"""Schedulers by name: what each does that the replica itself (`vllm`, `prefill_first`) does not.

A scheduler is a replica with other rules for its next step. All of it that walks
runs of steps stays; what a scheduler adds must keep the promise that a run which
goes on would be formed again, step by step. Arrivals cut runs, so it is enough
that *inside* a run nothing changes what would be decided: each class says why.

Rules and sources, side by side: docs/schedulers.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, assert_never

from factorysim.records import RunStart
from factorysim.sim.call import DECODING, KEPT, PARTIAL, by_number
from factorysim.sim.clock import DECISION
from factorysim.sim.kv import Ledger
from factorysim.sim.replica import Replica
from factorysim.sim.step_run import NO_CHUNKS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.sim.call import Call, Limits
    from factorysim.sim.step_run import Chunk

_UNBOUNDED = 1 << 62
"""More tokens, or blocks, than there are."""


def scheduler_kind(limits: Limits) -> type[Replica]:
    """Class of the replicas that serve by a scheduler's rules.

    Examples
    --------
    >>> from factorysim.sim.call import Limits
    >>> scheduler_kind(Limits(16, 100, 512, 8, "orca")).__name__
    'OrcaReplica'
    """
    match limits.scheduler:
        case "vllm":
            return PacedReplica if limits.tuning.prefill_every > 1 else Replica
        case "prefill_first":
            return Replica
        case "sarathi":
            return SarathiReplica
        case "sglang":
            return SglangReplica
        case "orca":
            return OrcaReplica
        case "static":
            return StaticReplica
        case "trtllm":
            return TrtllmReplica
    assert_never(limits.scheduler)


class PacedReplica(Replica):
    """`vllm` with a prefill cadence: of `prefill_every` steps in a row one may hold prompts.

    Decodes alone take the steps between; where there are none, prompts need not
    wait. What a run cannot go past is the step in which a prompt that waits may go
    on: that step is known when the run starts (`_rest`). A head of the queue that
    did not fit when it was allowed to does not fit later in the run either, as ever.
    """

    __slots__ = ("_every", "_quiet", "_rest")

    def __init__(self, *given: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*given, **more)
        self._every = self.limits.tuning.prefill_every
        self._quiet = self._every
        """Steps since the last one with prompts."""
        self._rest = 0
        """Steps that the run in progress may last, if above 0."""

    def _form_step(self) -> None:
        decodes = self._decodes
        rest = self._every - 1 - self._quiet
        if rest > 0:
            preempted = self._fit(0)
            if decodes.count:
                self.ledger.take(decodes.blocks_now())
                prompts = self._partial is not None or self.waiting
                self._rest = rest if prompts else 0
                self._start(decodes.count, NO_CHUNKS, preempted)
                return
        self._rest = 0
        super()._form_step()

    def _start(self, decodes: int, chunks: Sequence[Chunk], preempted: bool) -> None:
        # After a step with prompts and decodes comes one without prompts.
        super()._start(decodes, chunks, preempted or bool(decodes and chunks))

    def _fit_steps(self, decodes: int, chunks: Sequence[Chunk], steps: int) -> int:
        if 0 < self._rest < steps:
            steps = self._rest
        return super()._fit_steps(decodes, chunks, steps)

    def _complete(self) -> None:
        run = self.run
        steps = run.steps
        super()._complete()
        self._quiet = 0 if run.chunks else self._quiet + steps


class ReservingLedger(Ledger):
    """Blocks of which calls may hold more than their tokens fill."""

    __slots__ = ("_reserved",)

    def __init__(self, blocks: int, block_tokens: int, reserved: Callable[[Call], int]) -> None:
        super().__init__(blocks, block_tokens)
        self._reserved = reserved

    def release(self, call: Call, tokens: int) -> None:
        """Free the private blocks of a call, filled or not, and unlock its path."""
        super().release(call, max(tokens, self._reserved(call)))


class ReservingReplica(Replica, ABC):
    """Takes the blocks of a call when it is admitted, before it has tokens for them."""

    __slots__ = ()

    def __init__(self, *given: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*given, **more)
        limits = self.limits
        self.ledger = ReservingLedger(limits.blocks, limits.block_tokens, self._reserved)
        self._ration = self._blocks_wanted

    @abstractmethod
    def _reserved(self, call: Call) -> int:
        """Tokens that a running call has blocks for, if it has not filled more."""

    def _blocks_wanted(self, call: Call, hit: int, tokens: int, unlocked: int) -> int:
        size = self.limits.block_tokens
        return -(-self._reserved(call) // size) - hit // size

    def blocks_of(self, call: Call) -> int:
        """Blocks that a running call holds and the cache does not, between runs."""
        reserved = -(-self._reserved(call) // self.limits.block_tokens)
        return max(super().blocks_of(call), reserved - call.shared)

    def _chunk_blocks(self, chunk: Chunk, steps: int) -> int:
        return 0


class SarathiReplica(ReservingReplica):
    """`sarathi`: decodes first, then chunks up to the budget; a prompt's KV is taken at once.

    A run goes on as that of `vllm` does: a prompt that outlasts its step takes the
    whole budget, and blocks that the head of the queue waits for only shrink.
    """

    __slots__ = ()

    def _reserved(self, call: Call) -> int:
        return 0 if call.state == DECODING else call.known

    def _form_step(self) -> None:
        decodes = self._decodes
        chunks: Sequence[Chunk] = NO_CHUNKS
        preempted = self._fit(0)
        call = self._partial
        if call is not None:
            prior = call.context
            tokens = min(call.known - prior, self.limits.token_budget - decodes.count)
            chunks = ((call, tokens, prior),)
        self.ledger.take(decodes.blocks_now())
        if self.waiting and not preempted:
            chunks = self._admit(chunks, chunking=True)
        if chunks or decodes.count:
            self._start(decodes.count, chunks, preempted)

    def _step_blocks(self, done: int) -> int:
        return self._decodes.blocks_now() if self.run.decodes else 0


class WholeReplica(ReservingReplica):
    """Has every block of a call from its admission to its end, so that none is ever preempted.

    Then the blocks that are free change only as calls leave, never inside a run.
    """

    __slots__ = ()

    def _fit_steps(self, decodes: int, chunks: Sequence[Chunk], steps: int) -> int:
        return steps

    def _take_later_blocks(self, steps: int) -> None:
        pass

    def _step_blocks(self, done: int) -> int:
        return 0


class TrtllmReplica(WholeReplica):
    """`trtllm`: steps as of `sarathi`, of calls that have KV for all that they make.

    TensorRT-LLM calls this policy ``GUARANTEED_NO_EVICT``, and it is the default.
    """

    __slots__ = ()

    def _reserved(self, call: Call) -> int:
        return call.prompt_tokens + call.output_tokens - 1

    def _form_step(self) -> None:
        decodes = self._decodes.count
        chunks: Sequence[Chunk] = NO_CHUNKS
        call = self._partial
        if call is not None:
            prior = call.context
            tokens = min(call.known - prior, self.limits.token_budget - decodes)
            chunks = ((call, tokens, prior),)
        if self.waiting:
            chunks = self._admit(chunks, chunking=True)
        if chunks or decodes:
            self._start(decodes, chunks, False)


class SetAsideReplica(WholeReplica):
    """Bounds sequences, not tokens, and caches no prefixes, as engines before vLLM did."""

    __slots__ = ()

    def __init__(self, *given: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*given, **more)
        self.limits = self.limits._replace(token_budget=_UNBOUNDED, retain="none")


class OrcaReplica(SetAsideReplica):
    """`orca`: whole prompts beside decodes, as many as have KV for all that they may make.

    Nobody is admitted inside a run: who waits as it starts waits for a place or for
    KV, and neither is given back before somebody leaves.
    """

    __slots__ = ()

    def _reserved(self, call: Call) -> int:
        reserve, output = self.limits.tuning.reserve, call.output_tokens
        if reserve == "oracle":
            return call.prompt_tokens + output - 1
        if reserve == "pow2":
            return call.prompt_tokens + (1 << (output - 1).bit_length()) - 1
        return reserve

    def submit(self, call: Call) -> None:
        """Queue a call, at this instant; reject what has never room for all it may make."""
        limits, reserved = self.limits, self._reserved(call)
        short = reserved < call.prompt_tokens + call.output_tokens - 1
        if not self.down and (short or reserved > limits.blocks * limits.block_tokens):
            call.queued_fs = self.clock.now_fs
            self._leave(call, "rejected")
        else:
            super().submit(call)

    def _form_step(self) -> None:
        decodes = self._decodes.count
        chunks = self._admit(NO_CHUNKS, chunking=False) if self.waiting else NO_CHUNKS
        if chunks or decodes:
            self._start(decodes, chunks, False)


class StaticReplica(SetAsideReplica):
    """`static`: a batch is formed when the one before has ended, and ends with its longest.

    All prompts are padded to the longest and computed in one step. A call that has
    all its tokens keeps its place: linear layers and LM head compute a token for it
    in each further step, attention does not. Its answer leaves as the batch ends.
    The KV of a place is that of the longest prompt and the longest output.

    Nobody is admitted while a batch runs, so no run need be cut. A step in which
    places are idle is a run of its own, since rows have padding of single steps only.
    """

    __slots__ = ("_due_fs", "_first_tick", "_longest", "_padding", "_place_tokens", "_places")

    def __init__(self, *given: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*given, **more)
        self._places: list[Call] = []
        """Who has begun in the batch that runs, also those cancelled since."""
        self._longest = 0
        """Tokens of its longest prompt."""
        self._place_tokens = 0
        """For which each place has KV."""
        self._first_tick: int | None = None
        """Of the decodes, once its prompts are computed."""
        self._padding = 0
        """Tokens that batches before it have computed for nobody."""
        self._due_fs: int | None = None
        """When the batch that is filling starts, full or not."""

    def _reserved(self, call: Call) -> int:
        return self._place_tokens

    def padded(self) -> int:
        """Tokens that steps computed for nobody, told from what the calls needed."""
        if self._first_tick is None:
            return self._padding
        steps = self._decodes.tick - self._first_tick
        idle = sum(self._longest - c.prompt_tokens + steps - self.made(c) + 1 for c in self._places)
        return self._padding + idle

    # Forming a batch, and its steps.

    def _form_step(self) -> None:
        decodes = self._decodes.count
        if not self._places:
            batch = self._gather()
            if batch:
                self._begin_batch(batch)
        elif decodes == len(self._places):
            self._start(decodes, NO_CHUNKS, False)
        else:
            self._start_padded(decodes, NO_CHUNKS)

    def _gather(self) -> list[Call]:
        """Take a batch from the queue, once it is full or its oldest has waited long enough."""
        limits, queue = self.limits, self._queue
        entries: list[tuple[int, float, Call]] = []
        prompt = output = 0
        full = False
        while not full and (call := self._head()) is not None:
            prompt = max(prompt, call.prompt_tokens)
            output = max(output, call.output_tokens)
            blocks = -(-(prompt + output - 1) // limits.block_tokens)
            if (len(entries) + 1) * blocks > limits.blocks:
                full = True
            else:
                entries.append(heappop(queue))
                full = len(entries) == limits.max_sequences
        batch = [entry[2] for entry in entries]
        if not full and batch:
            due = min(call.queued_fs or 0 for call in batch) + limits.tuning.max_queue_delay_fs
            if self.clock.now_fs < due:
                for entry in entries:
                    heappush(queue, entry)
                self._start_by(due)
                return []
        return batch

    def _start_by(self, due_fs: int) -> None:
        """Look again at an instant, after all else that happens then."""
        if self._due_fs != due_fs:
            self._due_fs = due_fs
            self.clock.at(due_fs, DECISION + self.index, self._decide, None)

    def _begin_batch(self, batch: list[Call]) -> None:
        """Compute the prompts of a batch."""
        now, limits = self.clock.now_fs, self.limits
        self._places = batch
        self._longest = max(call.prompt_tokens for call in batch)
        self._place_tokens = self._longest + max(call.output_tokens for call in batch) - 1
        self.ledger.take(len(batch) * -(-self._place_tokens // limits.block_tokens))
        self.waiting -= len(batch)
        for call in batch:
            call.scheduled_fs = now
            call.state = PARTIAL
            self.running[call.number] = call
        self._start_padded(0, [(call, call.prompt_tokens, 0) for call in batch])

    def _start_padded(self, decodes: int, chunks: Sequence[Chunk]) -> None:
        """Start a step in which every place computes as much as the others."""
        law, costs, places, longest = self.law, self._costs, len(self._places), self._longest
        idle = places - decodes
        """Places with no decode: all of them, as their prompts are computed."""
        first = pairs = context = in_windows = windows_grow = 0
        tokens = idle
        if chunks:
            tokens = places * longest
            pairs = places * (longest * (longest + 1) // 2)
            first += places * law.chunk(longest, 0)
            if law.draws:
                first += sum(law.prompt(call.u) for call, _, _ in chunks)
            encoder = self.limits.encoder
            if encoder is not None:
                images = (call.image_tokens for call, _, _ in chunks)
                first += sum(encoder.time_fs(tokens) for tokens in images if tokens)
        key = (decodes, tokens, idle, places)
        first += costs.bases.get(key) or costs.base(key)
        if decodes:
            batch = self._decodes
            context = batch.context + decodes
            fixed, growth, _ = law.piece(decodes, context)
            first += fixed + growth * context
            if batch.window is not None:
                in_windows, _ = batch.read_windows(batch.window, 1)
                windows_grow = batch.open
                first += law.window_fs * in_windows
        if self.standing is not None:
            first, _ = self._slowed(self.standing, first, 0, decodes + tokens)
        begun = RunStart(
            self.index, first, 0, decodes, idle, tokens, pairs, 0,
            context, in_windows, windows_grow, self.waiting, self.ledger.held, decodes, 0, 0,
        )  # fmt: skip
        self._begin(begun, chunks, 1)

    # Ends.

    def cancel(self, call: Call) -> None:
        """Let a call go, whose place in the batch goes on to cost what it does."""
        super().cancel(call)
        if not self.run.steps:
            self._end_batch_if_over()

    def _complete(self) -> None:
        super()._complete()
        if self.run.chunks:
            self._first_tick = self._decodes.tick
        self._end_batch_if_over()

    def _finish(self, call: Call) -> None:
        call.state = KEPT

    def _end_batch_if_over(self) -> None:
        """Answer all calls of the batch, if none of them makes tokens any more."""
        if not self._places or self._decodes.count:
            return
        self._padding = self.padded()
        self._first_tick = None
        self._places = []
        now, ledger = self.clock.now_fs, self.ledger
        for call in sorted(self.running.values(), key=by_number):
            del self.running[call.number]
            ledger.release(call, self._place_tokens)
            call.last_token_fs = now
            self._leave(call, "completed")

    def _forget(self) -> None:
        for call in self._places:
            if call.state == DECODING:
                call.state = KEPT  # it was dropped, and what it has made is credited
        self._padding = self.padded()
        self._first_tick = None
        self._places = []
        super()._forget()


_INITIAL_RATIO, _LEAST_RATIO = 0.7, 0.14
"""Of `new_token_ratio`: at first, and at least as a share of that. SGLang 0.4.6,
`global_config.py`."""
_CLIPPED_TOKENS = 4096
"""More output than this is not reckoned with. SGLang 0.4.6, `managers/schedule_policy.py`."""
_RETRACT_STEPS = 20
"""For which a retraction leaves the rest room. SGLang 0.4.6, `global_config.py`."""
_ONE = 10**9
"""The ratio is counted in billionths, so that it decays alike over a run and step by step."""


class SglangReplica(Replica):
    """`sglang`: prompts in chunks before any decode, admitted by what all may come to need.

    A call is admitted if the KV holds its prompt, its longest output, and a share
    (`new_token_ratio`) of what each running call may make yet. The share decays
    with every decode step; when the KV runs out all the same, calls with the least
    output are retracted, and the share is set to what the rest have made.

    The share decays inside a run, so a head that does not fit might. But once the
    batch is full (`batch_is_full` in SGLang) the queue is not looked at again until
    a call leaves it, which no run goes past. While a prompt goes on, its chunk takes
    the whole budget of every step of the run.
    """

    __slots__ = (
        "_decay",
        "_estimate",
        "_full",
        "_highest",
        "_initial",
        "_least",
        "_promised",
        "_ratio",
        "_retracted",
        "_retractions",
    )

    def __init__(self, *given: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*given, **more)
        tuning = self.limits.tuning
        self._mixes = tuning.mixed_chunk
        self._ration = self._blocks_wanted
        self._initial = min(round(_INITIAL_RATIO * tuning.conservativeness * _ONE), _ONE)
        self._least = round(self._initial * _LEAST_RATIO)
        self._decay = (self._initial - self._least) // tuning.decay_steps
        self._ratio = self._initial
        self._full = False
        """The head of the queue did not fit, and nobody has left since."""
        self._promised = 0
        """Output tokens that this decision has let in."""
        self._estimate: int | None = None
        """Billionths of tokens that the decodes are thought to make yet, once it is asked for."""
        self._retracted = False
        """Whether this decision has retracted calls."""
        self._highest = 0
        """Number of the latest call so far."""
        self._retractions = 0

    def submit(self, call: Call) -> None:
        """Queue a call, at this instant."""
        self._highest = max(self._highest, call.number)
        super().submit(call)

    # The decision.

    def _form_step(self) -> None:
        self._promised = 0
        self._estimate = None
        self._retracted = False
        if self._mixes:
            call = self._partial
            if call is not None:
                most = call.context + self.limits.token_budget - self._decodes.count
                self._promise(call, min(call.known, most))
            super()._form_step()
        else:
            self._decide_apart()
        if not self.run.steps:
            self._ratio = self._initial

    def _decide_apart(self) -> None:
        """Schedule chunks if there is any, decodes otherwise."""
        decodes, ledger = self._decodes, self.ledger
        chunks: Sequence[Chunk] = NO_CHUNKS
        call = self._partial
        if call is not None:
            size, prior = self.limits.block_tokens, call.context
            tokens = min(call.known - prior, self.limits.token_budget)
            # There since its admission: decodes, which take blocks, have paused.
            ledger.take(-(-(prior + tokens) // size) - -(-prior // size))
            chunks = ((call, tokens, prior),)
            self._promise(call, prior + tokens)
        if self.waiting and not self._full:
            chunks = self._admit(chunks, chunking=True)
        if chunks:
            self._start(0, chunks, False)
        elif decodes.count:
            retracted = self._fit(0)
            ledger.take(decodes.blocks_now())
            self._start(decodes.count, NO_CHUNKS, retracted)

    def _promise(self, call: Call, reached: int) -> None:
        if reached == call.known:
            self._promised += min(call.output_tokens, _CLIPPED_TOKENS)

    def _blocks_wanted(self, call: Call, hit: int, tokens: int, unlocked: int) -> int:
        if self._full:
            return _UNBOUNDED
        ledger, size = self.ledger, self.limits.block_tokens
        if self.running:  # alone it fits, whatever is reckoned with
            room = (ledger.free + ledger.evictable - unlocked) * size
            asked = call.known - hit + min(call.output_tokens, _CLIPPED_TOKENS)
            if (asked + self._promised - room) * _ONE + self._expected() >= 0:
                self._full = True
                return _UNBOUNDED
        self._promise(call, hit + tokens)
        return -(-(hit + tokens) // size) - hit // size

    def _expected(self) -> int:
        """Billionths of tokens that the decodes are thought to make yet."""
        if self._estimate is None:
            left = 0
            for call in self.running.values():
                if call.state == DECODING:
                    left += min(call.output_tokens - self.made(call), _CLIPPED_TOKENS)
            self._estimate = left * self._ratio
        return self._estimate

    # Retraction.

    def _fit(self, blocks: int, partial: Call | None = None) -> bool:
        """Retract decodes until the rest have room for steps to come, if not for this one."""
        ledger, decodes, size = self.ledger, self._decodes, self.limits.block_tokens
        if decodes.blocks_now() + blocks <= ledger.free + ledger.evictable:
            return False
        while True:
            self._preempt()
            spare = ledger.free + ledger.evictable - blocks
            if decodes.blocks_now() <= spare and (
                decodes.count <= 1 or spare * size >= _RETRACT_STEPS * decodes.count
            ):
                break
        made = most = 0
        for call in self.running.values():
            if call.state == DECODING:
                made += self.made(call)
                most += call.output_tokens
        made += _RETRACT_STEPS * decodes.count
        self._ratio = min(_ONE, made * _ONE // most) if most else _ONE
        self._retracted = True
        return True

    def _victim(self) -> Call:
        """Choose the decode with the least output; of those, with the longest prompt."""
        decoding = (call for call in self.running.values() if call.state == DECODING)
        return min(decoding, key=lambda c: (self.made(c), -c.prompt_tokens, -c.number))

    def _queue_again(self, call: Call) -> None:
        """Send a retracted call to the end of the queue as it is now."""
        self._retractions += 1
        # A fraction behind the latest, ahead of the next: exact in floating point.
        place = self._highest + (self._retractions % 2**20 + 1) / 2**21
        heappush(self._queue, (call.priority if self._by_priority else 0, place, call))
        self.waiting += 1

    # Ends.

    def _complete(self) -> None:
        run = self.run
        if not run.chunks and not self._retracted:
            self._ratio = max(self._ratio - run.steps * self._decay, self._least)
        super()._complete()

    def _finish(self, call: Call) -> None:
        super()._finish(call)
        self._full = False

    def _release(self, call: Call) -> None:
        super()._release(call)
        self._full = False

    def _forget(self) -> None:
        super()._forget()
        self._full = False
        self._ratio = self._initial
