"""What the runs of steps add up to inside the window: one pass, group by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factorysim.metrics.edges import Verifies, ends_inside, steps_inside
from factorysim.metrics.inputs import Station, Tables, Window
from factorysim.metrics.quantiles import Gaps, gaps_of_runs, join_gaps, single_gaps

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.store import Columns

    Floats = npt.NDArray[np.float64]

LIMITS = ("sequences", "kv_blocks", "step_tokens")
"""What can be full on a replica."""


@dataclass(slots=True)
class Activity:
    """Sums over the steps of a deployment: seconds inside the window, all else of whole steps."""

    busy_s: float = 0.0
    """Device-seconds inside a step."""
    emitted_tokens: int = 0
    verifies: int = 0
    """Of sequences, where they speculate: each had drafts to judge."""
    accepted_tokens: int = 0
    """Drafts that became output."""
    flops: float | None = None
    """None where the table has no such column."""
    bytes_moved: float | None = None
    active_j: float | None = None
    """Joules above idle of its devices, those of a split's other side included."""
    replica_s: Floats | None = None
    """Seconds inside a step, of each replica."""
    partner_s: float = 0.0
    """Device-seconds inside a step of a split's other side."""
    partner_flops: float | None = None
    partner_bytes_moved: float | None = None
    imbalance_s: float = 0.0
    """Replica-seconds in steps, weighted by the imbalance of the experts."""
    full_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Replica-seconds weighted by how full each of `LIMITS` was."""
    load_s: float = 0.0
    """The same for the fullest of them, step by step; 1 where a call had to wait."""


def activities(
    tables: Tables, window: Window, stations: tuple[Station, ...]
) -> tuple[dict[str, Activity], Gaps]:
    """Activity of every serving deployment, and the gaps between tokens.

    A step in progress at an edge of the window is busy on both sides of it; what it does
    counts where it ends, like a gap between tokens.
    """
    import numpy as np

    totals = {station.name: Activity() for station in stations}
    gaps: list[Gaps] = []
    firsts = np.array([station.first_replica for station in stations])
    speculate = any(station.pace is not None for station in stations)
    counted = Verifies(sum(station.replicas for station in stations)) if speculate else None
    for group in tables.steps:
        owner = np.searchsorted(firsts, group["replica"], side="right") - 1
        verifies = None if counted is None else counted.before(group)
        for index, station in enumerate(stations):
            total, rows = totals[station.name], np.flatnonzero(owner == index)
            if not len(rows):
                continue
            runs = {name: column[rows] for name, column in group.items()}
            _add_time(total, station, runs, _seconds_inside(runs, window))
            made = None if verifies is None or station.pace is None else verifies[rows]
            ended = steps_inside(runs, window, tables.derive, station.pace, made)
            _add_sums(total, station, ended)
            gaps.append(_gaps(ended))
    measured = ends_inside(tables.gaps["at_s"], window)
    gaps.append(single_gaps(tables.gaps["gap_s"][measured]))
    return totals, join_gaps(gaps)


def _seconds_inside(runs: Columns, window: Window) -> Floats:
    import numpy as np

    start, stop = runs["started_s"], runs["finished_s"]
    seconds: Floats = np.minimum(stop, window.end_s) - np.maximum(start, window.start_s)
    return np.maximum(seconds, 0.0)


def _add_time(total: Activity, station: Station, runs: Columns, seconds: Floats) -> None:
    """Add the time in steps, and that weighted by how full they are."""
    import numpy as np

    spent = float(seconds.sum())
    replica = runs["replica"] - station.first_replica
    by_replica: Floats = np.bincount(replica, seconds, station.replicas).astype(np.float64)
    total.replica_s = by_replica if total.replica_s is None else total.replica_s + by_replica
    total.busy_s += spent * station.devices_per_replica
    if station.partner is not None:
        total.partner_s += spent * station.partner.devices_per_replica
    if "expert_imbalance" in runs:
        total.imbalance_s += float((runs["expert_imbalance"] * seconds).sum())
    steps = np.maximum(runs["steps"], 1)
    full = (
        (runs["decodes"] + runs["prompts"]) / station.max_sequences,
        _mean_blocks(runs, station) / station.kv_blocks,
        (runs["decodes"] * station.decode_tokens + runs["prompt_tokens"] / steps)
        / station.token_budget,
    )
    sequences, blocks, tokens = (float((seconds * f).sum()) for f in full)
    a, b, c = total.full_s
    total.full_s = (a + sequences, b + blocks, c + tokens)
    load = np.where(runs["waiting"] > 0, 1.0, np.minimum(1.0, np.maximum.reduce(full)))
    total.load_s += float((seconds * load).sum())


def _mean_blocks(runs: Columns, station: Station) -> Floats:
    """Blocks held in the middle of each run: those of its first step, and as many as it fills.

    Which step needs a new block is not in the sums: a run is off by less than half a block a
    sequence, to either side.
    """
    import numpy as np

    pace, steps = station.pace, runs["steps"]
    made = runs["decodes"] * (1.0 if pace is None else pace.tokens / pace.verifies)
    grown = (steps - 1) / 2 * (made + runs["prompt_tokens"] / np.maximum(steps, 1))
    blocks: Floats = runs["kv_blocks"] + grown / station.block_tokens
    return blocks


def _add_sums(total: Activity, station: Station, ended: Columns) -> None:
    """Add what steps did that ended in the window."""
    import numpy as np

    total.emitted_tokens += int(ended["emitted_tokens"].sum())
    if station.pace is not None:
        verified = np.where(ended["emitted_tokens"] > 0, ended["steps"], 0)  # else lost
        total.verifies += int((verified * ended["decodes"]).sum())
        total.accepted_tokens += int(ended["accepted_tokens"].sum())
    if not len(ended["steps"]):
        return
    for name in ("flops", "bytes_moved", "active_j", "partner_flops", "partner_bytes_moved"):
        if name in ended:
            setattr(total, name, (getattr(total, name) or 0.0) + float(ended[name].sum()))
    if station.partner is not None and "partner_active_j" in ended:
        total.active_j = (total.active_j or 0.0) + float(ended["partner_active_j"].sum())


def _gaps(ended: Columns) -> Gaps:
    names = ("steps", "step_fs", "slope_fs", "decodes", "survivors", "stall_fs", "apart")
    return gaps_of_runs(**{name: ended[name] for name in names}, together=ended["accepted_tokens"])
