"""How every figure looks: paper widths, one set of colours, dashes, hatches and type.

Two printed columns are 3.5 inches each and a page 7. Colours are those of Okabe and Ito, and
none of them speaks alone: lines differ in dashes and bars in hatches too, so that a
figure reads in grey.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Generator

    from matplotlib.figure import Figure

Width: TypeAlias = Literal["column", "page"]
INCHES = {"column": 3.5, "page": 7.0}
"""Of the columns and the page of most journals and proceedings (IEEE, ACM, USENIX)."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of Okabe and Ito, "Color universal design" (2008): told apart by every kind of eye."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)),
                           (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)))  # fmt: skip
"""As many as are coprime with the colours: 35 lines differ."""
HATCHES = ("", "////", "....", "\\\\\\\\", "xx", "---", "++", "oo", "|||")
INK, GRID, SHADE, FAINT = "#222222", "#dddddd", "#eeeeee", "#777777"
TEXT, SMALL = 8.0, 7.0
"""Points, as in the captions and the footnotes of a paper."""
HANDLE, HANDLE_GAP, COLUMN_GAP = 2.4, 0.8, 1.4
"""Widths in a legend, over the size of its type."""
LINE = 1.2
"""Points."""
DPI = 300


@contextmanager
def paper() -> Generator[None]:
    """Matplotlib's defaults and ours for a while, whatever the user has set.

    Type goes into a PDF as TrueType, which editors and reviewers' tools can search, and
    into an SVG as text; ids in an SVG are the same every time. No text is a formula.
    """
    import matplotlib

    mpl: Any = matplotlib
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.hashsalt": "factorysim",
                "svg.fonttype": "none",
                "pdf.fonttype": 42,
                "text.parse_math": False,
                "font.size": TEXT,
                "axes.labelsize": TEXT,
                "xtick.labelsize": SMALL,
                "ytick.labelsize": SMALL,
                "legend.fontsize": SMALL,
                "legend.frameon": False,
                "legend.handlelength": HANDLE,
                "legend.handletextpad": HANDLE_GAP,
                "legend.columnspacing": COLUMN_GAP,
                "legend.borderpad": 0.3,
                "legend.borderaxespad": 0.2,
                "axes.edgecolor": INK,
                "axes.labelcolor": INK,
                "axes.linewidth": 0.6,
                "text.color": INK,
                "xtick.color": INK,
                "ytick.color": INK,
                "xtick.major.width": 0.6,
                "ytick.major.width": 0.6,
                "xtick.minor.width": 0.4,
                "ytick.minor.width": 0.4,
                "xtick.major.size": 2.5,
                "ytick.major.size": 2.5,
                "xtick.minor.size": 1.5,
                "ytick.minor.size": 1.5,
                "grid.color": GRID,
                "grid.linewidth": 0.5,
                "lines.linewidth": LINE,
                "hatch.linewidth": 0.5,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.axisbelow": True,
                "figure.dpi": DPI,
            }
        )
        yield


def blank(width: Width, height: float) -> Figure:
    """Give an empty figure; its canvas is Agg's, which measures text."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCHES[width], height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of a line: no other of 35 has both.

    Examples
    --------
    >>> line_style(0)["color"] == line_style(7)["color"]
    True
    >>> len({(s["color"], str(s["linestyle"])) for s in map(line_style, range(35))})
    35
    """
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
