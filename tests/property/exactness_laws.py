"""Laws of step time for the exactness tests: small integers, every term in use."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from factorysim.physics.step import Activity, Piece, StepRuns


@dataclass(frozen=True)
class LinearLaw:
    """Linear in context; a sliding window where `window` is given."""

    per_step: int = 1000
    per_decode: int = 7
    per_prompt_token: int = 11
    per_prompt: int = 13
    per_emitting: int = 17
    fixed: int = 0
    slope: int = 3
    window: int | None = None
    window_fs: int = 0
    chunk_fs: int = 2
    prior_fs: int = 5
    pair_fs: int = 1
    """Per (query, earlier key) pair: with it, the slope depends on the chunk's size."""
    drawn_fs: int = 0

    @property
    def draws(self) -> bool:
        return self.drawn_fs > 0

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        return (
            self.per_step
            + self.per_decode * decodes
            + self.per_prompt_token * prompt_tokens
            + self.per_prompt * prompts
            + self.per_emitting * emitting
        )

    def piece(self, decodes: int, context: int) -> Piece:
        return Piece(self.fixed, self.slope, None)

    def chunk(self, tokens: int, prior: int) -> int:
        return self.chunk_fs * tokens + self.prior_fs * prior + self.pair_fs * tokens * prior

    def chunk_slope(self, tokens: int) -> int | None:
        return self.prior_fs + self.pair_fs * tokens

    def prompt(self, u: float) -> int:
        return int(self.drawn_fs * u)

    def activity(self, runs: StepRuns) -> Activity:
        nothing = np.zeros(runs.steps.shape)
        return Activity(nothing, nothing, nothing, nothing, nothing, nothing)


@dataclass(frozen=True)
class WindowChunkLaw(LinearLaw):
    """Prompts too read no further back than the window: not linear in what came before."""

    def chunk(self, tokens: int, prior: int) -> int:
        width = tokens + prior if self.window is None else self.window
        reads = sum(min(prior + query, width) for query in range(1, tokens + 1))
        return self.chunk_fs * tokens + (self.prior_fs + self.pair_fs) * reads

    def chunk_slope(self, tokens: int) -> int | None:
        return None


@dataclass(frozen=True)
class PiecewiseLaw(LinearLaw):
    """Pieces between knots, as in a user's table; they need not meet."""

    knots: tuple[int, ...] = (20, 45, 46, 130)
    """First context of the second, third, ... piece, for one decode."""
    pieces: tuple[tuple[int, int], ...] = ((0, 3), (200, 9), (90, 0), (5, 4), (400, 1))
    """(fixed, slope) of each piece."""
    knots_per_decode: int = 0
    """By which each further decode moves the knots."""

    def piece(self, decodes: int, context: int) -> Piece:
        knots = [knot + self.knots_per_decode * (decodes - 1) for knot in self.knots]
        index = bisect_right(knots, context)
        fixed, slope = self.pieces[index]
        return Piece(fixed, slope, knots[index] if index < len(knots) else None)
