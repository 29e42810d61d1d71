"""Tiers of the KV cache: which of them prompts were found in, and what moved between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.handoffs import NOT_APART
from factorysim.metrics.inputs import Layout, Tables, Value, Window
from factorysim.metrics.slo import inside
from factorysim.records import AuditLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.store import Columns

ONE_TIER = "HBM is the only tier of the KV cache"
STAYS = f"{NOT_APART}, and {ONE_TIER}"
_MOVED = "kv.moved_bytes"
_MOVES = ("store", "fetch")


def kv_moves(tables: Tables) -> bool:
    """Tell whether calls may wait for KV: from another replica, or from a slower tier."""
    return tables.tiers is not None or len(tables.handoffs["call"]) > 0


def tier_values(
    tables: Tables, window: Window, layout: Layout, apart: Sequence[Value]
) -> list[Value]:
    """Bytes moved and evicted, and the share of prompts found thanks to each tier.

    Parameters
    ----------
    apart
        What hand-offs say, bytes that they moved among it; these count as well.
    """
    rows = tables.tiers
    if rows is None:
        alone = [v._replace(reason=STAYS) if v.name == _MOVED and v.reason else v for v in apart]
        return [*alone, Value("kv.evicted_bytes", None, reason=ONE_TIER)]
    handed = sum(float(v.value or 0.0) for v in apart if v.name == _MOVED)
    total, *by_tier = _sizes(_MOVED, rows, _MOVES, window, layout.tiers)
    return [
        *(v for v in apart if v.name != _MOVED),
        total._replace(value=float(total.value or 0.0) + handed),
        *by_tier,
        *_sizes("kv.evicted_bytes", rows, ("evict",), window, layout.tiers),
        *_hits(tables, rows, window, layout.tiers),
    ]


def hit_laws(tables: Tables, values: Sequence[Value]) -> list[AuditLine]:
    """Check the tokens that each call found thanks to tiers; nothing to tell without these.

    Returns
    -------
    No completed call found more of its prompt thanks to tiers than it found, every one
    that did is there, and what tiers and HBM found is what was found.
    """
    import numpy as np

    rows, calls = tables.tiers, tables.calls
    if rows is None:
        return []
    mine = rows["event"].equal("hit")
    numbers, tokens = rows["call"][mine], rows["hit_tokens"][mine]
    found = np.bincount(numbers, tokens, minlength=int(calls["call"].max(initial=-1)) + 1)
    done = calls["outcome"].equal("completed")
    over = found[calls["call"][done]] - calls["hit_tokens"][done]
    more = int((over > 0).sum()) + int((~np.isin(numbers, calls["call"])).sum())
    told = "calls that found more thanks to tiers than they found, rows of no call"
    rates = [(v.by, float(v.value or 0.0)) for v in values if v.name == "kv.hit_rate"]
    whole = sum(rate for by, rate in rates if by == "all")
    parts = sum(rate for by, rate in rates if by == "tier")
    return [
        AuditLine("tier_hits", more == 0, 0.0, float(more), told),
        AuditLine("hit_rates_sum", abs(parts - whole) <= 1e-9, whole, parts, "HBM and tiers"),
    ]


def _sizes(
    name: str, rows: Columns, events: tuple[str, ...], window: Window, tiers: tuple[str, ...]
) -> list[Value]:
    """Sum up bytes of some events that ended in the window: all, and by tier."""
    mine = inside(window, rows["finished_s"])
    mine &= sum(rows["event"].equal(event) for event in events) > 0
    sizes = rows["size_bytes"]
    values = [Value(name, float(sizes[mine].sum()), int(mine.sum()))]
    for tier in tiers:
        here = mine & rows["tier"].equal(tier)
        total = float(sizes[here].sum())
        values.append(Value(name, total, int(here.sum()), by="tier", key=tier))
    return values


def _hits(tables: Tables, rows: Columns, window: Window, tiers: tuple[str, ...]) -> list[Value]:
    """Share of the measured calls' prompt tokens by the tier that they were found in.

    HBM has what was there without a fetch: the rest of what calls found.
    """
    import numpy as np

    calls = tables.calls
    measured = inside(window, calls["arrived_s"]) & (calls["scheduled_s"] >= 0)
    prompt = float(calls["prompt_tokens"][measured].sum())
    if prompt == 0:
        return []
    n = int(measured.sum())
    mine = rows["event"].equal("hit") & np.isin(rows["call"], calls["call"][measured])
    below = {
        tier: float(rows["hit_tokens"][mine & rows["tier"].equal(tier)].sum()) for tier in tiers[1:]
    }
    hit = float(calls["hit_tokens"][measured].sum())
    tokens = {tiers[0]: hit - sum(below.values())} | below
    return [
        Value("kv.hit_rate", found / prompt, n, by="tier", key=tier)
        for tier, found in tokens.items()
    ]
