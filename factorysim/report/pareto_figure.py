"""The figure of a sweep: throughput of a MW and of a GPU against what a user gets.

Two panels over one kind of axis. A factory has a colour and a mark of its own, or of one
factory each layout; its frontier is a line, and points that another of the factory
beats stay faint, each layout on a thin line. Labels stand at what they name, where
they cover least. Drawn to be read at 1200 x 800 and printed in one column: text of
13 points on seven inches is six and a half at 3.5.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.marked import printable
from factorysim.report.figures.axis import LOG_FROM, linear, logarithmic
from factorysim.report.figures.saving import UNDATED
from factorysim.report.figures.style import COLOURS, GRID, INK, paper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from factorysim.study.pareto import Estimate, Pareto, Point

INCHES = (7.0, 4.0 + 2 / 3)
DPI = 1200 / 7.0
MARKS = ("o", "s", "^", "D", "v", "P", "X")
TEXT, SMALL = 13.0, 10.5
"""Points."""
PANELS = (
    ("Output tokens/s per MW of facility", "tokens_per_s_per_mw", "on_mw_frontier"),
    ("Output tokens/s per GPU", "tokens_per_s_per_gpu", "on_gpu_frontier"),
)
USER = "tokens/s for a user"
ENDS_MOST = 4
"""Factories whose ends are told: of more, names alone have room."""
FAINT = 0.4
"""Opacity of what another point of the factory beats."""
BESIDE = 12.0
"""Points that a label may stand out of the axes on the right."""
AWAY = (5.0, 13.0)
"""Points between a label and what it names; further away where there is no room."""


def draw_pareto(found: Pareto, path: Path) -> None:
    """Draw a sweep; the end of the path's name says how: ``.png``, ``.svg`` or ``.pdf``.

    The same points give the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with paper():
        figure: Any = Figure(figsize=INCHES, dpi=DPI, facecolor="white")
        canvas: Any = FigureCanvasAgg(figure)
        curves = _curves(found)
        for place, panel in enumerate(PANELS):
            axes = figure.add_subplot(1, 2, place + 1)
            _Panel(axes, found, curves, *panel[1:]).draw()
            axes.set_title(panel[0], fontsize=TEXT, loc="left", color=INK, pad=8)
            axes.set_xlabel(USER, fontsize=TEXT, color=INK)
        figure.subplots_adjust(left=0.085, right=0.975, bottom=0.135, top=0.915, wspace=0.21)
        canvas.draw()
        for axes, panel in zip(figure.axes, PANELS, strict=True):
            _Labels(axes, found, curves, panel[1], panel[2]).write()
        kind = path.suffix.removeprefix(".")
        figure.savefig(path, format=kind, dpi=DPI, metadata=UNDATED[kind])


class _Curve(NamedTuple):
    """What has a name, a colour and a mark: a factory, or a layout of the only one."""

    name: str
    colour: str
    mark: str
    points: list[Point]


def _curves(found: Pareto) -> list[_Curve]:
    alone = len(found.factories) == 1
    names = dict.fromkeys(p.layout if alone else p.scenario for p in found.points)
    return [
        _Curve(
            name,
            COLOURS[number % len(COLOURS)],
            MARKS[(number + number // len(COLOURS)) % len(MARKS)],  # the eighth has another mark
            [p for p in found.points if (p.layout if alone else p.scenario) == name],
        )
        for number, name in enumerate(names)
    ]


def _frontier(found: Pareto, scenario: str, flag: str) -> list[Point]:
    """By rising value for a user: the fullest first."""
    mine = [p for p in found.points if p.scenario == scenario and getattr(p, flag)]
    return sorted(mine, key=lambda point: point.tokens_per_s_per_user.value)


class _Panel:
    """Points, lines and axes of one panel."""

    def __init__(
        self,
        axes: Any,  # noqa: ANN401
        found: Pareto,
        curves: list[_Curve],
        value: str,
        flag: str,
    ) -> None:
        self.axes = axes
        self.found = found
        self.curves = curves
        self.value = value
        self.flag = flag

    def draw(self) -> None:
        """Draw all that is no label."""
        for curve in self.curves:
            self._draw(curve)
        mixed = len(self.found.factories) == 1 < len(self.curves)
        for number, factory in enumerate(self.found.factories):
            colour = INK if mixed else COLOURS[number % len(COLOURS)]
            best = _frontier(self.found, factory.name, self.flag)
            self.axes.plot(*_places(best, self.value), "-", color=colour, linewidth=2.2, zorder=3)
        _scale(self.axes.xaxis, [p.tokens_per_s_per_user for p in self.found.points])
        _scale(self.axes.yaxis, [getattr(p, self.value) for p in self.found.points])
        self.axes.grid(True, which="major", color=GRID, linewidth=0.8)
        self.axes.set_axisbelow(True)
        self.axes.tick_params(which="both", labelsize=TEXT - 1, colors=INK, length=3, pad=3)
        for side in ("top", "right"):
            self.axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            self.axes.spines[side].set_color(INK)

    def _draw(self, curve: _Curve) -> None:
        for layout in dict.fromkeys(point.layout for point in curve.points):
            xs, ys = _places([p for p in curve.points if p.layout == layout], self.value)
            self.axes.plot(xs, ys, "-", color=curve.colour, linewidth=1.0, alpha=FAINT, zorder=2)
        for point in curve.points:
            best = getattr(point, self.flag)
            self.axes.plot(
                *_places([point], self.value),
                curve.mark,
                color=curve.colour,
                alpha=1.0 if best else FAINT,
                markersize=6.5 if best else 4.5,
                markeredgecolor="white",
                markeredgewidth=0.8 if best else 0.0,
                zorder=4 if best else 2,
            )
            self._interval(point, curve.colour, 0.9 if best else FAINT)

    def _interval(self, point: Point, colour: str, alpha: float) -> None:
        """Draw the sampling interval of both values, where there is one."""
        x, y = point.tokens_per_s_per_user, getattr(point, self.value)
        style = {"color": colour, "alpha": alpha, "linewidth": 1.0, "zorder": 3}
        if x.low is not None and x.high is not None:
            self.axes.plot([max(x.low, 1e-9), x.high], [y.value, y.value], "-", **style)
        if y.low is not None and y.high is not None:
            self.axes.plot([x.value, x.value], [max(y.low, 1e-9), y.high], "-", **style)


def _places(points: Sequence[Point], value: str) -> tuple[list[float], list[float]]:
    xs = [point.tokens_per_s_per_user.value for point in points]
    return xs, [getattr(point, value).value for point in points]


def _scale(axis: Any, estimates: list[Estimate]) -> None:  # noqa: ANN401
    """Choose a linear or a logarithmic axis, with ticks that people read."""
    values = [estimate.value for estimate in estimates]
    values += [bound for one in estimates for bound in (one.low, one.high) if bound and bound > 0]
    low, high = min(values), max(values)
    along = axis.axis_name == "x"
    bounds = axis.axes.set_xlim if along else axis.axes.set_ylim
    if high / low < LOG_FROM:
        room = 0.12 * (high - low or high)
        bounds(0.0 if high / low > 2 else max(0.0, low - room), high + room)
        linear(axis)
    else:
        logarithmic(axis, low, high)
        room = (high / low) ** 0.09
        bounds(low / room, high * room)


class _Box(NamedTuple):
    """A rectangle of the paper, in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def covers(self, other: _Box) -> float:
        """Pixels of overlap."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def off(self, spot: tuple[float, float]) -> float:
        """Pixels between its edge and a point."""
        across = max(self.left - spot[0], 0.0, spot[0] - self.right)
        along = max(self.bottom - spot[1], 0.0, spot[1] - self.top)
        return float((across**2 + along**2) ** 0.5)


class _Labels:
    """Texts at what they name, each where it covers least of what is there."""

    SIDES = (
        (1, 1), (1, -1), (-1, -1), (-1, 1), (1, 0), (-1, 0), (0, 1), (0, -1),
    )  # fmt: skip
    """Right or left, above or below."""

    def __init__(
        self,
        axes: Any,  # noqa: ANN401
        found: Pareto,
        curves: list[_Curve],
        value: str,
        flag: str,
    ) -> None:
        self.axes = axes
        self.found = found
        self.curves = curves
        self.value = value
        self.flag = flag
        figure = axes.figure
        self.renderer = figure.canvas.get_renderer()
        self.pixels = figure.dpi / 72.0
        box = axes.get_window_extent(self.renderer)
        self.paper = _Box(box.x0, box.y0, box.x1 + BESIDE * self.pixels, box.y1)
        self.taken: list[_Box] = []
        self.marks = self._spots(found.points)

    def write(self) -> None:
        """Name every curve, layouts along frontiers, and how many are in flight at their ends."""
        frontiers = [_frontier(self.found, one.name, self.flag) for one in self.found.factories]
        for curve in self.curves:
            for layout in dict.fromkeys(point.layout for point in curve.points):
                self._occupy([point for point in curve.points if point.layout == layout], 3.0)
        for points in frontiers:
            self._occupy(points, 5.0)
        if len(self.curves) > 1:
            for curve in self.curves:
                kept = [point for point in curve.points if getattr(point, self.flag)]
                self._place(
                    printable(curve.name), kept or curve.points, curve.colour, TEXT, bold=True
                )
        several = len(self.found.factories) > 1
        for number, points in enumerate(frontiers):
            colour = COLOURS[number % len(COLOURS)]
            layouts = _stretches(points) if several else []
            if len({stretch[0].layout for stretch in layouts}) > 1 or self._mixed(points):
                for stretch in layouts:
                    self._place(printable(stretch[0].layout), stretch, colour, SMALL, bold=False)
            unit = "" if number else " in flight"  # said once, it goes for the others as well
            ends = [(points[-1], f"{points[-1].concurrency:,}{unit}")]
            if len(points) > 1:
                ends.append((points[0], f"{points[0].concurrency:,}"))
            if len(frontiers) > ENDS_MOST:
                continue
            for point, text in ends:
                told = colour if several else self._colour_of(point)
                self._place(text, [point], told, SMALL, bold=False)

    def _mixed(self, points: list[Point]) -> bool:
        """Tell whether a factory has layouts that are not on its frontier."""
        mine = {p.layout for p in self.found.points if p.scenario == points[0].scenario}
        return len(mine) > 1

    def _colour_of(self, point: Point) -> str:
        return next(curve.colour for curve in self.curves if point in curve.points)

    def _spots(self, points: Sequence[Point]) -> list[tuple[float, float]]:
        """Give points of the paper, in pixels."""
        xs, ys = _places(points, self.value)
        spots = self.axes.transData.transform(list(zip(xs, ys, strict=True)))
        return [(float(x), float(y)) for x, y in spots]

    def _occupy(self, points: Sequence[Point], half: float) -> None:
        """Keep labels off marks, and off the lines between them."""
        spots, reach = self._spots(points), half * self.pixels
        for x, y in spots:
            self.taken.append(_Box(x - reach, y - reach, x + reach, y + reach))
        for (x, y), (to_x, to_y) in pairwise(spots):
            steps = int(max(abs(to_x - x), abs(to_y - y)) // 6) + 1
            for step in range(1, steps):
                at = (x + (to_x - x) * step / steps, y + (to_y - y) * step / steps)
                self.taken.append(_Box(at[0] - 3, at[1] - 3, at[0] + 3, at[1] + 3))

    def _place(
        self, text: str, points: Sequence[Point], colour: str, size: float, *, bold: bool
    ) -> None:
        label = self.axes.text(
            0, 0, text, fontsize=size, color=colour, fontweight="bold" if bold else "normal",
            ha="left", va="bottom", zorder=6, transform=None, parse_math=False,
        )  # fmt: skip
        extent = label.get_window_extent(self.renderer)
        wide, high = extent.width, extent.height
        best: tuple[float, _Box] | None = None
        mine = set(self._spots(points))
        others = [spot for spot in self.marks if spot not in mine]
        for rank, spot in enumerate(self._anchors(points)):
            for away in AWAY:
                for order, (right, above) in enumerate(self.SIDES):
                    box = self._box(spot, wide, high, right, above, away * self.pixels)
                    cost = self._cost(box) + 0.2 * high * (order + rank + away)
                    if any(box.off(other) < box.off(spot) for other in others):
                        cost += 4 * wide * high  # it would seem to name the other
                    if best is None or cost < best[0]:
                        best = (cost, box)
        assert best is not None  # there is a point
        x, y = self.axes.transData.inverted().transform((best[1].left, best[1].bottom))
        label.set_transform(self.axes.transData)
        label.set_position((float(x), float(y)))
        self.taken.append(best[1])

    def _anchors(self, points: Sequence[Point]) -> list[tuple[float, float]]:
        """Give the marks, from the middle outwards."""
        spots = self._spots(points)
        middle = (len(spots) - 1) / 2
        order = sorted(range(len(spots)), key=lambda place: abs(place - middle))
        return [spots[place] for place in order]

    def _box(
        self,
        spot: tuple[float, float],
        wide: float,
        high: float,
        right: int,
        above: int,
        away: float,
    ) -> _Box:
        x = spot[0] + right * away - (0 if right > 0 else wide if right < 0 else wide / 2)
        x = max(self.paper.left, min(x, self.paper.right - wide))
        y = spot[1] + above * away - (0 if above > 0 else high if above < 0 else high / 2)
        return _Box(x, y, x + wide, y + high)

    def _cost(self, box: _Box) -> float:
        covered = sum(box.covers(other) for other in self.taken)
        inside = box.covers(self.paper)
        outside = (box.right - box.left) * (box.top - box.bottom) - inside
        return covered + 4 * outside


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    """Cut a frontier where its layout changes."""
    stretches: list[list[Point]] = []
    for point in points:
        if stretches and stretches[-1][0].layout == point.layout:
            stretches[-1].append(point)
        else:
            stretches.append([point])
    return stretches
