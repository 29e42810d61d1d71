"""How to run a scenario."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from factorysim.spec.base import PositiveSeconds, Seconds, SecondsOrAuto, Spec


class RunSpec(Spec):
    """How to run: window, warm-up, replications, seed."""

    kind: Literal["steady_state", "terminating"] = "steady_state"
    window: PositiveSeconds = 600.0
    warmup: SecondsOrAuto = "auto"
    drain: Seconds = 300.0
    replications: int = Field(default=5, ge=1, le=10_000)
    seed: int = Field(default=1, ge=0, lt=2**63)
    clock: Literal["run_length", "stepwise"] = "run_length"
    bins: int = Field(default=200, ge=1, le=100_000)
    """Of the time series over the whole run."""
