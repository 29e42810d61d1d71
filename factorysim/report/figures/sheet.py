"""A figure with a legend above its axes and notes below, its height made to fit all."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from factorysim.report.figures.style import (
    COLUMN_GAP,
    FAINT,
    HANDLE,
    HANDLE_GAP,
    INCHES,
    SMALL,
    TEXT,
    Width,
    blank,
    paper,
)
from factorysim.report.figures.words import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

POINTS = 72.0
LEADING = 1.45
"""Of a line of text, over its size."""
ROW = 1.6
"""Height of a row of the legend, over the size of its type."""
LETTER = 0.56
"""Mean width of a letter, and a little more, over the size of the type."""
MARGIN = 0.04
"""Inches around the whole."""
AXIS = 0.42
"""Inches that the axis below takes, with its label."""


class Sheet:
    """One axes, and what stands around it.

    Parameters
    ----------
    height
        Inches of axes and their labels; legend and notes come on top.

    Attributes
    ----------
    axes
        To draw on.
    """

    def __init__(self, width: Width, height: float) -> None:
        self.figure = blank(width, height)
        self.axes: Any = self.figure.add_subplot()
        self._height = height
        self._inches = INCHES[width]
        self._handles: list[Any] = []
        self._notes: list[str] = []

    def entry(self, handle: Any, text: str) -> None:  # noqa: ANN401
        """Add a line to the legend; its end is left out where the paper has no room."""
        room = self._inches - 2 * MARGIN - SMALL / POINTS
        told = text
        while len(told) > 2 and self._entry_inches(told) > room:
            told = f"{told[:-2]}…"
        handle.set_label(told)
        self._handles.append(handle)

    def note(self, text: str) -> None:
        """Add a note below the axes; one that is there already is not told twice."""
        if text not in self._notes:
            self._notes.append(text)

    def name_height(self, text: str) -> None:
        """Say along the left what is drawn, on as many lines as it takes."""
        self.axes.set_ylabel("\n".join(self._wrapped(text, self._height - AXIS, TEXT)))

    def finish(self) -> Figure:
        """Lay everything out; nothing is drawn after that."""
        room = self._inches - 2 * MARGIN
        lines = [line for text in self._notes for line in self._wrapped(text, room, SMALL)]
        leading = SMALL * LEADING / POINTS
        below = len(lines) * leading + (MARGIN if lines else 0.0)
        above = self._legend_inches()
        total = self._height + above + below
        figure: Any = self.figure
        figure.set_size_inches(self._inches, total)
        inside = (0.0, below / total, 1.0, 1.0 - (above + below) / total)
        figure.set_layout_engine("constrained", rect=inside, w_pad=MARGIN, h_pad=MARGIN)
        if self._handles:
            self._legend(self._columns())
        for number, line in enumerate(reversed(lines)):
            height = MARGIN + (number + 0.25) * leading  # a quarter for what hangs below a line
            figure.text(MARGIN / self._inches, height / total, line, fontsize=SMALL, color=FAINT)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # where all is now, in every format
        return self.figure

    def _legend(self, columns: int) -> Any:  # noqa: ANN401
        figure: Any = self.figure
        return figure.legend(handles=self._handles, loc="upper left", ncols=columns)

    def _columns(self) -> int:
        """Find how many columns of the legend fit beside one another.

        Every column is as wide as its longest entry; entries go down the columns.
        """
        wide = [self._entry_inches(handle.get_label()) for handle in self._handles]
        for columns in range(len(wide), 1, -1):
            each, longer = divmod(len(wide), columns)
            sizes = [each + 1] * longer + [each] * (columns - longer)
            starts = [sum(sizes[:place]) for place in range(columns)]
            widths = [max(wide[s : s + n]) for s, n in zip(starts, sizes, strict=True)]
            gaps = (columns - 1) * COLUMN_GAP * SMALL / POINTS
            if sum(widths) + gaps + SMALL / POINTS <= self._inches:
                return columns
        return 1

    def _entry_inches(self, text: str) -> float:
        """Inches of a handle, the space behind it, and its text."""
        probe: Any = self.figure.text(0, 0, text, fontsize=SMALL)
        wide = float(probe.get_window_extent().width) / float(self.figure.dpi)
        probe.remove()
        return wide + (HANDLE + HANDLE_GAP) * SMALL / POINTS

    def _legend_inches(self) -> float:
        """Inches of the legend: a line of type and half another between for each row."""
        if not self._handles:
            return 0.0
        rows = -(-len(self._handles) // self._columns())
        return rows * SMALL * ROW / POINTS

    def _wrapped(self, text: str, inches: float, size: float) -> list[str]:
        """Break a text where there is no more room."""
        import textwrap

        letters = max(12, int(inches * POINTS / (size * LETTER)))
        return textwrap.wrap(text, letters, break_on_hyphens=False)


@contextmanager
def on_paper(width: Width, height: float) -> Iterator[Sheet]:
    """Give a sheet to draw on in our style; it is finished at the end of the block."""
    with paper():
        sheet = Sheet(width, height)
        yield sheet
        sheet.finish()


def nothing_to_draw(title: str, reason: str, width: Width) -> Figure:
    """Say what is not drawn, and why: an empty chart would seem to show a nought."""
    with on_paper(width, 0.45) as sheet:
        sheet.axes.set_axis_off()
        sheet.axes.text(
            0.0, 0.5, title, fontsize=TEXT, fontweight="bold", transform=sheet.axes.transAxes,
            va="center",
        )  # fmt: skip
        sheet.note(f"Not drawn: {name_of(reason, 400)}")
    return sheet.figure
