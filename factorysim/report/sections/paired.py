"""Paired differences: what changes from one factory to the other, on the same demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.charts.paired import paired_chart
from factorysim.report.markup import join, tag
from factorysim.report.numbers import common_unit, digits
from factorysim.report.sections.section import Section, note, reasons, table
from factorysim.report.svg.forest import FAR, NEAR, Row, forest
from factorysim.report.versus import ROWS, half_width, unit_of
from factorysim.study.compare import are_pairs

if TYPE_CHECKING:
    from markupsafe import Markup

    from factorysim.report.charts.paired import Difference
    from factorysim.report.sections.section import View
    from factorysim.study.compare import Comparison, Pair


def paired(view: View) -> Section:
    """Draw what B has as a multiple of A's, with intervals, and list the differences."""
    parts = [
        _of_pair(found, view.runs[0].title, other.title)
        for found, other in zip(view.comparisons, view.runs[1:], strict=True)
    ]
    return Section("paired", "Differences", join(parts))


def _of_pair(found: Comparison, first: str, other: str) -> Markup:
    chart = paired_chart(found)
    letter = other[0]
    rows = [_row(one) for one in chart.differences]
    drawn = (
        forest(f"{other} as a multiple of {first}", rows,
               f"◂ less in {letter}", f"more in {letter} ▸")
        if rows
        else tag("p", "No metric has a value in both.", class_="empty")
    )  # fmt: skip
    far = any(not NEAR <= row.ratio <= FAR for row in rows)
    key = (
        "Filled: the 95 % interval leaves out 1. Hollow: it does not, or there is none. Lines "
        "that reach an end of the axis go on."
    )
    spread = ", with 95 % intervals" if are_pairs(found) else None
    return join(
        tag("h3", f"{other} against {first}"),
        tag(
            "div",
            tag("figure", tag("figcaption", tag("b", f"{letter} / A", spread)), drawn,
                note(key, " An arrow: farther than the axis." if far else None)),
            tag("div", _table(found, letter), _about(found, letter)),
            class_="beside",
        ),
    )  # fmt: skip


def _row(one: Difference) -> Row:
    text = _signed(one.share)
    title = f"{one.text}\ndifference, of A: {text}"
    low, high = one.low, one.high
    if low is not None and high is not None:
        title += f"\n95 %: {_signed(low)} to {_signed(high)}"
        low, high = 1 + low, 1 + high
    return Row(_called(ROWS[one.name]), 1 + one.share, low, high, text, title)


def _called(text: str) -> str:
    """Mark what belongs to the row above, which the terminal indents."""
    return f"… {text.strip()}" if text.startswith(" ") else text


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %" if abs(share) < 10 else f"x {digits(share + 1)}"


def _table(found: Comparison, letter: str) -> Markup:
    notes: dict[str, int] = {}
    rows = [
        (_called(text), *_cells(name, found.pairs[name], notes))
        for name, text in ROWS.items()
        if name in found.pairs
    ]
    head = ("", "unit", "A", letter, f"{letter} - A", "± 95 %", f"{letter} / A")
    caption = "Means over paired replications" if are_pairs(found) else "Means over replications"
    return join(table(head, rows, caption=caption, words=2), reasons(notes))


def _cells(name: str, pair: Pair, notes: dict[str, int]) -> tuple[str, ...]:
    if pair.a is None or pair.b is None:
        place = notes.setdefault(pair.reason or "no reason given", len(notes) + 1)
        return "", f"({place})", "", "", "", ""
    factor, unit = common_unit(max(abs(pair.a), abs(pair.b)), unit_of(name))
    gap = half = ""
    if pair.difference is not None:
        gap = f"{'+' if pair.difference > 0 else ''}{digits(pair.difference / factor)}"
        if pair.ci_high is not None:
            half = half_width(pair.difference, pair.ci_high, factor)
        elif pair.reason:
            half = f"({notes.setdefault(pair.reason, len(notes) + 1)})"
    ratio = "" if pair.ratio is None else digits(pair.ratio)
    return unit, digits(pair.a / factor), digits(pair.b / factor), gap, half, ratio


def _about(found: Comparison, letter: str) -> Markup:
    a, b = found.a.manifest, found.b.manifest
    lines = [f"Serving devices: A {a['devices']:,}, {letter} {b['devices']:,}."]
    if found.power_mismatch is not None:
        lines.append(f"IT power of {letter} against A: {100 * found.power_mismatch:+.1f} %.")
    pair = found.pairs.get("tokens.output_per_s")
    if pair is not None and pair.variance_reduction is not None:
        lines.append(
            "Common random numbers divide the variance of the difference in output tokens/s by "
            f"{digits(pair.variance_reduction)}."
        )
    return note(" ".join(lines))
