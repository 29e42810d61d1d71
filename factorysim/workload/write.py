"""Trace files appear whole or not at all, and the same rows make the same bytes."""

from __future__ import annotations

import gzip
import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING

from factorysim.errors import Fault, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines as UTF-8, compressed if the name ends in ``.gz``; return how many.

    Raises
    ------
    OutputError
        If the file cannot be written. Nothing is left behind then.
    """
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(
                NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)
            )
            part = Path(raw.name)
            stack.callback(part.unlink, missing_ok=True)
            count = _fill(raw, lines, packed=path.suffix == ".gz")
            part.chmod(0o666 & ~_umask())
            part.replace(path)
            return count
    except OSError as error:
        reason = error.strerror or str(error)
        cure = "choose a folder that can be written to"
        raise OutputError(Fault(str(path), "", reason, "a file to write", cure)) from None


def _fill(raw: IO[bytes], lines: Iterable[str], *, packed: bool) -> int:
    count = 0
    with ExitStack() as stack:
        # No name and no time in the header: the bytes depend on the rows alone.
        out = gzip.GzipFile("", "wb", 9, raw, mtime=0) if packed else None
        target: IO[bytes] | gzip.GzipFile = raw if out is None else stack.enter_context(out)
        for line in lines:
            target.write(f"{line}\n".encode())
            count += 1
    raw.flush()
    os.fsync(raw.fileno())
    return count


def _umask() -> int:
    """Read the umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
