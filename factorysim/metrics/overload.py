"""Is the backlog growing? A test over replications, beside the load itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from factorysim.metrics.replication import Replication

LEVEL = 0.01
"""Significance of the test, one-sided."""
GROWTH_MIN = 0.02
"""Share of the arrivals that must pile up to be called overload."""


FULL = 0.9
"""Load of the fullest pool from which on a growing backlog is its fault."""


class Overload(NamedTuple):
    """What the backlog did over the window, and how full the factory was."""

    state: Literal["steady", "overloaded", "unsettled"]
    """`unsettled`: it grows although no pool is full, so the run is too short for its
    sessions to say."""
    growth_share: float
    """Sessions that pile up per session that arrives; median over replications."""
    p_value: float
    """Of no growth."""
    load: float | None
    """`saturation`, mean over replications."""

    def __str__(self) -> str:
        share = f"{max(0.0, self.growth_share):.0%} of arriving sessions pile up"
        full = "" if self.load is None else f", the fullest pool is {self.load:.0%} full"
        longer = "; a longer run would tell" if self.state == "unsettled" else ""
        return f"{share} (p = {self.p_value:.1g} for none){full}{longer}"


def overload(replications: Sequence[Replication]) -> Overload:
    """Test whether sessions pile up faster than chance explains.

    The slope of the number present over the window is taken per replication by
    Theil and Sen (half the bins may be outliers). From three replications on, the
    slopes are independent and a t-test decides; with fewer, the rank correlation of
    blocks of bins with time (Kendall) does, which is weaker.

    References
    ----------
    .. [1] Sen, "Estimates of the regression coefficient based on Kendall's tau",
       JASA 63 (1968).
    """
    import numpy as np
    from scipy import stats

    slopes = [_slope(r) for r in replications]
    rates = [r.arrival_rate for r in replications]
    share = float(np.median([s / r if r > 0 else 0.0 for s, r in zip(slopes, rates, strict=True)]))
    if len(slopes) >= 3 and np.std(slopes) > 0:
        p_value = float(stats.ttest_1samp(slopes, 0.0, alternative="greater").pvalue)
    else:
        p_value = max(_trend_p(r) for r in replications)
    loads = [
        float(v.value)
        for r in replications
        for v in r.values
        if v.name == "saturation" and v.value is not None
    ]
    load = sum(loads) / len(loads) if loads else None
    return Overload(_state(p_value < LEVEL and share > GROWTH_MIN, load), share, p_value, load)


def _state(grows: bool, load: float | None) -> Literal["steady", "overloaded", "unsettled"]:
    if not grows:
        return "steady"
    return "overloaded" if load is None or load >= FULL else "unsettled"


def _slope(replication: Replication) -> float:
    """Sessions a second by which the backlog grows."""
    from scipy import stats

    bins = len(replication.backlog)
    return float(stats.theilslopes(replication.backlog).slope) * bins / replication.length_s


def _trend_p(replication: Replication) -> float:
    """Kendall's test on ten blocks: neighbouring bins depend on each other."""
    import numpy as np
    from scipy import stats

    blocks = [float(part.mean()) for part in np.array_split(np.array(replication.backlog), 10)]
    if len(set(blocks)) == 1:
        return 1.0
    return float(stats.kendalltau(range(10), blocks, alternative="greater").pvalue)
