"""What the steps of a pool used over a window: batch, KV cache, what bound them, joules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.graph.plan import FactoryPlan, ServePlan
    from factorysim.metrics.inputs import Window
    from factorysim.store import Columns

    Floats = npt.NDArray[np.float64]


class Bound(NamedTuple):
    """What steps spend their time on: shares that add up to 1.

    Each run of steps counts for the longer of its arithmetic and its memory time,
    derated, and for its links; what is left is overhead: kernel starts, host work
    that nothing hides, and where one waits for the other inside a step. So is the time in
    which one side of a split waits for the other.
    """

    compute: float
    memory: float
    link: float
    overhead: float

    @property
    def word(self) -> str:
        """The largest of them."""
        return max(self._asdict().items(), key=lambda item: item[1])[0]


class Usage(NamedTuple):
    """Of the replicas of a deployment; means are over the time in steps."""

    batch_mean: float
    """Sequences in a step."""
    batch_max: int
    kv_tokens_mean: float
    """Tokens held by the sequences of a step of one replica, those that it adds included."""
    kv_tokens_max: float
    bound: Bound
    active_j: float
    """Above idle, all devices."""


def steps_of(steps: Columns, plan: FactoryPlan, index: int) -> Columns:
    """Take the runs of steps of one deployment of the plan."""
    first = sum(len(serve.replicas) for serve in plan.serve[:index])
    replica = steps["replica"]
    mine = (replica >= first) & (replica < first + len(plan.serve[index].replicas))
    return {name: column[mine] for name, column in steps.items()}


def any_inside(steps: Columns, window: Window) -> bool:
    """Tell whether some step lies in the window."""
    inside = (steps["finished_s"] > window.start_s) & (steps["started_s"] < window.end_s)
    return bool(inside.any())


def usage(steps: Columns, serve: ServePlan, window: Window, *, of_partner: bool = False) -> Usage:
    """Sum up runs of steps; one that straddles an edge counts by its share inside.

    Parameters
    ----------
    steps
        Columns of `StepRow`, with `active_j`.
    of_partner
        Whether bound and joules are those of the other side of a split.

    Raises
    ------
    ValueError
        If no step lies in the window.
    """
    import numpy as np

    from factorysim.physics.speculation import tokens_a_step

    inside_s = np.minimum(steps["finished_s"], window.end_s)
    inside_s = np.maximum(inside_s - np.maximum(steps["started_s"], window.start_s), 0.0)
    held = inside_s > 0
    if not held.any():
        raise ValueError("no step lies in the window")
    rows = {name: column[held] for name, column in steps.items()}
    weight = inside_s[held]
    share = weight / (rows["finished_s"] - rows["started_s"])
    batch = rows["decodes"] + rows["prompts"]
    tokens, last = _tokens_held(rows, tokens_a_step(serve.law))
    return Usage(
        batch_mean=float(np.average(batch, weights=weight)),
        batch_max=int(batch.max()),
        kv_tokens_mean=float(np.average(tokens, weights=weight)),
        kv_tokens_max=float(last.max()),
        bound=_bound(rows, serve, weight, share, of_partner=of_partner),
        active_j=float((rows["partner_active_j" if of_partner else "active_j"] * share).sum()),
    )


def _tokens_held(rows: Columns, made: float) -> tuple[Floats, Floats]:
    """Tokens in the cache, mean over each run and in its last step.

    Decodes read all that they hold, and have `made` more in the next step; a chunk adds
    its tokens to those before it.
    """
    steps = rows["steps"]
    tokens: Floats = (rows["context_tokens"] + rows["prior_tokens"] + rows["prompt_tokens"]) / steps
    growth = rows["decodes"] * made + rows["prompt_tokens"] / steps
    last: Floats = tokens + growth * (steps - 1) / 2
    return tokens, last


def _bound(
    rows: Columns, serve: ServePlan, weight: Floats, share: Floats, *, of_partner: bool
) -> Bound:
    import numpy as np

    from factorysim.physics.step import StepRuns

    runs = StepRuns(*(rows[name] for name in StepRuns._fields))
    if of_partner:
        assert serve.partner is not None  # whose side is asked for
        activity = serve.partner.side.activity(runs)
    else:
        activity = serve.law.activity(runs)
    compute_s, memory_s = activity.compute_s * share, activity.memory_s * share
    total = float(weight.sum())
    compute = float(np.where(compute_s >= memory_s, compute_s, 0.0).sum()) / total
    memory = float(np.where(compute_s >= memory_s, 0.0, memory_s).sum()) / total
    link = float((activity.link_s * share).sum()) / total
    return Bound(compute, memory, link, max(0.0, 1.0 - compute - memory - link))
