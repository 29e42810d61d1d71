"""What the runs of steps add up to inside the window: one pass, group by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """Sums over the steps of a deployment inside the window."""

    busy_s: float = 0.0
    """Device-seconds inside a step."""
    emitted_tokens: float = 0.0
    flops: float | None = None
    """None where the table has no such column."""
    bytes_moved: float | None = None
    active_j: float | None = None
    """Joules above idle of its devices, those of a split's other side included."""
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

    A run of steps that straddles an edge of the window counts by its share inside;
    its gaps belong to the window in which it began.
    """
    import numpy as np

    totals = {station.name: Activity() for station in stations}
    gaps: list[Gaps] = []
    firsts = np.array([station.first_replica for station in stations])
    for group in tables.steps:
        share = _share_inside(group["started_s"], group["finished_s"], window)
        owner = np.searchsorted(firsts, group["replica"], side="right") - 1
        for index, station in enumerate(stations):
            rows = np.flatnonzero((owner == index) & (share > 0))
            if len(rows):
                _add(totals[station.name], station, group, rows, share[rows])
        gaps.append(_gaps(group, window))
    at_s = tables.gaps["at_s"]
    measured = (at_s >= window.start_s) & (at_s < window.end_s)
    gaps.append(single_gaps(tables.gaps["gap_s"][measured]))
    return totals, join_gaps(gaps)


def _share_inside(started_s: Floats, finished_s: Floats, window: Window) -> Floats:
    import numpy as np

    inside = np.minimum(finished_s, window.end_s) - np.maximum(started_s, window.start_s)
    length = finished_s - started_s
    at_once = (started_s >= window.start_s) & (started_s < window.end_s)
    share: Floats = np.where(
        length > 0, np.maximum(inside, 0) / np.where(length > 0, length, 1.0), at_once
    )
    return share


def _add(
    total: Activity, station: Station, group: Columns, rows: npt.NDArray[np.intp], share: Floats
) -> None:
    import numpy as np

    def column(name: str) -> Floats:
        values: Floats = group[name][rows]
        return values

    seconds = (column("finished_s") - column("started_s")) * share
    total.busy_s += float(seconds.sum()) * station.devices_per_replica
    if station.partner is not None:
        total.partner_s += float(seconds.sum()) * station.partner.devices_per_replica
        if "partner_active_j" in group:
            joules = float((column("partner_active_j") * share).sum())
            total.active_j = (total.active_j or 0.0) + joules
    if "expert_imbalance" in group:
        total.imbalance_s += float((column("expert_imbalance") * seconds).sum())
    total.emitted_tokens += float((column("emitted_tokens") * share).sum())
    for name in ("flops", "bytes_moved", "active_j", "partner_flops", "partner_bytes_moved"):
        if name in group:
            before = getattr(total, name) or 0.0
            setattr(total, name, before + float((column(name) * share).sum()))
    steps = np.maximum(column("steps"), 1)
    full = (
        (column("decodes") + column("prompts")) / station.max_sequences,
        column("kv_blocks") / station.kv_blocks,
        (column("decodes") * station.decode_tokens + column("prompt_tokens") / steps)
        / station.token_budget,
    )
    sequences, blocks, tokens = (float((seconds * f).sum()) for f in full)
    a, b, c = total.full_s
    total.full_s = (a + sequences, b + blocks, c + tokens)
    load = np.where(column("waiting") > 0, 1.0, np.minimum(1.0, np.maximum.reduce(full)))
    total.load_s += float((seconds * load).sum())


def _gaps(group: Columns, window: Window) -> Gaps:
    started = group["started_s"]
    began = (started >= window.start_s) & (started < window.end_s)
    names = ("steps", "step_fs", "slope_fs", "decodes", "survivors", "stall_fs", "apart")
    together = group["accepted_tokens"][began] if "accepted_tokens" in group else None
    return gaps_of_runs(**{name: group[name][began] for name in names}, together=together)
