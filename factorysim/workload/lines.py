"""Lines of a trace, plain or gzip, in bounded memory, and the faults found in them.

Gzip is known by its first two bytes, not by the file's name. A row is bounded,
and so is what a compressed file may expand to, so a hostile file costs no more
than an honest one.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from typing import TYPE_CHECKING, NamedTuple, Self

from factorysim.errors import Fault, TraceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from factorysim.workload.session import Session

    Lines = Iterator[tuple[int, str]]
    Sessions = Iterator[Session]

ROW_BYTES = 4 * 2**20
"""Of one row, at most: a prompt of a million tokens in hashed blocks of 16 fits."""
EXPANSION = 200
"""Bytes out of a byte in, at most; hash lists compress some forty times."""
FREE_BYTES = 32 * 2**20
"""Expanded before the ratio is looked at: small files of blanks are harmless."""
FAULTS_SHOWN = 20


class Problem(NamedTuple):
    """What is wrong in a row, before it is known where the row is."""

    key: str
    found: str
    expected: str
    cure: str = ""


class BadRow(Exception):  # noqa: N818 - never leaves the readers
    """A row that cannot be read, with all its problems."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


class FaultLog:
    """Gathers the faults of a trace: keeps the first ones, counts them all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.faults: list[Fault] = []

    def add(self, line: int | None, problem: Problem) -> None:
        """Note one problem at a line, or of the whole file."""
        self.count += 1
        if self.count <= FAULTS_SHOWN:
            where = str(self.path) if line is None else f"{self.path}:{line}"
            self.faults.append(Fault(where, *problem))

    def close(self) -> None:
        """Raise what was gathered.

        Raises
        ------
        TraceError
            If anything was: the first faults, and how many more there are.
        """
        if not self.count:
            return
        more = self.count - FAULTS_SHOWN
        if more > 0:
            rest = Fault(str(self.path), "", f"{more:,} more faults", "none", "mend these first")
            raise TraceError(*self.faults, rest)
        raise TraceError(*self.faults)


class LineReader:
    """The lines of a trace, numbered from 1, as a context manager.

    Raises
    ------
    TraceError
        On entry, if the file cannot be opened: missing, a folder, not readable.
    """

    def __init__(self, path: Path, log: FaultLog, row_bytes: int | None = None) -> None:
        self._path = path
        self._log = log
        self.row_bytes = ROW_BYTES if row_bytes is None else row_bytes

    def __enter__(self) -> Self:
        self._raw = _open_regular(self._path)
        magic = self._raw.peek(2)[:2]
        self._packed = magic == b"\x1f\x8b"
        self._file: io.BufferedReader = (
            io.BufferedReader(gzip.GzipFile(fileobj=self._raw), 2**16)
            if self._packed
            else self._raw
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not self._raw:
            self._file.close()
        self._raw.close()

    def peek(self) -> bytes:
        """Give some of what comes first, as far as it can be read, without taking it."""
        try:
            return self._file.peek(2**12)
        except (EOFError, gzip.BadGzipFile, zlib.error, OSError):
            return b""

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield lines that are not blank; what is no text goes to the log."""
        number = expanded = 0
        while True:
            number += 1
            try:
                line = self._file.readline(self.row_bytes + 1)
            except (EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
                self._log.add(number, _broken(error))
                return
            if not line:
                return
            expanded += len(line)
            if len(line) > self.row_bytes:
                self._log.add(number, _too_long(self.row_bytes))
                return
            if self._packed and expanded > FREE_BYTES and expanded > EXPANSION * self._raw.tell():
                self._log.add(number, _bomb())
                return
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                found = f"the byte {line[error.start]:#04x}, which is not UTF-8"
                self._log.add(number, Problem("", found, "UTF-8 text", "save it as UTF-8"))
                continue
            text = text.removeprefix("\ufeff") if number == 1 else text
            if text := text.strip():
                yield number, text


def _open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file; a pipe or device would block or never end."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise TraceError(_unopened(path, error)) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise TraceError(Fault(str(path), "", "a folder, device or pipe", "a trace file"))
    return open(handle, "rb")  # noqa: PTH123 - a descriptor; the reader closes it


def _unopened(path: Path, error: Exception) -> Fault:
    if isinstance(error, FileNotFoundError):
        return Fault(str(path), "", "no such file", "a trace file", "check the path")
    reason = getattr(error, "strerror", None) or str(error)
    return Fault(str(path), "", f"a file that cannot be opened ({reason})", "a trace file")


def _broken(error: Exception) -> Problem:
    if isinstance(error, EOFError):
        found, cure = "the end of the file inside its gzip stream", "fetch it again: it is cut off"
    else:
        reason = " ".join(str(error).split())[:120]
        found, cure = f"broken gzip ({reason})", "fetch or compress it again"
    return Problem("", found, "a whole gzip file", cure)


def _too_long(row_bytes: int) -> Problem:
    cure = "one object or row a line: is it JSON over many lines?"
    return Problem("", f"a row over {row_bytes:,} bytes", "shorter rows", cure)


def _bomb() -> Problem:
    found = f"a file that expands more than {EXPANSION} times"
    return Problem("", found, "a trace", "decompress it yourself if you trust it")


def read_sessions(
    path: Path,
    parse: Callable[[Iterator[tuple[int, str]], FaultLog], Sessions],
    row_bytes: int | None = None,
) -> Sessions:
    """Yield the sessions of a trace until its first fault, then look for more faults.

    Parameters
    ----------
    parse
        Turns numbered lines into sessions and notes faults in the log.
    row_bytes
        Of a row, at most; `ROW_BYTES` if not given.

    Raises
    ------
    TraceError
        At the end of the file, with every fault; also if there is no session.
    """
    log = FaultLog(path)
    found = False
    with LineReader(path, log, row_bytes) as lines:
        for session in parse(iter(lines), log):
            found = True
            if not log.count:
                yield session
    if not found and not log.count:
        cure = "a trace has at least one row"
        log.add(None, Problem("", "no rows", "a row for every call", cure))
    log.close()
