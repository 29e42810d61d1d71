"""Who waits where, from when until when: calls for a first step, tools for a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.handoffs import handed, of_deployments, waits

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.store import Columns

    Floats = npt.NDArray[np.float64]

WAITING_CALLS = (
    "call", "deployment", "arrived_s", "queued_s", "scheduled_s", "finished_s", "held_s",
)  # fmt: skip
WAITING_TOOLS = (
    "deployment", "ready_s", "remote_s", "asked_s", "started_s", "finished_s",
)  # fmt: skip
"""Columns that `waiting_spans` takes."""


def waiting_spans(
    calls: Columns, tools: Columns, handoffs: Columns, deployments: set[str], end_s: float
) -> tuple[Floats, Floats]:
    """Since when, and until when, calls and tools wait at the deployments of these names.

    In a router too, before they are sent. Who waits for ever waits until `end_s`.
    """
    import numpy as np

    mine = of_deployments(calls["deployment"], deployments)
    here = mine & ~handed(calls, handoffs)
    of_tools = of_deployments(tools["deployment"], deployments)
    at_once = tools["ready_s"] + tools["remote_s"]
    asked = np.where(np.isnan(tools["asked_s"]), at_once, tools["asked_s"])
    spans = [
        (calls["queued_s"][here], calls["scheduled_s"][here], calls["finished_s"][here]),
        (asked[of_tools], tools["started_s"][of_tools], tools["finished_s"][of_tools]),
        *waits(handoffs, deployments),
    ]
    since, until, left = (np.concatenate(column) for column in zip(*spans, strict=True))
    until = np.where(np.isnan(until), np.where(np.isnan(left), end_s, left), until)
    held = mine & (calls["held_s"] > 0)
    since = np.concatenate([since, calls["arrived_s"][held]])
    until = np.concatenate([until, (calls["arrived_s"] + calls["held_s"])[held]])
    known = ~np.isnan(since)
    return since[known], until[known]
