"""When the sessions of a stream arrive."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factorysim.spec.base import PerSecond, Seconds, Spec


class PoissonArrivals(Spec):
    """Independent sessions at a mean rate."""

    process: Literal["poisson"]
    rate: PerSecond


class GammaArrivals(Spec):
    """A gamma renewal process: `cv` above 1 is burstier than Poisson."""

    process: Literal["gamma"]
    rate: PerSecond
    cv: float = Field(default=2.0, ge=0.01, le=20.0)


class TraceArrivals(Spec):
    """The times that a trace recorded."""

    process: Literal["trace"] = "trace"


class FixedConcurrency(Spec):
    """So many sessions at any time: the next starts when one ends."""

    process: Literal["fixed_concurrency"]
    concurrency: int = Field(ge=1, le=10_000_000)
    think: Seconds = 0.0
    """Pause before the next session starts."""


Arrivals = Annotated[
    PoissonArrivals | GammaArrivals | TraceArrivals | FixedConcurrency,
    Field(discriminator="process"),
]
