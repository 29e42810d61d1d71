"""Figures for papers: one function each, from a run to a matplotlib `Figure`.

This module is ``factorysim.figures``; `save` writes a figure as PDF, SVG or PNG, and
the same run gives the same bytes. The command is ``factorysim figures``.

Examples
--------
>>> import factorysim as fs
>>> run = fs.simulate("quickstart")  # doctest: +SKIP
>>> fs.figures.save(fs.figures.latency(run, "ttft_s"), "ttft.pdf")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.figures.every import NAMES as NAMES
from factorysim.report.figures.saving import as_bytes as as_bytes
from factorysim.report.figures.saving import save as save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from factorysim.report.figures.style import Width
    from factorysim.run import Run

__all__ = [
    "NAMES",
    "as_bytes",
    "draw",
    "energy",
    "latency",
    "paired",
    "pools",
    "save",
    "series",
    "tail",
    "time_shares",
]


def draw(run: Run, name: str, width: Width = "column") -> Figure:
    """Draw one of `NAMES`, as ``factorysim figures --only NAME`` does."""
    from factorysim.report.figures.every import Figures

    return Figures(run, width).draw(_known(name, NAMES))


def latency(run: Run, name: str, width: Width = "column") -> Figure:
    """Draw the distribution function of ``ttft_s``, ``tpot_s``, ``turn_s`` or ``session_s``.

    One line a stream, and the thresholds that SLOs set.

    Raises
    ------
    UserError
        If there is no latency of that name.

    Examples
    --------
    >>> latency(None, "tttf_s")
    Traceback (most recent call last):
    factorysim.errors.SpecError: figures: found 'tttf_s', expected a figure's name
        did you mean 'ttft_s'? There are: ttft_s, tpot_s, turn_s, session_s.
    """
    from factorysim.report.charts.latency import TITLES
    from factorysim.report.figures.every import Figures

    known = _known(name, tuple(TITLES))
    return Figures(run, width).latency(known)


def tail(run: Run, name: str, width: Width = "column") -> Figure:
    """Draw the share that took longer, on a logarithmic axis; names as of `latency`."""
    from factorysim.report.charts.latency import TITLES
    from factorysim.report.figures.every import Figures

    known = _known(name, tuple(TITLES))
    return Figures(run, width).latency(known, tail=True)


def series(run: Run, name: str, width: Width = "column") -> Figure:
    """Draw over time: ``sessions``, ``queue``, ``batch``, ``kv``, ``tools`` or ``power``."""
    from factorysim.report.charts.over_time import CHARTS
    from factorysim.report.figures.every import Figures

    known = _known(name, tuple(CHARTS))
    return Figures(run, width).series(known)


def time_shares(run: Run, width: Width = "column") -> Figure:
    """Draw where a session's time goes, by stream."""
    from factorysim.report.figures.every import Figures

    return Figures(run, width).time_shares()


def energy(run: Run, width: Width = "column") -> Figure:
    """Draw the energy of an output token, boundary by boundary."""
    from factorysim.report.figures.every import Figures

    return Figures(run, width).energy()


def pools(run: Run, width: Width = "column") -> Figure:
    """Draw how busy pools are, and how full."""
    from factorysim.report.figures.every import Figures

    return Figures(run, width).pools()


def paired(a: Run, b: Run, width: Width = "column") -> Figure:
    """Draw the differences between two runs of the same demand.

    Raises
    ------
    UserError
        If they cannot be paired: another seed, window or kind of run.
    """
    from factorysim.report.charts.paired import paired_chart
    from factorysim.report.figures.paired import paired_figure
    from factorysim.study.pairing import pair_strictly

    return paired_figure(paired_chart(pair_strictly(a, b)), width)


def _known(name: str, names: tuple[str, ...]) -> str:
    """Refuse a name that no figure has.

    Raises
    ------
    SpecError
        With the nearest name, and all of them.
    """
    from difflib import get_close_matches

    from factorysim.errors import Fault, SpecError
    from factorysim.marked import shown

    if name in names:
        return name
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    cure = f"{hint}There are: {', '.join(names)}."
    raise SpecError(Fault("figures", "", shown(name), "a figure's name", cure))
