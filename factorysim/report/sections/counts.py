"""Rates and counts; tools, sandboxes, cores behind bytes, spikes where there are such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.markup import tag
from factorysim.report.sections.section import Section, each, listing, reasons
from factorysim.report.terminal import (
    COUNTS,
    FAILURES,
    IO_WORK,
    RATES,
    RECOVERY,
    SANDBOXES,
    has_spikes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from markupsafe import Markup

    from factorysim.report.sections.section import Shown, View

WHERE_ASKED = {
    "tools.failed": ("Tools, per replication", FAILURES),
    "sandboxes.asked": ("Sandboxes, per replication", SANDBOXES),
    "io_work.host_cores": ("Cores that TLS, packets and storage take", IO_WORK),
}
"""Metric -> the table that is shown where it has a value."""


def counts(view: View) -> Section:
    """Say how much came, went and was made."""
    return Section("counts", "Counts", each(view, _of_run))


def _of_run(one: Shown) -> Markup:
    notes: dict[str, int] = {}
    made = [tag("div", listing(one, title, rows, notes)) for title, rows in _tables(one)]
    return tag("div", made, reasons(notes), class_="tables")


def _tables(one: Shown) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield "Rates", RATES
    yield "Counts, per replication", COUNTS
    for name, table in WHERE_ASKED.items():
        line = one.run.summary.get(name)
        if line is not None and line.value is not None:
            yield table
    if has_spikes(one.run.summary):
        yield "Time after a spike until no more than before", RECOVERY
