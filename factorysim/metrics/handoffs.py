"""Hand-offs from prefill to decode: who waits where meanwhile, how long KV takes, and how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.inputs import Tables, Value, Window
from factorysim.metrics.quantiles import distribution
from factorysim.metrics.slo import inside

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.store import Columns, Labels

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Spans = tuple[Floats, Floats, Floats]

NOT_APART = "no prompt is computed apart from its decode"


def handoff_values(tables: Tables, window: Window) -> list[Value]:
    """Time from a prompt that is computed to the decode that goes on with it, and bytes moved.

    Those whose prompt was computed in the window, and that go on elsewhere.
    """
    import numpy as np

    rows = tables.handoffs
    if not len(rows["call"]):
        names = ("handoff_s.mean", "handoff_s.p50", "handoff_s.p95", "handoff_s.p99")
        return [Value(name, None, reason=NOT_APART) for name in (*names, "kv.moved_bytes")]
    moves = inside(window, rows["prefilled_s"]) & ~np.isnan(rows["asked_s"])
    joined = ~np.isnan(rows["joined_s"])
    spent = (rows["joined_s"] - rows["prefilled_s"])[moves & joined]
    landed = inside(window, rows["landed_s"])
    return [
        *distribution("handoff_s", spent, int((moves & ~joined).sum())),
        Value("kv.moved_bytes", float(rows["moved_bytes"][landed].sum())),
    ]


def waits(handoffs: Columns, names: set[str]) -> list[Spans]:
    """When hand-offs began to wait at the deployments of these names, until when, and their end.

    For the first step of a prompt at those that prefill, for blocks at those that decode.
    """
    import numpy as np

    rows = handoffs
    if not len(rows["call"]):
        return []
    spans = []
    for role, since, until in (
        ("prefill", "queued_s", "scheduled_s"),
        ("decode", "asked_s", "reserved_s"),
    ):
        mine = of_deployments(rows[role], names) & ~np.isnan(rows[since])
        never = np.full(int(mine.sum()), np.nan)
        spans.append((rows[since][mine], rows[until][mine], never))
    return spans


def handed(calls: Columns, handoffs: Columns) -> Bools:
    """Tell which calls were handed off: they wait where `waits` says."""
    import numpy as np

    return np.isin(calls["call"], handoffs["call"])


def of_deployments(column: Labels, names: set[str]) -> Bools:
    """Tell which rows belong to the deployments of these names."""
    import numpy as np

    return np.isin(column.codes, [i for i, word in enumerate(column.words) if word in names])
