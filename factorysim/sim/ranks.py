"""Attention-DP: one engine of several ranks, each with its own calls and KV cache.

Ranks schedule for themselves, as the engine cores of vLLM's data parallelism do: queue,
batch, chunks and preemptions of a rank are those of a `Replica`. A step is taken by all of
them together and lasts as long as that of the slowest. Over a run of steps the time of
each rank is a line in the number of the step, and the longest of them, their upper
envelope, is a line until another rank becomes the longest: there the run ends, at
the very step, and the next one begins with the same composition.

A call goes to the rank with the fewest calls, waiting or running; of equal ones to the
first. It stays there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from factorysim.sim.call import DECODING, GONE, WAITING, by_number
from factorysim.sim.clock import COMPLETION, FS_PER_S, S_PER_FS
from factorysim.sim.costs import MOST_ANSWERS, StepCosts
from factorysim.sim.replica import Replica

if TYPE_CHECKING:
    from typing import Any

    from factorysim.physics.ranks import RankedLaw
    from factorysim.physics.step import StepLaw
    from factorysim.sim.call import Call, Limits
    from factorysim.sim.clock import Clock
    from factorysim.sim.costs import Counts

RankCounts: TypeAlias = tuple[int, int, int, int, int]
"""The arguments of `RankedLaw.rank_base`."""


class RankedCosts(StepCosts):
    """Answers of a law of ranks: what a rank costs apart from attention follows from all ranks."""

    __slots__ = ("rank_bases",)

    def __init__(self, law: StepLaw) -> None:
        super().__init__(law)
        self.rank_bases: dict[RankCounts, int] = {}

    def base(self, counts: Counts) -> int:
        """Nothing, as long as the other ranks are not known."""
        return 0

    def rank_base(self, counts: RankCounts) -> int:
        """Ask what a rank costs apart from attention."""
        base = self.rank_bases.get(counts)
        if base is None:
            if len(self.rank_bases) >= MOST_ANSWERS:
                self.rank_bases.clear()
            law = cast("RankedLaw", self.law)
            base = self.rank_bases[counts] = law.rank_base(*counts)
        return base


class _Watch:
    """The time, for ranks, which schedule nothing themselves."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @property
    def now_fs(self) -> int:
        return self._clock.now_fs

    def at(self, when_fs: int, priority: int, callback: object, value: object = None) -> None:
        """Leave it: the engine ends the run."""


class Rank(Replica):
    """The calls and the KV cache of one rank; its steps are the engine's."""

    __slots__ = ("_engine",)

    def __init__(self, engine: RankedReplica, limits: Limits, costs: RankedCosts) -> None:
        watch = cast("Clock", _Watch(engine.clock))
        super().__init__(watch, engine.index, engine.law, limits, engine.note_left, costs=costs)
        self._engine = engine

    def _ask(self) -> None:
        self._engine.ask()

    def _cut(self) -> None:
        self._engine.cut()

    def follow(self, steps: int, first: int, slope: int) -> None:
        """Take part in a run of steps that are as long as those of the slowest rank."""
        begun = self._begun
        *_, survivors, stall, apart = begun
        end_fs = self._start_fs + first
        longer = first - begun[1]
        gaps = self._late_gaps
        for k, (number, _, gap_s, kind) in enumerate(gaps):
            gap_fs = round(cast("float", gap_s) * FS_PER_S) + longer
            gaps[k] = (number, end_fs * S_PER_FS, gap_fs * S_PER_FS, kind)
        if survivors and stall:
            # Other ranks may have decoded meanwhile, and a row has room for one stall.
            gap_s = (first + stall) * S_PER_FS
            tick = self._decodes.tick
            for call in self.running.values():
                if call.state == DECODING and call.joined < tick:
                    gaps.append((call.number, end_fs * S_PER_FS, gap_s, "prefill"))
            survivors, apart = 0, apart + survivors
        self._n = steps
        self._begun = (self.index, first, slope, *begun[3:13], survivors, 0, apart)

    def let_fall(self) -> list[Call]:
        """Empty queue, batch and cache; returns the calls that were there."""
        calls = [entry[2] for entry in self._queue if entry[2].state == WAITING]
        for call in self.running.values():
            if call.state == DECODING:
                self._decodes.drop(call)
            calls.append(call)
        self._cancelled.clear()
        self._forget()
        return calls


class RankedReplica(Replica):
    """An engine whose ranks step together; `ledger` tells the size of all caches, no more."""

    __slots__ = ("_active", "_home", "_leaving", "_ranked", "ranks")

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
        self._ranked = costs if isinstance(costs, RankedCosts) else RankedCosts(law)
        more["costs"] = self._ranked
        super().__init__(clock, index, law, limits, *given, **more)
        assert self.tiers is None, "ranks have no tiers below HBM"
        ranks = cast("RankedLaw", law).ranks
        own = limits._replace(blocks=limits.blocks // ranks)
        self.ranks = tuple(Rank(self, own, self._ranked) for _ in range(ranks))
        self._active: list[Rank] = []
        """Ranks with work in the run in progress."""
        self._home: dict[int, Rank] = {}
        """Of each call that is here, by number."""
        self._leaving: list[Call] | None = None
        """Calls that leave with the end of a step, until all ranks have ended it."""

    # What others do to it.

    def submit(self, call: Call) -> None:
        """Queue a call at the rank with the fewest."""
        if self.down:
            call.queued_fs = self.clock.now_fs
            self._leave(call, "failed")
        else:
            rank = min(self.ranks, key=_calls_of)
            self._home[call.number] = rank
            rank.submit(call)

    def cancel(self, call: Call) -> None:
        """Let a call go: at once if it waits, else as the step in progress ends."""
        if call.state != GONE:
            self._home[call.number].cancel(call)

    def fail(self) -> None:
        """Lose the devices: the step in progress, every call, all caches."""
        if self.down:
            return
        self.down = True
        for rank in self.ranks:
            rank._cancelled.clear()  # their step never ends: they fail like the others
        if self._n:
            self._lose_step()
        calls: list[Call] = []
        for rank in self.ranks:
            calls += rank.let_fall()
        if self.standing is not None:
            self.standing.set_demand(0.0)
        for call in sorted(calls, key=by_number):
            del self._home[call.number]
            self._leave(call, "failed")

    def settle(self) -> None:
        """Credit the steps that ended before now, and stop: the end of a simulation."""
        if self._n:
            elapsed = self.clock.now_fs - self._start_fs
            self._n = self._steps_ended(elapsed - 1) if elapsed else 0
            self._generation += 1
            if self._n:
                self._complete()
            else:
                for rank in self._active:
                    rank._n = 0
                    rank.ledger.free += rank._step_blocks(0)

    def made(self, call: Call) -> int:
        """Output tokens of a call so far, by the last run that ended."""
        rank = self._home.get(call.number)
        return call.output_made if rank is None else rank.made(call)

    def blocks_of(self, call: Call) -> int:
        """Blocks that a running call holds and its rank's cache does not, between runs."""
        return self._home[call.number].blocks_of(call)

    # What its ranks do.

    def ask(self) -> None:
        """Have a rank's work taken up: with the next step."""
        if self._n:
            self._cut()
        else:
            self._ask()

    def cut(self) -> None:
        """End the run in progress with the step in progress."""
        if self._n:
            self._cut()

    def note_left(self, call: Call) -> None:
        """Send a call back that has left its rank, or keep it until the step has ended."""
        del self._home[call.number]
        if self._leaving is None:
            self.on_done(call)
        else:
            self._leaving.append(call)

    # Runs.

    def _adopt_law(self, law: StepLaw) -> None:
        super()._adopt_law(law)
        self._ranked = RankedCosts(law)
        for rank in self.ranks:
            rank.law, rank._costs = law, self._ranked

    def _schedule(self) -> None:
        """Have each rank form its next step, and take as many like it as all can."""
        if self._news:
            self._take_news()
        for rank in self.ranks:
            rank._schedule()
        self._active = active = [rank for rank in self.ranks if rank._n]
        if active:
            self._step_together(active)
        elif self.standing is not None:
            self.standing.set_demand(0.0)

    def _step_together(self, active: list[Rank]) -> None:
        """Begin a run of steps along the longest of the ranks' lines."""
        tokens = sum(rank._begun[3] + rank._begun[5] for rank in active)
        lines = [self._line(rank, tokens) for rank in active]
        first, slope = max(lines)  # of equal ones the one that grows faster
        steps = min(rank._n for rank in active)
        if sum(rank._begun[4] for rank in active) > 1 or any(rank._begun[10] for rank in active):
            # The sums over a run's steps are those of one chunk; and while windows fill, the
            # slope of the longest rank does not tell how many do.
            steps = 1
        if steps > 1:
            for lower, steeper in lines:
                if steeper > slope:
                    # The first step in which this rank's line is above.
                    steps = min(steps, (first - lower) // (steeper - slope) + 1)
        if self.standing is not None:
            first, slope = self._slowed(self.standing, first, slope, tokens)
        for rank in active:
            rank.follow(steps, first, slope)
        summed = [sum(column) for column in zip(*(rank._begun for rank in active), strict=True)]
        self._begun = (self.index, first, slope, *summed[3:14], 0, summed[15])
        self._n = steps
        self._cut_short = False
        self._start_fs = start = self.clock.now_fs
        end = start + steps * first + slope * (steps * (steps - 1) // 2)
        self._generation = generation = self._generation + 1
        self.clock.at(end, COMPLETION + self.index, self._wake, generation)

    def _line(self, rank: Rank, tokens: int) -> tuple[int, int]:
        """Duration of a rank's first step, and its growth, beside so many tokens of all."""
        _, first, slope, decodes, prompts, chunk_tokens, *_ = rank._begun
        ending = sum(prior + size == call.known for call, size, prior in rank._chunks)
        counts = (decodes, chunk_tokens, prompts, decodes + ending, tokens)
        return first + self._ranked.rank_base(counts), slope

    def _complete(self) -> None:
        """Credit the run's steps on every rank, and let those that are done go, in order."""
        n, begun, start = self._n, self._begun, self._start_fs
        duration = n * begun[1] + begun[2] * (n * (n - 1) // 2)
        self._n = 0
        self.steps += n
        self.busy_fs += duration
        leaving: list[Call] = []
        self._leaving = leaving
        emitted = recomputed = 0
        for rank in self._active:
            rank._n = n
            rank._complete()
            *_, rank_emitted, rank_recomputed, _, _ = rank.rows.pop()
            emitted += rank_emitted
            recomputed += rank_recomputed
            if rank.gaps:
                self.gaps.extend(rank.gaps)
                rank.gaps.clear()
        self._leaving = None
        end_s = (start + duration) * S_PER_FS
        self.rows.append((n, start * S_PER_FS, end_s, emitted, recomputed, 0, begun))
        if leaving:
            for call in sorted(leaving, key=_in_order):
                self.on_done(call)

    def _lose_step(self) -> None:
        """Credit the run's ended steps; the one in progress is lost, its time spent."""
        now, start = self.clock.now_fs, self._start_fs
        _, first, slope, decodes, prompts, *_ = begun = self._begun
        n = self._steps_ended(now - start)
        self._generation += 1
        self._n = n
        blocks = begun[12]
        if n:
            self._complete()
            blocks = sum(rank.ledger.held for rank in self.ranks)
            blocks += sum(rank._step_blocks(n) for rank in self._active)
        for rank in self._active:
            rank._n = 0
        self._n = 0
        lost_from = start + n * first + slope * (n * (n - 1) // 2)
        if lost_from < now:
            lost = now - lost_from
            self.busy_fs += lost
            self.steps_lost += 1
            zeros = (0,) * 6
            row = (self.index, lost, 0, decodes, prompts, *zeros, begun[11], blocks, 0, 0, decodes)
            self.rows.append((1, lost_from * S_PER_FS, now * S_PER_FS, 0, 0, 0, row))


def parts_of(replica: Replica) -> tuple[Replica, ...]:
    """Name what has a queue, a batch and a KV cache of its own: the ranks, or the replica."""
    return replica.ranks if isinstance(replica, RankedReplica) else (replica,)


def _calls_of(rank: Rank) -> int:
    return rank.waiting + len(rank.running)


def _in_order(call: Call) -> tuple[bool, int]:
    """Completed calls before cancelled ones, by number."""
    return call.outcome != "completed", call.number
