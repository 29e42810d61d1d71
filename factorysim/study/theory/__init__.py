"""The simulator against theory: queues built from its own parts, and laws of conservation."""

from factorysim.study.theory.row import TheoryRow
from factorysim.study.theory.scorecard import (
    FAST,
    FAST_REPLICATIONS,
    REPLICATIONS,
    ids,
    stations,
    theory_rows,
)

__all__ = [
    "FAST",
    "FAST_REPLICATIONS",
    "REPLICATIONS",
    "TheoryRow",
    "ids",
    "stations",
    "theory_rows",
]
