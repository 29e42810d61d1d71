"""Runs of steps at the edges of the window: what of them belongs to the steps that end inside.

A step belongs to the window in which it ends, as the tokens that it makes do; one that ends
with the window is the window's. So a run that straddles an edge is cut between two of its
steps, and a run of a thousand steps counts like a thousand runs of one. How many of its steps
ended by an edge is the sum of their durations, inverted; what those did is in closed form, or
asked of the law as the columns of the whole run were.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from factorysim.metrics.inputs import Derive, Window
    from factorysim.physics.speculation import Pace
    from factorysim.store import Columns

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

ROUNDING_S = 1e-9
"""Instants are float seconds, rounded: what ends within this after an edge ends at the edge."""
FS_PER_S = 10**15
SUMS = (
    "steps", "prompt_tokens", "emitted_tokens", "accepted_tokens",
    "flops", "bytes_moved", "active_j",
    "partner_flops", "partner_bytes_moved", "partner_active_j",
)  # fmt: skip
"""Columns that are sums over the steps of a run."""
OF_FIRST = ("survivors", "stall_fs", "apart")
"""Columns that are of the first step of a run."""


def ends_inside(ended_s: Floats, window: Window) -> Bools:
    """Tell what ends in the window."""
    mask: Bools = (ended_s > window.start_s + ROUNDING_S) & (ended_s <= window.end_s + ROUNDING_S)
    return mask


def steps_inside(
    runs: Columns, window: Window, derive: Derive, pace: Pace | None, verifies: Ints | None
) -> Columns:
    """Cut runs to their steps that end in the window; those without any leave.

    Parameters
    ----------
    runs
        Of one deployment.
    derive
        Gives the columns that a law adds, as those of `runs` were made.
    pace, verifies
        Of decodes that speculate, and how many each replica had made before each run.

    Returns
    -------
    The columns `SUMS` and `OF_FIRST`, ``decodes``, ``step_fs`` and ``slope_fs`` of what is left.
    """
    import numpy as np

    steps: Ints = runs["steps"]
    before, until = steps_ended(runs, window.start_s), steps_ended(runs, window.end_s)
    kept = np.flatnonzero(until > before)
    names = [name for name in SUMS if name in runs]
    part = {name: runs[name][kept] for name in (*names, *OF_FIRST, "decodes", "step_fs")}
    part["slope_fs"] = runs["slope_fs"][kept]
    cut = np.flatnonzero((before[kept] > 0) | (until[kept] < steps[kept]))
    if len(cut):
        rows = kept[cut]
        late = before[rows] > 0
        whole = {name: column[rows] for name, column in runs.items()}
        made = None if verifies is None else verifies[rows]
        head = _leading(whole, before[rows], names, derive, pace, made)
        body = _leading(whole, until[rows], names, derive, pace, made)
        for name in names:
            part[name][cut] = body[name] - head[name]
        part["step_fs"][cut] += before[rows] * part["slope_fs"][cut]
        for name in OF_FIRST:
            part[name][cut[late]] = 0
    return part


def steps_ended(runs: Columns, edge_s: float) -> Ints:
    """How many steps of each run ended by an instant."""
    import numpy as np

    started, finished, steps = runs["started_s"], runs["finished_s"], runs["steps"]
    ended = np.where(finished <= edge_s + ROUNDING_S, steps, 0)
    for i in np.flatnonzero((steps > 1) & (ended == 0) & (started < edge_s)).tolist():
        elapsed_fs = round((edge_s + ROUNDING_S - float(started[i])) * FS_PER_S)
        first, slope = int(runs["step_fs"][i]), int(runs["slope_fs"][i])
        ended[i] = _within(elapsed_fs, first, slope, int(steps[i]))
    return ended


def _within(elapsed_fs: int, first: int, slope: int, steps: int) -> int:
    """Count the steps of an unfinished run that fit into a time, in integers of any size."""
    return bisect_right(
        range(1, steps), elapsed_fs, key=lambda k: k * first + slope * (k * (k - 1) // 2)
    )


def _leading(
    runs: Columns,
    k: Ints,
    names: list[str],
    derive: Derive,
    pace: Pace | None,
    verifies: Ints | None,
) -> dict[str, npt.NDArray[Any]]:
    """Sum up the first `k` steps of each run: 0, all, or some of them."""
    import numpy as np

    sums = {name: np.where(k == runs["steps"], runs[name], 0) for name in names}
    some = np.flatnonzero((k > 0) & (k < runs["steps"]))
    if len(some):
        of_some = {name: column[some] for name, column in runs.items()}
        made = None if verifies is None else verifies[some]
        first = _first_steps(of_some, k[some], pace, made)
        first |= derive(first)
        for name in names:
            sums[name][some] = first[name]
    return sums


def _first_steps(
    runs: Columns, k: Ints, pace: Pace | None, verifies: Ints | None
) -> dict[str, npt.NDArray[Any]]:
    """Give runs as if they had ended after `k` of their steps.

    What windows hold is spread evenly over the steps of a run: the sums do not tell how
    many of them fill.
    """
    from factorysim.physics.power import first_steps
    from factorysim.physics.step import StepRuns

    grown = 1.0 if pace is None else pace.tokens / pace.verifies
    whole = StepRuns(*(runs[name] for name in StepRuns._fields))
    first = first_steps(whole, grown)
    triangle = k * (k - 1) // 2
    size, decodes = first.prompt_tokens, runs["decodes"]
    accepted = 0 * k
    if pace is not None and verifies is not None:
        tokens = pace.tokens * (verifies + k) // pace.verifies
        tokens -= pace.tokens * verifies // pace.verifies
        accepted = decodes * (tokens - k)
    # A prompt ends, and makes its token, with the last step of a run.
    some = StepRuns(
        steps=k,
        decodes=decodes,
        prompts=runs["prompts"],
        prompt_tokens=k * size,
        emitted_tokens=k * decodes + accepted,
        context_tokens=k * first.context_tokens + triangle * (decodes * grown),
        window_tokens=k * first.window_tokens,
        pair_tokens=k * first.pair_tokens + triangle * size * size,
        prior_tokens=k * first.prior_tokens + triangle * size,
        accepted_tokens=accepted,
    )
    return {**runs, **some._asdict()}


class Verifies:
    """Counts the verifies of each replica, run by run: their number tells which drafts are kept."""

    def __init__(self, replicas: int) -> None:
        import numpy as np

        self._made = np.zeros(replicas, np.int64)

    def before(self, runs: Columns) -> Ints:
        """Count what each run's replica had made when it began; runs come in order."""
        import numpy as np

        replica: Ints = runs["replica"]
        verified = np.where(runs["emitted_tokens"] > 0, runs["steps"], 0)  # else lost
        verified[runs["decodes"] == 0] = 0
        order = np.argsort(replica, kind="stable")
        total = np.cumsum(verified[order]) - verified[order]
        first = np.searchsorted(replica[order], replica[order])
        before = np.empty_like(total)
        before[order] = total - total[first] + self._made[replica[order]]
        np.add.at(self._made, replica, verified)
        return before
