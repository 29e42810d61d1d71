"""Incidents: what went against the plan, where, how often and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.charts.incidents import incidents as counted
from factorysim.report.markup import join, tag
from factorysim.report.numbers import seconds
from factorysim.report.sections.section import Section, each, note, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markupsafe import Markup

    from factorysim.report.charts.incidents import Incident
    from factorysim.report.sections.section import Shown, View

MOST = 12
HEAD = ("what", "where", "times", "first", "last")
SAID = {
    "preempted": "a call lost its KV blocks to others",
    "turned_away": "the gateway did not let a call in",
    "no_memory": "a sandbox had to wait for memory",
}
CAPTION = "Where most often; of all replications, from their start, warm-up included"
NONE = "No call was preempted or turned away at the gateway, and no sandbox waited for memory."


def incidents(view: View) -> Section:
    """Say what went against the plan."""
    return Section("incidents", "Incidents", each(view, _of_run))


def _of_run(one: Shown) -> Markup:
    found = counted(one.source)
    if not found:
        return tag("p", NONE)
    rows = [
        (
            SAID.get(incident.kind, incident.kind),
            incident.place,
            f"{incident.times:,}",
            seconds(incident.first_s),
            seconds(incident.last_s),
        )
        for incident in found[:MOST]
    ]
    others = found[MOST:]
    times = sum(incident.times for incident in others)
    return join(
        tag("ul", [tag("li", line) for line in _totals(found)]),
        table(HEAD, rows, caption=CAPTION, words=2),
        note(f"And {times:,} more at {len(others):,} other places.") if others else None,
        note(
            "Each is a row of ", tag("code", "events.parquet"), ", and an instant of what ",
            tag("code", "factorysim timeline"), " draws.",
        ),
    )  # fmt: skip


def _totals(found: Sequence[Incident]) -> Iterator[str]:
    """Count what happened by kind, so that a rare kind is seen beside a frequent one."""
    for kind in sorted({incident.kind for incident in found}):
        mine = [incident.times for incident in found if incident.kind == kind]
        times, places = f"{sum(mine):,} time{'s' * (sum(mine) != 1)}", f"{len(mine):,} place"
        yield f"{SAID.get(kind, kind)}: {times}, at {places}{'s' * (len(mine) != 1)}"
