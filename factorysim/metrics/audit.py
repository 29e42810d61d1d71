"""Laws that the tables of a run must keep, beside those that the simulation checks itself."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from factorysim.metrics.demand import SHARES
from factorysim.metrics.inputs import Layout, Tables, Value
from factorysim.metrics.tiers import hit_laws
from factorysim.records import AuditLine

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.store import Columns

SHARE_ERROR = 1e-9
"""Relative error that seconds as floats may bring to a sum that is exact in fs."""


def audit_tables(tables: Tables, layout: Layout, values: list[Value]) -> list[AuditLine]:
    """Check what can be seen in the tables alone.

    Returns
    -------
    One line a law: time shares add up to each session's duration, outputs of
    completed calls are what was asked for, hits and computed tokens make up the
    prompt, instants of a call are in order, no pool is busier than always, hit rates of tiers
    lie between 0 and 1 and add up, no call has more hits of tiers than hits.
    """
    calls, sessions = tables.calls, tables.sessions
    return [
        _shares(sessions),
        _outputs(calls),
        _prompts(calls),
        _order(calls),
        _utilization(values),
        _hits(values),
        *hit_laws(tables, values),
    ]


def _shares(sessions: Columns) -> AuditLine:
    import numpy as np

    done = sessions["outcome"].equal("completed")
    duration = (sessions["finished_s"] - sessions["arrived_s"])[done]
    total = sum(sessions[f"{share}_s"][done] for share in SHARES)
    # Instants late in a run carry the rounding of their own size.
    scale = np.maximum(sessions["finished_s"][done], 1.0)
    worst = _worst(np.abs(total - duration) / scale)
    return _line("time_shares", worst <= SHARE_ERROR, 0.0, worst, "relative error, at most 1e-9")


def _worst(values: npt.NDArray[np.float64]) -> float:
    return float(values.max()) if len(values) else 0.0


def _outputs(calls: Columns) -> AuditLine:
    done = calls["outcome"].equal("completed")
    asked = float(calls["requested_tokens"][done].sum())
    made = float(calls["output_tokens"][done].sum())
    return _line("output_tokens", asked == made, asked, made, "of completed calls")


def _prompts(calls: Columns) -> AuditLine:
    done = calls["outcome"].equal("completed")
    prompt = float(calls["prompt_tokens"][done].sum())
    parts = float((calls["hit_tokens"] + calls["computed_tokens"])[done].sum())
    return _line("prompt_tokens", prompt == parts, prompt, parts, "hit + computed, completed calls")


def _order(calls: Columns) -> AuditLine:
    import numpy as np

    instants = [
        calls[name]
        for name in ("arrived_s", "queued_s", "scheduled_s", "first_token_s", "last_token_s")
    ]
    broken = sum(int(np.sum(later < earlier)) for earlier, later in pairwise(instants))
    return _line("instants", broken == 0, 0.0, float(broken), "instants of calls out of order")


def _utilization(values: list[Value]) -> AuditLine:
    busy = [
        v.value for v in values if v.name.startswith("utilization.") and isinstance(v.value, float)
    ]
    most = max(busy, default=0.0)
    return _line("utilization", most <= 1 + SHARE_ERROR, 1.0, most, "at most 1 in every pool")


def _hits(values: list[Value]) -> AuditLine:
    """Nothing is found more than once: no tier has less than none of the hits, or more than all."""
    shares = [
        v.value
        for v in values
        if v.name == "kv.hit_rate" and v.by == "tier" and isinstance(v.value, float)
    ]
    off = max((max(-share, share - 1.0) for share in shares), default=0.0)
    return _line("hit_rates", off <= SHARE_ERROR, 0.0, max(off, 0.0), "outside 0 to 1, by tier")


def _line(name: str, ok: bool, expected: float, got: float, detail: str) -> AuditLine:
    return AuditLine(name, bool(ok), expected, got, detail)
