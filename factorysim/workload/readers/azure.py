"""Traces of the Azure LLM inference data set: CSV, a row a call.

Columns are ``TIMESTAMP`` (UTC text with up to nine decimals; seven in 2023),
``ContextTokens``, ``GeneratedTokens`` and, since 2025, ``NumImages``. The first
row is time 0.

References
----------
.. [1] Patel et al., "Splitwise", ISCA 2024; Azure/AzurePublicDataset.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

from factorysim.marked import shown
from factorysim.workload.lines import BadRow, FaultLog, LineReader, Problem, read_sessions
from factorysim.workload.readers.mooncake import unsorted
from factorysim.workload.rows import MAX_TOKENS
from factorysim.workload.session import LlmNode, Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from factorysim.workload.repair import Repairs

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
OPTIONAL = ("NumImages",)

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)?", re.ASCII
)
_WHOLE = re.compile(r"\d{1,12}", re.ASCII)


def read_azure(path: Path, repair: Repairs | None = None) -> Iterator[Session]:
    """Yield the calls of an Azure trace, lazily and in bounded memory.

    Raises
    ------
    TraceError
        When the file ends (or cannot be read on), with every fault of every row.
    """
    return read_sessions(path, _parse, repair=repair)


def azure_epoch(path: Path) -> str | None:
    """Return the time of an Azure trace's first row, as fstrace/1 writes it, if it has one."""
    with LineReader(path, FaultLog(path)) as reader:
        lines = [text for _, text in zip(range(2), (text for _, text in reader), strict=False)]
    if len(lines) < 2:
        return None
    header = [column.strip() for column in lines[0].split(",")]
    cells = dict(zip(header, lines[1].split(","), strict=False))
    match = _TIME.fullmatch(cells.get("TIMESTAMP", "").strip())
    return match and f"{match[0].removesuffix('Z').removesuffix('+00:00').replace(' ', 'T')}Z"


def _parse(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    number, text = next(lines, (1, ""))
    header = [column.strip() for column in text.split(",")]
    if not _header_fits(header):
        if text:
            expected = f"the columns {', '.join(COLUMNS)}"
            log.add(number, Problem("", shown(text, 100), expected, "the first line names them"))
        return
    zero_ns = last_ns = None
    ordinal = 0
    for number, text in lines:
        try:
            at_ns, session = _session(header, text, ordinal)
        except BadRow as bad:
            for problem in bad.problems:
                log.add(number, problem)
            continue
        zero_ns = at_ns if zero_ns is None else zero_ns
        last_ns = at_ns if last_ns is None else last_ns
        if at_ns < last_ns:
            log.add(number, unsorted("TIMESTAMP", at_ns - zero_ns, last_ns - zero_ns, "s", 1e9))
        last_ns = max(last_ns, at_ns)
        session.at_ns = at_ns - zero_ns
        ordinal += 1
        yield session


def _header_fits(header: list[str]) -> bool:
    known = set(COLUMNS) | set(OPTIONAL)
    return set(COLUMNS) <= set(header) <= known and len(set(header)) == len(header)


def _session(header: list[str], text: str, ordinal: int) -> tuple[int, Session]:
    """Read one row: its absolute time and its call."""
    cells = [cell.strip() for cell in text.split(",")]
    if len(cells) != len(header):
        found = f"{len(cells)} columns"
        raise BadRow(Problem("", found, f"{len(header)}, as in the first line", "is it cut off?"))
    row = dict(zip(header, cells, strict=True))
    problems: list[Problem] = []
    at_ns = _instant(row["TIMESTAMP"], problems)
    cure = "a call has tokens both ways: drop the row, or mend it"
    prompt = _whole(row, "ContextTokens", 1, problems, cure)
    output = _whole(row, "GeneratedTokens", 1, problems, cure)
    src: dict[str, object] = {
        key: _whole(row, key, 0, problems, "") for key in OPTIONAL if key in row
    }
    if problems:
        raise BadRow(*problems)
    return at_ns, Session(f"r{ordinal}", 0, [LlmNode(prompt, output)], src=src)


def _whole(row: dict[str, str], key: str, low: int, problems: list[Problem], cure: str) -> int:
    value = int(row[key]) if _WHOLE.fullmatch(row[key]) else -1
    if not low <= value <= MAX_TOKENS:
        expected = f"a whole number from {low} to {MAX_TOKENS:,}"
        problems.append(Problem(key, shown(row[key]), expected, cure))
    return value


def _instant(text: str, problems: list[Problem]) -> int:
    """Nanoseconds since year 1, exact: strptime would lose the seventh decimal."""
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        if hour > 23 or minute > 59 or second > 60:
            raise ValueError(text)
        seconds = date(year, month, day).toordinal() * 86_400 + hour * 3600 + minute * 60 + second
    except ValueError:
        expected = "a UTC time such as 2023-11-16 18:15:46.6805900"
        problems.append(Problem("TIMESTAMP", shown(text), expected))
        return 0
    return seconds * 10**9 + int((match[7] or "").ljust(9, "0"))
