"""Trace files appear whole or not at all, and the same rows make the same bytes."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING

from factorysim.errors import Fault, OutputError
from factorysim.workload.packing import packed, packing_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from factorysim.workload.packing import Packing


PIECE_BYTES = 2**16
"""Written at a time."""


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines as UTF-8, compressed if the name ends in ``.gz`` or ``.zst``; return how many.

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
            count = _fill(raw, lines, packing=packing_for(path.name))
            part.chmod(0o666 & ~_umask())
            part.replace(path)
            return count
    except OSError as error:
        reason = error.strerror or str(error)
        cure = "choose a folder that can be written to"
        raise OutputError(Fault(str(path), "", reason, "a file to write", cure)) from None


def _fill(raw: IO[bytes], lines: Iterable[str], *, packing: Packing) -> int:
    count = size = 0
    held: list[bytes] = []
    with packed(raw, packing) as target:
        for line in lines:
            held.append(f"{line}\n".encode())
            count += 1
            size += len(held[-1])
            if size >= PIECE_BYTES:
                target.write(b"".join(held))
                held, size = [], 0
        target.write(b"".join(held))
    raw.flush()
    os.fsync(raw.fileno())
    return count


def _umask() -> int:
    """Read the umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
