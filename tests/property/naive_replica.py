"""What a replica does, in the most obvious way: the reference that the clock is held to.

One object a sequence, one list entry a block, one turn of a loop a step; every
sequence of a step is touched in every step and every block has a named owner.
Nothing of `factorysim.sim` is used, so that a shared mistake cannot hide. It is
slow on purpose: where it and the simulator disagree, this one is easier to read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.physics.step import StepLaw
    from factorysim.physics.vision import Encoder
    from factorysim.sim.call import Scheduler

Path = tuple[int, ...]
"""What a full block holds: the ids of all blocks from the start of the context to it."""

Owner = tuple[Literal["call"], int] | tuple[Literal["cache"], Path]
"""Who holds a block: a running call by number, for itself, or the cache."""


class NaiveTuning(NamedTuple):
    """Rules that one scheduler reads."""

    prefill_every: int = 1
    mixed_chunk: bool = False
    conservativeness: float = 1.0
    decay_steps: int = 600
    reserve: Literal["oracle", "pow2"] | int = "oracle"
    max_queue_delay_fs: int = 0


class Drafting(NamedTuple):
    """How decodes speculate."""

    mean: Fraction
    """Tokens that a verify makes for a sequence."""
    draft_tokens: int
    """Proposed for each sequence before a verify."""


class NaiveLimits(NamedTuple):
    """What bounds a replica."""

    block_tokens: int
    blocks: int
    token_budget: int
    max_sequences: int
    scheduler: Scheduler = "vllm"
    order: Literal["fcfs", "priority"] = "fcfs"
    retain: Literal["session", "none"] = "session"
    tuning: NaiveTuning = NaiveTuning()
    context_tokens: int | None = None
    """Of the LLM: prompt and output together, at most."""
    encoder: Encoder | None = None
    """Of images."""
    drafting: Drafting | None = None


class Submission(NamedTuple):
    """A call that reaches the replica."""

    at_fs: int
    number: int
    """Unique, ascending by submission."""
    session: int
    """For the simulator's call: nothing here depends on it."""
    prompt: int
    output: int
    content: tuple[tuple[int, int], ...] = ()
    """Ids of its full blocks from its first token on, in runs (first id, how many)."""
    priority: int = 0
    u: float = 0.5
    images: int = 0
    """Tokens of the prompt that are images'."""


class Interrupt(NamedTuple):
    """Something that befalls the replica."""

    at_fs: int
    kind: Literal["cancel", "change_law", "fail", "repair"]
    argument: int = 0
    """Number of the call, or index of the law."""


Event = Submission | Interrupt


@dataclass(slots=True, eq=False)
class CachedBlock:
    """A full block that whoever has the same path can use."""

    path: Path
    block: int
    lockers: set[int] = field(default_factory=set)
    """Numbers of the running calls whose path goes through it."""
    unlocked: int = 0
    """Which unlocking its last was, counted by events; means nothing while it is locked."""


@dataclass(slots=True, eq=False)
class NaiveCall:
    """A call with all that became of it."""

    sub: Submission
    ids: Path
    """What its content names, one id a block."""
    made: int = 0
    """Output tokens emitted."""
    cached: int = 0
    """Tokens whose keys and values are in its blocks."""
    furthest: int = 0
    """Prompt tokens that were cached at any time, found or computed."""
    path: list[CachedBlock] = field(default_factory=list)
    """Its leading blocks, which are the cache's and locked by it."""
    private: list[int] = field(default_factory=list)
    """The blocks after them, its own."""
    taken: int = 0
    """Tokens that it has had blocks for since it was last admitted."""
    decoding: bool = False
    """It has emitted since it was last admitted."""
    began_at: int = 0
    """The replica's count of verifies when it began to decode."""
    began_with: int = 0
    """Tokens that were cached then."""
    asked_to_leave: bool = False
    reserved: int = 0
    """Tokens that it has blocks for, at least, from its admission on."""
    stalled_since_fs: int | None = None
    """While it has been preempted since its last token: when that came, or else when it was."""
    stall_fs: int = 0
    first_stall_fs: int = 0
    """The part of it before the first token."""
    answered: bool = False
    """Of a static batch: it has all its tokens, or was cancelled, and keeps its place."""

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
class NaiveStep:
    """One step as it was scheduled."""

    started_fs: int
    duration_fs: int
    decodes: list[NaiveCall]
    chunks: list[tuple[NaiveCall, int]]
    prompt_tokens: int
    emitting: int
    context_tokens: Fraction
    window_tokens: Fraction
    pair_tokens: int
    prior_tokens: int
    held_blocks: int
    waiting: int
    idle: int = 0
    """Places of a static batch that compute for nobody, or a prompt."""
    emitted: int = 0
    """Tokens that it has made."""
    accepted: int = 0
    """Those of them that came with another of their call."""
    cut_fs: int | None = None
    """When a failure cut it; its tokens are lost."""


class NaiveResult(NamedTuple):
    """What happened in the end."""

    calls: dict[int, NaiveCall]
    departures: list[tuple[int, int]]
    """(instant, number), in order."""
    steps: list[NaiveStep]
    cached_blocks: int
    """All of them locked by nobody."""
    free_blocks: int
    paths: list[Path]
    """What is cached, sorted."""


def serve(
    limits: NaiveLimits,
    laws: Sequence[StepLaw],
    events: Iterable[Event],
    *,
    checked: bool = True,
    replica: NaiveReplica | None = None,
) -> NaiveResult:
    """Serve calls until all have left; `laws[0]` holds at first.

    Events of one instant happen in the order given, after the end of a step and
    before the next is scheduled. What must hold at any time is checked unless told
    otherwise: that takes as long as all the rest.
    """
    replica = NaiveReplica(limits, laws) if replica is None else replica
    pending = sorted(events, key=lambda event: event.at_fs)
    while pending or replica.step is not None or replica.due_fs is not None or replica.coming():
        instants = [event.at_fs for event in pending] + replica.coming()
        if replica.step is not None:
            instants.append(replica.step.started_fs + replica.step.duration_fs)
        elif replica.due_fs is not None:
            instants.append(replica.due_fs)
        now = min(instants)
        replica.end_step(now)
        replica.land(now)
        while pending and pending[0].at_fs == now:
            replica.happen(now, pending.pop(0))
        replica.decide(now)
        if checked:
            replica.check()
    assert not replica.running
    assert not replica.waiting
    return NaiveResult(
        calls=replica.calls,
        departures=replica.departures,
        steps=replica.steps,
        cached_blocks=replica.evictable(),
        free_blocks=replica.owners.count(None),
        paths=sorted(replica.cache),
    )


class NaiveReplica:
    """A replica between two instants."""

    def __init__(self, limits: NaiveLimits, laws: Sequence[StepLaw]) -> None:
        self.mean, self.drafts = limits.drafting or Drafting(Fraction(1), 0)
        self.width = self.drafts + 1
        """Tokens that a step computes for a decode."""
        self.verifies = 0
        """Steps with decodes that have ended."""
        assert limits.token_budget >= limits.max_sequences * self.width
        if limits.scheduler in ("orca", "static"):
            limits = limits._replace(retain="none")
        self.limits = limits
        self.quiet = limits.tuning.prefill_every
        """Steps since the last with prompts (`prefill_every`)."""
        self.full = False
        """SGLang's `batch_is_full`."""
        self.ratio = first_ratio(limits.tuning)
        """SGLang's `new_token_ratio`, in whole billionths."""
        self.now = 0
        """Instant of the decision in hand."""
        self.batch: list[NaiveCall] = []
        """Places of the static batch that runs."""
        self.due_fs: int | None = None
        """When a static batch that fills will start at the latest."""
        self.laws = laws
        self.law = laws[0]
        self.down = False
        self.owners: list[Owner | None] = [None] * limits.blocks
        self.cache: dict[Path, CachedBlock] = {}
        self.unlockings = 0
        self.waiting: list[NaiveCall] = []
        self.running: list[NaiveCall] = []
        self.step: NaiveStep | None = None
        self.calls: dict[int, NaiveCall] = {}
        self.departures: list[tuple[int, int]] = []
        self.steps: list[NaiveStep] = []

    # Of replicas with tiers below HBM, see `naive_tiers`

    def coming(self) -> list[int]:
        """Instants at which something lands, or leaves its tier."""
        return []

    def land(self, now: int) -> None:
        """Let it."""

    def consider(
        self, now: int, head: NaiveCall, hit: int
    ) -> Literal["admit", "blocked", "fetches"]:
        """What becomes of the head of the queue before it may be admitted."""
        return "admit"

    def taken(self) -> None:
        """Blocks were taken, for one purpose: whatever that evicted goes as one."""

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
        call = NaiveCall(sub, () if self.limits.retain == "none" else ids_of(sub.content))
        self.calls[sub.number] = call
        if self.down:
            self.leave(now, call, "failed")
        elif self.too_long(sub) or (self.limits.scheduler == "orca" and not self.fits_orca(call)):
            self.leave(now, call, "rejected")
        else:
            self.waiting.append(call)

    def too_long(self, sub: Submission) -> bool:
        """For the cache if it had it to itself, or for the LLM's context."""
        longest = self.limits.context_tokens
        return self.blocks_for(sub.prompt + sub.output - 1 + self.drafts) > self.limits.blocks or (
            longest is not None and sub.prompt + sub.output > longest
        )

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
            self.full = False
            self.running.remove(call)
            self.release(call)
            self.leave(now, call, "cancelled")
            self.end_batch(now)

    def fail(self, now: int) -> None:
        if self.step is not None:
            self.step.cut_fs = now
            self.step = None
        victims = sorted(self.running + self.waiting, key=number_of)
        self.running, self.waiting, self.cache = [], [], {}
        self.owners = [None] * self.limits.blocks
        self.batch, self.due_fs = [], None
        self.full, self.ratio = False, first_ratio(self.limits.tuning)
        for call in victims:
            call.path, call.private = [], []
            call.reserved = call.taken = 0
            self.leave(now, call, "failed")
        self.down = True

    # The end of a step

    def end_step(self, now: int) -> None:
        step = self.step
        if step is None or step.started_fs + step.duration_fs != now:
            return
        self.step = None
        self.quiet = 0 if step.chunks else self.quiet + 1
        made = 1
        if step.decodes:
            self.verifies += 1
            made = floor(self.mean * self.verifies) - floor(self.mean * (self.verifies - 1))
        for call in step.decodes:
            for _ in range(min(made, call.sub.output - call.made)):
                call.cached += 1
                emit(call, now)
                step.emitted += 1
                step.accepted += 1
            step.accepted -= 1
        for call, tokens in step.chunks:
            credit(call, tokens)
            self.register(call)
            if call.cached == call.known:
                call.decoding = True
                call.began_at, call.began_with = self.verifies, call.cached
                emit(call, now)
                step.emitted += 1
        done = [call for call in self.running if call.made == call.sub.output]
        if self.limits.scheduler == "static":
            for call in done:
                call.decoding = False
            done = []  # they are answered with their batch
        for call in sorted(done, key=number_of):
            self.full = False
            self.running.remove(call)
            assert call.cached == call.sub.prompt + call.sub.output - 1
            self.register(call)
            self.release(call)
            self.leave(now, call, "completed")
        gone = [call for call in self.running if call.asked_to_leave]
        for call in sorted(gone, key=number_of):
            self.full = False
            self.running.remove(call)
            self.release(call)
            self.leave(now, call, "cancelled")
        self.end_batch(now)

    def end_batch(self, now: int) -> None:
        """Answer a static batch in which nobody makes tokens any more."""
        if not self.batch or self.decodes():
            return
        self.batch = []
        for call in sorted(self.running, key=number_of):
            self.running.remove(call)
            self.release(call)
            call.answered = True
            self.leave(now, call, "completed")

    def leave(self, now: int, call: NaiveCall, outcome: str) -> None:
        call.outcome = outcome
        call.left_fs = now
        self.departures.append((now, call.sub.number))

    # The decision on the next step

    def decide(self, now: int) -> None:
        if self.down or self.step is not None:
            return
        self.due_fs = None
        self.now = now
        if self.limits.scheduler == "vllm":
            decodes, chunks = self.schedule_vllm(now)
        elif self.limits.scheduler == "prefill_first":
            decodes, chunks = self.schedule_prefill_first(now)
        elif self.limits.scheduler == "sarathi":
            decodes, chunks = self.schedule_sarathi(now)
        elif self.limits.scheduler == "trtllm":
            decodes, chunks = self.schedule_trtllm(now)
        elif self.limits.scheduler == "sglang":
            decodes, chunks = self.schedule_sglang(now)
        elif self.limits.scheduler == "orca":
            decodes, chunks = self.schedule_orca(now)
        else:
            decodes, chunks = self.schedule_static(now)
        if not decodes and not chunks:
            assert not self.running, "a replica that holds sequences never idles"
            assert not self.waiting or self.due_fs is not None or self.coming(), (
                "nor one that holds none while calls wait"
            )
            self.full, self.ratio = False, first_ratio(self.limits.tuning)
            return
        self.step = self.price(now, decodes, chunks)
        self.steps.append(self.step)

    def schedule_vllm(self, now: int) -> tuple[list[NaiveCall], list[tuple[NaiveCall, int]]]:
        """Decodes, then what was begun, then what waits, inside one budget.

        Each takes its blocks in this order, so what waits finds caches as the
        evictions for those before it have left them.
        """
        preempted = False
        if self.decodes() and self.quiet < self.limits.tuning.prefill_every - 1:
            if not self.make_room_for_decodes() or self.decodes():
                for call in self.decodes():
                    self.grow(call, 1)
                return self.decodes(), []
        else:
            preempted = self.make_room_for_decodes()
        budget = self.limits.token_budget - len(self.decodes()) * self.width
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
            self.grow(call, self.width)
        for call, tokens in chunks:
            self.grow(call, tokens)
        self.taken()

        admits = not preempted or not (chunks or self.decodes())
        while admits and self.waiting and budget > 0:
            if len(self.running) == self.limits.max_sequences:
                break
            head = min(self.waiting, key=self.key)
            hit = self.hit_of(head)
            if (fate := self.consider(now, head, hit)) == "blocked":
                break
            if fate == "fetches":
                continue
            tokens = min(head.known - hit, budget)
            if self.growth(hit, tokens) > self.available_beside(head, hit):
                break
            self.admit(now, head, hit)
            self.grow(head, tokens)
            self.taken()
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
            if (fate := self.consider(now, head, hit)) == "blocked":
                break
            if fate == "fetches":
                continue
            tokens = head.known - hit
            if chunks and total + tokens > self.limits.token_budget:
                break
            if self.growth(hit, tokens) > self.available_beside(head, hit):
                break
            self.admit(now, head, hit)
            self.grow(head, tokens)
            self.taken()
            chunks.append((head, tokens))
            total += tokens
        if chunks:
            return [], chunks
        if self.make_room_for_decodes() and not self.decodes():
            return self.schedule_prefill_first(now)  # what fetches left no room for any
        for call in self.decodes():
            self.grow(call, self.width)
        self.taken()
        return self.decodes(), []

    def schedule_sarathi(self, now: int) -> tuple[list[NaiveCall], list[tuple[NaiveCall, int]]]:
        """Decodes, what was begun, what waits, inside one budget; a prompt's KV is taken whole."""
        preempted = self.make_room_for_decodes()
        for call in self.decodes():
            self.grow(call, 1)
        budget = self.limits.token_budget - len(self.decodes())
        chunks: list[tuple[NaiveCall, int]] = []
        for call in self.running:
            if not call.decoding:
                chunks.append((call, min(call.known - call.cached, budget)))
                budget -= chunks[-1][1]
        while not preempted and self.waiting and budget > 0:
            if len(self.running) == self.limits.max_sequences:
                break
            head = min(self.waiting, key=self.key)
            hit = self.hit_of(head)
            if self.growth(hit, head.known - hit) > self.available_beside(head, hit):
                break
            self.admit(now, head, hit)
            head.reserved = head.known
            self.grow(head, head.known - hit)
            chunks.append((head, min(head.known - hit, budget)))
            budget -= chunks[-1][1]
        return self.decodes(), chunks

    def schedule_trtllm(self, now: int) -> tuple[list[NaiveCall], list[tuple[NaiveCall, int]]]:
        """Decodes, what was begun, what waits and has KV for all that it will make."""
        budget = self.limits.token_budget - len(self.decodes())
        chunks: list[tuple[NaiveCall, int]] = []
        for call in self.running:
            if not call.decoding:
                chunks.append((call, min(call.known - call.cached, budget)))
                budget -= chunks[-1][1]
        while self.waiting and budget > 0 and len(self.running) < self.limits.max_sequences:
            head = min(self.waiting, key=self.key)
            hit = self.hit_of(head)
            whole = head.sub.prompt + head.sub.output - 1
            if self.growth(hit, whole - hit) > self.available_beside(head, hit):
                break
            self.admit(now, head, hit)
            head.reserved = whole
            self.grow(head, whole - hit)
            chunks.append((head, min(head.known - hit, budget)))
            budget -= chunks[-1][1]
        return self.decodes(), chunks

    def schedule_orca(self, now: int) -> tuple[list[NaiveCall], list[tuple[NaiveCall, int]]]:
        """Decodes beside whole prompts; blocks are taken for all that a call may make."""
        decodes = self.decodes()
        chunks = []
        while self.waiting and len(self.running) < self.limits.max_sequences:
            head = min(self.waiting, key=self.key)
            if self.blocks_for(self.orca_tokens(head)) > self.owners.count(None):
                break
            self.admit(now, head, 0)
            head.reserved = self.orca_tokens(head)
            self.grow(head, head.reserved)
            chunks.append((head, head.sub.prompt))
        return decodes, chunks

    def orca_tokens(self, call: NaiveCall) -> int:
        reserve, output = self.limits.tuning.reserve, call.sub.output
        if reserve == "pow2":
            power = 1
            while power < output:
                power *= 2
            return call.sub.prompt + power - 1
        return call.sub.prompt + output - 1 if reserve == "oracle" else reserve

    def fits_orca(self, call: NaiveCall) -> bool:
        tokens = self.orca_tokens(call)
        needed = call.sub.prompt + call.sub.output - 1
        return needed <= tokens and self.blocks_for(tokens) <= self.limits.blocks

    def schedule_static(self, now: int) -> tuple[list[NaiveCall], list[tuple[NaiveCall, int]]]:
        """The batch that runs; or, when there is none, the next: as many as fit, all at once."""
        if self.batch:
            return self.decodes(), []
        batch: list[NaiveCall] = []
        blocks = longest = 0
        full = False
        for call in sorted(self.waiting, key=self.key):
            subs = [other.sub for other in (*batch, call)]
            place = max(sub.prompt for sub in subs) + max(sub.output for sub in subs) - 1
            if len(subs) * self.blocks_for(place) > self.limits.blocks:
                full = True
                break
            batch.append(call)
            longest = place
            if len(batch) == self.limits.max_sequences:
                full = True
                break
        if batch and not full:
            oldest = min(call.sub.at_fs for call in batch)
            due = oldest + self.limits.tuning.max_queue_delay_fs
            if now < due:
                self.due_fs = due
                return [], []
        blocks = self.blocks_for(longest)
        for call in batch:
            self.admit(now, call, 0)
            call.reserved = longest
            self.grow(call, longest)
            assert len(call.private) == blocks
        self.batch = batch
        return [], [(call, call.sub.prompt) for call in batch]

    def schedule_sglang(self, now: int) -> tuple[list[NaiveCall], list[tuple[NaiveCall, int]]]:
        """Chunks before decodes, or beside them; admission by the tokens that may come."""
        mixed = self.limits.tuning.mixed_chunk
        begun = [call for call in self.running if not call.decoding]
        looking = bool(begun) or not self.full
        if looking:
            self.full = False
        retracted = mixed and self.retract_for(0)
        chunks: list[tuple[NaiveCall, int]] = []
        budget = self.limits.token_budget - (len(self.decodes()) if mixed else 0)
        for call in begun:
            tokens = min(call.known - call.cached, budget)
            if mixed:
                retracted = self.retract_for(self.growth(call.cached, tokens)) or retracted
            chunks.append((call, tokens))
            budget -= tokens
        if mixed:
            for call in self.decodes():
                self.grow(call, 1)
        for call, tokens in chunks:
            self.grow(call, tokens)
        promised = sum(
            min(call.sub.output, 4096) for call, n in chunks if call.cached + n == call.known
        )
        while looking and not retracted and self.waiting and budget > 0:
            if len(self.running) == self.limits.max_sequences:
                break
            head = self.sglang_head()
            hit = self.hit_of(head)
            if self.running:
                coming = sum(min(c.sub.output - c.made, 4096) for c in self.decodes())
                need = head.known - hit + min(head.sub.output, 4096) + promised
                room = self.available_beside(head, hit) * self.limits.block_tokens
                if need + Fraction(coming * self.ratio, 10**9) >= room:
                    self.full = True
                    break
            tokens = min(head.known - hit, budget)
            self.admit(now, head, hit)
            self.grow(head, tokens)
            chunks.append((head, tokens))
            budget -= tokens
            if hit + tokens == head.known:
                promised += min(head.sub.output, 4096)
        if mixed:
            decodes = [call for call in self.running if call.decoding]
        elif chunks:
            decodes = []
        else:
            retracted = self.retract_for(0)
            decodes = self.decodes()
            for call in decodes:
                self.grow(call, 1)
        if decodes and not chunks and not retracted:
            first = first_ratio(self.limits.tuning)
            least = round(first * 0.14)
            self.ratio = max(self.ratio - (first - least) // self.limits.tuning.decay_steps, least)
        return decodes, chunks

    def sglang_head(self) -> NaiveCall:
        """First of the list: arrivals and what was retracted, in the order in which they came."""
        if self.limits.order == "fcfs":
            return self.waiting[0]
        return min(self.waiting, key=lambda call: call.sub.priority)

    def retract_for(self, blocks: int) -> bool:
        """Retract decodes, fewest tokens first, until this step fits; then some more."""
        if self.decode_need() + blocks <= self.available():
            return False
        while True:
            least = min(self.decodes(), key=lambda c: (c.made, -c.sub.prompt, -c.sub.number))
            self.send_back(least)
            rest = self.decodes()
            spare = self.available() - blocks
            roomy = len(rest) <= 1 or spare * self.limits.block_tokens >= 20 * len(rest)
            if roomy and self.decode_need() <= spare:
                break
        self.ratio = 10**9
        if rest:
            made = sum(call.made for call in rest) + 20 * len(rest)
            most = sum(call.sub.output for call in rest)
            self.ratio = min(10**9, made * 10**9 // most)
        return True

    def make_room_for_decodes(self) -> bool:
        preempted = False
        while self.decode_need() > self.available():
            self.preempt_last()
            preempted = True
        return preempted

    def victim(self) -> NaiveCall:
        """Who is preempted next."""
        return max(self.running, key=self.key)

    def preempt_last(self) -> None:
        self.send_back(self.victim())

    def send_back(self, call: NaiveCall) -> None:
        if call.emitted_fs:
            call.stalled_since_fs = call.emitted_fs[-1]
        elif call.stalled_since_fs is None:
            call.stalled_since_fs = self.now
        self.full = False
        self.running.remove(call)
        self.release(call)
        call.cached = 0
        call.decoding = False
        call.preemptions += 1
        self.waiting.append(call)

    def admit(self, now: int, call: NaiveCall, hit: int) -> None:
        """Lock what it was found to share; a hit is what it never had to compute."""
        for cached in self.found(call, hit):
            self.lock(call, cached)
        if call.scheduled_fs is None:
            call.scheduled_fs = now
        call.hit += max(0, min(hit, call.sub.prompt) - call.furthest)
        call.furthest = max(call.furthest, min(hit, call.sub.prompt))
        call.cached = hit
        self.waiting.remove(call)
        self.running.append(call)

    def hit_of(self, call: NaiveCall) -> int:
        """Tokens of its longest leading run of cached blocks; one token is left to compute."""
        most = min(len(call.ids), (call.known - 1) // self.limits.block_tokens)
        blocks = 0
        while blocks < most and call.ids[: blocks + 1] in self.cache:
            blocks += 1
        return blocks * self.limits.block_tokens

    def found(self, call: NaiveCall, hit: int) -> list[CachedBlock]:
        blocks = hit // self.limits.block_tokens
        return [self.cache[call.ids[: index + 1]] for index in range(blocks)]

    def price(
        self, now: int, decodes: list[NaiveCall], chunks: list[tuple[NaiveCall, int]]
    ) -> NaiveStep:
        """Ask the law how long this step takes."""
        law = self.law
        prompt_tokens = sum(tokens for _, tokens in chunks)
        ending = [call for call, tokens in chunks if call.cached + tokens == call.known]
        emitting = len(decodes) + len(ending)
        read = [self.read_by(call) for call in decodes]
        context, window = sum(read, Fraction(0)), Fraction(0)
        prompts, idle, heads = len(chunks), 0, emitting
        sizes = [(tokens, call.cached) for call, tokens in chunks]
        if self.batch:  # every place computes what the others do
            idle = len(self.batch) - len(decodes)
            heads = len(self.batch)
            longest = max((tokens for tokens, _ in sizes), default=1)
            prompts, prompt_tokens = idle, idle * longest
            if chunks:
                sizes = [(longest, 0)] * len(chunks)
        duration = law.base(len(decodes), prompt_tokens, prompts, heads)
        if decodes:
            parts = self.mean.denominator  # of a token: the law's unit of context
            piece = law.piece(len(decodes), int(context * parts))
            duration += piece.fixed_fs + piece.slope_fs * int(context * parts)
            if law.window is not None:
                window = sum((min(tokens, Fraction(law.window)) for tokens in read), window)
                duration += law.window_fs * int(window * parts)
        duration += sum(law.chunk(tokens, cached) for tokens, cached in sizes)
        duration += sum(law.prompt(call.sub.u) for call in ending)
        encoder = self.limits.encoder
        if encoder is not None:
            images = [call.sub.images for call in ending if call.sub.images]
            duration += sum(max(encoder.token_fs * one, encoder.read_fs) for one in images)
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
                cached + query for tokens, cached in sizes for query in range(1, tokens + 1)
            ),
            prior_tokens=sum(cached for _, cached in sizes),
            held_blocks=self.held(),
            waiting=len(self.waiting),
            idle=idle,
        )

    def read_by(self, call: NaiveCall) -> Fraction:
        """Tokens that a decode reads: all that it has on average, and its own."""
        mean = call.began_with + self.mean * (self.verifies - call.began_at)
        if self.limits.drafting is None:
            assert mean == call.cached
        assert -1 < mean - call.cached < 1
        return mean + self.width

    # Blocks

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.limits.block_tokens)

    def growth(self, cached: int, tokens: int) -> int:
        return self.blocks_for(cached + tokens) - self.blocks_for(cached)

    def decodes(self) -> list[NaiveCall]:
        return [call for call in self.running if call.decoding]

    def decode_need(self) -> int:
        return sum(
            max(0, self.blocks_for(call.cached + self.width) - len(call.path) - len(call.private))
            for call in self.decodes()
        )

    def evictable(self) -> int:
        return sum(not cached.lockers for cached in self.cache.values())

    def held(self) -> int:
        """Cached blocks that are locked, each once, and the private ones of running calls."""
        locked = sum(bool(cached.lockers) for cached in self.cache.values())
        return locked + sum(len(call.private) for call in self.running)

    def available(self) -> int:
        return self.owners.count(None) + self.evictable()

    def available_beside(self, call: NaiveCall, hit: int) -> int:
        """Were the first `hit` tokens of a call locked by it."""
        return self.available() - sum(not cached.lockers for cached in self.found(call, hit))

    def key(self, call: NaiveCall) -> tuple[int, int]:
        priority = call.sub.priority if self.limits.order == "priority" else 0
        return priority, call.sub.number

    def lock(self, call: NaiveCall, cached: CachedBlock) -> None:
        cached.lockers.add(call.sub.number)
        call.path.append(cached)

    def register(self, call: NaiveCall) -> None:
        """Give the cache each full block that it has not; take the cache's where it has."""
        full = min(call.cached // self.limits.block_tokens, len(call.ids))
        while len(call.path) < full:
            path = call.ids[: len(call.path) + 1]
            block = call.private.pop(0)
            if path in self.cache:
                self.owners[block] = None
            else:
                self.owners[block] = ("cache", path)
                self.cache[path] = CachedBlock(path, block)
            self.lock(call, self.cache[path])

    def release(self, call: NaiveCall) -> None:
        self.unlockings += 1
        for cached in call.path:
            cached.lockers.remove(call.sub.number)
            if not cached.lockers:
                cached.unlocked = self.unlockings
        for block in call.private:
            self.owners[block] = None
        call.path, call.private = [], []
        call.reserved = call.taken = 0

    def grow(self, call: NaiveCall, tokens: int) -> None:
        goal = max(call.cached + tokens, call.reserved)
        assert goal >= call.taken
        call.taken = goal
        while len(call.path) + len(call.private) < self.blocks_for(goal):
            block = self.room()
            self.owners[block] = ("call", call.sub.number)
            call.private.append(block)

    def room(self) -> int:
        """A block that is free, by eviction if there is none."""
        return self.owners.index(None) if None in self.owners else self.evict()

    def evict(self) -> int:
        """Of what is locked by nobody and has nothing cached after it, what was unlocked first."""
        parents = {path[:-1] for path in self.cache}
        leaves = [cached for path, cached in self.cache.items() if path not in parents]
        oldest = min((leaf for leaf in leaves if not leaf.lockers), key=unlocked_of)
        del self.cache[oldest.path]
        return oldest.block

    # What must hold at any time

    def check(self) -> None:
        """Every block has the owner that lists it; each sequence holds what it fills."""
        owners: list[Owner | None] = [None] * self.limits.blocks
        for call in self.running:
            for block in call.private:
                assert owners[block] is None
                owners[block] = ("call", call.sub.number)
        for path, cached in self.cache.items():
            assert owners[cached.block] is None
            assert path == cached.path
            owners[cached.block] = ("cache", path)
        assert owners == self.owners
        assert owners.count(None) + self.evictable() + self.held() == self.limits.blocks
        self.check_cache()
        in_step: dict[int, int] = {}
        if self.step is not None:
            in_step = {call.sub.number: self.width for call in self.step.decodes}
            in_step |= {call.sub.number: tokens for call, tokens in self.step.chunks}
        for call in self.running:
            tokens = call.cached + in_step.get(call.sub.number, 0)
            tokens = max(tokens, call.reserved)
            if call.sub.number in in_step or self.limits.drafting is None:
                assert call.taken == tokens
            assert tokens <= call.taken < tokens + self.width
            assert len(call.path) + len(call.private) == self.blocks_for(call.taken)
            assert len(call.path) * self.limits.block_tokens <= call.cached
        assert all(not call.path and not call.private for call in self.waiting)
        assert len(self.running) <= self.limits.max_sequences

    def check_cache(self) -> None:
        """What is before a cached block is cached, has its lockers, is not unlocked before it."""
        lockers: dict[Path, set[int]] = {path: set() for path in self.cache}
        for call in self.running:
            for index, cached in enumerate(call.path):
                assert cached is self.cache[call.ids[: index + 1]]
                lockers[cached.path].add(call.sub.number)
        for path, cached in self.cache.items():
            assert cached.lockers == lockers[path]
            if len(path) > 1:
                before = self.cache[path[:-1]]
                assert cached.lockers <= before.lockers
                assert before.lockers or cached.unlocked <= before.unlocked
        parents = {path[:-1] for path in self.cache}
        leaves = [cached for path, cached in self.cache.items() if path not in parents]
        counts = [leaf.unlocked for leaf in leaves if not leaf.lockers]
        assert len(set(counts)) == len(counts)


def ids_of(content: tuple[tuple[int, int], ...]) -> Path:
    return tuple(first + index for first, count in content for index in range(count))


def first_ratio(tuning: NaiveTuning) -> int:
    return min(round(0.7 * tuning.conservativeness * 10**9), 10**9)


def number_of(call: NaiveCall) -> int:
    return call.sub.number


def unlocked_of(cached: CachedBlock) -> int:
    return cached.unlocked


def emit(call: NaiveCall, now: int) -> None:
    call.made += 1
    call.emitted_fs.append(now)
    if call.stalled_since_fs is not None:
        call.stall_fs += now - call.stalled_since_fs
        call.stalled_since_fs = None
        if call.made == 1:
            call.first_stall_fs = call.stall_fs


def credit(call: NaiveCall, tokens: int) -> None:
    """Count each computed token as new to the prompt, or as computed again."""
    for _ in range(tokens):
        call.cached += 1
        if call.furthest < call.cached <= call.sub.prompt:
            call.computed += 1
            call.furthest = call.cached
        else:
            call.recomputed += 1
