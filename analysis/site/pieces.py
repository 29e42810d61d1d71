"""Pieces of Markdown that the reference pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MADE = "<!-- Made by analysis/site from the program; nothing here is written by hand. -->\n"


def cell(text: str) -> str:
    """Make a text fit one cell of a table."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;")


def code(text: object) -> str:
    """Show a text as it is typed, in a cell."""
    return f"`{text}`".replace("|", "\\|")


def prose(docstring: str | None) -> str:
    """Turn a docstring's first part, before any section of numpy's, into Markdown."""
    lines: list[str] = []
    for line in (docstring or "").splitlines():
        if re.fullmatch(r"\s*-{3,}\s*", line):
            lines.pop()
            break
        lines.append(line.strip())
    return re.sub(r"``(.+?)``", r"`\1`", "\n".join(lines)).strip()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay rows of cells out; columns that are empty throughout are left out."""
    filled = list(rows)
    kept = [at for at in range(len(head)) if any(row[at] for row in filled)]
    lines = [[head[at] for at in kept], ["---"] * len(kept)]
    lines += [[row[at] for at in kept] for row in filled]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
