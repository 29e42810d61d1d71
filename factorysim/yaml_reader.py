"""YAML files as plain data that remembers its lines.

The reader takes YAML 1.2 with the core schema and nothing else: no tags, no
merge keys, no second document, no duplicate keys, only finite numbers, and
bounded size, depth and expansion of aliases. Keys are always strings, as
written. All faults of a file that leave the rest readable are told at once.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from factorysim.errors import Fault, SpecError
from factorysim.marked import Mark, Marked, Scalar, dotted, shown
from factorysim.marked import Path as KeyPath

Event: TypeAlias = Any
"""An event of ruamel.yaml, whose attributes have no types."""

MAX_BYTES = 2_000_000
MAX_DEPTH = 24
MAX_VALUES = 100_000
"""Values of one file with its aliases written out."""
REMEMBERED_BYTES = 100_000
"""Of a file whose tree is kept; those of users are far below."""


def read_yaml(path: Path, name: str | None = None) -> Marked:
    r"""Read a YAML file as data with its lines.

    Parameters
    ----------
    path
        A regular file of at most `MAX_BYTES`.
    name
        How faults call the file; the path if not given.

    Raises
    ------
    SpecError
        With every fault found: unreadable, too large, too deep, not UTF-8, not
        YAML 1.2, duplicate keys, tags, numbers that are not finite.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.yaml")
    ...     _ = file.write_text("streams:\n  code: {rate: 2}\n")
    ...     marked = read_yaml(file, "a.yaml")
    >>> marked.plain()
    {'streams': {'code': {'rate': 2}}}
    >>> str(marked.nearest(("streams", "code", "rate")))
    'a.yaml:2'
    """
    name = str(path) if name is None else name
    data = read_bytes(path, name)
    return _parsed(data, name) if len(data) <= REMEMBERED_BYTES else parse_yaml(data, name)


@lru_cache(maxsize=64)
def _parsed(data: bytes, name: str) -> Marked:
    """Parse a text once: a run meets its agents' files a dozen times, and trees do not change."""
    return parse_yaml(data, name)


def read_bytes(path: Path, name: str, limit: int = MAX_BYTES) -> bytes:
    """Read a regular file whole, if it is not larger than the limit.

    Raises
    ------
    SpecError
        If it is missing, unreadable, too large, or a folder, device or pipe.
    """
    try:
        # A pipe without a writer would block a plain open for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise SpecError(Fault(name, "", "a folder, device or pipe", "a regular file"))
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise SpecError(_unreadable(name, error)) from None
    if len(data) > limit:
        cure = "split it, or keep data in a trace or a table"
        raise SpecError(Fault(name, "", f"over {limit:,} bytes", "a smaller file", cure))
    return data


def _unreadable(name: str, error: Exception) -> Fault:
    if isinstance(error, FileNotFoundError):
        return Fault(name, "", "no such file", "a file", "check the path")
    if isinstance(error, PermissionError):
        return Fault(name, "", "a file that may not be read", "a readable file", "chmod +r it")
    if isinstance(error, IsADirectoryError):
        return Fault(name, "", "a folder", "a file")
    reason = getattr(error, "strerror", None) or str(error)
    return Fault(name, "", f"a file that cannot be read ({reason})", "a readable file")


def parse_yaml(data: bytes | str, name: str) -> Marked:
    """Read YAML text as data with its lines; `name` stands for the file in faults.

    Raises
    ------
    SpecError
        As `read_yaml`.

    Examples
    --------
    >>> parse_yaml("{rate: 2/s, n: [1, 0x10, 1e3, true, ~]}", "text").plain()
    {'rate': '2/s', 'n': [1, 16, 1000.0, True, None]}
    """
    text = data if isinstance(data, str) else _decode(data, name)
    builder = _Builder(name)
    try:
        root = builder.document(YAML(typ="safe", pure=True).parse(text))
    except SpecError as error:
        raise SpecError(*builder.faults, *error.faults) from None
    except (YAMLError, ValueError, OverflowError) as error:
        # Escapes beyond Unicode reach `chr`, so not all faults are YAMLErrors.
        raise SpecError(*builder.faults, _syntax_fault(name, text, error)) from None
    if builder.faults:
        raise SpecError(*builder.faults)
    return root


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = str(Mark(name, data.count(b"\n", 0, error.start) + 1))
        found = f"the byte {data[error.start]:#04x}, which is not UTF-8"
        raise SpecError(Fault(where, "", found, "UTF-8 text", "save it as UTF-8")) from None


_SYNTAX_CURES = {
    "mapping values are not allowed": "is the indentation right? "
    "A value that holds ': ' needs quotes",
    r"'\t'": "indent with spaces, not tabs",
    "found unexpected end of stream": "a quote or bracket is not closed",
    "undefined alias": "an alias `*name` needs an anchor `&name` above it",
    "could not find expected ':'": "a key needs ': ' after it",
    "expected <block end>": "is the indentation the same for all keys of a map?",
    "expected ',' or": "a bracket is not closed, or a comma is missing",
}


def _syntax_fault(name: str, text: str, error: Exception) -> Fault:
    """Tell what the YAML parser stumbled over."""
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        found = f"the control character {text[error.position : error.position + 1]!a}"
        return Fault(str(Mark(name, line)), "", found, "printable text", "remove it")
    mark = None
    problem = "an escape beyond Unicode"
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context or "no YAML")
    elif isinstance(error, YAMLError):
        problem = str(error)
    where = str(Mark(name, None if mark is None else mark.line + 1))
    problem = " ".join(problem.split())[:160]
    cure = next((cure for part, cure in _SYNTAX_CURES.items() if part in problem), "")
    found = f"broken YAML ({ascii(problem)[1:-1]})"
    return Fault(where, "", found, "YAML 1.2", cure)


class _Builder:
    """Turns parser events into marked data, and gathers faults on the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[Fault] = []
        self.values = 0
        self.anchors: dict[str, tuple[Marked, int] | None] = {}
        """Anchor -> what it names and its size; None while it is still open."""

    def document(self, events: Iterator[Event]) -> Marked:
        """Build the one document of a file."""
        root: Marked | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    self._stop(event, (), "a second document", "one document", "remove the '---'")
                if event.version not in (None, (1, 2)):
                    self._fault(event, (), f"%YAML {event.version[0]}.{event.version[1]}", "1.2")
            elif isinstance(
                event, ScalarEvent | MappingStartEvent | SequenceStartEvent | AliasEvent
            ):
                root = self.node(event, events, ())
            elif isinstance(event, StreamEndEvent):
                break
        return root if root is not None else Marked(None, Mark(self.name, 1))

    def node(self, event: Event, events: Iterator[Event], path: KeyPath) -> Marked:
        """Build the value that begins with an event."""
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        if len(path) > MAX_DEPTH:
            self._stop(event, path[:3], f"over {MAX_DEPTH} levels", "a flatter file")
        self._count(event, 1)
        before = self.values
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = None
        if event.tag is not None:
            cure = "remove it: files hold plain values only"
            self._fault(event, path, f"the tag {shown(event.tag)}", "no tags", cure)
        built = self._value(event, events, path)
        if anchor is not None:
            self.anchors[anchor] = (built, self.values - before + 1)
        return built

    def _value(self, event: Event, events: Iterator[Event], path: KeyPath) -> Marked:
        mark = Mark(self.name, event.start_mark.line + 1)
        if isinstance(event, MappingStartEvent):
            return Marked(self._mapping(events, path), mark)
        if isinstance(event, SequenceStartEvent):
            return Marked(self._sequence(events, path), mark)
        return Marked(self._scalar(event, path), mark)

    def _mapping(self, events: Iterator[Event], path: KeyPath) -> dict[str, Marked]:
        entries: dict[str, Marked] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent):
                self._stop(event, path, "a map, list or alias as a key", "a word as a key")
            key = str(event.value)
            inner = (*path, key)
            mark = Mark(self.name, event.start_mark.line + 1)
            if key == "<<":
                cure = "repeat the keys, or use `extends:`"
                self._fault(event, path, "the merge key '<<'", "YAML 1.2, which has none", cure)
            if key in entries:
                first = f"(first on line {entries[key].mark.line})"
                cure = "rename or remove one of them"
                self._fault(event, inner, f"this key again {first}", "each key once", cure)
            self._encodable(event, key, path)
            entries[key] = replace(self.node(next(events), events, inner), mark=mark)
        return entries

    def _sequence(self, events: Iterator[Event], path: KeyPath) -> list[Marked]:
        items: list[Marked] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self.node(event, events, (*path, len(items))))
        return items

    def _scalar(self, event: Event, path: KeyPath) -> Scalar:
        text = str(event.value)
        self._encodable(event, text, path)
        if not event.implicit[0]:  # quoted, or a block of text
            return text
        value = _resolve(text)
        if isinstance(value, float) and not math.isfinite(value):
            self._fault(event, path, shown(text), "a finite number")
        return value

    def _encodable(self, event: Event, text: str, path: KeyPath) -> None:
        if _SURROGATE.search(text):
            self._fault(
                event, path, "half of a surrogate pair", "whole characters", "write it whole"
            )

    def _alias(self, event: Event, path: KeyPath) -> Marked:
        known = self.anchors.get(event.anchor, (None, 0))
        if known is None:
            self._stop(event, path, f"the alias *{event.anchor} inside itself", "no cycles")
        built, size = known
        if built is None:
            cure = _SYNTAX_CURES["undefined alias"]
            self._stop(
                event, path, f"the alias {shown('*' + event.anchor)}", "a known anchor", cure
            )
        self._count(event, size)
        if len(path) + _depth(built) > MAX_DEPTH:
            self._stop(event, path[:3], f"over {MAX_DEPTH} levels", "a flatter file")
        return built

    def _count(self, event: Event, values: int) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            found = f"over {MAX_VALUES:,} values, aliases written out"
            self._stop(event, (), found, "a smaller file", "split it, or use fewer aliases")

    def _fault(
        self, event: Event, path: KeyPath, found: str, expected: str, cure: str = ""
    ) -> None:
        where = str(Mark(self.name, event.start_mark.line + 1))
        self.faults.append(Fault(where, dotted(path), found, expected, cure))

    def _stop(
        self, event: Event, path: KeyPath, found: str, expected: str, cure: str = ""
    ) -> NoReturn:
        self._fault(event, path, found, expected, cure)
        raise SpecError(self.faults.pop())


def _depth(node: Marked) -> int:
    """Levels below a value; bounded, since aliases are counted before."""
    inner = node.value.values() if isinstance(node.value, Mapping) else node.value
    if isinstance(inner, str | int | float | None):
        return 0
    return 1 + max((_depth(child) for child in inner), default=0)


_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


def _resolve(text: str) -> Scalar:
    """Give a plain scalar its type: the core schema, YAML 1.2.2 section 10.3.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1) if text[-1] in "fF" else text)
    return text
