"""Words of a run as a figure can draw them: on one line, literally, cut where they are long."""

from __future__ import annotations

from functools import cache
from unicodedata import bidirectional

from factorysim.marked import printable

TURNS = ("R", "AL", "AN")
"""Classes of letters that run from right to left."""
LONGEST = 28
"""Characters of a name in a legend."""


def name_of(text: str, longest: int = LONGEST) -> str:
    r"""Draw a name literally: what would break a line, or has no glyph, as its escape.

    Examples
    --------
    >>> name_of("a$b$\n\x1b[31m"), name_of("n" * 40, longest=8), name_of("x\u202ey\u6f22")
    ('a$b$\\n\\x1b[31m', 'nnnnnnn…', 'x\\u202ey\\u6f22')

    Letters that run from right to left are escaped too: they would turn what is
    written behind a name, such as its numbers.
    """
    line = printable(text).replace("\n", "\\n")
    line = "".join(c if _drawn(c) else c.encode("unicode_escape").decode() for c in line)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _drawn(character: str) -> bool:
    if character.isascii():
        return True
    return bidirectional(character) not in TURNS and ord(character) in _glyphs()


@cache
def _glyphs() -> frozenset[int]:
    """Characters of the font that matplotlib ships."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family=["DejaVu Sans"]))).get_charmap())
