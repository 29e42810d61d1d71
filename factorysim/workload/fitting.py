"""A renewal process like the arrivals of a trace: its rate, and the likeliest law of its gaps."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, TraceError
from factorysim.spec.arrivals import CV_MOST, FittedArrivals
from factorysim.workload.renewal import WeibullGaps, weibull_shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from factorysim.spec.arrivals import Family
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.stream import StreamSpec

    Floats = npt.NDArray[np.float64]

GAPS_MOST = 200_000
"""Gaps that the likelihood is taken of: of more, every k-th."""
SESSIONS_LEAST = 10
CV_LEAST = 0.05
_TINY = 1e-300


class Fit(NamedTuple):
    """What was found in the arrivals of a trace."""

    family: Family
    rate: float
    """Sessions a second."""
    cv: float
    gain: float
    """Log-likelihood of a gap, above that of the other family."""
    sessions: int
    at_once: float
    """Share of the gaps that are 0."""


def fit_renewal(times_ns: Iterable[int], family: Family | None = None) -> Fit:
    """Fit a gamma and a Weibull renewal process to arrivals, and take the likelier.

    The rate is that of the arrivals, and the `cv` maximises the likelihood of their gaps.
    Where some gaps are 0, times were recorded on a grid, and the likelihood is that
    of each gap within half a step of it; the step is the smallest gap above 0.

    Parameters
    ----------
    times_ns
        In order of time, at least ten, not all the same.
    family
        Fit this one only.

    Raises
    ------
    ValueError
        If there are fewer, or no time passes.

    Examples
    --------
    >>> from itertools import islice
    >>> from factorysim.spec.arrivals import GammaArrivals
    >>> from factorysim.workload.arrivals import arrival_times
    >>> spec = GammaArrivals(process="gamma", rate="3/s", cv=2.0)
    >>> found = fit_renewal(islice(arrival_times(spec, 1, 0, "s"), 5000))
    >>> found.family, round(found.rate), round(found.cv, 1)
    ('gamma', 3, 2.0)
    """
    import numpy as np

    times = np.array(array("q", times_ns), dtype=np.int64)
    if len(times) < SESSIONS_LEAST:
        raise ValueError(f"{len(times)} sessions, of which at least {SESSIONS_LEAST} are needed")
    gaps = np.diff(times).astype(np.float64) / 1e9
    spread_s = float(gaps.sum())
    if spread_s <= 0.0:
        raise ValueError(f"{len(times)} sessions that all come at once")
    rate = len(gaps) / spread_s
    at_once = float((gaps == 0.0).mean())
    step = float(gaps[gaps > 0.0].min()) * rate if at_once else None
    sample = gaps[:: -(-len(gaps) // GAPS_MOST)] * rate
    families: tuple[Family, ...] = ("gamma", "weibull")
    found = {one: _likeliest(one, sample, step) for one in families}
    likelier: Family = "gamma" if found["gamma"][1] >= found["weibull"][1] else "weibull"
    best = likelier if family is None else family
    other: Family = "weibull" if best == "gamma" else "gamma"
    gain = found[best][1] - found[other][1]
    return Fit(best, rate, found[best][0], gain, len(times), at_once)


def _likeliest(family: Family, gaps: Floats, step: float | None) -> tuple[float, float]:
    """Find the cv that makes gaps with a mean of 1 likeliest, and the mean log-likelihood."""
    from math import exp, log

    from scipy.optimize import minimize_scalar

    def loss(log_cv: float) -> float:
        return -_log_likelihood(family, exp(log_cv), gaps, step)

    # Coarse first: on a grid of times there may be more than one peak.
    low, high, parts = log(CV_LEAST), log(CV_MOST), 24
    coarse = [low + (high - low) * part / parts for part in range(parts + 1)]
    best = min(coarse, key=loss)
    width = (high - low) / parts
    bounds = (max(low, best - width), min(high, best + width))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return exp(float(found.x)), -float(found.fun)


def _log_likelihood(family: Family, cv: float, gaps: Floats, step: float | None) -> float:
    """Mean over the gaps; of their densities, or of the chance that they lie in a step."""
    import numpy as np

    if step is None:
        return float(np.mean(_log_density(family, cv, gaps)))
    alike, counts = np.unique(gaps, return_counts=True)
    low = _tail(family, cv, np.maximum(alike - step / 2.0, 0.0))
    high = _tail(family, cv, alike + step / 2.0)
    return float(np.average(np.log(np.maximum(low - high, _TINY)), weights=counts))


def _log_density(family: Family, cv: float, gaps: Floats) -> Floats:
    import numpy as np
    from scipy.special import gammaln

    if family == "gamma":
        shape, scale = 1.0 / cv**2, cv**2
        constant = gammaln(shape) + shape * np.log(scale)
        density: Floats = (shape - 1.0) * np.log(gaps) - gaps / scale - constant
        return density
    law = WeibullGaps(weibull_shape(cv))
    units: Floats = gaps / law.scale
    power: Floats = np.log(law.shape / law.scale) + (law.shape - 1.0) * np.log(units)
    return power - units**law.shape


def _tail(family: Family, cv: float, gaps: Floats) -> Floats:
    """Chance of a longer gap."""
    import numpy as np
    from scipy.special import gammaincc

    if family == "gamma":
        return np.asarray(gammaincc(1.0 / cv**2, gaps / cv**2), dtype=np.float64)
    law = WeibullGaps(weibull_shape(cv))
    return np.asarray(np.exp(-((gaps / law.scale) ** law.shape)), dtype=np.float64)


def with_fits(scenario: ScenarioSpec) -> ScenarioSpec:
    """Fill in what processes that are fitted to a trace find there.

    Raises
    ------
    TraceError
        If a trace has no clock, or too few sessions to fit anything to.
    """
    streams = {
        name: stream.model_copy(update={"arrivals": fitted(name, stream, stream.arrivals)})
        for name, stream in scenario.streams.items()
        if isinstance(stream.arrivals, FittedArrivals)
    }
    return scenario.model_copy(update={"streams": scenario.streams | streams})


def fitted(
    name: str, stream: StreamSpec, arrivals: FittedArrivals, path: Path | None = None
) -> FittedArrivals:
    """Fill in a process from the trace of its stream; what is given stays.

    Raises
    ------
    TraceError
        If its trace has no clock, or too few sessions to fit anything to.
    """
    from itertools import islice

    from factorysim.workload.traces import read_trace

    if None not in (arrivals.family, arrivals.rate, arrivals.cv):
        return arrivals
    recorded = islice(read_trace(path or Path(stream.trace or ""), stream.format), stream.limit)
    try:
        found = fit_renewal((one.at_ns for one in recorded), arrivals.family)
    except ValueError as error:
        cure = "give it a process with a rate, for example `{process: gamma, rate: 2/s}`"
        expected = "a trace with a clock, to fit arrivals to"
        raise TraceError(Fault(f"streams.{name}", "arrivals", str(error), expected, cure)) from None
    return arrivals.model_copy(
        update={
            "family": found.family,
            "rate": arrivals.rate or found.rate * stream.speed,
            "cv": arrivals.cv or found.cv,
        }
    )
