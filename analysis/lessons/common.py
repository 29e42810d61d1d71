"""What the four lessons share: the reader's guess, pictures, facts with their sources.

A lesson asks, waits for a guess, simulates, draws a formula over the simulated points
and explains. As an app it waits for the guess; as a script it takes ``--guess`` or the
first one on offer, prints what it found, and writes its picture where ``--picture`` says;
``--replications`` changes how many there are of each point.
"""

from __future__ import annotations

import base64
import html
import io
import re
import textwrap
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import marimo as mo

import factorysim as fs
from factorysim.metrics.statistics import Interval
from factorysim.metrics.statistics import t_interval as t_interval
from factorysim.report.numbers import amount
from factorysim.report.pareto_figure import COLOURS as COLOURS
from factorysim.report.pareto_figure import GRID, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")
BLUE, ORANGE, GREEN, PURPLE = COLOURS[:4]
"""Formulas are blue and simulated points orange, wherever it is not said otherwise."""
GREY = "#6b6b6b"
PANEL = (4.4, 3.5)
"""Inches; two stand beside each other on a desk and above each other on a phone."""
WRAPS = 'style="white-space:normal;overflow-wrap:anywhere"'
"""Of the id of a fact, which is wider than a phone."""
TEXT = 11.0
"""Points."""


def take_guess(committed: T | None, options: Sequence[T]) -> T | None:
    """Tell the reader's guess; None: an app whose reader has not committed to one yet.

    Parameters
    ----------
    committed
        What the form holds.
    options
        What can be guessed; a script that is given no ``--guess`` takes the first.
    """
    if committed is not None:
        return committed
    given = mo.cli_args().get("guess")
    if given is not None:
        return min(options, key=lambda option: abs(float(option) - float(given)))  # type: ignore[arg-type]
    return options[0] if mo.app_meta().mode == "script" else None


def replications(usual: int) -> int:
    """Tell how many replications a point has: as ``--replications`` says, or as usual."""
    return int(mo.cli_args().get("replications") or usual)


class Panel(NamedTuple):
    """One picture: what it is called, what it shows in words, and who draws it."""

    title: str
    told: str
    """For those who cannot see it."""
    draw: Callable[[Axes], None]


def picture(panels: Sequence[Panel]) -> mo.Html:
    """Show panels beside each other, or above each other where the page is narrow."""
    shown = []
    for panel in panels:
        with drawn([panel]) as figure:
            code = base64.b64encode(svg(figure)).decode("ascii")
        told = html.escape(f"{panel.title}. {panel.told}", quote=True)
        shown.append(
            f'<img src="data:image/svg+xml;base64,{code}" alt="{told}" '
            'style="flex:1 1 20rem;min-width:0;max-width:34rem;height:auto">'
        )
    return mo.Html(f'<div style="display:flex;flex-wrap:wrap;gap:0.75rem">{"".join(shown)}</div>')


def svg(figure: Figure) -> bytes:
    """Write a figure; the same figure gives the same bytes."""
    held = io.BytesIO()
    figure.savefig(held, format="svg", metadata={"Date": None})
    return held.getvalue()


def save_picture(panels: Sequence[Panel], path: str | Path) -> None:
    """Write panels beside each other; the end of the name says how."""
    with drawn(panels) as figure:
        path = Path(path)
        if path.suffix == ".svg":
            path.write_bytes(svg(figure))
        else:
            figure.savefig(path, dpi=150)


@contextmanager
def drawn(panels: Sequence[Panel]) -> Generator[Figure]:
    """Draw panels beside each other, in the paper style of the report's figures."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: Any = matplotlib
    with settings.rc_context():
        settings.rcdefaults()
        settings.rcParams["svg.hashsalt"] = "factorysim"
        size = (PANEL[0] * len(panels), PANEL[1])
        figure = Figure(figsize=size, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        for place, panel in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), place + 1)
            axes.set_title(panel.title, fontsize=TEXT, loc="left", color=INK)
            panel.draw(axes)
            _finish(axes)
        yield figure


def _finish(axes: Axes) -> None:
    axes.grid(which="major", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelsize=TEXT - 2, colors=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.xaxis.label.set(fontsize=TEXT - 1, color=INK)
    axes.yaxis.label.set(fontsize=TEXT - 1, color=INK)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=TEXT - 2.5, labelcolor=INK)


def points(
    axes: Axes, xs: Iterable[float], ys: Iterable[Interval], colour: str, mark: str, label: str
) -> None:
    """Draw simulated points with their intervals."""
    found = list(ys)
    means = [one.mean for one in found]
    down = [min(one.mean - one.low, 0.999 * one.mean) for one in found]
    up = [one.high - one.mean for one in found]
    axes.errorbar(
        list(xs), means, (down, up), fmt=mark, color=colour, markerfacecolor="white",
        markersize=5.5, capsize=3, linewidth=1.2, label=label, zorder=4,
    )  # fmt: skip


def plain_ticks(axis: Any) -> None:  # noqa: ANN401
    """Write the ticks of a logarithmic axis as people do: 1, 10, 1k; set its bounds before."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high / low < 100 and not isinstance(axis.get_major_locator(), FixedLocator):
        axis.set_major_locator(LogLocator(10.0, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_formatter(NullFormatter())


def tick(value: float) -> str:
    """Write a value of an axis."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:g}{prefix}"
    return f"{value:g}"


def of_replications(run: fs.Run, name: str) -> list[float]:
    """One value a replication of a metric."""
    table = run.metrics
    mine = table[(table["name"] == name) & (table["by"] == "all")]
    return [float(value) for value in mine.sort_values("replication")["value"]]


def told(interval: Interval, unit: str = "") -> str:
    """Write a mean with half its interval."""
    half = (interval.high - interval.low) / 2
    return f"{interval.mean:.3g} ± {half:.2g} {unit}".strip()


def report(
    answer: str, heads: Sequence[str], rows: Iterable[Sequence[str]], panels: Sequence[Panel]
) -> None:
    """As a script: print the answer and the points, and write the picture that was asked for."""
    if mo.app_meta().mode != "script":
        return
    print(textwrap.fill(answer, 80), end="\n\n")
    lines = [tuple(heads), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("   ".join(word.rjust(wide) for word, wide in zip(line, widths, strict=True)))
    path = mo.cli_args().get("picture")
    if path:
        save_picture(panels, str(path))


def verdict(guessed: float, right: float, unit: str) -> str:
    """Tell a reader how far off a guess was."""
    ratio = guessed / right
    if 0.85 <= ratio <= 1.15:
        return f"Your guess, {guessed:g} {unit}, is right."
    how, factor = ("low", 1 / ratio) if ratio < 1 else ("high", ratio)
    return f"Your guess, {guessed:g} {unit}, is too {how} by a factor of {factor:.2g}."


def facts_list(ids: Iterable[str]) -> str:
    """Facts of the catalog as a list: value, how it is known, and from where."""
    catalog = fs.load_catalog()
    lines = []
    for name in ids:
        fact = catalog.facts[name]
        titles = [catalog.sources[one].title for one in fact.source if one in catalog.sources]
        source = _plain("; ".join(titles) or fact.note or "factorysim's own")
        value = _written(fact.value, fact.unit)
        lines.append(f"- <code {WRAPS}>{name}</code>: {value} ({fact.kind}; {source})")
    return "\n".join(lines)


def _written(value: object, unit: str) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if unit in ("count", "ratio", "fraction", "1", ""):
        return f"{value:,.10g}"
    if unit == "s" and value < 1:
        return f"{value * 1e6:.4g} us"
    return amount(value, unit)


def _plain(text: str) -> str:
    """Keep words of a source from being read as Markdown or mathematics."""
    return re.sub(r"([\\`*_{}\[\]<>|$#])", r"\\\1", " ".join(text.split()))
