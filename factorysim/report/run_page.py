"""A run, or several side by side, as one page of HTML that needs no other file.

The verdict comes first, then what stands against it, then what it rests on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.report.page import QUESTION, cut, render_page
from factorysim.report.sections import COMPARISON, RUN
from factorysim.report.sections.section import view_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.report.sections.section import View
    from factorysim.run import Run
    from factorysim.study.compare import Comparison

PAGE = "report.html"
MOST = 12
"""Runs on one page: four rows of three; more are neither read nor below 3 MB."""
NAMED = 4
"""Runs that the title of a page names, at the most."""


def run_page(run: Run) -> str:
    """Write one run as a page."""
    return _page(view_of([run]))


def comparison_page(found: Sequence[Comparison], pages: Sequence[str] = ()) -> str:
    """Write runs side by side, with the differences of each from the first.

    Parameters
    ----------
    pages
        Where each run has a page of its own, from where this one will lie; blank: nowhere.

    Raises
    ------
    SpecError
        If there are more than a page holds.
    """
    _check_number(len(found) + 1)
    return _page(view_of([found[0].a, *(one.b for one in found)], found, pages))


def report(*runs: Run | str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a run, or of several compared with the first.

    Parameters
    ----------
    runs
        Run directories, or runs that `simulate` or `open_run` gave.
    out
        File to write; ``report.html`` in the directory of the only run if not given.

    Returns
    -------
    The file.

    Raises
    ------
    UserError
        If a directory is not a whole run, several are given but no file, more than a page holds,
        or it cannot be written.

    Examples
    --------
    >>> report("runs/quickstart")  # doctest: +SKIP
    PosixPath('runs/quickstart/report.html')
    """
    from factorysim.run import Run, open_run
    from factorysim.study.pairing import pair_runs

    _check_number(len(runs))
    opened = [one if isinstance(one, Run) else open_run(one) for one in runs]
    place = _place(opened, out)
    page = run_page(opened[0]) if len(opened) == 1 else comparison_page(pair_runs(opened))
    return write_page(place, page)


def page_beside(folder: str) -> str:
    """Write the address of a run's page from the directory that its own is in.

    Examples
    --------
    >>> page_beside("quickstart"), page_beside("javascript:a b")
    ('./quickstart/report.html', './javascript%3Aa%20b/report.html')
    """
    from urllib.parse import quote

    return f"./{quote(folder, safe='')}/{PAGE}"


def write_page(place: Path, page: str) -> Path:
    """Write a page under its name only when it is whole.

    Raises
    ------
    OutputError
        If the place cannot be written.
    """
    from factorysim.store import write_text

    write_text(place, page)
    return place


def _check_number(runs: int) -> None:
    """Refuse more runs than can be read side by side.

    Raises
    ------
    SpecError
        If there are too many.
    """
    from factorysim.errors import Fault, SpecError

    if runs > MOST:
        cure = (
            "Name the first, and those to hold against it; all of more runs is in the "
            "summary.json and metrics.parquet of each."
        )
        raise SpecError(Fault("report", "", f"{runs} runs", f"at most {MOST} on one page", cure))


def _place(runs: Sequence[Run], out: str | Path | None) -> Path:
    from factorysim.errors import Fault, SpecError

    if out is not None:
        return Path(out)
    if len(runs) == 1:
        return runs[0].path / PAGE
    found = f"{len(runs)} runs" if runs else "no run"
    cure = "Name a run directory." if not runs else "Say where with `out` (--out FILE)."
    raise SpecError(Fault("report", "out", found, "a file for a page of several runs", cure))


def _page(view: View) -> str:
    from factorysim import __version__

    made = [section(view) for section in (COMPARISON if view.several else RUN)]
    names = [one.name for one in view.runs]
    first = view.runs[0].run.manifest["scenario"]
    return render_page(
        "report.html",
        version=__version__,
        title=_title([cut(name, 80) for name in names]),
        kicker="Comparison" if view.several else "Run",
        question=None if view.several else cut(first["question"], QUESTION),
        sections=made,
    )


def _title(names: Sequence[str]) -> str:
    """Name a page after its runs, or after the first where there are many."""
    shown = names if len(names) <= NAMED else [names[0], f"{len(names) - 1} others"]
    return " against ".join(shown)
