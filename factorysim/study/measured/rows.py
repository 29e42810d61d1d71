"""Reading a file of measurements: one row is one number that somebody measured somewhere.

The columns are those of the shipped table. A row that cannot be used is set aside with the
reason, never dropped: whoever reads the score sees what it does not cover.
"""

from __future__ import annotations

import csv
import hashlib
import math
from pathlib import Path
from typing import NamedTuple

from factorysim.errors import Fault, SpecError

COLUMNS = (
    "id", "source_title", "source_url", "date", "model", "precision", "hardware", "n_gpus",
    "parallelism", "engine", "scenario", "isl", "osl", "concurrency_or_batch", "metric", "value",
    "notes",
)  # fmt: skip
NEEDED = ("id", "model", "hardware", "scenario", "metric", "value")
"""Columns that a file must have; the others may be missing, and are blank then."""
ROWS_MOST = 1_000_000
FIELD_MOST = 100_000
"""Characters of a field."""


class Row(NamedTuple):
    """A row as it was written: text, but for its number."""

    line: int
    id: str
    value: float
    source_title: str = ""
    source_url: str = ""
    date: str = ""
    model: str = ""
    precision: str = ""
    hardware: str = ""
    n_gpus: str = ""
    parallelism: str = ""
    engine: str = ""
    scenario: str = ""
    isl: str = ""
    osl: str = ""
    concurrency_or_batch: str = ""
    metric: str = ""
    notes: str = ""

    @property
    def what(self) -> str:
        """What was measured, in one line."""
        devices = f"{self.n_gpus} x {self.hardware}" if self.n_gpus else self.hardware
        load = f"{self.scenario} {self.concurrency_or_batch}".strip()
        tokens = f"{self.isl or '?'} + {self.osl or '?'} tokens" if self.isl or self.osl else ""
        parts = (self.model, self.precision, devices, self.parallelism, self.engine, load, tokens)
        return ", ".join(part for part in parts if part)


class Skipped(NamedTuple):
    """A row that was set aside."""

    id: str
    line: int
    reason: str


class NotUnderstoodError(Exception):
    """A row cannot be turned into an experiment; says why."""


def read_rows(path: Path) -> tuple[list[Row], list[Skipped]]:
    """Read a CSV file of measurements.

    Returns
    -------
    Its rows, and those set aside: an id that came before, a value that is no positive number.

    Raises
    ------
    SpecError
        If it is no CSV file in UTF-8, or lacks columns.
    """
    rows: list[Row] = []
    skipped: list[Skipped] = []
    seen: dict[str, int] = {}
    try:
        csv.field_size_limit(FIELD_MOST)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, reader.fieldnames or ())
            for told in reader:
                if len(rows) + len(skipped) >= ROWS_MOST:
                    found, expected = f"more than {ROWS_MOST:,} rows", "a table of measurements"
                    raise SpecError(Fault(f"{path}:{reader.line_num}", "", found, expected))
                row = _row(reader.line_num, told)
                if isinstance(row, Row) and row.id in seen:
                    row = Skipped(row.id, row.line, f"its id is that of line {seen[row.id]}")
                if isinstance(row, Skipped):
                    skipped.append(row)
                else:
                    seen[row.id] = row.line
                    rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(Fault(str(path), "", str(error), "a CSV file in UTF-8")) from None
    return rows, skipped


def _check_columns(path: Path, found: object) -> None:
    names = tuple(str(name) for name in found) if isinstance(found, list | tuple) else ()
    missing = [name for name in NEEDED if name not in names]
    if missing:
        cure = f"the first line names the columns, of {', '.join(COLUMNS)}"
        faults = [
            Fault(f"{path}:1", name, "no such column", "a column of that name", cure)
            for name in missing
        ]
        raise SpecError(*faults)


def _row(line: int, told: dict[str, str | None]) -> Row | Skipped:
    words = {name: (told.get(name) or "").strip() for name in COLUMNS}
    name = words["id"] or f"line {line}"
    if None in told:
        return Skipped(name, line, "it has more fields than there are columns")
    text = words.pop("value")
    try:
        value = float(text)
    except ValueError:
        return Skipped(name, line, f'its value is "{text}", no number')
    if not math.isfinite(value) or value <= 0.0:
        return Skipped(name, line, f"its value is {text}, expected more than 0")
    words["id"] = name
    return Row(line=line, value=value, **words)


def source_id(kind: str, title: str) -> str:
    """Name a source in a catalog file after its title, so that those of two files do not meet.

    Examples
    --------
    >>> source_id("measured", "A table")
    'measured_c4d52f91'
    """
    return f"{kind}_{hashlib.sha256(title.encode()).hexdigest()[:8]}"
