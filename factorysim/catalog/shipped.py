"""A quick reader of the YAML that ships with the catalog.

The shipped files keep to a part of YAML: block maps of two-space indents, one
entry a line, whose values are one-line flow collections, quoted strings,
numbers, words, ``true``, ``false`` or ``null``. That part reads twenty times
quicker than all of YAML, and a test holds each file to the same result from a
full YAML parser. What users write is read by `factorysim.yaml_reader` instead.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeAlias

Tree: TypeAlias = dict[str, Any]
"""Nested maps of a file; `Any` stays here, at the boundary."""

FOLDER = Path(__file__).resolve().parent
"""Where the catalog's files are."""

_LINE = re.compile(r"( *)([\w.-]+|\"[^\"]+\"):(?: +(.*))?")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|(?:^|\s)#.*|(?<![\w.])[A-Za-z_][\w./=-]*')
_CONSTANTS = frozenset({"true", "false", "null"})


def read_shipped(name: str) -> Tree:
    """Read a shipped file of the catalog's folder, such as ``"racks.yaml"``.

    Raises
    ------
    ValueError
        If a line is outside the part of YAML that shipped files keep to.

    Examples
    --------
    >>> read_shipped("cpus.yaml")["cpus"]["vera"]["cores"]["value"]
    88
    """
    return parse_shipped((FOLDER / name).read_text(encoding="utf-8"), name)


def parse_shipped(text: str, name: str = "text") -> Tree:
    r"""Read text in the part of YAML that shipped files keep to.

    Examples
    --------
    >>> parse_shipped("a:\n  b: {value: 2, kind: assumed}\n  c: [x, \"y: z\"]\n")
    {'a': {'b': {'value': 2, 'kind': 'assumed'}, 'c': ['x', 'y: z']}}
    """
    root: Tree = {}
    open_maps = [root]
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        level = len(line) - len(stripped)
        if match is None or level % 2 or level // 2 >= len(open_maps):
            raise ValueError(f"{name}:{number}: not in the form of shipped files: {line[:60]!r}")
        del open_maps[level // 2 + 1 :]
        key, rest = match[2].strip('"'), match[3]
        if key in open_maps[-1]:
            raise ValueError(f"{name}:{number}: the key {key!r} again")
        if rest is None or rest.lstrip().startswith("#"):
            child: Tree = {}
            open_maps[-1][key] = child
            open_maps.append(child)
        else:
            open_maps[-1][key] = _value(rest, name, number)
    return root


def _value(text: str, name: str, number: int) -> object:
    """Read a one-line value: JSON but for its bare words and comments."""
    try:
        value: object = json.loads(_TOKEN.sub(_quote, text))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}:{number}: {error.msg}: {text[:60]!r}") from None
    return value


def _quote(match: re.Match[str]) -> str:
    token = match[0]
    if token[0] == '"' or token in _CONSTANTS:
        return token
    return "" if token.lstrip().startswith("#") else f'"{token}"'
