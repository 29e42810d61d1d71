"""Pipeline parallelism: micro-batches that follow each other through the stages of a replica.

As many micro-batches as there are stages, each with a set of decoding sequences of
its own, and at most one step of each is under way. When the first stage is free, the next
micro-batch whose last step is back forms a step, in turn, by the rules of `Replica`: its
decodes, the next chunk of the prompt under way, calls from the queue. All share the
queue, the budget of running sequences and the KV cache. A prompt's chunks follow each other into
the pipeline without waiting (the next one enters behind the last, with another
micro-batch), and it decodes with the micro-batch of its last one. A micro-batch admits calls up to
an even share of those that are here.

A step's instants follow from a max-plus recurrence::

    start[i, s] = max(end[i, s - 1] + hop[i], end[i - 1, s])
    end[i, s] = start[i, s] + stage[s] of step i

These are events per step, not runs of steps. A row of steps is as long as the mean
over the stages of their time in the step, and ends when the step does: so rows add up to what the
devices work, and what is missing is bubble.

The youngest running call is preempted for blocks, as in `Replica`. While a step of it is under way,
what needs the blocks waits for it, and nobody is admitted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from factorysim.records import RunStart
from factorysim.sim.call import DECODING, GONE, PARTIAL, WAITING, by_priority
from factorysim.sim.clock import COMPLETION, DECISION, S_PER_FS
from factorysim.sim.costs import StepCosts
from factorysim.sim.decodes import Decodes
from factorysim.sim.replica import Replica
from factorysim.sim.step_run import StepRun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from factorysim.physics.stages import StagedLaw
    from factorysim.physics.step import StepLaw
    from factorysim.sim.call import Call, Limits
    from factorysim.sim.clock import Clock
    from factorysim.sim.step_run import Chunk


class StagedCosts(StepCosts):
    """Answers of the law of each stage."""

    __slots__ = ("stages",)

    def __init__(self, law: StepLaw) -> None:
        super().__init__(law)
        self.stages = [StepCosts(stage) for stage in cast("StagedLaw", law).stages]


@dataclass(slots=True, eq=False)
class MicroBatch:
    """Sequences that decode together."""

    number: int
    decodes: Decodes
    away: bool = False
    """Whether a step of it is under way."""


@dataclass(slots=True, eq=False)
class Flight:
    """A step under way."""

    batch: MicroBatch
    run: StepRun
    """Of this one step."""
    starts_fs: list[int] = field(default_factory=list)
    """At each stage."""
    ends_fs: list[int] = field(default_factory=list)
    lost: bool = False


class PipelineReplica(Replica):
    """A replica whose devices are cut into stages."""

    __slots__ = (
        "_batches",
        "_flights",
        "_free_fs",
        "_homes",
        "_launched",
        "_out",
        "_reach",
        "_turn",
    )

    def __init__(
        self,
        clock: Clock,
        index: int,
        law: StepLaw,
        limits: Limits,
        *given: Any,  # noqa: ANN401
        **more: Any,  # noqa: ANN401
    ) -> None:
        costs = more.get("costs")
        more["costs"] = staged = costs if isinstance(costs, StagedCosts) else StagedCosts(law)
        super().__init__(clock, index, law, limits, *given, **more)
        assert self.tiers is None, "stages have no tiers below HBM"
        stages = len(staged.stages)
        size, window = limits.block_tokens, law.window
        self._batches = [
            MicroBatch(k, Decodes(size, window, note_joiners=True)) for k in range(stages)
        ]
        self._notes_joiners = True  # a micro-batch may wait for its turn
        self._flights: deque[Flight] = deque()
        self._free_fs = [0] * stages
        """When the last step to enter each stage leaves it."""
        self._turn = 0
        """Micro-batch that goes next."""
        self._launched: Flight | None = None
        self._homes: dict[int, MicroBatch] = {}
        """Micro-batch of each running call: of its last chunk."""
        self._out: dict[int, int] = {}
        """Chunks under way of each call that has any."""
        self._reach: dict[int, int] = {}
        """Tokens of a prompt that is under way, with those of its chunks under way."""

    # What others do to it.

    def cancel(self, call: Call) -> None:
        """Let a call go: at once if no step of it is under way, else when that ends."""
        if call.state == GONE:
            return
        if call.state == WAITING:
            self.waiting -= 1
            self._leave(call, "cancelled")
        else:
            self._cancelled.append(call)
            if self._partial is call:
                self._partial = None  # no more chunks of it
            if not self._is_away(call):
                self._drop_cancelled()
        self._ask()  # others may fit now

    def feel_network(self) -> None:
        """Nothing is to be cut: each step samples the share of its hops."""

    def settle(self) -> None:
        """Take back what steps under way have taken: the end of a simulation."""
        for flight in reversed(self._flights):
            flight.lost = True
            self.run, self._decodes = flight.run, flight.batch.decodes
            self._undo_start()
            for call, _, prior in flight.run.chunks:
                call.context = prior
        self._flights.clear()

    def _lose_steps(self) -> None:
        super()._lose_steps()
        now = self.clock.now_fs
        for flight in self._flights:
            self._lose(flight, now)
        self._flights.clear()
        self._free_fs = [now] * len(self._free_fs)

    def _forget(self) -> None:
        for batch in self._batches:
            batch.away = False
            batch.decodes.clear()
        self._out.clear()
        self._reach.clear()
        super()._forget()

    def _decodes_of(self, call: Call) -> Decodes:
        return self._homes[call.number].decodes

    # Steps.

    def _schedule(self) -> None:
        """Feed the first stage, when it is free."""
        if self._free_fs[0] > self.clock.now_fs:
            return
        short: MicroBatch | None = None
        for batch in self._batches[self._turn :] + self._batches[: self._turn]:
            if batch.away:
                continue
            self._decodes = batch.decodes
            preempted = self._make_room()
            if preempted is None:
                short = short or batch  # and first to go when another is back
            elif self._launch(batch, admits=not preempted and short is None):
                self._turn = (batch.number + 1) % len(self._batches)
                break
        if short is not None:
            self._turn = short.number
        if not self._flights and self.standing is not None:
            self.standing.set_demand(0.0)

    def _launch(self, batch: MicroBatch, *, admits: bool) -> bool:
        """Have a micro-batch form a step, if it has work."""
        running, room = len(self.running), 0
        if admits:
            share = -(-(running + self.waiting) // len(self._batches))
            room = max(0, share - batch.decodes.count - (self._partial is not None))
        limits = self.limits
        most = min(limits.max_sequences, running + room)
        self.limits = limits._replace(max_sequences=most)
        self._launched = None
        super()._schedule()
        self.limits = limits
        self.run.steps = 0
        return self._launched is not None

    def _make_room(self) -> bool | None:
        """Preempt until the step's decodes and chunk fit; None: not before another is back."""
        preempted = False
        while self._need() > self.ledger.free + self.ledger.evictable:
            if self._is_away(self._youngest()):
                return None
            self._preempt()
            preempted = True
        return preempted

    def _need(self) -> int:
        """Blocks that the decodes and the prompt under way need for the next step."""
        decodes, call = self._decodes, self._partial
        need = decodes.blocks_now()
        if call is not None:
            size, prior = decodes.block_tokens, call.context
            tokens = min(call.known - prior, self.limits.token_budget - decodes.count)
            need += -(-(prior + tokens) // size) - -(-prior // size)
        return need

    def _youngest(self) -> Call:
        running = self.running
        if self._by_priority:
            return max(running.values(), key=by_priority)
        return running[next(reversed(running))]

    def _is_away(self, call: Call) -> bool:
        """Whether a step of a decode's micro-batch, or a chunk of a prompt, is under way."""
        if call.state == DECODING:
            return self._homes[call.number].away
        return call.number in self._out

    def _release(self, call: Call) -> None:
        super()._release(call)
        self._reach.pop(call.number, None)

    def _drop_cancelled(self) -> None:
        """Let the cancelled go of which no step is under way."""
        away = [call for call in self._cancelled if call.state != GONE and self._is_away(call)]
        self._cancelled = [call for call in self._cancelled if call not in away]
        super()._drop_cancelled()
        self._cancelled = away

    def _leave(self, call: Call, outcome: str) -> None:
        self._homes.pop(call.number, None)
        super()._leave(call, outcome)

    def _start(self, decodes: int, chunks: Sequence[Chunk], preempted: bool) -> None:
        """Send a step into the pipeline."""
        now, law, ledger = self.clock.now_fs, cast("StagedLaw", self.law), self.ledger
        batch, next_batch = self._decodes, self._batch_of(self._decodes)
        tokens = pairs = priors = context = in_windows = windows_grow = 0
        emitting = decodes
        for call, size, prior in chunks:
            tokens += size
            pairs += size * prior + size * (size + 1) // 2
            priors += prior
            emitting += prior + size == call.known
            self._send_chunk(call, prior + size, next_batch)
        if decodes:
            context = batch.context + decodes
            if batch.window is not None:
                in_windows, _ = batch.read_windows(batch.window, 1)
                windows_grow = batch.open
        counts = (decodes, tokens, len(chunks), emitting)
        times = [
            _stage_fs(costs, counts, chunks, context, in_windows)
            for costs in cast("StagedCosts", self._costs).stages
        ]
        hop = law.hop_fs(decodes + tokens, self._hop_share(decodes + tokens, times[0]))
        flight = Flight(next_batch, StepRun())
        at = now
        for stage, time in enumerate(times):
            start = max(at, self._free_fs[stage])
            flight.starts_fs.append(start)
            flight.ends_fs.append(start + time)
            self._free_fs[stage] = start + time
            at = start + time + hop
        end, mean = flight.ends_fs[-1], sum(times) // len(times)
        run = flight.run
        survivors, stall, apart = batch.stalls(
            end - mean, mean, run.late_gaps, run.first_tokens, decodes
        )
        begun = RunStart(
            self.index, mean, 0, decodes, len(chunks), tokens, pairs, priors,
            context, in_windows, windows_grow, self.waiting,
            ledger.blocks - ledger.free - ledger.evictable, survivors, stall, apart,
        )  # fmt: skip
        run.begin(begun, chunks, 1, end - mean)
        next_batch.away = True
        self._flights.append(flight)
        self._launched = flight
        self.run.steps = 1  # for who looks whether a step was formed
        clock = self.clock
        clock.at(self._free_fs[0], DECISION + self.index, self._decide, None)
        clock.at(end, COMPLETION + self.index, self._land, flight)

    def _batch_of(self, decodes: Decodes) -> MicroBatch:
        return next(batch for batch in self._batches if batch.decodes is decodes)

    def _send_chunk(self, call: Call, reach: int, batch: MicroBatch) -> None:
        """Note a chunk that enters the pipeline: the next one may follow at once."""
        number = call.number
        self._homes[number] = batch
        self._out[number] = self._out.get(number, 0) + 1
        self._reach[number] = call.context = reach
        if self._partial is call and reach == call.known:
            self._partial = None

    def _hop_share(self, tokens: int, period_fs: int) -> float:
        """Share of the network that hops get, where they cross it."""
        if self.standing is None:
            return 1.0
        sent_bytes = tokens * cast("StagedLaw", self.law).hop_token_bytes
        self.standing.set_demand(sent_bytes / (period_fs * S_PER_FS))
        return self.standing.sample()

    def _land(self, flight: Flight) -> None:
        """Credit a step that has left the last stage."""
        if flight.lost:
            return
        assert self._flights.popleft() is flight, "steps end in the order in which they began"
        batch = flight.batch
        batch.away = False
        chunks = flight.run.chunks
        for call, _, _ in chunks:
            left = self._out[call.number] - 1
            if left:
                self._out[call.number] = left
            else:
                del self._out[call.number]
        self.run, self._decodes = flight.run, batch.decodes
        self.run.steps = 1
        self._complete()
        for call, _, _ in chunks:
            if call.state == PARTIAL:
                call.context = self._reach[call.number]
            else:
                self._reach.pop(call.number, None)
        self._ask()

    def _lose(self, flight: Flight, now: int) -> None:
        """Write down the time that stages have spent on a step that is lost."""
        flight.lost = True
        spans = zip(flight.starts_fs, flight.ends_fs, strict=True)
        lost = sum(max(0, min(end, now) - start) for start, end in spans) // len(self._free_fs)
        if lost:
            start = flight.run.start()
            self._note_lost(start, lost, start.kv_blocks)


def _stage_fs(
    costs: StepCosts,
    counts: tuple[int, int, int, int],
    chunks: Sequence[Chunk],
    context: int,
    in_windows: int,
) -> int:
    """Duration of a step on a stage."""
    law, decodes = costs.law, counts[0]
    time = costs.bases.get(counts) or costs.base(counts)
    for call, size, prior in chunks:
        fixed, growth = costs.chunks.get(size) or costs.chunk(size)
        time += law.chunk(size, prior) if growth is None else fixed + growth * prior
        if law.draws and prior + size == call.known:
            time += law.prompt(call.u)
    if decodes:
        fixed, growth, _ = law.piece(decodes, context)
        time += fixed + growth * context + law.window_fs * in_windows
    return time
