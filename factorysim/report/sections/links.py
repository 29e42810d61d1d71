"""Links: which were the busiest, and how busy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.links import NOTHING
from factorysim.report.charts.links import link_uses
from factorysim.report.markup import join, tag
from factorysim.report.numbers import amount, percent
from factorysim.report.sections.section import Section, each, note, table
from factorysim.report.svg.bars import small

if TYPE_CHECKING:
    from markupsafe import Markup

    from factorysim.report.sections.section import Shown, View

MOST = 10
HEAD = ("from and to", "utilization", "carried", "could carry")


def links(view: View) -> Section:
    """Name the busiest links."""
    return Section("links", "Links", each(view, _of_run))


def _of_run(one: Shown) -> Markup:
    found = link_uses(one.source)
    if not found:
        return tag("p", f"{NOTHING[0].upper()}{NOTHING[1:]}.", class_="empty")
    rows = [
        (
            use.name,
            join(percent(use.utilization), small(use.utilization)),
            amount(use.carried_bytes, "B"),
            amount(use.bandwidth_bytes_per_s, "B/s"),
        )
        for use in found[:MOST]
    ]
    left = len(found) - MOST
    return join(
        table(HEAD, rows, caption="The busiest, means over replications in the measured window"),
        note(f"{left:,} more carried something, and were less busy.") if left > 0 else None,
        note("Messages below 64 KB cost latency only and are not counted."),
    )
