"""The scorecard in the terminal: theory, then predictions against measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.marked import printable
from factorysim.report.numbers import digits, percent
from factorysim.report.terminal import mark, titled_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from factorysim.study.calibrate import Calibration
    from factorysim.study.check import Check
    from factorysim.study.measured.fit import Factor

WORST = 12
"""Rows that are shown beside the scores."""
REASONS = 8


def check_report(found: Check) -> list[RenderableType]:
    """Everything that a check says, as parts to print one after the other."""
    parts: list[RenderableType] = [*_theory(found), ""] if found.theory else []
    if found.data is None:
        return parts
    predicted = [row for row in found.rows if row.error is not None]
    total = len(found.rows) + len(found.skipped)
    parts += [
        mark("Predicted: ", printable(f"{len(predicted)} of {total} rows of {found.data}"), "bold"),
        "",
        _scores(found),
        "",
        _worst(found),
    ]
    trend: list[RenderableType] = ["", _trends(found)] if found.trends else []
    return [*parts, *trend, *_unpredicted(found)]


def _trends(found: Check) -> Table:
    """Tell how measured speed moved against the prediction with the date of an engine."""
    head = ("engine", "on", "from", "to", "a year", "80 %", "rows")
    table = titled_table("Measured against predicted speed, by date", head)
    for one in found.trends:
        band = f"{100 * one.low:+.0f} to {100 * one.high:+.0f} %"
        table.add_row(
            printable(one.engine), one.generation, printable(one.since), printable(one.until),
            f"{100 * one.per_year:+.0f} %", band, str(one.rows),
        )  # fmt: skip
    for column in (1, 2, 3):
        table.columns[column].justify = "left"
    return table


def _theory(found: Check) -> list[RenderableType]:
    """Tell how many rows of theory hold, and of each station what was seen."""
    held = sum(row.holds for row in found.theory)
    style = "bold" if held == len(found.theory) else "red"
    told = f"{held} of {len(found.theory)} rows hold"
    table = titled_table("Theory", ("row", "metric", "theory", "simulated", "+-"))
    for row in found.theory:
        table.add_row(
            printable(row.id.removeprefix("theory.")),
            printable(row.metric),
            digits(row.expected),
            digits(row.got),
            digits((row.high - row.low) / 2),
            style=None if row.holds else "red",
        )
    table.columns[1].justify = "left"
    parts: list[RenderableType] = [mark("Theory: ", told, style), "", table]
    parts += [
        mark("Does not hold: ", printable(f"{row.id}: {row.reason}"), "red")
        for row in found.theory
        if not row.holds
    ]
    return parts


def _scores(found: Check) -> Table:
    head = ("error of", "load", "rows", "predicted", "median", "mean", "90 % below", "bias")
    table = titled_table("Errors, as shares of what was measured", head)
    for score in found.scores:
        numbers = (score.median, score.mean, score.p90)
        cells = ["-" if one is None else percent(one) for one in numbers]
        bias = "-" if score.bias is None else f"{100 * score.bias:+.1f} %"
        table.add_row(
            score.quantity, score.load, str(score.rows), str(score.predicted), *cells, bias
        )
    table.columns[1].justify = "left"
    return table


def _worst(found: Check) -> Table:
    """List the rows that are farthest off."""
    known = [row for row in found.rows if row.error is not None]
    worst = sorted(known, key=lambda row: -abs(row.error or 0.0))[:WORST]
    table = titled_table("Farthest off", ("row", "metric", "measured", "predicted", "error"))
    for row in worst:
        got, error = row.got or 0.0, row.error or 0.0
        table.add_row(
            printable(row.id), printable(row.metric), digits(row.expected), digits(got),
            f"{100 * error:+.0f} %",
        )  # fmt: skip
    table.columns[1].justify = "left"
    return table


def _unpredicted(found: Check) -> list[RenderableType]:
    """Count rows that were set aside, by the reason."""
    reasons: dict[str, list[str]] = {}
    for row in found.rows:
        if row.error is None:
            reasons.setdefault(row.reason, []).append(row.id)
    for one in found.skipped:
        reasons.setdefault(one.reason, []).append(f"{one.id} (line {one.line})")
    parts: list[RenderableType] = []
    ordered = sorted(reasons.items(), key=lambda pair: -len(pair[1]))
    for reason, ids in ordered[:REASONS]:
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        text = f"{len(ids)} rows: {reason} ({', '.join(ids[:3])}{more})"
        parts.append(mark("Set aside: ", printable(text), "yellow"))
    if len(ordered) > REASONS:
        parts.append(mark("Set aside: ", f"{len(ordered) - REASONS} more reasons: --json", ""))
    return parts


def calibration_report(found: Calibration) -> list[RenderableType]:
    """Everything that a calibration says, as parts to print one after the other."""
    groups: dict[tuple[str, str], list[Factor]] = {}
    for one in found.factors:
        groups.setdefault((one.engine, one.generation), []).append(one)
    parts: list[RenderableType] = []
    for (engine, generation), factors in groups.items():
        where = "anywhere" if generation == "neutral" else f"on {generation}"
        parts += [_fitted(f"{engine} {where}, {factors[0].rows} rows", factors), ""]
    for group in found.refused:
        text = f"{group.engine} on {group.generation}, {group.rows} rows: {group.reason}"
        parts.append(mark("Not fitted: ", printable(text), "yellow"))
    aside = len(found.not_understood) + len(found.skipped)
    if aside:
        text = f"{aside} rows; `factorysim check` tells why"
        parts.append(mark("Set aside: ", text, "yellow"))
    return parts


def _fitted(title: str, factors: Sequence[Factor]) -> Table:
    table = titled_table(title, ("factor", "value", "80 % band", "before"))
    for one in factors:
        band = f"{digits(one.low)} to {digits(one.high)}"
        table.add_row(one.name, digits(one.value), band, digits(one.before))
    return table
