"""A run of steps that goes on: its instants, told from its first step and its growth.

Durations are integers and sums of them exact, so what is told here of a run of a
thousand steps is what walking them one by one would give.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, TypeAlias

from factorysim.records import RunStart
from factorysim.sim.clock import S_PER_FS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.records import RunNote
    from factorysim.sim.call import Call

Chunk: TypeAlias = "tuple[Call, int, int]"
"""Of a prompt in a step: whose, how many tokens, and how many are cached before them."""
NO_CHUNKS: Sequence[Chunk] = ()
NOT_BEGUN = RunStart(*(0,) * len(RunStart._fields))


class StepRun:
    """The run in progress. A walker has one, and begins it anew: to make one costs more."""

    __slots__ = (
        "begun",
        "chunks",
        "decodes",
        "first_tokens",
        "late_gaps",
        "may_be_cut",
        "slope_fs",
        "started_fs",
        "step_fs",
        "steps",
    )

    def __init__(self) -> None:
        self.steps = 0
        """Until its end, as that is known; 0 when no run is in progress."""
        self.may_be_cut = False
        """Whether it goes on after the step in progress."""
        self.started_fs = 0
        self.begun: tuple[int, ...] = NOT_BEGUN
        """To be written down of it: a `RunStart`, perhaps without its names."""
        self.step_fs = 0
        """Duration of its first step."""
        self.slope_fs = 0
        """By which each next step is longer."""
        self.decodes = 0
        self.chunks = NO_CHUNKS
        """Of prompts, in the first step."""
        self.late_gaps: list[tuple[object, ...]] = []
        """Rows of gaps that end with the first step (where joiners are noted)."""
        self.first_tokens: list[Call] = []
        """Calls that make their first token in it, since their prompt was computed elsewhere."""

    def begin(self, start: RunStart, chunks: Sequence[Chunk], steps: int, now_fs: int) -> None:
        """Be a run of so many steps from an instant on."""
        self.begun = start
        self.step_fs, self.slope_fs, self.decodes = start.step_fs, start.slope_fs, start.decodes
        self.chunks = chunks
        self.started_fs = now_fs
        self.steps = steps
        self.may_be_cut = steps > 1

    def start(self) -> RunStart:
        """Tell what its first step is, and by how much each next one grows."""
        return RunStart._make(self.begun)

    def lasts_fs(self, steps: int) -> int:
        """Duration of its first steps, so many of them."""
        return steps * self.step_fs + self.slope_fs * (steps * (steps - 1) // 2)

    def until(self, now_fs: int) -> tuple[int, int]:
        """Count the steps up to and with the one in progress, and tell when that ends.

        That is to invert the sum of their durations.
        A step that ends at this very instant is in progress still.
        """
        first, slope, start = self.step_fs, self.slope_fs, self.started_fs
        elapsed = now_fs - start
        if not slope:
            steps = -(-elapsed // first) or 1
            return steps, start + steps * first
        # The root in floating point, in the form that does not cancel, is off by one at
        # most, which the integers mend; their own root of such numbers takes 2 us.
        half = first - slope / 2
        root = sqrt(half * half + 2.0 * slope * elapsed)
        steps = int(2 * elapsed / (half + root) if half > 0 else (root - half) / slope)
        end = steps * first + slope * (steps * (steps - 1) // 2)
        while end > elapsed:
            steps -= 1
            end -= first + slope * steps
        while end < elapsed or not steps:
            end += first + slope * steps
            steps += 1
        return steps, start + end

    def ended(self, now_fs: int) -> int:
        """Count the steps that have ended, one that ends at this very instant among them."""
        steps, end_fs = self.until(now_fs)
        return steps if end_fs == now_fs else steps - 1


def blocks_after(chunks: Sequence[Chunk], done: int, block_tokens: int) -> int:
    """Blocks that a run's next step takes for chunks, after so many steps that are done."""
    blocks = 0
    for _, tokens, prior in chunks:
        before = prior + done * tokens
        blocks += -(-(before + tokens) // block_tokens) - -(-before // block_tokens)
    return blocks


def lost_step(begun: RunStart, lost_fs: int, now_fs: int, blocks: int) -> RunNote:
    """Write down a step that a failure has cut: it took time and made nothing."""
    start = NOT_BEGUN._replace(
        replica=begun.replica,
        step_fs=lost_fs,
        decodes=begun.decodes,
        prompts=begun.prompts,
        waiting=begun.waiting,
        kv_blocks=blocks,
        apart=begun.decodes,
    )
    return (1, (now_fs - lost_fs) * S_PER_FS, now_fs * S_PER_FS, 0, 0, 0, start)
