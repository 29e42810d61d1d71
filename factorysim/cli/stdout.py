"""Standard output as others leave it: full, closed, or with nobody who reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import BinaryIO, TextIO, TypeVar, cast

from factorysim.errors import Fault, OutputError

T = TypeVar("T")

NOBODY_READS = 141
"""Exit code: 128 + 13, what shells give for a command that SIGPIPE ended."""


@contextmanager
def guarded_stdout() -> Iterator[None]:
    """Tell a standard output that takes nothing from a bug; write all of it at the end.

    Raises
    ------
    OutputError
        If it is closed, or cannot be written.
    SystemExit
        With 141 and without a word, if its reader has gone.
    """
    if sys.stdout is None:  # as Python has it where the shell says `>&-`
        raise _unwritable("it closed")
    stream, failed = sys.stdout, list[BaseException]()
    guarded = _Guarded(stream, failed)
    try:
        with redirect_stdout(cast("TextIO", guarded)):
            yield
    except Exception:
        with suppress(OutputError, SystemExit):  # what went wrong first is what is told
            guarded.flush()
        raise
    except SystemExit:  # how every command of `typer` ends
        guarded.flush()
        raise
    else:
        guarded.flush()
    finally:
        if failed:
            _discard(stream)


class _Guarded:
    """A stream whose failed writes are not ours; all else is the stream's own."""

    def __init__(self, stream: TextIO | BinaryIO, failed: list[BaseException]) -> None:
        self._stream, self._failed = stream, failed

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    @property
    def buffer(self) -> _Guarded:
        return _Guarded(cast("TextIO", self._stream).buffer, self._failed)

    def write(self, data: str | bytes) -> int:
        write = cast("Callable[[str | bytes], int]", self._stream.write)
        return self._try(lambda: write(data))

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], T]) -> T:
        # The first failure is remembered: libraries write to find out what a stream
        # is, and take no notice of what that raises.
        if not self._failed:
            try:
                return act()
            except BrokenPipeError:
                self._failed.append(SystemExit(NOBODY_READS))
            except OSError as error:
                self._failed.append(_unwritable((error.strerror or str(error)).lower()))
        raise self._failed[0] from None


def _unwritable(found: str) -> OutputError:
    cure = "make room, or send it elsewhere: `> FILE`, or `> /dev/null` for nowhere"
    return OutputError(Fault("standard output", "", found, "a place for what is printed", cure))


def _discard(stream: TextIO) -> None:
    """Leave nothing for the interpreter to write, and to complain about, as it ends."""
    with suppress(OSError):  # no file: then nobody complains either
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
