"""How long a run warms up: given, none, or found by pilot replications."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.inputs import Window
from factorysim.metrics.statistics import mser5
from factorysim.run.replication import Job, Outcome

if TYPE_CHECKING:
    from factorysim.spec.scenario import ScenarioSpec

PILOTS = 5
PILOT_NUMBER = 1_000_000
"""Number of the first pilot: their demand is not that of any replication."""

RunJobs = Callable[[Sequence[Job]], Iterator[Outcome]]


class WarmUp(NamedTuple):
    """What is deleted from the front of every replication, and why so much."""

    seconds: float
    how: str
    """`given`, `none`, `mser5`, or `not found`."""
    note: str


def decide_warmup(scenario: ScenarioSpec, run_jobs: RunJobs) -> WarmUp:
    """Decide the warm-up of a scenario; pilots run where it is `auto`.

    Pilots are as long as the window. MSER-5 cuts the average over pilots of the
    number of sessions in the factory, and of calls; the later cut holds. Where it
    finds none in the first half, half a window is deleted and the run says so.
    """
    run = scenario.run
    if run.kind == "terminating":
        return WarmUp(0.0, "none", "terminating: everything counts from the start")
    if run.warmup != "auto":
        return WarmUp(run.warmup, "given", "given in the scenario")
    text = scenario.model_dump_json(by_alias=True)
    jobs = [
        Job(text, PILOT_NUMBER + i, Window(0.0, run.window), run.window, run.window, None)
        for i in range(PILOTS)
    ]
    return from_pilots(list(run_jobs(jobs)), run.window)


def from_pilots(outcomes: Sequence[Outcome], length_s: float) -> WarmUp:
    """Cut the average over pilots of the number in system."""
    import numpy as np

    ordered = sorted(outcomes, key=lambda outcome: outcome.replication)
    cuts: list[float] = []
    for series in zip(*(outcome.presence for outcome in ordered), strict=True):
        mean = np.mean(series, axis=0)
        cut = mser5(mean)
        if cut is None:
            return WarmUp(
                length_s / 2,
                "not found",
                f"MSER-5 finds no steady state in {len(ordered)} pilots of {length_s:g} s: "
                "half of that is deleted; give a longer run.window, or run.warmup",
            )
        cuts.append(cut * length_s / len(mean))
    note = f"MSER-5 on the number in system, mean of {len(ordered)} pilots of {length_s:g} s"
    return WarmUp(max(cuts), "mser5", note)
