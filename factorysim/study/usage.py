"""What the steps of a pool used over a window: batch, KV cache, what bound them, joules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.graph.plan import FactoryPlan, ServePlan
    from factorysim.metrics.inputs import Window
    from factorysim.physics.sram import SramLaw
    from factorysim.physics.step import Activity
    from factorysim.store import Columns

    Floats = npt.NDArray[np.float64]


class Bound(NamedTuple):
    """What steps spend their time on: shares that add up to 1.

    Each run of steps counts for the longer of its arithmetic and its memory time,
    derated, and for its links; what is left is overhead: kernel starts, host work
    that nothing hides, and where one waits for the other inside a step. So is the time in
    which one side of a split waits for the other. LPUs in stages are followed with a
    micro-batch: that it is in one stage while the others wait for it is no overhead.
    """

    compute: float
    memory: float
    link: float
    overhead: float

    @property
    def word(self) -> str:
        """The largest of them."""
        return max(self._asdict().items(), key=lambda item: item[1])[0]


class Reads(NamedTuple):
    """What LPUs read whose KV lies in the DRAM behind them: seconds of a chip, and bytes of all."""

    sram_s: float
    sram_bytes: float
    dram_s: float
    dram_bytes: float

    @property
    def memory(self) -> Literal["sram", "dram"]:
        """The one that they spend longer on."""
        return "dram" if self.dram_s > self.sram_s else "sram"


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
    reads: Reads | None
    """None where there is one memory only."""


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


def usage(
    steps: Columns,
    serve: ServePlan,
    window: Window,
    *,
    of_partner: bool = False,
    in_dram: bool = False,
) -> Usage:
    """Sum up runs of steps; one that straddles an edge counts by its share inside.

    Parameters
    ----------
    steps
        Columns of `StepRow`, with `active_j`.
    of_partner
        Whether bound and joules are those of the other side of a split.
    in_dram
        Whether it is LPUs whose KV lies in the DRAM behind them.

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
    activity, pipe = _activity(rows, serve, of_partner=of_partner)
    return Usage(
        batch_mean=float(np.average(batch, weights=weight)),
        batch_max=int(batch.max()),
        kv_tokens_mean=float(np.average(tokens, weights=weight)),
        kv_tokens_max=float(last.max()),
        bound=_bound(activity, _way(rows, pipe) * share, float(weight.sum())),
        active_j=float((rows["partner_active_j" if of_partner else "active_j"] * share).sum()),
        reads=_reads(activity, pipe, share) if in_dram and pipe is not None else None,
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


def _activity(
    rows: Columns, serve: ServePlan, *, of_partner: bool
) -> tuple[Activity, SramLaw | None]:
    """Ask the law of a deployment, or of the other side of a split; give it too if of LPUs."""
    from factorysim.physics.speculation import DraftSide
    from factorysim.physics.sram import SramLaw
    from factorysim.physics.step import StepRuns

    runs = StepRuns(*(rows[name] for name in StepRuns._fields))
    if not of_partner:
        return serve.law.activity(runs), serve.law if isinstance(serve.law, SramLaw) else None
    assert serve.partner is not None  # whose side is asked for
    side = serve.partner.side
    law = side.law if isinstance(side, DraftSide) else None
    return side.activity(runs), law if isinstance(law, SramLaw) else None


def _way(rows: Columns, pipe: SramLaw | None) -> Floats | float:
    """Seconds on the way of a micro-batch through all stages, over those of a chip's work.

    Where there are fewer micro-batches than stages, chips wait while it is with others.
    """
    import numpy as np

    if pipe is None:
        return 1.0
    tokens = rows["decodes"] + rows["prompt_tokens"] / rows["steps"]
    way: Floats = pipe.stages / np.clip(tokens, 1.0, pipe.stages)
    return way


def _reads(activity: Activity, pipe: SramLaw, share: Floats) -> Reads:
    """Tell the two memories apart by their rates: seconds and bytes are two equations."""
    weights, kv = pipe.stage.rates
    memory_s = float((activity.memory_s * share).sum())
    moved = float((activity.bytes_moved * share).sum())
    chips = pipe.stage.devices * pipe.stages
    dram_s = (memory_s * weights - moved / chips) / (weights - kv)
    sram_s = memory_s - dram_s
    return Reads(sram_s, sram_s * weights * chips, dram_s, dram_s * kv * chips)


def _bound(activity: Activity, share: Floats, total: float) -> Bound:
    import numpy as np

    compute_s, memory_s = activity.compute_s * share, activity.memory_s * share
    compute = float(np.where(compute_s >= memory_s, compute_s, 0.0).sum()) / total
    memory = float(np.where(compute_s >= memory_s, 0.0, memory_s).sum()) / total
    link = float((activity.link_s * share).sum()) / total
    return Bound(compute, memory, link, max(0.0, 1.0 - compute - memory - link))
