"""A sheet of paper measured in inches: boxes, lines and texts that become a PNG.

A thin, typed layer over matplotlib: without its global state and without the user's
settings, so that the same strokes give the same bytes. Texts are taken as they are:
a dollar starts no formula.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    Point = tuple[float, float]

INK, PAPER = "#22303c", "#ffffff"
DPI = 160


class Box(NamedTuple):
    """A rectangle, in inches."""

    left: float
    bottom: float
    width: float
    height: float

    @property
    def top(self) -> float:
        """Upper edge."""
        return self.bottom + self.height

    @property
    def middle(self) -> float:
        """Halfway between left and right."""
        return self.left + self.width / 2

    @property
    def corners(self) -> list[Point]:
        """The four corners, in order around it."""
        right = self.left + self.width
        return [
            (self.left, self.bottom),
            (right, self.bottom),
            (right, self.top),
            (self.left, self.top),
        ]


class Canvas:
    """Collects strokes; `png` cuts the paper and prints."""

    def __init__(self) -> None:
        from matplotlib.figure import Figure

        with _own_settings():
            self._figure: Any = Figure(facecolor=PAPER)
            self._axes: Any = self._figure.add_axes((0.0, 0.0, 1.0, 1.0))
            self._axes.set_axis_off()

    def boxes(
        self, boxes: Sequence[Box], colour: str, edge: str = "none", line: float = 0.0
    ) -> None:
        """Fill rectangles, with an edge of `line` points."""
        self.polygons([box.corners for box in boxes], colour, edge=edge, line=line, layer=2)

    def polygons(
        self,
        polygons: Sequence[Sequence[Point]],
        colour: str,
        *,
        edge: str = "none",
        line: float = 0.0,
        alpha: float = 1.0,
        layer: int = 1,
    ) -> None:
        """Fill polygons, given by their corners."""
        from matplotlib.collections import PolyCollection

        self._axes.add_collection(
            PolyCollection(
                polygons,
                facecolors=colour,
                edgecolors=edge,
                linewidths=line,
                alpha=None if alpha == 1.0 else alpha,
                zorder=layer,
            )
        )

    def lines(
        self, lines: Sequence[tuple[Point, Point]], colour: str, line: float, alpha: float = 1.0
    ) -> None:
        """Draw straight lines of `line` points."""
        from matplotlib.collections import LineCollection

        self._axes.add_collection(
            LineCollection(
                list(lines),
                colors=colour,
                linewidths=line,
                alpha=alpha,
                capstyle="butt",
                zorder=1,
            )
        )

    def text(
        self,
        at: Point,
        text: str,
        size: float,
        *,
        align: Literal["left", "center"] = "left",
        base: Literal["bottom", "center"] = "center",
        bold: bool = False,
        framed: bool = False,
    ) -> None:
        """Write a text of `size` points, its left end or middle at a point."""
        frame = {"boxstyle": "round,pad=0.45", "facecolor": PAPER, "edgecolor": INK}
        self._axes.text(
            *at,
            text,
            fontsize=size,
            color=INK,
            ha=align,
            va=base,
            weight="bold" if bold else "normal",
            bbox=frame if framed else None,
            parse_math=False,
            zorder=4,
        )

    def png(self, paper: Box) -> bytes:
        """Print what lies on the paper."""
        with _own_settings():
            self._axes.set_xlim(paper.left, paper.left + paper.width)
            self._axes.set_ylim(paper.bottom, paper.top)
            self._figure.set_size_inches(paper.width, paper.height)
            buffer = io.BytesIO()
            self._figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        return buffer.getvalue()


@contextmanager
def _own_settings() -> Generator[None]:
    """Matplotlib's defaults for a while, whatever the user has set."""
    import matplotlib

    mpl: Any = matplotlib
    with mpl.rc_context():
        mpl.rcdefaults()
        yield
