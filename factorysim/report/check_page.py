"""A check as one page of HTML: the verdict, scores, figures, and every row.

It is laid out for somebody who decides whether to trust the simulator, so it says first what
failed and how far off predictions are, and shows what was set aside and assumed
as plainly as what fits. Rows of a user's file may hold anything: they reach the template as text.
"""

from __future__ import annotations

from math import isfinite
from statistics import mean, median
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from factorysim.report.check_plots import (
    BAND,
    BOTTOM,
    LABEL,
    LEFT,
    RIGHT,
    TOP,
    Scatter,
    Strips,
    scatter,
    strips,
)
from factorysim.report.numbers import digits, percent
from factorysim.report.page import cut, render_page
from factorysim.study.check import CLASSES, THEORY
from factorysim.study.theory.conservation import PREFIX as CONSERVATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from factorysim.study.check import Check
    from factorysim.study.measured.compare import Compared
    from factorysim.study.measured.rows import Skipped
    from factorysim.study.theory import TheoryRow

K = TypeVar("K")

ROWS_MOST = 2_000
"""Of the table of all rows; of more, the farthest off are shown."""
WORST = 12
REASONS_MOST = 100
GROUPS_MOST = 100
EXAMPLES = 3
"""Ids that are named beside a reason."""
MARKS = 6
"""Engines that have a mark of their own; those with fewer rows share another."""
LOADS = {
    "closed": "closed loop",
    "offered": "Poisson arrivals",
    "queued": "all queued",
    "static": "one batch",
    "steady": "steady state",
}
"""Kinds of load, as readers call them."""


class Tally(NamedTuple):
    """Errors of some rows, as shares of what was measured; those not predicted count as 100 %."""

    name: str
    detail: str
    rows: int
    predicted: int
    median: str
    mean: str
    within: str
    """Share of rows at most `BAND` off."""
    bias: str
    held: str
    """Of how many rows the measurement lies in its 80 % band; empty where none has one."""


class Line(NamedTuple):
    """A row of the table of all rows."""

    id: str
    what: str
    metric: str
    load: str
    measured: str
    predicted: str
    error: str
    band: str
    """The central 80 % of a prediction; empty where none is told."""
    reason: str
    source: str
    assumed: str
    state: str
    """`close`, `off` or `aside`: what the page filters by."""
    size: float
    """Of the error, to sort by; -1 where there is none."""


class Law(NamedTuple):
    """A row of theory or of conservation."""

    id: str
    metric: str
    expected: str
    got: str
    interval: str
    error: str
    holds: bool
    reason: str
    source: str


class Counted(NamedTuple):
    """A reason or an assumption, and the rows that it holds for."""

    text: str
    rows: int
    examples: str


class Figure(NamedTuple):
    """One quantity: every prediction against its measurement, and by group."""

    name: str
    unit: str
    summary: Tally
    scatter: Scatter | None
    strips: Strips
    marks: tuple[tuple[int, str], ...]
    """Engines that are drawn, by the number of their mark."""


def check_page(found: Check) -> str:
    """Write a check as one HTML file that needs no other."""
    from factorysim import __version__

    laws = [row for row in found.theory if not _of_conservation(row)]
    conservation = [row for row in found.theory if _of_conservation(row)]
    predicted = [row for row in found.rows if row.error is not None]
    total = len(found.rows) + len(found.skipped)
    lines = [_line(row) for row in _shown(found.rows)]
    lines += [_unread(one) for one in found.skipped[: ROWS_MOST - len(lines)]]
    reasons, assumed = _reasons(found), _assumed(found.rows)
    groups = _groups(predicted)
    return render_page(
        "check.html",
        version=__version__,
        theory=found.theory,
        broken=[_law(row) for row in found.theory if not row.holds],
        laws=[_law(row) for row in laws],
        conservation=[_law(row) for row in conservation],
        data=None if found.data is None else cut(found.data),
        total=total,
        predicted=len(predicted),
        headlines=_headlines(found.rows),
        scores=found.scores,
        loads=LOADS,
        figures=_figures(predicted),
        plot={"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        groups=groups[:GROUPS_MOST],
        groups_more=len(groups) - GROUPS_MOST,
        worst=[_line(row) for row in sorted(predicted, key=_farthest)[:WORST]],
        aside=total - len(predicted),
        reasons=reasons[:REASONS_MOST],
        reasons_more=len(reasons) - REASONS_MOST,
        assumed=assumed[:REASONS_MOST],
        assumed_more=len(assumed) - REASONS_MOST,
        lines=lines,
        lines_more=total - len(lines),
        with_band=any(line.band for line in lines),
        near=f"{100 * BAND:.0f} %",
        percent=percent,
        signed=signed,
    )


def _of_conservation(row: TheoryRow) -> bool:
    return row.id.removeprefix(THEORY).startswith(CONSERVATION)


def _farthest(row: Compared) -> float:
    """Sort the farthest off first, what is not predicted after all others."""
    return -abs(row.error) if row.error is not None else 1.0


def _shown(rows: Sequence[Compared]) -> list[Compared]:
    """Choose rows for the table: all, or those farthest off; in the order of the file."""
    if len(rows) <= ROWS_MOST:
        return list(rows)
    return sorted(sorted(rows, key=_farthest)[:ROWS_MOST], key=lambda row: row.line)


def _line(row: Compared) -> Line:
    state = "aside"
    if row.error is not None:
        state = "close" if abs(row.error) <= BAND else "off"
    return Line(
        cut(row.id),
        cut(row.what),
        cut(row.metric),
        cut(LOADS.get(row.load, row.load)),
        digits(row.expected),
        "" if row.got is None else digits(row.got),
        signed(row.error),
        _band(row),
        cut(row.reason),
        cut(row.source),
        cut("; ".join(row.assumed)),
        state,
        -1.0 if row.error is None else abs(row.error),
    )


def _band(row: Compared) -> str:
    """Write the bounds of what would be measured, and whether what was lies outside them."""
    if row.low is None or row.high is None:
        return ""
    outside = "" if row.low <= row.expected <= row.high else ", outside"
    return f"{digits(row.low)} to {digits(row.high)}{outside}"


def _unread(one: Skipped) -> Line:
    where = f"line {one.line}"
    return Line(cut(one.id), where, "", "", "", "", "", "", cut(one.reason), "", "", "aside", -1.0)


def _law(row: TheoryRow) -> Law:
    counted = _of_conservation(row)
    chance = not counted and isfinite(row.low)
    write = "{:g}".format if counted else digits
    return Law(
        row.id.removeprefix(THEORY),
        row.metric,
        write(row.expected),
        write(row.got),
        f"{digits(row.low)} to {digits(row.high)}" if chance else "-",
        signed(row.error) if row.expected else digits(row.error),
        row.holds,
        cut(row.reason),
        row.source,
    )


def signed(error: float | None) -> str:
    """Write an error as a share of what was measured, or as a multiple where it is large.

    Examples
    --------
    >>> signed(0.123), signed(-0.5), signed(24.0), signed(None)
    ('+12.3 %', '-50.0 %', 'x 25.0', '')
    """
    if error is None:
        return ""
    return f"{100 * error:+.1f} %" if abs(error) < 10 else f"x {digits(error + 1.0)}"


def _tally(name: str, detail: str, rows: Sequence[Compared]) -> Tally:
    errors = [row.error for row in rows if row.error is not None]
    sizes = [abs(error) for error in errors] + [1.0] * (len(rows) - len(errors))
    return Tally(
        name,
        detail,
        len(rows),
        len(errors),
        percent(median(sizes)),
        percent(mean(sizes)),
        percent(sum(size <= BAND for size in sizes) / len(sizes)),
        signed(median(errors)) if errors else "-",
        _held(rows),
    )


def _held(rows: Iterable[Compared]) -> str:
    inside = [
        row.low <= row.expected <= row.high
        for row in rows
        if row.low is not None and row.high is not None
    ]
    return f"{percent(mean(inside))} of {len(inside):,}" if inside else ""


def _headlines(rows: Iterable[Compared]) -> list[Tally]:
    """Score each quantity under all loads, those of most rows first."""
    by_quantity = _sorted_into(rows, lambda row: CLASSES.get(row.quantity, ""))
    return [_tally(name, "", mine) for name, mine in by_quantity.items() if name]


def _groups(predicted: Iterable[Compared]) -> list[Tally]:
    """Score each quantity of each engine on each generation of devices."""
    found = _sorted_into(predicted, lambda row: (_group(row), CLASSES.get(row.quantity, "")))
    return [
        _tally(cut(group, LABEL), quantity, mine)
        for (group, quantity), mine in sorted(found.items())
    ]


def _group(row: Compared) -> str:
    return f"{row.engine} on {row.generation}"


def _figures(predicted: Sequence[Compared]) -> list[Figure]:
    """Draw each quantity in a unit of its own: a rate has no place among times."""
    marks = _marks(predicted)
    by_quantity = _sorted_into(
        predicted, lambda row: (CLASSES.get(row.quantity, row.quantity), _unit(row))
    )
    return [
        Figure(
            name,
            unit,
            _tally(name, unit, rows),
            scatter(rows, marks, _title),
            strips(_sorted_into(rows, _group), marks, _title),
            _legend(rows, marks),
        )
        for (name, unit), rows in by_quantity.items()
    ]


def _unit(row: Compared) -> str:
    match row.quantity:
        case "ttft" | "tpot" | "itl" | "latency":
            return "ms" if row.metric.endswith("_ms") else "s"
        case "tokens_per_s_per_user":
            return "tokens/s for a user"
        case "throughput":
            return "tokens/s"
        case "power":
            return "W"
        case _:
            return "J/token"


def _title(row: Compared) -> str:
    got = "" if row.got is None else digits(row.got)
    numbers = f"measured {digits(row.expected)}, predicted {got}, {signed(row.error)}"
    return f"{cut(row.id, 60)}: {numbers}; {cut(row.what, 160)}"


def _marks(predicted: Sequence[Compared]) -> dict[str, int]:
    """Give engines a mark each, those of most rows first; the last mark is for all that follow."""
    return {
        engine: min(number, MARKS)
        for number, engine in enumerate(_sorted_into(predicted, lambda row: row.engine))
    }


def _legend(rows: Iterable[Compared], marks: Mapping[str, int]) -> tuple[tuple[int, str], ...]:
    here = {row.engine for row in rows}
    named: dict[int, list[str]] = {}
    for engine, number in marks.items():
        if engine in here:
            named.setdefault(number, []).append(engine)
    return tuple((number, cut(", ".join(names), LABEL)) for number, names in named.items())


def _reasons(found: Check) -> list[Counted]:
    pairs = [(row.reason, row.id) for row in found.rows if row.error is None]
    return _counted([*pairs, *((one.reason, one.id) for one in found.skipped)])


def _assumed(rows: Iterable[Compared]) -> list[Counted]:
    return _counted([(text, row.id) for row in rows for text in row.assumed])


def _counted(pairs: Iterable[tuple[str, str]]) -> list[Counted]:
    """Count texts, the most frequent first, with the first ids of each."""
    ids: dict[str, list[str]] = {}
    for text, name in pairs:
        ids.setdefault(text, []).append(name)
    ordered = sorted(ids.items(), key=lambda pair: -len(pair[1]))
    return [
        Counted(cut(text), len(names), cut(", ".join(names[:EXAMPLES]))) for text, names in ordered
    ]


def _sorted_into(rows: Iterable[Compared], key: Callable[[Compared], K]) -> dict[K, list[Compared]]:
    """Sort rows by what they have in common; what most rows have first."""
    found: dict[K, list[Compared]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))
