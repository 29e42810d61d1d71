"""A pipeline in the most obvious way: a table of instants, a token at a time.

Scheduling inside a step, blocks and the cache are those of `naive_replica`; here is
what micro-batches and stages add. Nothing of `factorysim.sim` is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tests.property.naive_replica import (
    NaiveCall,
    NaiveLimits,
    NaiveReplica,
    NaiveStep,
    credit,
    emit,
    number_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.physics.stages import StagedLaw
    from tests.property.naive_replica import Event


@dataclass(slots=True, eq=False)
class Passage:
    """A step on its way through the stages."""

    batch: int
    work: NaiveStep
    starts_fs: list[int]
    ends_fs: list[int]
    landed_fs: int | None = None
    lost_fs: int | None = None


class PipelineResult(NamedTuple):
    """What happened in the end."""

    calls: dict[int, NaiveCall]
    departures: list[tuple[int, int]]
    ended: list[Passage]
    """In order of their ends; those that a failure cut among them."""
    free_blocks: int
    cached_blocks: int


def serve_pipeline(
    limits: NaiveLimits, laws: Sequence[StagedLaw], events: Iterable[Event]
) -> PipelineResult:
    """Serve calls until all have left; `laws[0]` holds at first."""
    replica = NaivePipeline(limits, laws)
    pending = sorted(events, key=lambda event: event.at_fs)
    while pending or replica.flying:
        instants = [event.at_fs for event in pending]
        instants += [step.ends_fs[-1] for step in replica.flying]
        instants += [step.ends_fs[0] for step in replica.flying if step.ends_fs[0] > replica.now]
        replica.now = now = min(instants)
        while replica.flying and replica.flying[0].ends_fs[-1] == now:
            replica.land(now)
        while pending and pending[0].at_fs == now:
            replica.happen(now, pending.pop(0))
        replica.decide(now)
        replica.check_blocks()
    assert not replica.running
    assert not replica.waiting
    return PipelineResult(
        replica.calls,
        replica.departures,
        replica.ended,
        replica.owners.count(None),
        replica.evictable(),
    )


class NaivePipeline(NaiveReplica):
    """A pipeline between two instants."""

    def __init__(self, limits: NaiveLimits, laws: Sequence[StagedLaw]) -> None:
        super().__init__(limits, laws)
        self.stages = len(laws[0].stages)
        self.now = -1
        self.flying: list[Passage] = []
        self.ended: list[Passage] = []
        self.free_fs = [0] * self.stages
        self.turn = 0
        self.home: dict[NaiveCall, int] = {}
        self.sent: dict[NaiveCall, int] = {}
        """Tokens of a prompt that have entered the pipeline."""

    def away(self, call: NaiveCall) -> bool:
        """Whether a step of a decode's micro-batch, or a chunk of a prompt, is under way."""
        if call.decoding:
            return any(step.batch == self.home[call] for step in self.flying)
        return any(call is other for step in self.flying for other, _ in step.work.chunks)

    def cancel(self, now: int, number: int) -> None:
        call = self.calls.get(number)
        if call is None or call.outcome:
            return
        if call in self.waiting:
            self.waiting.remove(call)
            self.leave(now, call, "cancelled")
        elif self.away(call):
            call.asked_to_leave = True
        else:
            self.running.remove(call)
            self.release(call)
            self.leave(now, call, "cancelled")

    def fail(self, now: int) -> None:
        for step in self.flying:
            step.lost_fs = now
            self.ended.append(step)
        self.flying = []
        self.free_fs = [now] * self.stages
        super().fail(now)

    def land(self, now: int) -> None:
        step = self.flying.pop(0)
        step.landed_fs = now
        self.ended.append(step)
        for call in step.work.decodes:
            call.cached += 1
            emit(call, now)
        for call, tokens in step.work.chunks:
            credit(call, tokens)
            self.register(call)
            if call.cached == call.known:
                call.decoding = True
                emit(call, now)
        here = [*step.work.decodes, *(call for call, _ in step.work.chunks)]
        for call in sorted(here, key=number_of):
            if call.made == call.sub.output:
                self.running.remove(call)
                self.register(call)
                self.release(call)
                self.leave(now, call, "completed")
        for call in sorted(self.running, key=number_of):
            if call.asked_to_leave and not self.away(call):
                self.running.remove(call)
                self.release(call)
                self.leave(now, call, "cancelled")

    def decide(self, now: int) -> None:
        if self.down or self.free_fs[0] > now:
            return
        short = None
        for k in range(self.stages):
            batch = (self.turn + k) % self.stages
            if any(step.batch == batch for step in self.flying):
                continue
            preempted = self.make_room(batch)
            if preempted is None:
                short = batch if short is None else short
                continue
            work = self.form(now, batch, admits=not preempted and short is None)
            if work is not None:
                self.send(now, batch, work)
                self.turn = (batch + 1) % self.stages
                break
        if short is not None:
            self.turn = short

    def make_room(self, batch: int) -> bool | None:
        """Whether calls were preempted for what the batch must grow by; None: it waits."""
        preempted = False
        while True:
            decodes = self.decodes_of(batch)
            need = sum(self.growth(call.cached, 1) for call in decodes)
            for call in self.under_way():
                budget = self.limits.token_budget - len(decodes)
                tokens = min(call.known - self.sent[call], budget)
                need += self.growth(self.sent[call], tokens)
            if need <= self.available():
                return preempted
            if self.away(max(self.running, key=self.key)):
                return None
            self.preempt_last()
            preempted = True

    def decodes_of(self, batch: int) -> list[NaiveCall]:
        return [call for call in self.decodes() if self.home[call] == batch]

    def under_way(self) -> list[NaiveCall]:
        """The prompt of which chunks are still to be sent."""
        begun = [
            call
            for call in self.running
            if not call.decoding and not call.asked_to_leave and self.sent[call] < call.known
        ]
        assert len(begun) <= 1
        return begun

    def form(self, now: int, batch: int, *, admits: bool) -> NaiveStep | None:
        """Decodes, the prompt under way, and of the queue up to an even share of all calls."""
        begun, decodes = self.under_way(), self.decodes_of(batch)
        everybody = len(self.running) + len(self.waiting)
        share = -(-everybody // self.stages) - len(decodes) - len(begun)
        room = max(0, share) if admits else 0
        room = min(room, self.limits.max_sequences - len(self.running))
        chunks: list[tuple[NaiveCall, int]] = []
        whole = self.limits.scheduler == "prefill_first"
        budget = self.limits.token_budget - (0 if whole else len(decodes))
        if not whole:
            for call in decodes:
                self.grow(call, 1)
        for call in begun:
            tokens = min(call.known - self.sent[call], budget)
            self.chunk(call, tokens, chunks)
            budget -= tokens
        while self.waiting and room > 0 and (whole or budget > 0):
            head = min(self.waiting, key=self.key)
            hit = self.hit_of(head)
            tokens = head.known - hit
            if not whole:
                tokens = min(tokens, budget)
            elif chunks and tokens > budget:
                break
            if self.growth(hit, tokens) > self.available_beside(head, hit):
                break
            self.admit(now, head, hit)
            self.sent[head] = hit
            self.chunk(head, tokens, chunks)
            budget -= tokens
            room -= 1
        if whole and chunks:
            decodes = []
        elif whole:
            for call in decodes:
                self.grow(call, 1)
        for call, _ in chunks:
            self.home[call] = batch
        return self.note(now, decodes, chunks) if decodes or chunks else None

    def chunk(self, call: NaiveCall, tokens: int, chunks: list[tuple[NaiveCall, int]]) -> None:
        ahead = self.sent[call] - call.cached
        self.grow(call, ahead + tokens)
        self.sent[call] += tokens
        chunks.append((call, tokens))

    def note(
        self, now: int, decodes: list[NaiveCall], chunks: list[tuple[NaiveCall, int]]
    ) -> NaiveStep:
        """Sums over a step; how long it takes is a matter of stages."""
        window = self.law.window
        priors = [self.sent[call] - tokens for call, tokens in chunks]
        ending = [call for call, _ in chunks if self.sent[call] == call.known]
        return NaiveStep(
            started_fs=now,
            duration_fs=0,
            decodes=decodes,
            chunks=chunks,
            prompt_tokens=sum(tokens for _, tokens in chunks),
            emitting=len(decodes) + len(ending),
            context_tokens=sum(call.cached + 1 for call in decodes),
            window_tokens=0
            if window is None
            else sum(min(call.cached + 1, window) for call in decodes),
            pair_tokens=sum(
                prior + query
                for prior, (_, tokens) in zip(priors, chunks, strict=True)
                for query in range(1, tokens + 1)
            ),
            prior_tokens=sum(priors),
            held_blocks=self.held(),
            waiting=len(self.waiting),
        )

    def send(self, now: int, batch: int, work: NaiveStep) -> None:
        """Fill in a row of the table: start[i, s] = max(end[i, s-1] + hop, end[i-1, s])."""
        step = Passage(batch, work, [], [])
        hop = self.law.hop_fs(len(work.decodes) + work.prompt_tokens, 1.0)
        for stage, law in enumerate(self.law.stages):
            time = law.base(len(work.decodes), work.prompt_tokens, len(work.chunks), work.emitting)
            if work.decodes:
                piece = law.piece(len(work.decodes), work.context_tokens)
                time += piece.fixed_fs + piece.slope_fs * work.context_tokens
                time += law.window_fs * work.window_tokens
            for call, tokens in work.chunks:
                time += law.chunk(tokens, self.sent[call] - tokens)
                if self.sent[call] == call.known:
                    time += law.prompt(call.sub.u)
            arrives = now if stage == 0 else step.ends_fs[stage - 1] + hop
            start = max(arrives, self.free_fs[stage])
            step.starts_fs.append(start)
            step.ends_fs.append(start + time)
            self.free_fs[stage] = start + time
        self.flying.append(step)

    def check_blocks(self) -> None:
        """Each sequence has the blocks that it fills, and those of its steps under way."""
        for call in self.running:
            tokens = max(call.cached, self.sent[call])
            if call.decoding:
                tokens = call.cached + any(call in step.work.decodes for step in self.flying)
            assert len(call.path) + len(call.private) == self.blocks_for(tokens)
        used = self.held() + self.evictable() + self.owners.count(None)
        assert used == self.limits.blocks
