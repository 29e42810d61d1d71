"""Warnings: what a reader must know before believing the rest, and what is withheld."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from factorysim.metrics.in_slo import verdicts
from factorysim.metrics.names import METRICS
from factorysim.report.markup import join, tag
from factorysim.report.numbers import digits, percent
from factorysim.report.sections.section import Section, each, folded
from factorysim.report.slo import OPEN
from factorysim.report.terminal import link_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from markupsafe import Markup

    from factorysim.metrics.summary import Summary
    from factorysim.report.sections.section import Shown, View

NAMES_MOST = 12


def cautions(view: View) -> Section:
    """List overload, censoring, interruptions, notes of the run, and what is withheld and why."""
    demand = [
        tag("li", tag("strong", f"A and {other.letter} are not asked for the same. "), text)
        for other, found in zip(view.runs[1:], view.comparisons, strict=False)
        for text in found.notes
    ]
    notes = tag("ul", demand, class_="cautions") if demand else None
    return Section("warnings", "Warnings", join(notes, each(view, _of_run)))


def _of_run(one: Shown) -> Markup:
    found = [
        tag("li", tag("strong", f"{head}. "), text, class_=state)
        for head, text, state in _found(one)
    ]
    body = (
        tag("ul", found, class_="cautions")
        if found
        else tag("p", "Nothing stands against these figures but what they assume.")
    )
    return join(body, _withheld(one.run.summary))


def _found(one: Shown) -> Iterator[tuple[str, str, str]]:
    """Give what to be warned of: its head, a sentence, and how bad it is."""
    manifest, summary = one.run.manifest, one.run.summary
    overload = manifest["overload"]
    if overload is not None and overload["state"] != "steady":
        yield overload["state"].capitalize(), overload["text"], "bad"
    done, asked = len(manifest["replications"]), manifest["replications_asked"]
    if manifest["interrupted"]:
        told = f"{done} of {asked} replications had finished; the others are left out"
        yield "Interrupted", told, "bad"
    broken = [law for law, held in one.run.audit.items() if not held]
    if broken:
        yield "The books do not balance", f"broken: {', '.join(broken)}", "bad"
    yield from _nothing(summary)
    yield from _open(manifest["slo"])
    yield from _censored(summary)
    if manifest["conditional"]:
        yield "Conditional", manifest["conditional"], "mild"
    elif done == 1:
        yield "One replication", "nothing tells how another would differ", "mild"
    for text in link_warnings(manifest):
        yield "A link slowed its flows", text, "mild"
    for text in manifest["notes"]:
        yield "Note", text, "mild"
    assumed = len(manifest["assumed_facts"])
    if assumed:
        told = f"the result rests on {assumed} facts that nobody has published, listed below"
        yield "Assumed", told, "mild"


def _nothing(summary: Summary) -> Iterator[tuple[str, str, str]]:
    """Say so where there was nothing to measure: all that is told is of an idle factory."""
    arrived, completed = summary.get("sessions.arrived"), summary.get("sessions.completed")
    if arrived is not None and arrived.value == 0:
        yield "Nothing arrived", "no session came in the window that is measured", "bad"
    elif completed is not None and completed.value == 0:
        yield "Nothing ended", "no session that was measured was completed", "bad"


def _open(slos: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Say why it is not decided whether SLOs are met, and what would decide it."""
    count = sum(one.judgement in OPEN for one in verdicts(slos))
    if count:
        which = "the SLO of a stream is" if count == 1 else f"the SLOs of {count:,} streams are"
        told = (
            f"whether {which} met rests on sessions that were still under way; with a longer "
            "drain (run.drain) more of them end"
        )
        yield "Not ended", told, "bad"


def _censored(summary: Summary) -> Iterator[tuple[str, str, str]]:
    for kind in ("sessions", "calls"):
        arrived, left = summary.get(f"{kind}.arrived"), summary.get(f"{kind}.censored")
        if arrived is None or left is None:
            continue
        if isinstance(arrived.value, float) and isinstance(left.value, float) and left.value:
            share = percent(left.value / arrived.value)
            told = (
                f"{_number(left.value)} {kind} a replication ({share}) were still in flight at "
                "the end: their durations are longer than told, by how much nobody knows"
            )
            yield "Censored", told, "mild"


def _number(mean: float) -> str:
    """Write a mean of counts: one that is whole as a count."""
    return f"{mean:,.0f}" if mean.is_integer() or mean >= 100 else digits(mean)


def _withheld(summary: Summary) -> Markup | None:
    """List what has no value, by reason: what is not modelled is not 0."""
    by_reason: dict[str, list[str]] = {}
    for name, line in summary.items():
        if line.value is None:
            by_reason.setdefault(line.reason or "no reason given", []).append(name)
    if not by_reason:
        return None
    count = sum(len(names) for names in by_reason.values())
    return folded(
        f"{count} values are withheld, and why",
        tag("ul", [_reason(reason, names) for reason, names in by_reason.items()]),
    )


def _reason(reason: str, names: list[str]) -> Markup:
    families = list(dict.fromkeys(_family(name) for name in names))
    more = len(families) - NAMES_MOST
    codes = [(", " if place else "", tag("code", name)) for place, name in
             enumerate(families[:NAMES_MOST])]  # fmt: skip
    return tag("li", f"{reason}: ", codes, f" and {more} more" if more > 0 else None)


def _family(name: str) -> str:
    """Take mean and quantiles of one thing together."""
    head, _, stat = name.rpartition(".")
    return head if stat in ("mean", "p50", "p95", "p99") and f"{head}.p99" in METRICS else name
