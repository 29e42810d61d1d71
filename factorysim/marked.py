"""Plain data that remembers where each value is written, and how messages show it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of a file down to a value."""


class Mark(NamedTuple):
    """Where something is written: a file (or what was given instead) and its line."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Marked:
    """A value of a file and where it is written; of a map's entry, its key's line."""

    value: Scalar | Mapping[str, Marked] | Sequence[Marked]
    mark: Mark

    def plain(self) -> object:
        """Return the data without marks: dicts, lists and scalars."""
        if isinstance(self.value, Mapping):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, str | int | float | None):
            return self.value
        return [child.plain() for child in self.value]

    def child(self, key: str | int) -> Marked | None:
        """Return the entry of a map or the item of a list, if there is one."""
        if isinstance(self.value, Mapping):
            return self.value.get(str(key))
        if isinstance(self.value, str | int | float | None):
            return None
        return self.value[key] if isinstance(key, int) and 0 <= key < len(self.value) else None

    def entries(self) -> Mapping[str, Marked]:
        """Return the entries of a map; none of anything else."""
        return self.value if isinstance(self.value, Mapping) else {}

    def find(self, path: Sequence[str | int]) -> Marked | None:
        """Return what is written at a path, if anything is."""
        node: Marked | None = self
        for key in path:
            node = node.child(key) if node is not None else None
        return node

    def nearest(self, path: Sequence[str | int]) -> Mark:
        """Return where the longest part of a path that exists is written."""
        node = self
        for key in path:
            inner = node.child(key)
            if inner is None:
                break
            node = inner
        return node.mark


def dotted(path: Sequence[str | int]) -> str:
    """Write a path as ``streams.code.llm``; a key that is no plain word in quotes.

    Examples
    --------
    >>> dotted(("streams", "a b", "steps", 0))
    "streams.'a b'.steps.0"
    """
    return ".".join(
        str(key) if isinstance(key, int) or re.fullmatch(r"[\w-]+", key, re.ASCII) else shown(key)
        for key in path
    )


def shown(value: object, limit: int = 60) -> str:
    """Show a value in a message: quoted, on one line, without control characters, cut.

    Examples
    --------
    >>> shown("a" * 100, limit=8), shown({"a": 1}), shown(None)
    ("'aaaaa...", 'a map of 1 key', 'nothing')
    """
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return f"a map of {len(value)} key{'' if len(value) == 1 else 's'}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= limit else text[: limit - 2] + "..."


def printable(text: str) -> str:
    r"""Escape what a terminal would obey: files and names may hold anything.

    Examples
    --------
    >>> printable("a\x1b[31mb\nc")
    'a\\x1b[31mb\nc'
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
