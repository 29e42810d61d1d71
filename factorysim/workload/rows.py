"""Rows of JSON as checked values: every problem of a row at once."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TypeAlias, cast

from factorysim.marked import shown
from factorysim.workload.lines import BadRow, Problem

MAX_TOKENS = 100_000_000
MAX_NS = 10**18
"""31 years: times beyond are slips of units."""

MAX_DEPTH = 32
"""Levels of what is carried along unread."""
WEIGHED = 4 * 2**20
"""Characters of a row: values of shorter ones fit in memory, whatever they are."""
HEAVIEST = 384 * 2**20
"""Bytes that the values of a row may take, about."""
_WEIGHTS = {"[": 160, "{": 160, ".": 112, '"': 36, ",": 24}
"""Bytes of a value that begins or ends so: a list and its copy, a decimal, half a string, an id."""

Json: TypeAlias = object


def parse_object(text: str) -> dict[str, Json]:
    """Read one JSON object; decimals stay exact as `Decimal`.

    Raises
    ------
    BadRow
        If it is no JSON object, has a key twice, NaN or Infinity, or numbers of
        thousands of digits.

    Examples
    --------
    >>> parse_object('{"t": 1.5}')
    {'t': Decimal('1.5')}
    """
    weigh(text)
    try:
        value: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text) - 1
        cure = "the row is cut off" if cut else "one JSON object a line"
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        found = f"broken JSON ({error.msg.removesuffix(' at')} at {line}column {error.colno})"
        raise BadRow(Problem("", found, "a JSON object", cure)) from None
    except (ValueError, ArithmeticError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100] or "a number out of range"
        raise BadRow(Problem("", f"broken JSON ({reason})", "a JSON object")) from None
    data = as_map(value)
    if data is None:
        raise BadRow(Problem("", _shown(value), "a JSON object"))
    return data


def weigh(text: str) -> None:
    """Refuse JSON whose values would take far more memory than its text, before they are made.

    Three characters may be a list of 80 bytes: a row within the bounds of its format would
    take gigabytes.

    Raises
    ------
    BadRow
        If they would take more than `HEAVIEST`.
    """
    if len(text) <= WEIGHED:
        return
    taken = sum(text.count(mark) * weight for mark, weight in _WEIGHTS.items())
    if taken > HEAVIEST:
        found = f"a row whose values would take {taken / 2**20:,.0f} MB"
        raise BadRow(Problem("", found, f"at most {HEAVIEST / 2**20:,.0f} MB", "split it"))


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("a key twice")
    return data


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name}, which is no number")


_DECODER = json.JSONDecoder(
    parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once
)


def _shown(value: Json) -> str:
    return str(value)[:40] if isinstance(value, Decimal) else shown(value)


class Row:
    """A row whose fields are taken one by one; problems are gathered, then raised."""

    def __init__(self, data: dict[str, Json]) -> None:
        self.data = data
        self.problems: list[Problem] = []

    def bad(self, key: str, found: str, expected: str, cure: str = "") -> None:
        """Note a problem."""
        self.problems.append(Problem(key, found, expected, cure))

    def close(self) -> None:
        """Raise `BadRow` if any field was bad."""
        if self.problems:
            raise BadRow(*self.problems)

    def whole(
        self, key: str, low: int, high: int, default: int | None = None, cure: str = ""
    ) -> int:
        """Take an integer within bounds; required if there is no default."""
        value = self.data.get(key)
        if value is None and default is not None and key not in self.data:
            return default
        if type(value) is int and low <= value <= high:
            return value
        found = self.found(key)
        self.bad(key, found, f"a whole number from {low:,} to {high:,}", cure)
        return low

    def tokens(self, key: str) -> int:
        """Take a number of tokens, at least 1."""
        cure = "a call has tokens both ways: drop the row, or mend it"
        return self.whole(key, 1, MAX_TOKENS, cure=cure)

    def nanoseconds(self, key: str, unit_ns: int) -> int:
        """Take a time of so many nanoseconds a unit, rounded to the nearest."""
        value = self.data.get(key)
        if type(value) is int and 0 <= value <= MAX_NS // unit_ns:
            return value * unit_ns
        if isinstance(value, Decimal) and value.is_finite() and 0 <= value <= MAX_NS // unit_ns:
            return int((value * unit_ns).to_integral_value())
        expected = f"a time from 0 to {MAX_NS // unit_ns:,}"
        self.bad(key, self.found(key), expected)
        return 0

    def number(self, key: str, low: float, high: float, default: float) -> float:
        """Take a finite number within bounds."""
        value = self.data.get(key)
        if key not in self.data:
            return default
        if (
            isinstance(value, int | Decimal)
            and not isinstance(value, bool)
            and low <= value <= high
        ):
            return float(value)
        self.bad(key, self.found(key), f"a number from {low:g} to {high:g}")
        return default

    def text(self, key: str, default: str | None = None) -> str:
        """Take a word or line of at most 1,000 characters."""
        value = self.data.get(key)
        if key not in self.data and default is not None:
            return default
        if isinstance(value, str) and 0 < len(value) <= 1000 and value.isprintable():
            return value
        self.bad(key, self.found(key), "text of 1 to 1,000 printable characters")
        return default or ""

    def flag(self, key: str, default: bool) -> bool:
        """Take true or false."""
        value = self.data.get(key, default)
        if isinstance(value, bool):
            return value
        self.bad(key, self.found(key), "true or false")
        return default

    def plain(self, key: str) -> Json:
        """Take anything, with decimals as floats."""
        try:
            return plain(self.data[key])
        except ValueError:
            self.bad(key, "numbers or levels beyond bounds", "finite numbers, few levels")
            return None

    def found(self, key: str) -> str:
        """Show a field for a message."""
        return _shown(self.data[key]) if key in self.data else "nothing"


def plain(value: Json, depth: int = 0) -> Json:
    """Turn decimals into floats, all the way down.

    Raises
    ------
    ValueError
        If one is too large for a float, or the nesting too deep.
    """
    if depth > MAX_DEPTH:
        raise ValueError("too many levels")
    if isinstance(value, Decimal):
        number = float(value)
        if not math.isfinite(number):
            raise ValueError("a number that is too large")
        return number
    if (data := as_map(value)) is not None:
        return {key: plain(child, depth + 1) for key, child in data.items()}
    if (items := as_list(value)) is not None:
        return [plain(child, depth + 1) for child in items]
    return value


def as_list(value: Json) -> list[Json] | None:
    """Return a JSON array as such; None if it is something else."""
    return cast("list[Json]", value) if isinstance(value, list) else None


def as_map(value: Json) -> dict[str, Json] | None:
    """Return a JSON object as such; None if it is something else."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else None
