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

from factorysim.errors import Fault, TraceError
from factorysim.marked import shown
from factorysim.workload.lines import BadRow, FaultLog, LineReader, Problem, read_sessions
from factorysim.workload.readers.fields import split_cells
from factorysim.workload.readers.mooncake import unsorted
from factorysim.workload.rows import MAX_TOKENS
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.write import lone_call, write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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
    header = [column.strip().strip('"') for column in lines[0].split(",")]
    cells = dict(zip(header, lines[1].split(","), strict=False))
    match = _TIME.fullmatch(cells.get("TIMESTAMP", "").strip().strip('"'))
    return match and f"{match[0].removesuffix('Z').removesuffix('+00:00').replace(' ', 'T')}Z"


def _parse(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    number, text = next(lines, (1, ""))
    header = [column.strip().strip('"') for column in text.split(",")]
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
    cells = [cell.strip() for cell in (split_cells(text) if '"' in text else text.split(","))]
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


def write_azure(path: Path, sessions: Iterable[Session], epoch: str | None) -> int:
    """Write sessions of one call as Azure rows; packed if the name ends in ``.gz`` or ``.zst``.

    Parameters
    ----------
    epoch
        UTC time of time 0, as `azure_epoch` gives it.

    Returns
    -------
    Lines written, the header's included.

    Raises
    ------
    TraceError
        If there is no epoch, or a session has what Azure rows cannot say.
    """
    problems: list[Problem] = []
    zero_ns = _instant(epoch.removesuffix("Z"), problems) if epoch else 0
    if problems or not epoch:
        expected = "the UTC time of time 0, since Azure rows have no other times"
        cure = "only traces that began as Azure's have one: convert to fstrace or mooncake"
        raise TraceError(Fault(str(path), "epoch", epoch or "nothing", expected, cure))
    return write_lines(path, _lines(sessions, zero_ns))


def later(epoch: str, ns: int) -> str:
    """Move an epoch.

    Examples
    --------
    >>> later("2023-11-16T23:59:59.6805900Z", 10**9)
    '2023-11-17T00:00:00.6805900Z'
    """
    instant = _instant(epoch.removesuffix("Z"), [])
    return f"{_text(instant + ns).replace(' ', 'T')}Z"


def _lines(sessions: Iterable[Session], zero_ns: int) -> Iterator[str]:
    columns: tuple[str, ...] | None = None
    for session in sessions:
        images = tuple(key for key in OPTIONAL if key in session.src)
        if columns is None:
            columns = (*COLUMNS, *images)
            yield ",".join(columns)
        if columns != (*COLUMNS, *images):
            expected = f"the columns of the first row, {', '.join(columns)}"
            raise TraceError(Fault(session.sid, "NumImages", "another set of fields", expected))
        node = lone_call(session, "Azure", known=OPTIONAL)
        cells = [_text(zero_ns + session.at_ns), node.prompt_tokens, node.output_tokens]
        yield ",".join(map(str, [*cells, *(session.src[key] for key in images)]))


def _text(at_ns: int) -> str:
    """Write an instant with seven decimals, or nine where it needs them."""
    seconds, ns = divmod(at_ns, 10**9)
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3600)
    decimals = f"{ns // 100:07}" if ns % 100 == 0 else f"{ns:09}"
    clock = f"{hours:02}:{seconds // 60:02}:{seconds % 60:02}"
    return f"{date.fromordinal(days).isoformat()} {clock}.{decimals}"
