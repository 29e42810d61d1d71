"""Renewal processes of unit rate: gamma and Weibull gaps, stationary from the start."""

from __future__ import annotations

from functools import cache
from math import lgamma, log1p
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

BLOCK = 4096


class Gaps(Protocol):
    """The law of gaps with a mean of 1."""

    def draw(self, generator: np.random.Generator, count: int) -> Floats:
        """Draw gaps."""
        ...

    def residual(self, generator: np.random.Generator) -> float:
        """Draw what is left, at a fixed instant, of the gap that covers it."""
        ...


class GammaGaps(NamedTuple):
    """Gamma gaps; `cv` is their standard deviation over their mean, above 0."""

    cv: float

    def draw(self, generator: np.random.Generator, count: int) -> Floats:
        """Draw gaps."""
        return generator.standard_gamma(1.0 / self.cv**2, count) * self.cv**2

    def residual(self, generator: np.random.Generator) -> float:
        """Draw what is left: the gap that covers an instant is gamma(shape + 1)."""
        uniform = generator.random()
        return uniform * generator.standard_gamma(1.0 / self.cv**2 + 1.0) * self.cv**2


class WeibullGaps(NamedTuple):
    """Weibull gaps of a shape; below 1 they are burstier than exponential ones.

    The gap that covers an instant has the density ``x f(x)``, under which ``(x / scale) **
    shape`` is gamma with ``1 + 1 / shape``: a change of variables in the length-biased law.
    """

    shape: float

    @property
    def scale(self) -> float:
        """Such that the mean is 1."""
        from math import exp

        return exp(-lgamma(1.0 + 1.0 / self.shape))

    def draw(self, generator: np.random.Generator, count: int) -> Floats:
        """Draw gaps."""
        return generator.weibull(self.shape, count) * self.scale

    def residual(self, generator: np.random.Generator) -> float:
        """Draw what is left of the gap that covers an instant."""
        inverse = 1.0 / self.shape
        uniform = generator.random()
        return float(uniform * generator.standard_gamma(1.0 + inverse) ** inverse * self.scale)


@cache
def weibull_shape(cv: float) -> float:
    """Shape of the Weibull law whose standard deviation over mean is `cv`.

    Solves ``gamma(1 + 2/k) / gamma(1 + 1/k)**2 = 1 + cv**2`` for k.

    Raises
    ------
    ValueError
        If no shape from 0.05 to 1000 has it.

    Examples
    --------
    >>> round(weibull_shape(1.0), 9), round(weibull_shape(2.0), 3)
    (1.0, 0.543)
    """
    from scipy.optimize import brentq

    def excess(shape: float) -> float:
        inverse = 1.0 / shape
        return lgamma(1.0 + 2.0 * inverse) - 2.0 * lgamma(1.0 + inverse) - log1p(cv**2)

    try:
        return float(brentq(excess, 0.05, 1000.0, xtol=1e-14, rtol=1e-14))
    except ValueError:
        raise ValueError(f"no Weibull law has a cv of {cv:g}") from None


def gaps_of(family: Literal["gamma", "weibull"], cv: float) -> Gaps:
    """Make the law of a family that has a coefficient of variation."""
    return GammaGaps(cv) if family == "gamma" else WeibullGaps(weibull_shape(cv))


def renewal_times(
    generator: np.random.Generator, gaps: Gaps, first: int = BLOCK
) -> Iterator[float]:
    """Instants of a stationary renewal process of rate 1, for ever.

    The first gap is the residual of a gap that was under way at time 0, so the
    expected number of instants up to t is t from the start [1]_.

    Parameters
    ----------
    first
        How many are drawn at first; each block is twice as long, up to `BLOCK`.

    References
    ----------
    .. [1] Cox, Renewal Theory, 1962, section 5.2 (equilibrium renewal process).

    Examples
    --------
    >>> from itertools import islice
    >>> from factorysim.rng import stream
    >>> times = list(islice(renewal_times(stream(7), WeibullGaps(0.5)), 3))
    >>> times == sorted(times) and times[0] > 0
    True
    """
    import numpy as np

    count = first
    drawn = gaps.draw(generator, count)
    drawn[0] = gaps.residual(generator)
    now = 0.0
    while True:
        times = now + np.cumsum(drawn)
        yield from times.tolist()
        now = float(times[-1])
        count = min(2 * count, BLOCK)
        drawn = gaps.draw(generator, count)


def window_times(generator: np.random.Generator, gaps: Gaps, length: float) -> list[float]:
    """Instants below `length` of a stationary renewal process of rate 1.

    Examples
    --------
    >>> from factorysim.rng import stream
    >>> window_times(stream(7), GammaGaps(1.0), 2.5)[-1] < 2.5
    True
    """
    import numpy as np

    now = gaps.residual(generator)
    parts: list[Floats] = []
    while now < length:
        count = int(min(length - now + 3.0 * (length - now) ** 0.5 + 16.0, 64 * BLOCK))
        times = now + np.concatenate(([0.0], np.cumsum(gaps.draw(generator, count))))
        # The last one begins the next block.
        parts.append(times[:-1])
        now = float(times[-1])
    if not parts:
        return []
    times = np.concatenate(parts)
    below: list[float] = times[: np.searchsorted(times, length)].tolist()
    return below
