"""The sections of a page, in their order: each is one function from a view to a fragment.

What is added later (costs, failures) is one more function here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from factorysim.report.sections.assumed import assumed, model_error
from factorysim.report.sections.audit import audit
from factorysim.report.sections.cautions import cautions
from factorysim.report.sections.counts import counts
from factorysim.report.sections.energy import energy
from factorysim.report.sections.factory import factory
from factorysim.report.sections.incidents import incidents
from factorysim.report.sections.latency import latency
from factorysim.report.sections.links import links
from factorysim.report.sections.origin import every_metric, origin
from factorysim.report.sections.over_time import over_time
from factorysim.report.sections.paired import paired
from factorysim.report.sections.pools import pools
from factorysim.report.sections.section import Section, View
from factorysim.report.sections.time_shares import time_shares
from factorysim.report.sections.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Callable

Make: TypeAlias = "Callable[[View], Section]"

RUN: tuple[Make, ...] = (
    verdict,
    cautions,
    factory,
    latency,
    over_time,
    time_shares,
    pools,
    links,
    incidents,
    energy,
    counts,
    model_error,
    assumed,
    audit,
    origin,
    every_metric,
)
"""Of a page of one run."""

COMPARISON: tuple[Make, ...] = (verdict, paired, *RUN[1:])
"""Of a page of several."""
