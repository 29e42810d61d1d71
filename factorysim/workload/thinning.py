"""Draws by a session's ordinal: whether it comes at all, and how its user pauses after it."""

from __future__ import annotations

from itertools import repeat
from math import log1p, sqrt
from typing import TYPE_CHECKING, assert_never

from factorysim.spec.arrivals import FixedConcurrency, ThinkSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.spec.arrivals import Arrivals

BLOCK = 4096
UNIFORM_CV = 0.5
"""Of uniform pauses that give none: from 13 % of the mean to 187 %."""


def kept(share: float, seed: int, name: str) -> Iterator[bool]:
    """Tell of session after session whether it is among a share of them.

    Its uniform is keyed by its ordinal alone, so a larger share has all that a smaller
    one has; it is the same in all replications, so a trace stays one trace.

    Examples
    --------
    >>> from itertools import islice
    >>> few, more = (list(islice(kept(share, 7, "s"), 1000)) for share in (0.3, 0.6))
    >>> all(b for a, b in zip(few, more) if a), 250 < sum(few) < 350
    (True, True)
    """
    from factorysim.rng import stream

    if share >= 1.0:
        yield from repeat(True)
    generator = stream(seed, name, "share")
    while True:
        yield from (generator.random(BLOCK) < share).tolist()


def think_times(arrivals: Arrivals, seed: int, replication: int, name: str) -> Iterator[int | None]:
    """Give the pause after session after session, in nanoseconds; None: the demand's own."""
    if not isinstance(arrivals, FixedConcurrency) or not isinstance(arrivals.think, ThinkSpec):
        yield from repeat(None)
        return
    import numpy as np
    from scipy.special import ndtri

    from factorysim.rng import stream

    think = arrivals.think
    generator = stream(seed, replication, name, "think")
    mean_ns = think.mean * 1e9
    while True:
        uniforms = generator.random(BLOCK)
        match think.kind:
            case "exponential":
                times = -np.log1p(-uniforms) * mean_ns
            case "lognormal":
                sigma = sqrt(log1p((1.0 if think.cv is None else think.cv) ** 2))
                times = np.exp(sigma * ndtri(uniforms) - sigma**2 / 2.0) * mean_ns
            case "uniform":
                half = sqrt(3.0) * (UNIFORM_CV if think.cv is None else think.cv)
                times = (1.0 + half * (2.0 * uniforms - 1.0)) * mean_ns
            case _:
                assert_never(think.kind)
        yield from np.rint(times).astype(np.int64).tolist()
