"""Runs of steps, walked on the clock: begun, cut, ended, or lost with the device.

A run is a maximal repeat of one step composition. Its end is known when it
starts; something that may change the composition before that cuts it at the end
of the step in progress. Cutting is always safe, so only *not* cutting needs a
reason. What is in a step, and what comes of it, is for kinds of walkers to say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from factorysim.sim.clock import COMPLETION, DECISION, S_PER_FS
from factorysim.sim.step_run import StepRun, lost_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.physics.step import StepLaw
    from factorysim.records import RunNote, RunStart
    from factorysim.sim.clock import Clock
    from factorysim.sim.costs import StepCosts
    from factorysim.sim.standing import Standing
    from factorysim.sim.step_run import Chunk


class Walker(ABC):
    """Steps by a law; a kind of it forms steps (`_schedule`) and credits them (`_complete`).

    `_begin` starts the run that `_schedule` has formed. `_ask` and `_cut` have the next
    one formed, `_look_again` the right one of the two.
    """

    __slots__ = (
        "_costs",
        "_deciding",
        "_end_priority",
        "_generation",
        "_news",
        "_next_law",
        "busy_fs",
        "clock",
        "down",
        "index",
        "law",
        "rows",
        "run",
        "standing",
        "steps",
        "steps_lost",
    )

    def __init__(
        self, clock: Clock, index: int, law: StepLaw, costs: StepCosts, rows: list[RunNote] | None
    ) -> None:
        self.clock = clock
        self.index = index
        self.law = law
        self._costs = costs
        """Of the law; walkers that have the same may share them."""
        self.rows: list[RunNote] = [] if rows is None else rows
        """Of `records.RunNote`; whoever owns the list drains it."""
        self.busy_fs = 0
        """Inside steps, so far (a run in progress not counted)."""
        self.steps = 0
        """Ended."""
        self.steps_lost = 0
        """To failures, in their midst: at most one each."""
        self.down = False
        self.standing: Standing | None = None
        """Its collectives on the network, where its devices straddle servers."""
        self.run = StepRun()
        self._next_law: StepLaw | None = None
        self._news = False
        """Whether the next step is told something before it is formed: a law, for one."""
        self._end_priority = COMPLETION + index
        self._generation = 0
        """Of runs; an end that was due for another one is stale."""
        self._deciding = False

    # What others do to it.

    def change_law(self, law: StepLaw) -> None:
        """Step by another law from the next step on: a power cap, another clock."""
        self._next_law = law
        self._news = True
        self._cut()

    def feel_network(self) -> None:
        """Sample the share of the network anew, from the next step on: it has changed."""
        self._cut()

    def repair(self) -> None:
        """Go on after a failure."""
        self.down = False

    def settle(self) -> None:
        """Credit the steps that ended before now, and stop: the end of a simulation."""
        run, now = self.run, self.clock.now_fs
        if run.steps:
            run.steps = run.ended(now - 1) if now > run.started_fs else 0
            self._generation += 1
            if run.steps:
                self._complete()
            else:
                self._undo_start()

    # What kinds of it say.

    @abstractmethod
    def _schedule(self) -> None:
        """Form the next step, and begin the run of steps like it; or none."""

    @abstractmethod
    def _complete(self) -> None:
        """Credit the run's steps, as many as `run` says, and leave no run in progress."""

    @abstractmethod
    def _undo_start(self) -> None:
        """Give back what the first step of a run has taken, which has not ended."""

    @abstractmethod
    def _blocks_in(self, done: int) -> int:
        """KV blocks held in the run's next step, after so many that are credited."""

    def _adopt_law(self, law: StepLaw) -> None:
        """Step by another law, with answers of its own."""
        assert law.window == self.law.window, "another window is another LLM"
        self._next_law = None
        self.law = law
        self._costs = type(self._costs)(law)

    # Runs.

    def _begin(self, start: RunStart, chunks: Sequence[Chunk], steps: int) -> None:
        """Begin a run of so many steps, at this instant."""
        run, clock = self.run, self.clock
        run.begin(start, chunks, steps, clock.now_fs)
        self._generation = generation = self._generation + 1
        end = clock.now_fs + run.lasts_fs(steps)
        clock.at(end, self._end_priority, self._wake, generation)

    def _wake(self, generation: int) -> None:
        if generation == self._generation:
            self._complete()
            heap = self.clock.heap
            if heap and heap[0][0] == self.clock.now_fs:  # more is due now
                self._ask()
            else:
                self._schedule()

    def _ask(self) -> None:
        """Have the next step scheduled after all else of this instant."""
        if not self._deciding:
            self._deciding = True
            self.clock.at(self.clock.now_fs, DECISION + self.index, self._decide, None)

    def _decide(self, _value: None) -> None:
        self._deciding = False
        if not self.run.steps and not self.down:
            self._schedule()

    def _cut(self) -> None:
        """End the run in progress, if there is one, with the step in progress."""
        run = self.run
        if not run.may_be_cut:
            return
        run.may_be_cut = False
        now = self.clock.now_fs
        steps, end = run.until(now)
        if steps < run.steps:
            run.steps = steps
            self._generation = generation = self._generation + 1
            if end > now:
                self.clock.at(end, self._end_priority, self._wake, generation)
            else:  # a step ended at this very instant, and ends come first
                self._complete()
                self._ask()

    def _look_again(self) -> None:
        """Have the next step scheduled as soon as may be."""
        if self.run.steps:
            self._cut()
        else:
            self._ask()

    def _lose_step(self) -> None:
        """Credit the run's ended steps; the one in progress is lost, its time spent."""
        run, now = self.run, self.clock.now_fs
        done = run.ended(now)
        self._generation += 1
        run.steps = done
        start = run.start()
        blocks = start.kv_blocks
        if done:
            self._complete()
            blocks = self._blocks_in(done)
        run.steps = 0
        lost = now - run.started_fs - run.lasts_fs(done)
        if lost:
            self._note_lost(start, lost, blocks)

    def _note_lost(self, start: RunStart, lost_fs: int, blocks: int) -> None:
        """Write down the time spent on a step that a failure has cut, up to now."""
        self.busy_fs += lost_fs
        self.steps_lost += 1
        self.rows.append(lost_step(start, lost_fs, self.clock.now_fs, blocks))

    def _slowed(self, standing: Standing, first: int, slope: int, tokens: int) -> tuple[int, int]:
        """Stretch a run's steps by the share that its collectives get of the network.

        They ask for what a step sends, over its time. So with a share of a half, which
        is sampled here and holds for the run, what a step sends takes two of its times.
        """
        sent_bytes = tokens * self.law.link_token_bytes / standing.ways
        standing.set_demand(sent_bytes / (first * S_PER_FS))
        share = standing.sample()
        return (first, slope) if share == 1.0 else (round(first / share), round(slope / share))
