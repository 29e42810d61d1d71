"""Lines of a trace, plain or compressed, in bounded memory, and the faults found in them.

A row is bounded, and so is what a compressed file may expand to, so a hostile file
costs no more than an honest one.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

from factorysim.errors import Fault, TraceError
from factorysim.workload.packing import BROKEN, packing_of, unpacked
from factorysim.workload.repair import CLOCK_HELD_NS

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path
    from types import TracebackType

    from factorysim.workload.packing import Packing
    from factorysim.workload.repair import Repairs, What
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
FAULTS_MOST = 1_000
"""After so many a trace that is refused is not read on: ten million bad rows tell no more."""
BLOCK_BYTES = 2**18
"""Read at a time."""


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


class NothingKeptError(TraceError):
    """Whatever a file has was repaired away."""


class OutOfOrder(Problem):
    """A row that is earlier than one above it."""

    __slots__ = ()


class FaultLog:
    """Gathers the faults of a trace: keeps the first ones, counts them up to `FAULTS_MOST`.

    Parameters
    ----------
    repair
        If given, what is wrong with rows and sessions is noted there, and the trace goes on
        without them, however many there are.
    """

    def __init__(self, path: Path, repair: Repairs | None = None) -> None:
        self.path = path
        """What is read now: a log may serve the files of a folder, one after another."""
        self.repair = repair
        self.count = 0
        self.faults: list[Fault] = []
        self._line: int | None = None
        """The last line that was dropped: all its problems are one repair."""
        self._late: Fault | None = None

    def add(self, line: int | None, problem: Problem, what: What = "row dropped") -> None:
        """Note one problem at a line, or of the whole file.

        Raises
        ------
        TraceError
            If there are too many to read on.
        """
        fault = Fault(str(self.path) if line is None else f"{self.path}:{line}", *problem)
        if self.repair is None:
            self.keep(fault)
        elif isinstance(problem, OutOfOrder):
            self._late = fault
        elif line is None or line != self._line:
            self._line = line
            self.repair.note(what, fault)

    def refuse(self, line: int | None, problem: Problem) -> None:
        """Note what no repair can mend."""
        self.keep(Fault(str(self.path) if line is None else f"{self.path}:{line}", *problem))

    def keep(self, fault: Fault) -> None:
        """Note a fault that is told already, without repair.

        Raises
        ------
        TraceError
            If there are too many to read on.
        """
        self.count += 1
        if self.count <= FAULTS_SHOWN:
            self.faults.append(fault)
        if self.full:
            found = f"over {FAULTS_MOST:,} faults, these among them: reading stopped there"
            cure = "is it another format? --repair reads on and counts them all"
            raise TraceError(*self.faults, Fault(fault.where, "", found, "none", cure))

    @property
    def full(self) -> bool:
        """Whether there were too many faults to read on."""
        return self.count > FAULTS_MOST

    def in_order(self, session: Session, last_ns: int) -> bool:
        """Hold a session to the last instant, if it is not too far behind; tell whether it is."""
        assert self.repair is not None
        behind_ns = last_ns - session.at_ns
        found = f"{behind_ns / 1e9:g} s below the last"
        late = self._late or Fault(str(self.path), "", found, "sessions in order of time")
        self._late = None
        if behind_ns > CLOCK_HELD_NS:
            self.repair.note("late row dropped", late)
            return False
        self.repair.note("time held", late)
        session.at_ns = last_ns
        return True

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
        self._ahead = b""
        """Read by `peek`, and not given yet."""
        self._number = 1
        """Of the line that is read."""
        self._whole = True
        """Whether the last row is, if no line ends it."""

    def __enter__(self) -> Self:
        self._raw = _open_regular(self._path)
        self._packing = packing_of(self._raw)
        self._unpack = unpacked(self._raw)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()

    def peek(self) -> bytes:
        """Give some of what comes first, as far as it can be read, without taking it."""
        if not self._ahead:
            with suppress(*BROKEN):
                self._ahead = self._unpack(BLOCK_BYTES)
        return self._ahead

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield lines that are not blank; what is no text goes to the log."""
        for number, block in self.blocks():
            yield from self.texts(number, block)

    def texts(self, number: int, block: bytes) -> Iterator[tuple[int, str]]:
        """Yield those lines of a block that are not blank, given the number of the first."""
        for place, line in enumerate(block.split(b"\n"), number):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                found = f"the byte {line[error.start]:#04x}, which is not UTF-8"
                self._log.add(place, Problem("", found, "UTF-8 text", "save it as UTF-8"))
                continue
            text = text.removeprefix("\ufeff") if place == 1 else text
            if text := text.strip():
                yield place, text

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield whole lines, some ten thousand bytes of them at a time.

        Each block comes with the number of its first line. What cannot be read on, is
        longer than a row may be or expands too much goes to the log.
        """
        held: list[bytes] = []  # pieces of a row that has not ended
        size = 0
        for piece in self._pieces():
            cut = piece.rfind(b"\n") + 1
            if cut:
                block = b"".join([*held, piece[:cut]])
                if size + cut <= self.row_bytes:
                    if not block.isspace():  # a small packed file may hold millions of blank lines
                        yield self._number, block
                elif not (yield from self._long(block)):
                    return
                self._number += block.count(b"\n")
                held, size = [piece[cut:]], len(piece) - cut
            elif size <= self.row_bytes:
                held.append(piece)
                size += len(piece)
            if size > self.row_bytes and self._log.repair is None:
                break
        if size > self.row_bytes:
            self._log.add(self._number, _too_long(self.row_bytes))
        elif size and self._whole:
            yield self._number, b"".join(held)

    def _long(self, block: bytes) -> Generator[tuple[int, bytes], None, bool]:
        """Yield the lines of a block one by one, but for those that are too long."""
        for place, line in enumerate(block.split(b"\n"), self._number):
            if len(line) < self.row_bytes:
                yield place, line
                continue
            self._log.add(place, _too_long(self.row_bytes))
            if self._log.repair is None:
                return False
        return True

    def _pieces(self) -> Iterator[bytes]:
        """Yield what the file holds, until it ends, is broken, or expands beyond bounds."""
        expanded = 0
        while True:
            try:
                piece, self._ahead = self._ahead or self._unpack(BLOCK_BYTES), b""
            except BROKEN as error:
                self._log.add(self._number, _broken(error, self._packing), "rest unread")
                self._whole = False
                return
            if not piece:
                return
            yield piece
            expanded += len(piece)
            read = expanded if self._packing == "plain" else self._raw.tell()
            if expanded > FREE_BYTES and expanded > EXPANSION * read:
                self._log.refuse(self._number, _bomb())
                return


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


def _broken(error: Exception, packing: Packing) -> Problem:
    reason = " ".join(str(error).split())[:120]
    if isinstance(error, EOFError) or "Truncated" in reason:
        found = f"the end of the file inside its {packing} stream"
        cure = "fetch it again: it is cut off"
    else:
        found, cure = f"broken {packing} ({reason})", "fetch or compress it again"
    return Problem("", found, f"a whole {packing} file", cure)


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
    repair: Repairs | None = None,
) -> Sessions:
    """Yield the sessions of a trace until its first fault, then look for more faults.

    Parameters
    ----------
    parse
        Turns numbered lines into sessions and notes faults in the log.
    row_bytes
        Of a row, at most; `ROW_BYTES` if not given.
    repair
        If given, faults do not end the trace: what is bad is dropped or mended, and counted.

    Raises
    ------
    TraceError
        At the end of the file, or after `FAULTS_MOST` faults, with the first ones and their
        number; also if there is no session.
    """
    return read_blocks(path, lambda lines, log: parse(iter(lines), log), row_bytes, repair)


def read_blocks(
    path: Path,
    parse: Callable[[LineReader, FaultLog], Sessions],
    row_bytes: int | None = None,
    repair: Repairs | None = None,
) -> Sessions:
    """Do as `read_sessions`, for a parser that takes many lines at once."""
    log = FaultLog(path, repair)
    if not (yield from read_into(log, path, parse, row_bytes)):
        raise NothingKeptError(*log.faults)
    log.close()


def read_into(
    log: FaultLog,
    path: Path,
    parse: Callable[[LineReader, FaultLog], Sessions],
    row_bytes: int | None = None,
) -> Generator[Session, None, bool]:
    """Do as `read_blocks`, but leave the faults in a log that may have some already.

    Returns
    -------
    Whether there was anything in the file, be it at fault.
    """
    log.path, before, found = path, log.count, False
    with LineReader(path, log, row_bytes) as lines:
        sessions = parse(lines, log)
        for session in sessions if log.repair is None else _ordered(sessions, log):
            found = True
            if not log.count:
                yield session
    if not found and log.count == before:
        log.refuse(None, _nothing(log.repair))
        return False
    return True


def _ordered(sessions: Sessions, log: FaultLog) -> Sessions:
    """Hold sessions that are a little late to the last instant, and drop those that are late."""
    last_ns = 0
    for session in sessions:
        if session.at_ns >= last_ns or log.in_order(session, last_ns):
            last_ns = session.at_ns
            yield session


def _nothing(repair: Repairs | None) -> Problem:
    if repair is None or not repair.count:
        return Problem("", "no rows", "a row for every call", "a trace has at least one row")
    found = f"nothing that could be kept ({repair.kinds[0]})"
    return Problem("", found, "a session that holds together", "is it of another format?")
