"""Reading JSON that other programs wrote, as strictly as our own files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

from factorysim.errors import Fault, SpecError
from factorysim.marked import shown
from factorysim.yaml_reader import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 2_000_000


def read_json(path: Path, limit: int = MOST_BYTES) -> object:
    """Read a JSON file.

    Raises
    ------
    SpecError
        If it is unreadable, larger than `limit`, no JSON in UTF-8, or nested too deeply;
        if a key comes twice in an object, or a number is not finite.
    """
    return parse_json(read_bytes(path, str(path), limit), str(path))


def parse_json(data: bytes | str, name: str) -> object:
    """Read JSON text; `name` stands for the file in faults.

    Raises
    ------
    SpecError
        As `read_json`.

    Examples
    --------
    >>> parse_json('{"layers": 32}', "config.json")
    {'layers': 32}
    >>> parse_json('{"a": NaN}', "config.json")
    Traceback (most recent call last):
    factorysim.errors.SpecError: config.json: found broken JSON (NaN is no number), expected JSON
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        told: object = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise SpecError(Fault(name, "", "bytes that are not UTF-8", "JSON in UTF-8")) from None
    except RecursionError:
        raise SpecError(Fault(name, "", "very deep nesting", "flatter JSON")) from None
    except ValueError as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        found = f"broken JSON ({what.split(';')[0][:100]})"
        raise SpecError(Fault(f"{name}{line}", "", found, "JSON")) from None
    return told


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    read = dict(pairs)
    if len(read) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {shown(key)} comes twice")
            seen.add(key)
    return read


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")
