"""Fields as other people's formats write them: nulls, dates, columns, what is left over."""

from __future__ import annotations

import csv
import re
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from factorysim.marked import shown
from factorysim.workload.lines import BadRow, Problem
from factorysim.workload.marks import Marks
from factorysim.workload.rows import MAX_NS, MAX_TOKENS, Row, as_map, parse_object
from factorysim.workload.weave import BadSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json

MS = 1_000_000
S = 1_000_000_000
DAY_S = 86_400
CHARS_PER_TOKEN = 4
"""Of English text and code with the tokenizers of 2023-2026, about (workloads.md, section 5)."""

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
    r"(?:Z|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)


def present(text: str) -> dict[str, Json]:
    """Read a row of JSON without what is null, which is the same as not there.

    Examples
    --------
    >>> present('{"a": null, "b": 0}')
    {'b': 0}
    """
    return without_nulls(parse_object(text))


def without_nulls(data: dict[str, Json]) -> dict[str, Json]:
    """Leave out the keys of an object whose values are null."""
    return {key: value for key, value in data.items() if value is not None}


def rest(row: Row, known: tuple[str, ...]) -> dict[str, Json]:
    """Take the fields that a mapping does not use, as plain values."""
    return {key: row.plain(key) for key in row.data if key not in known}


def inner(row: Row, where: str, value: Json) -> Row | None:
    """Take an object inside a row; note in the row if it is none."""
    data = as_map(value)
    if data is None:
        row.bad(where, shown(value, 40), "an object")
        return None
    return Row(without_nulls(data))


def adopt(row: Row, where: str, child: Row) -> None:
    """Note the problems of an object inside a row in the row."""
    for problem in child.problems:
        row.problems.append(problem._replace(key=f"{where}.{problem.key}"))


def note(log: FaultLog, line: int, bad: BadRow | BadSession) -> None:
    """Put what is wrong with a row, or with a session, into the log."""
    for problem in bad.problems:
        if isinstance(bad, BadSession):
            log.add(bad.line, problem, "session dropped")
        else:
            log.add(line, problem)


def answered(row: Row, key: str) -> tuple[int, bool]:
    """Take the tokens of an answer, and whether there were any: a call makes one at least."""
    tokens = row.whole(key, 0, MAX_TOKENS)
    return max(tokens, 1), tokens > 0


def ident(row: Row, key: str, default: str | None = None) -> str:
    """Take an id, a number or a word, as text."""
    value = row.data.get(key)
    if type(value) is int and -(10**30) < value < 10**30:
        return str(value)
    return row.text(key, default)


def once(key: str, sid: str, seen: Marks) -> None:
    """Refuse a session whose id another one has: nobody could tell them apart.

    Parameters
    ----------
    seen
        Of the ids so far.

    Examples
    --------
    >>> seen = Marks()
    >>> once("id", "a", seen), once("id", "b", seen)
    (None, None)
    """
    if not seen.first(hash(sid)):
        cure = "put the rows of a session together, or rename one of two"
        raise BadRow(Problem(key, f"{shown(sid)} again, after others", "each session once", cure))


def sources(
    name: str,
    carried: dict[str, Json],
    told: Mapping[str, Json],
    counts: Mapping[str, int] | None = None,
) -> dict[str, Json]:
    """Make the `src` of a session: what is told of it, what was counted, and of its nodes.

    Examples
    --------
    >>> sources("otel", {}, {"first": 0}, {"failed": 0, "cut": 2})
    {'otel': {'first': 0, 'cut': 2}}
    """
    own = dict(told) | {key: count for key, count in (counts or {}).items() if count}
    src: dict[str, Json] = {name: own} if own else {}
    return src | ({"fstrace": carried} if carried else {})


def tokens_of(characters: int) -> int:
    """Estimate the tokens of a text by its length.

    Examples
    --------
    >>> tokens_of(0), tokens_of(1), tokens_of(9)
    (0, 1, 3)
    """
    return -(-characters // CHARS_PER_TOKEN)


def instant(row: Row, key: str) -> int:
    """Take a moment, ISO 8601 text, as nanoseconds since 1970 in UTC; no zone is UTC."""
    value = row.data.get(key)
    found = parse_instant(value) if isinstance(value, str) else None
    if found is None:
        row.bad(key, row.found(key), "a time such as 2026-06-01T05:40:20.151Z")
        return 0
    return found


def parse_instant(text: str) -> int | None:
    """Read ISO 8601 as nanoseconds since 1970; None if it is something else.

    Examples
    --------
    >>> parse_instant("1970-01-01T01:00:00.5+01:00"), parse_instant("yesterday")
    (500000000, None)
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        days = date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None
    zone_s = int(match[9] or 0) * 3600 + int(match[10] or 0) * 60
    seconds = days * DAY_S + hour * 3600 + minute * 60 + second
    seconds -= -zone_s if match[8] == "-" else zone_s
    return seconds * S + int((match[7] or "").ljust(9, "0"))


def unix_time(row: Row, key: str, unit_ns: int) -> int:
    """Take a moment counted from 1970, as nanoseconds."""
    value = row.data.get(key)
    number = Decimal(value) if type(value) is int else value
    # Moments since 1970 are larger than any duration in a trace.
    most = 10 * MAX_NS
    if isinstance(number, Decimal) and number.is_finite() and 0 <= number * unit_ns <= most:
        return int((number * unit_ns).to_integral_value())
    row.bad(key, row.found(key), f"a time since 1970, up to {most // unit_ns:,}")
    return 0


def columns(
    lines: Iterator[tuple[int, str]], log: FaultLog | None, needed: tuple[str, ...]
) -> Callable[[str], dict[str, Json]] | None:
    """Read the header of a CSV file; returns what reads its rows, None if it does not fit.

    Numbers become numbers; empty cells are not there. Without a log nothing is told.

    Examples
    --------
    >>> lines = iter([(1, "a,b"), (2, "1,")])
    >>> columns(lines, None, ("a",))("1,")
    {'a': 1}
    """
    number, text = next(lines, (1, ""))
    try:
        header = [column.strip() for column in split_cells(text)]
    except BadRow as bad:
        if log is not None:
            note(log, number, bad)
        return None
    if not set(needed) <= set(header) or len(set(header)) < len(header):
        if text and log is not None:
            expected = f"the columns {', '.join(needed)}, each once"
            log.add(number, Problem("", shown(text, 100), expected, "the first line names them"))
        return None

    def parse(text: str) -> dict[str, Json]:
        cells = split_cells(text)
        if len(cells) != len(header):
            found = f"{len(cells)} columns"
            expected = f"{len(header)}, as in the first line"
            raise BadRow(Problem("", found, expected, "is it cut off?"))
        pairs = zip(header, cells, strict=True)
        return {key: _value(cell.strip()) for key, cell in pairs if cell.strip()}

    return parse


def split_cells(text: str) -> list[str]:
    """Split a row of CSV, whose cells may be quoted."""
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise BadRow(Problem("", f"broken CSV ({error})", "a row of cells")) from None


def _value(cell: str) -> Json:
    """Take a cell as a number if it is one; text that no number looks like stays."""
    if re.fullmatch(r"-?\d{1,18}", cell, re.ASCII):
        return int(cell)
    if re.fullmatch(r"-?\d{0,18}\.?\d{1,18}(?:[eE][+-]?\d{1,3})?", cell, re.ASCII):
        try:
            return Decimal(cell)
        except InvalidOperation:
            return cell
    return cell
