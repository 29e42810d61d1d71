"""What a law has answered so far, for all replicas that step by it.

Step costs recur: a law is asked once for what token counts alone cost, and once
for chunks of a size. Replicas of one deployment share the answers, since a size
that one of a hundred has met is likely to come up at the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from factorysim.physics.step import StepLaw

MOST_ANSWERS = 1 << 16
"""That are remembered of a kind."""

Counts: TypeAlias = tuple[int, int, int, int]
"""Decodes, prompt tokens, prompts, sequences that emit: the arguments of `StepLaw.base`."""


class StepCosts:
    """Answers of one law, asked for when they are missing."""

    __slots__ = ("bases", "chunks", "law")

    def __init__(self, law: StepLaw) -> None:
        self.law = law
        self.bases: dict[Counts, int] = {}
        self.chunks: dict[int, tuple[int, int | None]] = {}
        """By tokens: what a chunk costs, and what more for each prior token."""

    def base(self, counts: Counts) -> int:
        """Ask what a step costs apart from attention."""
        if len(self.bases) >= MOST_ANSWERS:
            self.bases.clear()
        base = self.bases[counts] = self.law.base(*counts)
        return base

    def chunk(self, tokens: int) -> tuple[int, int | None]:
        """Ask what chunks of a size cost."""
        if len(self.chunks) >= MOST_ANSWERS:
            self.chunks.clear()
        law = self.law
        cost = self.chunks[tokens] = (law.chunk(tokens, 0), law.chunk_slope(tokens))
        return cost
