"""The fixed law: a step lasts what the scenario says, for teaching and for queueing theory."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.physics.step import FS_PER_S, Activity, Piece

if TYPE_CHECKING:
    from factorysim.physics.step import StepRuns
    from factorysim.spec.law import Distribution, FixedLaw

_EDGE = 2.0**-53
"""A uniform is kept this far from 0 and 1, where inverse distributions are infinite."""


class ConstantLaw(NamedTuple):
    """`StepLaw` of given times; prompts and decodes cost nothing beyond them."""

    times: Distribution | None
    """Drawn for each prompt that ends."""
    decode_fs: int
    window: int | None = None
    window_fs: int = 0
    draws: bool = False
    link_token_bytes: float = 0.0
    """A given time has its collectives in it."""

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        """Time of a step with decodes; 1 fs for one without, since no step is free."""
        return max(1, self.decode_fs if decodes else 0)

    def piece(self, decodes: int, context: int) -> Piece:
        """Context costs nothing."""
        return Piece(0, 0, None)

    def chunk(self, tokens: int, prior: int) -> int:
        """Prompts cost nothing by length."""
        return 0

    def chunk_slope(self, tokens: int) -> int | None:
        """Prior tokens cost nothing."""
        return 0

    def prompt(self, u: float) -> int:
        """Femtoseconds drawn for a prompt, by the inverse distribution at `u`."""
        return 0 if self.times is None else round(quantile(self.times, u) * FS_PER_S)

    def activity(self, runs: StepRuns) -> Activity:
        """Nothing is known of what such steps do: zeros."""
        return no_activity(runs)


def fixed_law(spec: FixedLaw) -> ConstantLaw:
    """Law of a `FixedLaw` of a scenario.

    Examples
    --------
    >>> from factorysim.spec.law import FixedLaw
    >>> law = fixed_law(FixedLaw(kind="fixed", decode="20 ms"))
    >>> law.base(8, 0, 0, 8)
    20000000000000
    """
    decode_fs = round(spec.decode * FS_PER_S)
    return ConstantLaw(spec.prompt, decode_fs, draws=spec.prompt is not None)


def quantile(times: Distribution, u: float) -> float:
    """Inverse of a distribution at `u`, in seconds.

    Examples
    --------
    >>> from factorysim.spec.law import Distribution
    >>> round(quantile(Distribution(kind="exponential", mean="1 s"), 0.5), 6)
    0.693147
    """
    u = min(max(u, _EDGE), 1.0 - _EDGE)
    mean, cv = times.mean, times.cv
    if times.kind == "exponential":
        return -mean * math.log1p(-u)
    if times.kind == "deterministic" or cv == 0.0:
        return mean
    if times.kind == "uniform":
        return mean * (1.0 + cv * math.sqrt(3.0) * (2.0 * u - 1.0))
    if times.kind == "lognormal":
        variance = math.log1p(cv * cv)
        deviation = math.sqrt(variance) * NormalDist().inv_cdf(u)
        return mean * math.exp(deviation - variance / 2)
    from scipy.special import gammaincinv

    return mean * cv * cv * float(gammaincinv(1.0 / (cv * cv), u))


def no_activity(runs: StepRuns) -> Activity:
    """Activity of a law that knows durations only."""
    zeros = [np.zeros(len(runs.steps)) for _ in Activity._fields]
    return Activity(*zeros)
