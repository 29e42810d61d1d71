"""Trace files appear whole or not at all, and the same rows make the same bytes."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, cast

from factorysim.errors import Fault, OutputError, TraceError
from factorysim.marked import shown
from factorysim.workload.packing import packed, packing_for
from factorysim.workload.session import LlmNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.workload.packing import Packing
    from factorysim.workload.session import Session


OTHER_PACKING = (".xz", ".bz2", ".zip", ".tar", ".tgz", ".7z", ".lz4", ".br", ".parquet")
"""Ends of names that promise what is not written."""
PIECE_BYTES = 2**16
"""Written at a time."""


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines as UTF-8, compressed if the name ends in ``.gz`` or ``.zst``; return how many.

    Raises
    ------
    OutputError
        If the file cannot be written: of a read-only one nothing is changed, though its
        folder would allow it. Nothing is left behind then.
    """
    _check_place(path)
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


def keep_apart(read: Path, out: Path, what: str = "trace") -> None:
    """Refuse to write over what is read, by whatever name, or into its folder.

    Raises
    ------
    OutputError
        If that was asked for.
    """
    same = read.exists() and out.exists() and out.samefile(read)
    if same or (read.is_dir() and read.resolve() in out.resolve().parents):
        expected, cure = "another file: what is recorded stays", "choose another name"
        raise OutputError(Fault(str(out), "", f"the {what} that is read", expected, cure))


def _check_place(path: Path) -> None:
    """Refuse a name that cannot be meant."""
    found = cure = ""
    if path.is_dir():
        found, cure = "a folder", "name a file in it"
    elif path.is_file() and not path.stat().st_mode & 0o222:
        found, cure = "a read-only file", "choose another name, or make it writable"
    elif path.suffix in OTHER_PACKING:
        found, cure = f"a name that ends in {path.suffix}", "end it in .gz, .zst, or neither"
    if found:
        raise OutputError(Fault(str(path), "", found, "a file to write", cure))


def lone_call(
    session: Session, name: str, known: Sequence[str] = (), *, hashes: bool = False
) -> LlmNode:
    """Give the only call of a session, for a format that has no more to say.

    Parameters
    ----------
    name
        Of the format.
    known
        Fields of `src` that it can hold.
    hashes
        Whether it can hold ids of blocks.

    Raises
    ------
    TraceError
        With everything that would be lost, by its name.
    """
    node = session.nodes[0]
    if len(session.nodes) != 1 or not isinstance(node, LlmNode):
        expected = f"sessions of one call, which is all that {name} rows can say"
        raise TraceError(Fault(session.sid, "", f"{len(session.nodes)} nodes", expected))
    held: dict[str, object] = {
        "agent": session.agent,
        "client": session.client,
        "priority": session.priority,
        "hashes": "" if hashes or not node.hashes else "ids of blocks",
        "cached": node.prefix_tokens,
        "delay": node.delay_ns,
        "shared": node.shared_tokens,
        "step": node.step,
        "image_tokens": node.image_tokens,
        **{f"src.{key}": value for key, value in session.src.items() if key not in known},
    }
    lost = [
        Fault(session.sid, key, shown(value), f"nothing, since {name} rows cannot say it")
        for key, value in held.items()
        if value and not (key == "src.fstrace" and _implied(value))
    ]
    if lost:
        raise TraceError(*lost)
    return node


def _implied(kept: object) -> bool:
    """Tell whether what fstrace/1 keeps of a session says nothing of its own."""
    return isinstance(kept, dict) and set(cast("dict[str, object]", kept)) <= {"ids"}


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
