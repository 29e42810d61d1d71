"""What a replica does, in the most obvious way: the reference that the clock is held to.

One object a sequence, one list entry a block, one turn of a loop a step; every
sequence of a step is touched in every step and every block has a named owner.
Nothing of `factorysim.sim` is used, so that a shared mistake cannot hide. It is
slow on purpose: where it and the simulator disagree, this one is easier to read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.physics.step import StepLaw

Owner = tuple[Literal["call", "kept"], int]
"""Who holds a block: a running call by number, or the kept cache of a session."""


class NaiveLimits(NamedTuple):
    """What bounds a replica."""

    block_tokens: int
    blocks: int
    token_budget: int
    max_sequences: int
    scheduler: Literal["vllm", "prefill_first"] = "vllm"
    order: Literal["fcfs", "priority"] = "fcfs"
    retain: Literal["session", "none"] = "session"


class Submission(NamedTuple):
    """A call that reaches the replica."""

    at_fs: int
    number: int
    """Unique, ascending by submission."""
    session: int
    prompt: int
    prefix: int
    output: int
    priority: int = 0
    last: bool = False
    """Its session ends with it: nothing to keep."""
    u: float = 0.5


class Interrupt(NamedTuple):
    """Something that befalls the replica."""

    at_fs: int
    kind: Literal["cancel", "change_law", "fail", "repair"]
    argument: int = 0
    """Number of the call, or index of the law."""


Event = Submission | Interrupt


@dataclass(slots=True, eq=False)
class NaiveCall:
    """A call with all that became of it."""

    sub: Submission
    made: int = 0
    """Output tokens emitted."""
    cached: int = 0
    """Tokens whose keys and values are in its blocks."""
    furthest: int = 0
    """Prompt tokens that were cached at any time, found or computed."""
    blocks: list[int] = field(default_factory=list)
    decoding: bool = False
    """It has emitted since it was last admitted."""
    asked_to_leave: bool = False

    outcome: str = ""
    left_fs: int | None = None
    scheduled_fs: int | None = None
    emitted_fs: list[int] = field(default_factory=list)
    """Instant of each output token."""
    hit: int = 0
    computed: int = 0
    recomputed: int = 0
    preemptions: int = 0

    @property
    def known(self) -> int:
        return self.sub.prompt + self.made


@dataclass(slots=True, eq=False)
class Kept:
    """The cache that a session left behind."""

    session: int
    tokens: int
    blocks: list[int]


@dataclass(slots=True, eq=False)
class NaiveStep:
    """One step as it was scheduled."""

    started_fs: int
    duration_fs: int
    decodes: list[NaiveCall]
    chunks: list[tuple[NaiveCall, int]]
    prompt_tokens: int
    emitting: int
    context_tokens: int
    window_tokens: int
    pair_tokens: int
    prior_tokens: int
    held_blocks: int
    waiting: int
    cut_fs: int | None = None
    """When a failure cut it; its tokens are lost."""


class NaiveResult(NamedTuple):
    """What happened in the end."""

    calls: dict[int, NaiveCall]
    departures: list[tuple[int, int]]
    """(instant, number), in order."""
    steps: list[NaiveStep]
    kept_blocks: int
    free_blocks: int


def serve(limits: NaiveLimits, laws: Sequence[StepLaw], events: Iterable[Event]) -> NaiveResult:
    """Serve calls until all have left; `laws[0]` holds at first.

    Events of one instant happen in the order given, after the end of a step and
    before the next is scheduled.
    """
    replica = NaiveReplica(limits, laws)
    pending = sorted(events, key=lambda event: event.at_fs)
    while pending or replica.step is not None:
        instants = [event.at_fs for event in pending]
        if replica.step is not None:
            instants.append(replica.step.started_fs + replica.step.duration_fs)
        now = min(instants)
        replica.end_step(now)
        while pending and pending[0].at_fs == now:
            replica.happen(now, pending.pop(0))
        replica.decide(now)
        replica.check()
    assert not replica.running
    assert not replica.waiting
    return NaiveResult(
        calls=replica.calls,
        departures=replica.departures,
        steps=replica.steps,
        kept_blocks=sum(len(kept.blocks) for kept in replica.kept),
        free_blocks=replica.owners.count(None),
    )


class NaiveReplica:
    """A replica between two instants."""

    def __init__(self, limits: NaiveLimits, laws: Sequence[StepLaw]) -> None:
        assert limits.token_budget >= limits.max_sequences
        self.limits = limits
        self.laws = laws
        self.law = laws[0]
        self.down = False
        self.owners: list[Owner | None] = [None] * limits.blocks
        self.kept: list[Kept] = []
        """Least recently kept first."""
        self.waiting: list[NaiveCall] = []
        self.running: list[NaiveCall] = []
        self.step: NaiveStep | None = None
        self.calls: dict[int, NaiveCall] = {}
        self.departures: list[tuple[int, int]] = []
        self.steps: list[NaiveStep] = []

    # What happens to it

    def happen(self, now: int, event: Event) -> None:
        if isinstance(event, Submission):
            self.submit(now, event)
        elif event.kind == "cancel":
            self.cancel(now, event.argument)
        elif event.kind == "change_law":
            self.law = self.laws[event.argument]
        elif event.kind == "fail":
            self.fail(now)
        else:
            self.down = False

    def submit(self, now: int, sub: Submission) -> None:
        call = NaiveCall(sub)
        self.calls[sub.number] = call
        if self.down:
            self.leave(now, call, "failed")
        elif self.blocks_for(sub.prompt + sub.output - 1) > self.limits.blocks:
            self.leave(now, call, "rejected")
        else:
            self.waiting.append(call)

    def cancel(self, now: int, number: int) -> None:
        call = self.calls.get(number)
        if call is None or call.outcome:
            return
        if call in self.waiting:
            self.waiting.remove(call)
            self.leave(now, call, "cancelled")
        elif self.step is not None:
            call.asked_to_leave = True
        else:  # between two steps: one ended at this very instant
            self.running.remove(call)
            self.release(call)
            self.leave(now, call, "cancelled")

    def fail(self, now: int) -> None:
        if self.step is not None:
            self.step.cut_fs = now
            self.step = None
        victims = sorted(self.running + self.waiting, key=number_of)
        self.running, self.waiting, self.kept = [], [], []
        self.owners = [None] * self.limits.blocks
        for call in victims:
            call.blocks = []
            self.leave(now, call, "failed")
        self.down = True

    # The end of a step

    def end_step(self, now: int) -> None:
        step = self.step
        if step is None or step.started_fs + step.duration_fs != now:
            return
        self.step = None
        for call in step.decodes:
            call.cached += 1
            emit(call, now)
        for call, tokens in step.chunks:
            credit(call, tokens)
            if call.cached == call.known:
                call.decoding = True
                emit(call, now)
        done = [call for call in self.running if call.made == call.sub.output]
        for call in sorted(done, key=number_of):
            self.running.remove(call)
            self.keep_or_release(call)
            self.leave(now, call, "completed")
        gone = [call for call in self.running if call.asked_to_leave]
        for call in sorted(gone, key=number_of):
            self.running.remove(call)
            self.release(call)
            self.leave(now, call, "cancelled")

    def keep_or_release(self, call: NaiveCall) -> None:
        sub = call.sub
        if self.limits.retain == "none" or sub.last:
            self.release(call)
            return
        older = self.kept_of(sub.session)
        if older is not None:
            self.drop(older)
        assert call.cached == sub.prompt + sub.output - 1
        self.give(call.blocks, ("kept", sub.session))
        self.kept.append(Kept(sub.session, call.cached, call.blocks))
        call.blocks = []

    def leave(self, now: int, call: NaiveCall, outcome: str) -> None:
        call.outcome = outcome
        call.left_fs = now
        self.departures.append((now, call.sub.number))

    # The decision on the next step

    def decide(self, now: int) -> None:
        if self.down or self.step is not None:
            return
        if self.limits.scheduler == "vllm":
            decodes, chunks = self.schedule_vllm(now)
        else:
            decodes, chunks = self.schedule_prefill_first(now)
        if not decodes and not chunks:
            assert not self.running, "a replica that holds sequences never idles"
            assert not self.waiting, "nor one that holds none while calls wait"
            return
        self.step = self.price(now, decodes, chunks)
        self.steps.append(self.step)

    def schedule_vllm(self, now: int) -> tuple[list[NaiveCall], list[tuple[NaiveCall, int]]]:
        """Decodes, then what was begun, then what waits, inside one budget.

        Each takes its blocks in this order, so what waits finds caches as the
        evictions for those before it have left them.
        """
        preempted = self.make_room_for_decodes()
        budget = self.limits.token_budget - len(self.decodes())
        chunks: list[tuple[NaiveCall, int]] = []

        begun = [call for call in self.running if not call.decoding]
        assert len(begun) <= 1
        for call in begun:
            tokens = min(call.known - call.cached, budget)
            assert tokens >= 1
            need = self.growth(call.cached, tokens)
            while call in self.running and need > self.available() - self.decode_need():
                self.preempt_last()
                preempted = True
            if call in self.running:
                chunks.append((call, tokens))
                budget -= tokens
        for call in self.decodes():
            self.grow(call, 1)
        for call, tokens in chunks:
            self.grow(call, tokens)

        while not preempted and self.waiting and budget > 0:
            if len(self.running) == self.limits.max_sequences:
                break
            head = min(self.waiting, key=self.key)
            hit = self.hit_of(head)
            tokens = min(head.known - hit, budget)
            if self.growth(hit, tokens) > self.available_beside(hit):
                break
            self.admit(now, head, hit)
            self.grow(head, tokens)
            chunks.append((head, tokens))
            budget -= tokens
        return self.decodes(), chunks

    def schedule_prefill_first(
        self, now: int
    ) -> tuple[list[NaiveCall], list[tuple[NaiveCall, int]]]:
        """Whole prompts while any can be admitted; else the decodes."""
        chunks: list[tuple[NaiveCall, int]] = []
        total = 0
        while self.waiting and len(self.running) < self.limits.max_sequences:
            head = min(self.waiting, key=self.key)
            hit = self.hit_of(head)
            tokens = head.known - hit
            if chunks and total + tokens > self.limits.token_budget:
                break
            if self.growth(hit, tokens) > self.available_beside(hit):
                break
            self.admit(now, head, hit)
            self.grow(head, tokens)
            chunks.append((head, tokens))
            total += tokens
        if chunks:
            return [], chunks
        self.make_room_for_decodes()
        for call in self.decodes():
            self.grow(call, 1)
        return self.decodes(), []

    def make_room_for_decodes(self) -> bool:
        preempted = False
        while self.decode_need() > self.available():
            self.preempt_last()
            preempted = True
        return preempted

    def preempt_last(self) -> None:
        call = max(self.running, key=self.key)
        self.running.remove(call)
        self.release(call)
        call.cached = 0
        call.decoding = False
        call.preemptions += 1
        self.waiting.append(call)

    def admit(self, now: int, call: NaiveCall, hit: int) -> None:
        """Take over the first `hit` tokens of the session's kept cache, drop the rest.

        A call that comes back from a preemption leaves that cache alone.
        """
        kept = self.kept_of(call.sub.session)
        if kept is not None and call.preemptions == 0:
            call.blocks = kept.blocks[: hit // self.limits.block_tokens]
            kept.blocks = kept.blocks[len(call.blocks) :]
            self.give(call.blocks, ("call", call.sub.number))
            self.drop(kept)
        if call.scheduled_fs is None:
            call.scheduled_fs = now
            call.hit = hit
        call.cached = hit
        call.furthest = max(call.furthest, hit)
        self.waiting.remove(call)
        self.running.append(call)

    def hit_of(self, call: NaiveCall) -> int:
        kept = self.kept_of(call.sub.session)
        if kept is None or call.preemptions > 0:
            return 0
        there = min(kept.tokens, len(kept.blocks) * self.limits.block_tokens)
        found = min(call.sub.prefix, there, call.sub.prompt - 1)
        return found // self.limits.block_tokens * self.limits.block_tokens

    def price(
        self, now: int, decodes: list[NaiveCall], chunks: list[tuple[NaiveCall, int]]
    ) -> NaiveStep:
        """Ask the law how long this step takes."""
        law = self.law
        prompt_tokens = sum(tokens for _, tokens in chunks)
        ending = [call for call, tokens in chunks if call.cached + tokens == call.known]
        emitting = len(decodes) + len(ending)
        context = sum(call.cached + 1 for call in decodes)
        window = 0
        duration = law.base(len(decodes), prompt_tokens, len(chunks), emitting)
        if decodes:
            piece = law.piece(len(decodes), context)
            duration += piece.fixed_fs + piece.slope_fs * context
            if law.window is not None:
                window = sum(min(call.cached + 1, law.window) for call in decodes)
                duration += law.window_fs * window
        duration += sum(law.chunk(tokens, call.cached) for call, tokens in chunks)
        duration += sum(law.prompt(call.sub.u) for call in ending)
        assert duration >= 1
        return NaiveStep(
            started_fs=now,
            duration_fs=duration,
            decodes=decodes,
            chunks=chunks,
            prompt_tokens=prompt_tokens,
            emitting=emitting,
            context_tokens=context,
            window_tokens=window,
            pair_tokens=sum(
                call.cached + query for call, tokens in chunks for query in range(1, tokens + 1)
            ),
            prior_tokens=sum(call.cached for call, _ in chunks),
            held_blocks=sum(len(call.blocks) for call in self.running),
            waiting=len(self.waiting),
        )

    # Blocks

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.limits.block_tokens)

    def growth(self, cached: int, tokens: int) -> int:
        return self.blocks_for(cached + tokens) - self.blocks_for(cached)

    def decodes(self) -> list[NaiveCall]:
        return [call for call in self.running if call.decoding]

    def decode_need(self) -> int:
        return sum(call.cached % self.limits.block_tokens == 0 for call in self.decodes())

    def available(self) -> int:
        return sum(owner is None or owner[0] == "kept" for owner in self.owners)

    def available_beside(self, hit: int) -> int:
        """Were the `hit` tokens of a kept cache taken over by a call."""
        return self.available() - hit // self.limits.block_tokens

    def kept_of(self, session: int) -> Kept | None:
        for kept in self.kept:
            if kept.session == session:
                return kept
        return None

    def key(self, call: NaiveCall) -> tuple[int, int]:
        priority = call.sub.priority if self.limits.order == "priority" else 0
        return priority, call.sub.number

    def give(self, blocks: list[int], owner: Owner | None) -> None:
        for block in blocks:
            self.owners[block] = owner

    def release(self, call: NaiveCall) -> None:
        self.give(call.blocks, None)
        call.blocks = []

    def drop(self, kept: Kept) -> None:
        self.give(kept.blocks, None)
        self.kept.remove(kept)

    def grow(self, call: NaiveCall, tokens: int) -> None:
        """Free blocks first; then the tail of the cache that was kept longest ago."""
        while len(call.blocks) < self.blocks_for(call.cached + tokens):
            if None in self.owners:
                block = self.owners.index(None)
            else:
                oldest = self.kept[0]
                block = oldest.blocks.pop()
                if not oldest.blocks:
                    self.kept.remove(oldest)
            self.owners[block] = ("call", call.sub.number)
            call.blocks.append(block)

    def check(self) -> None:
        """Every block has the owner that lists it; each sequence holds what it fills."""
        owners: list[Owner | None] = [None] * self.limits.blocks
        for call in self.running:
            for block in call.blocks:
                assert owners[block] is None
                owners[block] = ("call", call.sub.number)
        for kept in self.kept:
            assert kept.blocks
            for block in kept.blocks:
                assert owners[block] is None
                owners[block] = ("kept", kept.session)
        assert owners == self.owners
        in_step: dict[int, int] = {}
        if self.step is not None:
            in_step = {call.sub.number: 1 for call in self.step.decodes}
            in_step |= {call.sub.number: tokens for call, tokens in self.step.chunks}
        for call in self.running:
            tokens = call.cached + in_step.get(call.sub.number, 0)
            assert len(call.blocks) == self.blocks_for(tokens)
        assert all(not call.blocks for call in self.waiting)
        assert len(self.running) <= self.limits.max_sequences


def number_of(call: NaiveCall) -> int:
    return call.sub.number


def emit(call: NaiveCall, now: int) -> None:
    call.made += 1
    call.emitted_fs.append(now)


def credit(call: NaiveCall, tokens: int) -> None:
    """Count each computed token as new to the prompt, or as computed again."""
    for _ in range(tokens):
        call.cached += 1
        if call.furthest < call.cached <= call.sub.prompt:
            call.computed += 1
            call.furthest = call.cached
        else:
            call.recomputed += 1
