"""Run directories: staged under a temporary name, renamed when they are whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from factorysim.errors import Fault, OutputError

RUN_SCHEMA = "factorysim.run/1"
"""``schema`` of a run's manifest: what makes a directory a run of ours."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell what the system refuses as the user's to mend.

    Raises
    ------
    OutputError
        For every `OSError` of the body: no permission, no space, no such place.

    Examples
    --------
    >>> with writing(Path("out")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    factorysim.errors.OutputError: out: found no space left on device, expected a place to write
        Choose another place (--out, --page), or make room there.
    """
    try:
        yield
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise _refused(path, what[:1].lower() + what[1:]) from error


def _refused(path: Path, found: str) -> OutputError:
    cure = "Choose another place (--out, --page), or make room there."
    return OutputError(Fault(str(path), "", found, "a place to write", cure))


def check_place(final: Path) -> None:
    """Refuse early a place that `publish` would refuse at the end.

    Raises
    ------
    OutputError
        If `final` is a file, or a directory that holds something else than a run.
    """
    with writing(final):
        if not final.exists():
            final.parent.mkdir(parents=True, exist_ok=True)
            return
        if not final.is_dir():
            raise _refused(final, "a file")
        if any(final.iterdir()) and not _is_ours(final):
            raise _refused(final, "a directory with other things in it")


def _is_ours(folder: Path) -> bool:
    """Whether a directory is a run or a comparison, which a new one may replace."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    return isinstance(schema, str) and schema.startswith("factorysim.")


@contextmanager
def staging(final: Path) -> Iterator[Path]:
    """Give a temporary directory beside `final`, on the same file system.

    It is gone at the end of the block, unless `publish` has renamed it; so are the
    folders above it that had to be made, where nothing came into them.

    Raises
    ------
    OutputError
        If it cannot be made there.
    """
    with writing(final):
        made = [folder for folder in final.parents if not folder.exists()]
    try:
        check_place(final)
        with writing(final):
            staged = Path(tempfile.mkdtemp(prefix=f".{final.name}.partial-", dir=final.parent))
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    finally:
        _remove_empty(made)


def _remove_empty(folders: list[Path]) -> None:
    """Take back folders, the innermost first, as far as nothing is in them."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def publish(staged: Path, final: Path) -> None:
    """Rename a staged directory to its final name, in place of an earlier run.

    Raises
    ------
    OutputError
        If the name is taken by something that is not a run, or cannot be written.
    """
    check_place(final)
    with writing(final):
        umask = os.umask(0)
        os.umask(umask)
        staged.chmod(0o777 & ~umask)
        if not final.exists():
            staged.rename(final)
            return
        old = Path(tempfile.mkdtemp(prefix=f".{final.name}.old-", dir=final.parent))
        final.rename(old / "run")
        try:
            staged.rename(final)
        except BaseException:
            (old / "run").rename(final)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder for files of ours, which may stand beside others.

    Raises
    ------
    OutputError
        If it cannot be made, or written to.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder for files of ours; should they not come about, it is gone again.

    What was there before stays, and so does whatever has been put into it.

    Raises
    ------
    OutputError
        If it cannot be made, or written to.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    make_folder(folder)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # not empty
            for path in missing:
                path.rmdir()
        raise


def write_json(path: Path, value: object) -> None:
    """Write JSON that every reader takes: UTF-8, no NaN, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whatever the platform, under its name only when it is whole.

    Raises
    ------
    OutputError
        If the place cannot be written.
    """
    write_bytes(path, [text.encode()])


def write_bytes(path: Path, parts: Iterable[bytes]) -> None:
    """Write bytes as they come, in parts, under their name only when all of them are there.

    Raises
    ------
    OutputError
        If the place cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "some", (b"one", b"two"))
    ...     (Path(folder) / "some").read_bytes()
    b'onetwo'
    """
    partial = path.with_name(f".{path.name}.partial")
    with writing(path):
        try:
            with partial.open("wb") as file:
                file.writelines(parts)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
