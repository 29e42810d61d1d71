"""All metrics of one replication, and what the test for overload needs of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.activity import activities
from factorysim.metrics.audit import audit_tables
from factorysim.metrics.demand import (
    call_values,
    number_in_system,
    session_values,
    tenant_values,
)
from factorysim.metrics.energy import NO_PRICES, energy_values
from factorysim.metrics.handoffs import handoff_values
from factorysim.metrics.inputs import Layout, Tables, Value, Window
from factorysim.metrics.io_work import io_values
from factorysim.metrics.links import link_values
from factorysim.metrics.quantiles import gap_values
from factorysim.metrics.recovery import recovery_values
from factorysim.metrics.slo import goodput, tenant_goodput
from factorysim.metrics.speculation import speculation_values
from factorysim.metrics.stations import pool_values
from factorysim.metrics.tiers import tier_values
from factorysim.metrics.tools import tool_values
from factorysim.records import AuditLine

if TYPE_CHECKING:
    from factorysim.spec.stream import SloSpec

BACKLOG_BINS = 40
NOT_MODELLED = {
    "cost.usd_per_mtok_input": NO_PRICES,
    "cost.usd_per_mtok_output": NO_PRICES,
    "cost.usd_per_session_in_slo": NO_PRICES,
}


class Replication(NamedTuple):
    """What one replication says, small enough to travel between processes."""

    values: list[Value]
    audit: list[AuditLine]
    backlog: list[float]
    """Mean number of sessions present in equal bins of the window."""
    arrival_rate: float
    """Sessions a second over the window."""
    length_s: float


def slug(name: str) -> str:
    """Name of a law as part of a metric's name.

    Examples
    --------
    >>> slug("energy of parts = meter")
    'energy_of_parts_meter'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def replication_metrics(
    tables: Tables, window: Window, layout: Layout, slos: Mapping[str, SloSpec]
) -> Replication:
    """Compute every metric of `metrics.names` for one replication.

    Parameters
    ----------
    window
        Is cut where the run ended before it.
    slos
        Stream name -> its thresholds.

    Raises
    ------
    ValueError
        If the run ended before the window began.
    """
    import numpy as np

    window = window.until(tables.closing.end_s)
    if window.length_s <= 0:
        raise ValueError("the run ended before its window began")
    activity, gaps = activities(tables, window, layout.serving())
    made = sum(total.emitted_tokens for total in activity.values())
    values = session_values(tables, window) + call_values(tables, window, layout)
    values += tenant_values(tables, window, layout)
    values += [Value("tokens.output_per_s", made / window.length_s)]
    values += gap_values("itl_s", gaps) + goodput(tables, window, slos)
    values += tenant_goodput(tables, window, slos, layout)
    values += pool_values(tables, window, layout, activity)
    values += speculation_values(layout, activity)
    values += energy_values(tables, window, layout, activity)
    values += tool_values(tables, window, layout)
    values += tier_values(tables, window, layout, handoff_values(tables, window))
    values += link_values(tables, window)
    values += io_values(tables, window) + recovery_values(tables, window, layout)
    values += [Value(name, None, reason=why) for name, why in NOT_MODELLED.items()]
    audit = [*tables.closing.audit, *audit_tables(tables, layout, values)]
    values += [Value(f"audit.{slug(line.name)}", float(line.ok)) for line in audit]
    edges = np.linspace(window.start_s, window.end_s, BACKLOG_BINS + 1)
    sessions = tables.sessions
    arrived = next(v.value for v in values if v.name == "sessions.arrived")
    backlog = number_in_system(sessions["arrived_s"], sessions["finished_s"], edges)
    return Replication(
        values, audit, backlog.tolist(), float(arrived or 0.0) / window.length_s, window.length_s
    )
