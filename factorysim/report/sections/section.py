"""What a section of a page is, what it is made from, and the few forms that all share."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING, NamedTuple

from factorysim.metrics.names import metric
from factorysim.report.charts.source import Source
from factorysim.report.markup import join, tag
from factorysim.report.numbers import amount, common_unit, digits, unit_beside
from factorysim.report.svg.lines import LOOKS
from factorysim.report.terminal import cell
from factorysim.study.pairing import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from markupsafe import Markup

    from factorysim.metrics.summary import Line
    from factorysim.report.markup import Content
    from factorysim.run import Run
    from factorysim.study.compare import Comparison


class Section(NamedTuple):
    """A part of a page, with an entry of its own in the contents."""

    id: str
    title: str
    body: Markup


class Shown(NamedTuple):
    """A run as a page shows it."""

    run: Run
    source: Source
    letter: str
    """`A`, `B`, ... where there are several; else blank."""
    name: str
    """Of its scenario, and its directory where others have that name too."""
    page: str = ""
    """Where a page of its own is, from the page that is made; blank: there is none."""

    @property
    def title(self) -> str:
        """Its letter and name."""
        return f"{self.letter} {self.name}".strip()


class View(NamedTuple):
    """All that a page is made from; a section takes what it needs."""

    runs: tuple[Shown, ...]
    comparisons: tuple[Comparison, ...]
    """The first run against each other one; none on the page of one run."""
    looks: Mapping[str, int]
    """Stream or deployment -> its look, which is the same in all charts of all runs."""

    @property
    def several(self) -> bool:
        """Whether runs stand side by side."""
        return len(self.runs) > 1


def view_of(
    runs: Sequence[Run], comparisons: Sequence[Comparison] = (), pages: Sequence[str] = ()
) -> View:
    """Make what a page of these runs is made from.

    Parameters
    ----------
    pages
        Places of the runs' own pages, if they have such.
    """
    letters = ascii_uppercase[: len(runs)] if len(runs) > 1 else [""]
    shown = tuple(
        Shown(run, Source(run), letter, name, page)
        for run, letter, name, page in zip(
            runs, letters, names_of(runs), pages or [""] * len(runs), strict=True
        )
    )
    streams = dict.fromkeys(name for one in shown for name in one.source.streams)
    places = dict.fromkeys(place.name for one in shown for place in one.source.places)
    names = [*streams, *(name for name in places if name not in streams)]
    looks = {name: number % LOOKS for number, name in enumerate(names)}
    return View(shown, tuple(comparisons), looks)


def each(view: View, fragment: Callable[[Shown], Content]) -> Markup:
    """Show every run: one as it is, several side by side (on a phone under each other)."""
    if not view.several:
        return join(fragment(view.runs[0]))
    return tag(
        "div",
        [
            tag("div", tag("h3", one.title, class_="side"), fragment(one), class_="run")
            for one in view.runs
        ],
        class_="versus",
    )


def table(
    head: Sequence[Content],
    rows: Iterable[Sequence[Content]],
    *,
    caption: str,
    words: int = 1,
    id_: str | None = None,
) -> Markup:
    """Make a table: its first columns are words, the others numbers.

    Parameters
    ----------
    words
        How many columns are words; the first cell of a row names it.
    """
    marks = ["" if place < words else "n" for place in range(len(head))]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", tag("span", caption)),
            tag(
                "thead",
                tag("tr", [
                    tag("th", text, scope="col", class_=mark or None)
                    if text
                    else tag("td")
                    for text, mark in zip(head, marks, strict=True)
                ]),
            ),
            tag("tbody", [_row(cells, marks) for cells in rows]),
            id=id_,
        ),
        class_="wide",
        tabindex="0",
        role="group",
        aria_label=caption,
    )  # fmt: skip


def _row(cells: Sequence[Content], marks: Sequence[str]) -> Markup:
    first, *rest = cells
    return tag(
        "tr",
        tag("th", first, scope="row"),
        [tag("td", text, class_=mark or None) for text, mark in zip(rest, marks[1:], strict=True)],
    )


def folded(title: str, *content: Content) -> Markup:
    """Keep something out of sight until a reader asks for it."""
    return tag("details", tag("summary", title), *content)


def note(*content: Content) -> Markup:
    """Make a remark."""
    return tag("p", *content, class_="note")


def reasons(notes: Mapping[str, int]) -> Markup | None:
    """List why values are missing, by the numbers that stand in their places."""
    if not notes:
        return None
    lines = [tag("li", f"({place}) {reason}") for reason, place in notes.items()]
    return tag("ul", lines, class_="reasons")


def told(name: str, line: Line | None, notes: dict[str, int]) -> str:
    """Write a value without its interval, or the number of the note that says why not."""
    return cell(name, line and line._replace(ci_low=None, ci_high=None), notes)


def interval(name: str, line: Line | None) -> str:
    """Write the 95 % interval between replications as its mean; blank where there is none."""
    if line is None or line.ci_low is None or line.ci_high is None or line.ci_low == line.ci_high:
        return ""
    beside = line.value if isinstance(line.value, float) else None
    return between(line.ci_low, line.ci_high, metric(name).unit, beside)


def between(low: float, high: float, unit: str, beside: float | None = None) -> str:
    """Write two bounds in one unit, said once.

    Parameters
    ----------
    beside
        Value that they bound, written by `of_unit`: they take its unit, so that nobody has to
        compare 996 kW with a bound of 1.01 MW.

    Examples
    --------
    >>> between(2450.0, 4021.0, "tok/s"), between(0.0, 0.5, "s"), between(900.0, 5000.0, "1")
    ('2.45 to 4.02 ktok/s', '0 to 500 ms', '900 to 5.00 k')
    >>> between(986e3, 1_012e3, "W", beside=996e3)
    '986 to 1012 kW'
    """
    if unit in ("1", "bool"):
        return f"{amount(low)} to {amount(high)}"
    largest = max(abs(low), abs(high))
    factor, written = unit_beside(beside, unit) if beside else common_unit(largest, unit)
    return f"{digits(low / factor)} to {digits(high / factor)} {written}".strip()


def listing(
    one: Shown, title: str, rows: Mapping[str, str], notes: dict[str, int]
) -> Markup | None:
    """Make a table of metrics with intervals: of those that the run has."""
    summary = one.run.summary
    lines = [
        (text, told(name, summary[name], notes), interval(name, summary[name]))
        for name, text in rows.items()
        if name in summary
    ]
    if not lines:
        return None
    return table(("", "mean", "95 % interval"), lines, caption=title)
