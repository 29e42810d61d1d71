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

from factorysim.records import RunStart
from factorysim.sim.call import DECODING, GONE
from factorysim.sim.clock import FS_PER_S, S_PER_FS
from factorysim.sim.costs import MOST_ANSWERS, StepCosts
from factorysim.sim.replica import Replica
from factorysim.sim.step_run import NO_CHUNKS

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

    # What its engine does to it.

    def form(self) -> bool:
        """Form its next step, and bound a run of steps like it; False: it has no work."""
        self._schedule()
        return self.run.steps > 0

    def line(self, tokens: int) -> tuple[int, int]:
        """Duration of its first step, and its growth, beside so many tokens of all ranks."""
        run, start = self.run, self.run.start()
        ending = sum(prior + size == call.known for call, size, prior in run.chunks)
        emitting = run.decodes + ending
        counts = (run.decodes, start.chunk_tokens, start.prompts, emitting, tokens)
        rank_base = cast("RankedCosts", self._costs).rank_base(counts)
        return run.step_fs + rank_base, run.slope_fs

    def follow(self, steps: int, first: int, slope: int) -> None:
        """Take part in a run of steps that are as long as those of the slowest rank."""
        run = self.run
        begun, gaps = run.start(), run.late_gaps
        survivors, stall, apart = begun.survivors, begun.stall_fs, begun.apart
        end_fs = run.started_fs + first
        longer = first - begun.step_fs
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
        begun = begun._replace(
            step_fs=first, slope_fs=slope, survivors=survivors, stall_fs=0, apart=apart
        )
        run.begin(begun, run.chunks, steps, run.started_fs)

    def finish(self, steps: int) -> tuple[int, int]:
        """Credit so many steps; returns the tokens emitted, and those computed again."""
        self.run.steps = steps
        self._complete()
        _, _, _, emitted, recomputed, _, _ = self.rows.pop()
        return emitted, recomputed

    def abandon(self) -> None:
        """Leave the run, whose steps are credited or lost."""
        self.run.steps = 0

    def undo_start(self) -> None:
        """Leave the run, of which no step has ended."""
        self.run.steps = 0
        self._undo_start()

    def blocks_in(self, done: int) -> int:
        """KV blocks held in the run's next step, after so many that are credited."""
        return self._blocks_in(done)

    def step_by(self, law: StepLaw, costs: RankedCosts) -> None:
        """Take the law of its engine."""
        self.law, self._costs = law, costs

    def keep_cancelled(self) -> None:
        """Have the cancelled fail like the others: their step never ends."""
        self._cancelled.clear()

    def let_fall(self) -> list[Call]:
        """Empty queue, batch and cache; returns the calls that were there."""
        return self._let_fall()


class RankedReplica(Replica):
    """An engine whose ranks step together; `ledger` tells the size of all caches, no more."""

    __slots__ = ("_active", "_home", "_leaving", "ranks")

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
        more["costs"] = costs = costs if isinstance(costs, RankedCosts) else RankedCosts(law)
        super().__init__(clock, index, law, limits, *given, **more)
        assert self.tiers is None, "ranks have no tiers below HBM"
        ranks = cast("RankedLaw", law).ranks
        own = limits._replace(blocks=limits.blocks // ranks)
        self.ranks = tuple(Rank(self, own, costs) for _ in range(ranks))
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
        self._look_again()

    def cut(self) -> None:
        """End the run in progress with the step in progress."""
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
        for rank in self.ranks:
            rank.step_by(law, cast("RankedCosts", self._costs))

    def _schedule(self) -> None:
        """Have each rank form its next step, and take as many like it as all can."""
        if self._news:
            self._take_news()
        self._active = active = [rank for rank in self.ranks if rank.form()]
        if active:
            self._step_together(active)
        elif self.standing is not None:
            self.standing.set_demand(0.0)

    def _step_together(self, active: list[Rank]) -> None:
        """Begin a run of steps along the longest of the ranks' lines."""
        begun = [rank.run.start() for rank in active]
        tokens = sum(one.decodes + one.chunk_tokens for one in begun)
        lines = [rank.line(tokens) for rank in active]
        first, slope = max(lines)  # of equal ones the one that grows faster
        steps = min(rank.run.steps for rank in active)
        if sum(one.prompts for one in begun) > 1 or any(one.windows_grow for one in begun):
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
        columns = zip(*(rank.run.begun for rank in active), strict=True)
        summed = RunStart._make(map(sum, columns))
        summed = summed._replace(replica=self.index, step_fs=first, slope_fs=slope)
        self._begin(summed, NO_CHUNKS, steps)

    def _complete(self) -> None:
        """Credit the run's steps on every rank, and let those that are done go, in order."""
        run = self.run
        n, start, duration = run.steps, run.started_fs, run.lasts_fs(run.steps)
        run.steps = 0
        self.steps += n
        self.busy_fs += duration
        leaving: list[Call] = []
        self._leaving = leaving
        emitted = recomputed = 0
        for rank in self._active:
            made, again = rank.finish(n)
            emitted += made
            recomputed += again
            if rank.gaps:
                self.gaps.extend(rank.gaps)
                rank.gaps.clear()
        self._leaving = None
        end_s = (start + duration) * S_PER_FS
        self.rows.append((n, start * S_PER_FS, end_s, emitted, recomputed, 0, run.begun))
        if leaving:
            for call in sorted(leaving, key=_in_order):
                self.on_done(call)

    # The devices fail, or the simulation ends.

    def _leave(self, call: Call, outcome: str) -> None:
        self._home.pop(call.number, None)
        super()._leave(call, outcome)

    def _lose_steps(self) -> None:
        for rank in self.ranks:
            rank.keep_cancelled()
        super()._lose_steps()
        for rank in self._active:
            rank.abandon()

    def _let_fall(self) -> list[Call]:
        return [call for rank in self.ranks for call in rank.let_fall()]

    def _undo_start(self) -> None:
        for rank in self._active:
            rank.undo_start()

    def _blocks_in(self, done: int) -> int:
        # A rank without work in the run holds what it holds.
        held = sum(rank.ledger.held for rank in self.ranks if rank not in self._active)
        return held + sum(rank.blocks_in(done) for rank in self._active)


def parts_of(replica: Replica) -> tuple[Replica, ...]:
    """Name what has a queue, a batch and a KV cache of its own: the ranks, or the replica."""
    return replica.ranks if isinstance(replica, RankedReplica) else (replica,)


def _calls_of(rank: Rank) -> int:
    return rank.waiting + len(rank.running)


def _in_order(call: Call) -> tuple[bool, int]:
    """Completed calls before cancelled ones, by number."""
    return call.outcome != "completed", call.number
