"""A factory's picture as a file: PNG, SVG or PDF, coloured by kind of device.

`factory_layout` says what stands where; here are colours, the title, the legend and what is not
drawn, in words. Texts are taken as they are: a dollar starts no formula. A layout gives the same
bytes wherever it is drawn with the same matplotlib.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.marked import printable
from factorysim.report.factory_contents import KINDS, counted, summary_of
from factorysim.report.factory_loads import deployed_words
from factorysim.report.factory_words import fitting, width_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from factorysim.report.factory_contents import Contents
    from factorysim.report.factory_places import Layout, Text

    Point = tuple[float, float]
    Corners = list[Point]

COLOURS = {
    "gpu": "#009E73",
    "lpu": "#D55E00",
    "cpu": "#0072B2",
    "nic": "#9AA5B1",
    "dpu": "#CC79A7",
    "storage": "#7A5C2E",
    "scale_up_switch": "#E69F00",
    "leaf_switch": "#56B4E9",
    "spine_switch": "#2F4B6E",
}
"""Okabe and Ito, "Color universal design" (2008), and three that differ in lightness."""
PALE = {
    kind: "#" + "".join(f"{255 - (255 - int(c[k : k + 2], 16)) * 3 // 10:02X}" for k in (1, 3, 5))
    for kind, c in COLOURS.items()
}
"""Of what no deployment runs on, and could."""
INK, SOFT, PAPER, FRAME, EDGE, EMPTY = (
    "#22303c", "#5b6670", "#ffffff", "#f4f6f8", "#8b96a1", "#dfe4e9",
)  # fmt: skip
BUNDLE, BAND = "#8fa3b5", "#e3eaf0"
DPI = 160
EDGES = 18.0
"""Points around the picture."""
DEPLOYMENTS_MOST = 12
"""That are named below the picture."""
_TITLE, _SUBTITLE, _SMALL = 16.0, 11.0, 9.5
_LINE = 15.0
_SWATCH = 10.0


class Entry(NamedTuple):
    """A line of the legend."""

    colour: str
    text: str


def draw_factory(layout: Layout, path: Path, *, title: str = "") -> None:
    """Draw a factory; the end of the path's name says how: ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path.write_bytes(factory_bytes(layout, path.suffix.removeprefix("."), title=title))


def factory_bytes(layout: Layout, kind: str, *, title: str = "") -> bytes:
    """Draw a factory as the bytes of a PNG, an SVG or a PDF.

    Parameters
    ----------
    kind
        ``png``, ``svg`` or ``pdf``.
    title
        What the factory is called; how large it is stands below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _own_settings():
        figure: Any = Figure(facecolor=PAPER)
        FigureCanvasAgg(figure)
        drawing = _Drawing(figure, layout, title)
        drawing.draw()
        blank = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
        made = io.BytesIO()
        figure.savefig(made, format=kind, dpi=DPI, metadata=blank[kind])
    return made.getvalue()


def legend_of(contents: Contents) -> list[Entry]:
    """Name the kinds with their numbers and devices."""
    entries: list[Entry] = []
    for kind in (kind for kind in KINDS if kind in contents.counts):
        names = ", ".join(name for name in contents.counts[kind] if name)
        text = counted(kind, contents.number(kind))
        entries.append(Entry(COLOURS[kind], f"{text} ({names})" if names else text))
    racks = [rack for pool in contents.pools for rack in pool.racks]
    parts = [part for rack in racks for tray in rack.trays for part in tray]
    if contents.deployed and any(part.pool and not part.use for part in parts):
        entries.append(Entry(PALE["gpu"], "pale: nothing is deployed there"))
    if any(not tray for rack in racks for tray in rack.trays):
        entries.append(Entry(EMPTY, "empty slot"))
    return entries


class _Drawing:
    """The sheet with its margins, words above and below."""

    def __init__(self, figure: Any, layout: Layout, title: str) -> None:  # noqa: ANN401
        self.layout = layout
        self.title = title
        self.width = max(layout.width, 420.0)
        self.across = (self.width - layout.width) / 2
        self.axes: Any = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.axes.set_axis_off()
        self.figure = figure

    def draw(self) -> None:
        """Draw all, and cut the sheet to it."""
        head = self._head()
        self._draw_layout(head)
        bottom = self._foot(head + self.layout.height + 26.0)
        self.axes.set_xlim(-EDGES, self.width + EDGES)
        self.axes.set_ylim(bottom + EDGES, -EDGES)
        self.figure.set_size_inches((self.width + 2 * EDGES) / 72, (bottom + 2 * EDGES) / 72)

    def _head(self) -> float:
        """Write what it is, and how large; where the picture begins."""
        y = 0.0
        if self.title:
            y += _TITLE
            self._text((0.0, y), fitting(self.title, _TITLE, self.width), _TITLE, bold=True)
            y += 6.0
        y += _SUBTITLE
        words = summary_of(self.layout.contents)
        self._text((0.0, y), fitting(words, _SUBTITLE, self.width), _SUBTITLE)
        return y + 22.0

    def _draw_layout(self, down: float) -> None:
        layout, across = self.layout, self.across

        def at(points: Sequence[Point]) -> Corners:
            return [(x + across, y + down) for x, y in points]

        self._fill([at(band.corners) for band in layout.bands], BAND)
        for stroke in layout.strokes:
            self._lines([at(line) for line in stroke.lines], BUNDLE, stroke.width)
        frames = [at(_corners(*place.box)) for place in layout.pools]
        self._fill(frames, FRAME, EMPTY, 0.8, layer=2)
        racks = [rack for place in layout.pools for rack in place.racks]
        self._fill([at(_corners(*rack.box)) for rack in racks], PAPER, EDGE, 0.8, layer=3)
        for colour, corners in _cells(layout):
            self._fill([at(each) for each in corners], colour, layer=4)
        for tier in layout.tiers:
            boxes = [at(_corners(*box)) for box in tier.boxes]
            self._fill(boxes, COLOURS[tier.kind], layer=4)
        self._fill([at(_corners(*layout.door))], PAPER, INK, 1.0, layer=4)
        for text in layout.texts:
            self._placed(text, at([text.at])[0])

    def _foot(self, top: float) -> float:
        """Write the legend and what is not drawn; the lowest line."""
        entries = legend_of(self.layout.contents)
        longest = max(width_of(entry.text, _SMALL) for entry in entries) + _SWATCH + 22.0
        columns = max(1, min(len(entries), int(self.width // longest)))
        y = top
        for k, entry in enumerate(entries):
            row, column = divmod(k, columns)
            x, y = column * self.width / columns, top + row * _LINE
            self._fill([_corners(x, y - 8.5, _SWATCH, _SWATCH)], entry.colour)
            room = self.width / columns - _SWATCH - 12.0
            self._text((x + _SWATCH + 6.0, y), fitting(entry.text, _SMALL, room), _SMALL)
        y += 6.0
        words = deployed_words(self.layout.contents)
        notes = [f"Deployed as {line}" for line in words[:DEPLOYMENTS_MOST]]
        if len(words) > DEPLOYMENTS_MOST:
            notes.append(f"And {len(words) - DEPLOYMENTS_MOST:,} deployments more.")
        notes += self.layout.notes
        for line in (line for note in notes for line in _wrapped(note, self.width)):
            y += _LINE - 2.0
            self._text((0.0, y), line, _SMALL, colour=SOFT)
        return y + 2.0

    def _placed(self, text: Text, at: Point) -> None:
        self._text(at, text.text, text.size, bold=text.bold, centred=text.centred, halo=text.halo)

    def _text(
        self,
        at: Point,
        text: str,
        size: float,
        *,
        bold: bool = False,
        centred: bool = False,
        halo: bool = False,
        colour: str = INK,
    ) -> None:
        frame = {"boxstyle": "square,pad=0.25", "facecolor": PAPER, "edgecolor": "none"}
        self.axes.text(
            *at,
            printable(text),
            fontsize=size,
            color=colour,
            ha="center" if centred else "left",
            va="baseline",
            weight="bold" if bold else "normal",
            bbox=frame if halo else None,
            parse_math=False,
            zorder=6,
        )

    def _fill(
        self,
        polygons: Sequence[Sequence[Point]],
        colour: str,
        edge: str = "none",
        line: float = 0.0,
        layer: int = 1,
    ) -> None:
        """Fill polygons as one path: thousands of them are still one thing to draw."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path as Outline

        if not polygons:
            return
        corners = [point for polygon in polygons for point in [*polygon, polygon[0]]]
        codes = [
            code
            for polygon in polygons
            for code in [Outline.MOVETO, *[Outline.LINETO] * (len(polygon) - 1), Outline.CLOSEPOLY]
        ]
        self.axes.add_patch(
            PathPatch(
                Outline(corners, codes),
                facecolor=colour,
                edgecolor=edge,
                linewidth=line,
                zorder=layer,
                joinstyle="miter",
            )
        )

    def _lines(self, lines: Sequence[Corners], colour: str, width: float) -> None:
        from matplotlib.collections import LineCollection

        self.axes.add_collection(
            LineCollection(
                lines, colors=colour, linewidths=width, zorder=1, capstyle="butt", joinstyle="miter"
            )
        )


def _corners(left: float, top: float, width: float, height: float) -> Corners:
    right, bottom = left + width, top + height
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _cells(layout: Layout) -> Iterator[tuple[str, list[Corners]]]:
    """All chips of a colour."""
    colours: dict[str, list[Corners]] = {}
    for place in (rack for pool in layout.pools for rack in pool.racks):
        x, y = place.box.left, place.box.top
        for cell in place.cells:
            kind = cell.part.kind
            idle = layout.contents.deployed and cell.part.pool and not cell.part.use
            colour = EMPTY if not kind else PALE[kind] if idle else COLOURS[kind]
            corners = _corners(x + cell.left, y + cell.top, cell.width, cell.height)
            colours.setdefault(colour, []).append(corners)
    yield from colours.items()


def _wrapped(text: str, width: float) -> list[str]:
    """Break a note into lines."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width_of(longer, _SMALL) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [fitting(line, _SMALL, width) for line in lines]


@contextmanager
def _own_settings() -> Generator[None]:
    """Matplotlib's defaults for a while, whatever the user has set; the same ids in every SVG.

    Letters that its font does not have are drawn as boxes, and nobody is told.
    """
    import matplotlib

    mpl: Any = matplotlib
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        mpl.rcdefaults()
        mpl.rcParams["svg.hashsalt"] = "factorysim"
        yield
