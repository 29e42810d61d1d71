"""A run directory of anybody's, checked before anything is told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorysim.errors import Fault, UserError
from factorysim.run.result import Run
from factorysim.run.seal import SEAL, unbroken
from factorysim.run.tables import TABLE_NAMES
from factorysim.store import RUN_SCHEMA, file_hash

if TYPE_CHECKING:
    from factorysim.run.row_check import Known

MANIFEST, SUMMARY, SCENARIO = "manifest.json", "summary.json", "scenario.resolved.yaml"
LARGEST = 64 * 2**20
"""Bytes of a manifest or summary; those of a thousand replications are far below."""
AGAIN = "The scenario beside it, scenario.resolved.yaml, can be run again."


def open_run(path: str | Path) -> Run:
    """Open a run directory, and make sure that it is whole and as it was written.

    Every table and file is held against the hashes in the manifest, so that what is drawn
    or told of the run is what the run said.

    Raises
    ------
    UserError
        With everything that is missing, of another version, or changed since.

    Examples
    --------
    >>> open_run("nowhere")
    Traceback (most recent call last):
    factorysim.errors.UserError: nowhere: found no such directory, expected a run directory
        `factorysim run SCENARIO --out nowhere` makes one.
    """
    folder = Path(path)
    manifest = _manifest(folder)
    faults = [*_missing(folder)] or [*_changed(folder, manifest)] or _summary(folder / SUMMARY)
    if faults:
        raise UserError(*faults)
    return Run(folder)


def _manifest(folder: Path) -> Mapping[str, Any]:
    """Read the manifest, which says what the rest must be.

    Raises
    ------
    UserError
        If there is none, it is of another kind or version, or holds what no run wrote.
    """
    from factorysim.run.contents import manifest_faults

    wanted = "a run directory"
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such directory"
        cure = f"`factorysim run SCENARIO --out {folder}` makes one."
        raise UserError(Fault(str(folder), "", found, wanted, cure))
    place = folder / MANIFEST
    if not place.exists():
        raise UserError(Fault(str(folder), "", f"no {MANIFEST}", wanted, _nearby(folder)))
    try:
        manifest = _json(place)
    except ValueError as error:
        raise UserError(Fault(str(place), "", str(error), "a run's manifest", AGAIN)) from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or schema != RUN_SCHEMA:
        cure = "It is of another version, or of something else than a run. " + AGAIN
        fault = Fault(str(place), "schema", _short(schema), RUN_SCHEMA, cure)
        raise UserError(fault)
    if not unbroken(manifest):
        told = f"other content than {SEAL} seals" if SEAL in manifest else f"no {SEAL}"
        raise UserError(Fault(str(place), "", told, "a manifest as it was written", AGAIN))
    faults = manifest_faults(manifest, str(place), AGAIN)
    if faults:
        raise UserError(*faults)
    return manifest


def _summary(place: Path) -> list[Fault]:
    """Say what is wrong with a summary that is the one that the manifest names."""
    from factorysim.run.contents import summary_faults

    try:
        summary = _json(place)
    except ValueError as error:
        return [Fault(str(place), "", str(error), "the summary of a run", AGAIN)]
    return summary_faults(summary, str(place), AGAIN)


def _nearby(folder: Path) -> str:
    """Name runs inside a directory that is none itself, such as that of a comparison."""
    found = sorted(one.parent.name for one in folder.glob(f"*/{MANIFEST}"))[:5]
    if not found:
        return f"`factorysim run SCENARIO --out {folder}` makes one."
    return f"There are runs inside: {', '.join(str(folder / name) for name in found)}"


def _short(value: object) -> str:
    text = "none" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _json(place: Path) -> object:
    """Parse a file of ours.

    Raises
    ------
    ValueError
        If it cannot be read, or is no JSON; says what it is.
    """
    try:
        if not place.is_file():  # reading from a pipe or a device may never end
            raise ValueError("no regular file")
        if (size := place.stat().st_size) > LARGEST:
            raise ValueError(f"{size:,} bytes")
        return json.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(error.strerror or "nothing that can be read") from None
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON ({error})") from None
    except UnicodeDecodeError:
        raise ValueError("no UTF-8") from None


def _missing(folder: Path) -> Iterator[Fault]:
    for name in (SUMMARY, SCENARIO, *(f"{table}.parquet" for table in TABLE_NAMES)):
        if not (folder / name).is_file():
            yield Fault(str(folder), "", f"no {name}", "a run directory with all its files", AGAIN)


def _changed(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Fault]:
    """Hold every file against its hash in the manifest, and tables to what readers rely on."""
    from factorysim.run.row_check import Known

    yield from _differing(folder / SUMMARY, manifest["summary_sha256"])
    yield from _differing(folder / SCENARIO, manifest["scenario"]["sha256"])
    known = Known.of(manifest)
    for table in TABLE_NAMES:
        yield from _in_table(folder / f"{table}.parquet", manifest["outputs"].get(table), known)


def _differing(place: Path, recorded: str) -> Iterator[Fault]:
    try:
        found = file_hash(place)
    except OSError as error:
        yield _unreadable(place, error)
        return
    if found != recorded:
        yield _other(place, found, recorded)


def _in_table(place: Path, recorded: str | None, known: Known) -> Iterator[Fault]:
    import pyarrow as pa

    from factorysim.run.rows import read_through

    try:
        found, faults = read_through(place, known, AGAIN)
    except (OSError, ValueError, pa.ArrowException) as error:
        yield _unreadable(place, error)
        return
    if found and found != recorded:
        yield _other(place, found, recorded)
    else:
        yield from faults


def _unreadable(place: Path, error: Exception) -> Fault:
    told = str(error).splitlines()[0][:200]
    return Fault(str(place), "", f"nothing that can be read ({told})", "what was written", AGAIN)


def _other(place: Path, found: str, recorded: str | None) -> Fault:
    expected = f"what {MANIFEST} recorded ({_short(recorded)[:14]}...)"
    return Fault(str(place), "", f"other content ({found[:12]}...)", expected, AGAIN)
