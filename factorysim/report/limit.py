"""A capacity in the terminal: the verdict, what binds, and the points seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.marked import printable
from factorysim.report.numbers import apart, digits, percent, seconds
from factorysim.report.slo import threshold
from factorysim.report.terminal import mark, titled_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from factorysim.metrics.in_slo import Judgement
    from factorysim.study.attained import Point
    from factorysim.study.capacity import Capacity

ROWS_MOST = 16
"""Rates of the table; those nearest to the capacity are kept."""


INSIDE: dict[Judgement, str] = {
    "met": "yes",
    "so_far": "so far",
    "undecided": "open",
    "missed": "no",
    "unknown": "-",
}
"""What a rate says of the SLOs, in a table."""


def capacity_report(found: Capacity) -> list[RenderableType]:
    """Everything that a capacity says, as parts to print one after the other."""
    parts: list[RenderableType] = [verdict(found), ""]
    if found.binds is not None:
        where = "Just above it: " if found.rate is not None else "At the lowest rate outside: "
        parts.append(mark(where, printable(_missed(found)), ""))
    if found.bottleneck is not None:
        full = found.saturation
        where = "at the capacity" if found.rate is not None else "at the highest rate inside"
        said = "" if full is None else f", {percent(full)} full {where}"
        parts.append(mark("Bottleneck: ", printable(found.bottleneck) + said, ""))
    parts += ["", _points(found), *_footer(found)]
    return parts


def verdict(found: Capacity) -> Text:
    """Capacity, interval and what binds, in a sentence."""
    from rich.text import Text

    if found.rate is None:
        return Text(f"No capacity to tell: {found.reason}.", style="bold")
    bracket = ""
    if found.ci_low is not None and found.ci_high is not None:
        low, high = digits(found.ci_low), digits(found.ci_high)
        bracket = f" ({low} to {high}, 95 %, {found.n} replications)"
    elif found.n == 1:
        bracket = f" ({_between(found)}one replication, no interval)"
    only = "" if len(found.streams) != 1 else f" of {found.streams[0]}"
    text = (
        f"Sustains {digits(found.rate)} {found.unit}{only} inside its SLOs{_so_far(found)}"
        f"{bracket}, "
        f"{digits(found.rate / found.own_rate)} times the scenario's rate; "
        f"binds: {_binding(found)}"
    )
    return Text(printable(text), style="bold")


def _so_far(found: Capacity) -> str:
    """Say that sessions that were still under way could turn what the capacity says."""
    at = next(point for point in found.points if point.rate == found.rate)
    return "" if at.judgement == "met" else " so far"


def _between(found: Capacity) -> str:
    """Tell the last rate inside and the first outside, where they are all that is known."""
    if found.rate is None or found.outside is None:
        return ""
    return f"{digits(found.rate)} inside, {digits(found.outside)} outside; "


def _binding(found: Capacity) -> str:
    binds = found.binds
    if binds is None:
        return "not known"
    if binds.threshold == "overload":
        return "overload"
    limit = "" if binds.limit_s is None else f" ({seconds(binds.limit_s)})"
    return f"{threshold(binds.threshold)} of {binds.stream}{limit}"


def _missed(found: Capacity) -> str:
    binds = found.binds
    assert binds is not None  # asked where there is one
    if binds.threshold == "overload":
        return "no SLO is missed yet, but sessions pile up"
    short = ""
    if binds.share is not None and binds.attain is not None:
        share, attain = apart(binds.share, binds.attain)
        short = f"{share} of {binds.stream} in SLO, {attain} wanted; "
    return f"{short}{percent(binds.missed)} miss {_binding(found)}"


def _points(found: Capacity) -> Table:
    """List the rates seen."""
    by_rate = {point.rate: point for point in found.points}
    rates = sorted(by_rate)
    near = found.rate or found.own_rate
    kept = sorted(sorted(rates, key=lambda rate: abs(rate / near - 1))[:ROWS_MOST])
    title = "Points" if kept == rates else f"Points: {len(kept)} of {len(rates)}, the nearest"
    head = (found.unit, "x", "inside", "worst stream", "in SLO", "wanted", "full")
    table = titled_table(title, head)
    for rate in kept:
        table.add_row(*_row(by_rate[rate]))
    table.columns[3].justify = "left"
    return table


def _row(point: Point) -> list[str]:
    known = {name: seen.share for name, seen in point.streams.items() if seen.share is not None}
    attain = {name: point.streams[name].attain for name in known}
    worst = max(known, key=lambda name: attain[name] - known[name], default=None)
    cells = ["", "-", "-"]
    if worst is not None:
        cells = [printable(worst), percent(known[worst]), percent(attain[worst])]
    inside = "no" if point.overload == "overloaded" else INSIDE[point.judgement]
    fullness = "-" if point.saturation is None else percent(point.saturation)
    return [digits(point.rate), digits(point.scale), inside, *cells, fullness]


def _footer(found: Capacity) -> list[RenderableType]:
    count, own = len(found.points), f"{digits(found.own_rate)} {found.unit}"
    window = found.window
    replications = f"{found.n} replication{'s' * (found.n != 1)}"
    parts: list[RenderableType] = [
        mark(
            "Searched: ",
            printable(
                f"{count} rates with {replications} of each, to "
                f"{percent(found.tolerance)}, on the same sessions; {', '.join(found.streams)} "
                f"scaled from {own}; {seconds(window.length_s)} measured after "
                f"{seconds(window.start_s)} of warm-up"
            ),
            "",
        )
    ]
    if found.rate is not None and found.ci_low is None and found.reason:
        parts.append(mark("No interval: ", printable(found.reason), "yellow"))
    return parts + [mark("Note: ", printable(note), "yellow") for note in found.notes]
