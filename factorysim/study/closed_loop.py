"""When a closed loop has settled, and running it: so many calls at any time.

All calls start at once, as a benchmark's clients do, and each that ends is followed
by the next. They spread out slowly, over ten waves or more (a wave is as many calls as
are in flight), and TTFT drifts by 10-30 % while they do. So a first pass looks for
the start of the steady state: MSER-5 on the TTFT of calls in their order, two waves at
least. The second pass measures from that completion to another, whole waves
later, while further calls keep the factory full: neither start-up nor run-down is
in any number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.inputs import Window

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.records import Closing
    from factorysim.run.prepare import Prepared
    from factorysim.store import MemorySink
    from factorysim.workload.demand import Demand

    Floats = npt.NDArray[np.float64]

STREAM = "calls"
WAVES_BEFORE = 2
"""Waves of completions that are left out at the start, at least."""
WAVES_AFTER = 4
"""Waves behind the measured ones: those in flight end, and still meet a full factory."""
LOOK_CALLS, LOOK_WAVES = 10_000, (8, 30)
"""Calls of the first pass, and bounds on them in waves; the start-up may take half."""
CALLS_LEAST = 400
"""Calls looked at and, unless asked otherwise, measured: as many as a p95 needs."""
FOREVER_S = 1e15


class Settled(NamedTuple):
    """What to measure, once it is steady."""

    window: Window
    horizon_s: float
    """All calls that arrive in the window are back."""
    left_out: int
    """Completions before the window."""
    drifts: bool
    """Whether no steady state was found: then half of the first pass is left out."""


def find_window(prepared: Prepared, concurrency: int, calls: int | None) -> Settled:
    """Run once to see when the loop has settled.

    Parameters
    ----------
    calls
        To measure, rounded up to whole waves; None: half of the first pass and
        400 at least.
    """
    import numpy as np

    from factorysim.store import MemorySink

    waves = min(max(LOOK_CALLS // concurrency, LOOK_WAVES[0]), LOOK_WAVES[1])
    look = max(waves * concurrency, CALLS_LEAST)
    measured = whole_waves(calls or max(look // 2, CALLS_LEAST), concurrency)
    behind = look // 2 + measured + WAVES_AFTER * concurrency
    sink = MemorySink()
    run_loop(prepared, sink, FOREVER_S, max(look, behind))
    table = sink.columns("calls")
    order = np.argsort(table["call"])[:look]
    ttft = (table["first_token_s"] - table["arrived_s"])[order]
    left_out, drifts = start_of_steady(ttft, concurrency)
    finished = np.sort(table["finished_s"])
    window = Window(float(finished[left_out - 1]), float(finished[left_out + measured - 1]))
    last_s = float(table["finished_s"][table["arrived_s"] < window.end_s].max())
    return Settled(window, last_s * (1 + 1e-9), left_out, drifts)


def whole_waves(calls: int, concurrency: int) -> int:
    """Round up to whole waves.

    Examples
    --------
    >>> whole_waves(400, 64)
    448
    """
    return -(-calls // concurrency) * concurrency


def start_of_steady(ttft: Floats, concurrency: int) -> tuple[int, bool]:
    """Completions to leave out, in whole waves, and whether no steady state was found.

    Parameters
    ----------
    ttft
        Of what was looked at, in the order in which it began.
    """
    import numpy as np

    from factorysim.metrics.statistics import mser5

    least = WAVES_BEFORE * concurrency
    if np.ptp(ttft[least:]) <= 1e-9 * ttft.max():
        return least, False
    cut = mser5(ttft)
    if cut is None:
        return max(least, len(ttft) // 2 // concurrency * concurrency), True
    return max(least, whole_waves(cut, concurrency)), False


def run_loop(prepared: Prepared, sink: MemorySink, horizon_s: float, limit: int | None) -> Closing:
    """Run the one stream of an operating point.

    Parameters
    ----------
    limit
        Calls after which no more come; None: they come until the horizon.
    """
    from factorysim.workload.demand import build_demand

    scenario = prepared.scenario
    stream = scenario.streams[STREAM].model_copy(update={"limit": limit})
    demand = build_demand(STREAM, stream, seed=scenario.run.seed, replication=0)
    return run_demand(prepared, demand, sink, horizon_s)


def run_demand(prepared: Prepared, demand: Demand, sink: MemorySink, horizon_s: float) -> Closing:
    """Run a demand on the one stream of an operating point."""
    from factorysim.sim.factory import run_replication

    return run_replication(
        prepared.scenario,
        prepared.plan,
        [demand],
        replication=0,
        horizon_s=horizon_s,
        arrivals_end_s=horizon_s,
        sink=sink,
    )
