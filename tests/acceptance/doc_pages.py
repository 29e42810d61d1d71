"""What the pages of `docs/` hold that a reader would type, as blocks that can be run.

`docs/contributing.md` tells the rules to those who write pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("console", "python", "pycon", "yaml", "json", "text")
"""Of fenced blocks; `text` alone is not run."""

_FENCE = re.compile(r"```(\w*)(?: title=\"([^\"]+)\")?\s*")
_COMMENT = re.compile(r"<!--(.*?)-->\s*")
_MARK = re.compile(r"(slow)|exit (\d)|over: (\S+)(?: at (\S+))?")
_NOT_RUN = "not run: "
_LISTED = re.compile(r"\s*(?:[-*]|\d+\.) ")


class Marks(NamedTuple):
    """What the comment above a block says."""

    slow: bool = False
    not_run: str = ""
    """Why it is not."""
    code: int = 0
    """With which the last of its commands, or the check of its file, exits."""
    over: str = ""
    """Shipped file that a fragment is laid over."""
    at: str = ""
    """Where in that file."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    title: str
    """File that it is the text of."""
    text: str
    marks: Marks

    @property
    def where(self) -> str:
        """File and line of its first line."""
        return f"{self.page}:{self.line}"


class Step(NamedTuple):
    """A command of a console block, and what it should print."""

    command: str
    expected: str
    """Nothing, if anything will do."""


def page_names() -> list[str]:
    """Name every page, from the checkout's folder."""
    return [
        "README.md",
        *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
    ]


def read_page(name: str) -> list[Block]:
    """Read a page's blocks."""
    return list(blocks((ROOT / name).read_text(encoding="utf-8"), name))


def blocks(text: str, page: str) -> Iterator[Block]:
    """Part a page's text into its fenced blocks, in order.

    Raises
    ------
    ValueError
        If a block has no language that is known, is not closed, or has a mark that says nothing;
        if code is told from prose by its indent alone, which says neither.
    """
    lines = text.splitlines()
    at, above, listed, comment = 0, "", False, ""
    while at < len(lines):
        line = lines[at]
        fence = _FENCE.fullmatch(line.strip())
        if fence is None:
            listed = bool(_LISTED.match(line)) or (listed and (not line or line[0] == " "))
            bare = line.startswith("    ") and line.strip() and not above.strip() and not listed
            if bare and page.startswith("docs/"):
                raise ValueError(f"{page}:{at + 1}: an indented block: fence it, with a language")
            told = _COMMENT.fullmatch(line.strip())
            comment = told[1].strip() if told else ""
            at, above = at + 1, line
            continue
        indent = len(line) - len(line.lstrip())
        end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() == "```"), None)
        if end is None or fence[1] not in LANGUAGES:
            raise ValueError(f"{page}:{at + 1}: no end, or none of {', '.join(LANGUAGES)}")
        inner = "".join(f"{each[indent:]}\n" for each in lines[at + 1 : end])
        marks = read_marks(comment, f"{page}:{at + 1}")
        yield Block(page, at + 2, fence[1], fence[2] or "", inner, marks)
        at, above, comment = end + 1, "```", ""


def read_marks(comment: str, where: str) -> Marks:
    """Read what the comment above a block says, parted by semicolons."""
    if comment.startswith(_NOT_RUN):
        return Marks(not_run=comment.removeprefix(_NOT_RUN))
    marks = Marks()
    for word in filter(None, (part.strip() for part in comment.split(";"))):
        found = _MARK.fullmatch(word)
        if found is None:
            raise ValueError(f"{where}: the comment above says {word!r}, which is no mark")
        slow, code, over, at = found.groups()
        if slow:
            marks = marks._replace(slow=True)
        elif code:
            marks = marks._replace(code=int(code))
        else:
            marks = marks._replace(over=over, at=at or "")
    return marks


def steps(block: Block) -> list[Step]:
    """Part a console block into commands and what each prints."""
    found: list[Step] = []
    lines = iter(block.text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).strip()
            found.append(Step(command, ""))
        elif found:
            found[-1] = found[-1]._replace(expected=f"{found[-1].expected}{line}\n")
        else:
            raise ValueError(f"{block.where}: output, and no `$ command` before it")
    return found


def matches(expected: str, got: str) -> bool:
    """Compare what a page shows with what a command printed.

    A line of ``...`` stands for any lines, also none; ``...`` in a line for any text of that
    line. All else is equal, but for blanks at the end of lines, and empty lines at both ends.
    """
    pattern = "".join(
        r"(?:.*\n)*?"
        if line.strip() == "..."
        else ".*?".join(map(re.escape, line.rstrip().split("..."))) + "\n"
        for line in _trimmed(expected)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _trimmed(got))) is not None


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def nested(fragment: str, path: str) -> str:
    """Put a fragment of YAML where a dotted path says."""
    for key in reversed(path.split(".") if path else []):
        fragment = f"{key}:\n" + "".join(f"  {line}\n" for line in fragment.splitlines())
    return fragment
