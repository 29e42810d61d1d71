"""Tools that fail and are tried again, and the sandboxes that they run in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.inputs import Layout, Tables, Value, Window
from factorysim.metrics.quantiles import QUANTILES, distribution
from factorysim.metrics.slo import inside

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.store import Columns

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]


STATS = ("mean", *QUANTILES)
SAFE = "no agent says what it does when a tool fails, so none does"
BARE = "tools run in no sandboxes"
FAILURES = ("tools.failed", "tools.retries", "tools.retried_share")
SANDBOXES = (
    *(f"sandboxes.{name}" for name in ("asked", "cold_starts", "warm_hits")),
    *(f"sandbox_{what}_s.{stat}" for what in ("wait", "start") for stat in STATS),
    *("sandboxes.held.mean", "sandboxes.held_bytes.mean"),
)


def tool_values(tables: Tables, window: Window, layout: Layout) -> list[Value]:
    """Count failures where agents have some, and sandboxes where a deployment has some."""
    mine = inside(window, tables.tools["ready_s"])
    values = [Value("tools.called", float(mine.sum()))]
    if layout.tools_fail:
        values += _failures(tables.tools, mine)
    else:
        values += [Value(name, None, reason=SAFE) for name in FAILURES]
    if tables.sandboxes is None:
        return values + [Value(name, None, reason=BARE) for name in SANDBOXES]
    return values + _sandboxes(tables, tables.sandboxes, window)


def _failures(tools: Columns, mine: Bools) -> list[Value]:
    outcome = tools["outcome"]
    failed = outcome.equal("failed") | outcome.equal("timeout")
    again = tools["attempts"][mine] - 1
    n = int(mine.sum())
    share = (
        Value("tools.retried_share", float((again > 0).mean()), n)
        if n
        else Value("tools.retried_share", None, reason="no measured tool call")
    )
    return [
        Value("tools.failed", float((mine & failed).sum())),
        Value("tools.retries", float(again.sum())),
        share,
    ]


def _sandboxes(tables: Tables, boxes: Columns, window: Window) -> list[Value]:
    """Follow the sandboxes: how often they start, what that costs in time, what they hold."""
    import numpy as np

    asked = (boxes["session"] >= 0) & inside(window, boxes["asked_s"])
    cold = asked & (boxes["warm"] == 0)
    ready = ~np.isnan(boxes["ready_s"])
    waited = (boxes["ready_s"] - boxes["asked_s"])[asked & ready]
    starts = (boxes["ready_s"] - boxes["granted_s"])[cold & ready]
    values = [
        Value("sandboxes.asked", float(asked.sum())),
        Value("sandboxes.cold_starts", float(cold.sum())),
        Value("sandboxes.warm_hits", float((asked & (boxes["warm"] == 1)).sum())),
        *distribution("sandbox_wait_s", waited, int((asked & ~ready).sum())),
        *distribution("sandbox_start_s", starts, int((cold & ~ready).sum())),
    ]
    held_s = _held_s(boxes, window, tables.closing.end_s)
    values.append(Value("sandboxes.held.mean", float(held_s.sum()) / window.length_s))
    held_bytes = float((held_s * boxes["memory_bytes"]).sum()) / window.length_s
    values.append(Value("sandboxes.held_bytes.mean", held_bytes))
    return values


def _held_s(boxes: Columns, window: Window, end_s: float) -> Floats:
    """Seconds of the window in which each held memory, while it started too."""
    import numpy as np

    ended = np.where(np.isnan(boxes["ended_s"]), end_s, boxes["ended_s"])
    granted = np.where(np.isnan(boxes["granted_s"]), np.inf, boxes["granted_s"])
    kept: Floats = np.minimum(ended, window.end_s) - np.maximum(granted, window.start_s)
    return np.maximum(kept, 0.0)
