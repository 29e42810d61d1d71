"""A log of calls as an engine served them, one a row: replayed, and its distributions compared.

Whoever has a serving engine has such a log; a table of measurements has only what somebody made
of it. The calls of a run are replayed at the times at which they came, and rows of measurements
are made of what was logged: means and quantiles of times, and how far distributions lie apart.

What a run was made under may stand in columns of their own, since it changes everything; what
is not told is taken from the engine's defaults, and said with each row. A row that cannot be
is set aside with the reason; the replay lacks its call then.
"""

from __future__ import annotations

import csv
import math
import re
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.marked import shown
from factorysim.study.measured.conditions import (
    Recorded,
    RecordedCall,
    Settings,
    Understood,
)
from factorysim.study.measured.metrics import Metric
from factorysim.study.measured.rows import FIELD_MOST, ROWS_MOST, NotUnderstoodError, Row, Skipped
from factorysim.study.measured.understand import understand_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from factorysim.catalog import Catalog

NEEDED = (
    "gpu", "model", "request_id", "input_toks", "output_toks", "queued_s", "ttft_s", "e2e_s",
)  # fmt: skip
SETTINGS = ("max_sequences", "token_budget", "kv_tokens", "memory_fraction")
"""Of the engine: columns that a file may have, of numbers."""
CONDITIONS = (
    "gpu", "model", "parallel", "n_gpus", "precision", "engine", *SETTINGS, "prefix_caching",
    "date", "source_title", "source_url", "notes",
)  # fmt: skip
"""Columns that tell runs apart; rows that agree in all of them were served together."""
_OWN = frozenset({"request_id", "queued_s", "ttft_s", "e2e_s"})
"""Columns that no table of measurements has."""
_TOKENS_MOST = 100_000_000
_SECONDS_MOST = 1e10
"""An arrival may count from any epoch; the first of a run is its beginning."""

STATISTICS = {
    "ttft": ("mean", "p50", "p90", "p99"),
    "e2e": ("mean", "p50", "p90", "p99"),
    "tpot": ("mean", "p50"),
}
"""Of the times of a run's calls: what is compared."""
_DISTANCES = {"ttft": "ttft", "e2e": "latency"}


class Call(NamedTuple):
    """A row that can be replayed."""

    line: int
    queued_s: float
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    e2e_s: float


class Log(NamedTuple):
    """Calls that were served together."""

    told: Mapping[str, str]
    """By the names of `CONDITIONS`, as written."""
    calls: Sequence[Call]
    """As the file has them."""


HEADER_MOST = 100_000
"""Characters of a header."""


def is_log(path: Path) -> bool:
    """Tell a log of calls from a table of measurements, by the columns that its header names."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader([file.readline(HEADER_MOST)]), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False  # whoever reads the table says what is wrong
    return "metric" not in header and not _OWN.isdisjoint(header)


def read_logs(path: Path) -> tuple[list[Log], list[Skipped]]:
    """Read a CSV file of calls.

    Returns
    -------
    Its runs, and the rows set aside: what is missing, no number, or cannot have been.

    Raises
    ------
    SpecError
        If it is no CSV file in UTF-8, or lacks columns.
    """
    runs: dict[tuple[str, ...], list[Call]] = {}
    skipped: list[Skipped] = []
    seen: dict[tuple[str, ...], int] = {}
    try:
        csv.field_size_limit(FIELD_MOST)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, reader.fieldnames or ())
            for count, told in enumerate(reader):
                if count >= ROWS_MOST:
                    found, expected = f"more than {ROWS_MOST:,} rows", "a log of calls"
                    raise SpecError(Fault(f"{path}:{reader.line_num}", "", found, expected))
                words = {str(name): (text or "").strip() for name, text in told.items() if name}
                run = tuple(words.get(name, "") for name in CONDITIONS)
                call = _call(reader.line_num, words, None in told)
                key = (*run, words.get("request_id", ""))
                if isinstance(call, Call) and key in seen:
                    why = f"its request_id is that of line {seen[key]}"
                    call = Skipped(key[-1], call.line, why)
                if isinstance(call, Skipped):
                    skipped.append(call)
                    continue
                seen[key] = call.line
                runs.setdefault(run, []).append(call)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(Fault(str(path), "", str(error), "a CSV file in UTF-8")) from None
    logs = [Log(dict(zip(CONDITIONS, run, strict=True)), calls) for run, calls in runs.items()]
    return logs, skipped


def rows_of_log(log: Log, name: str, source: str) -> list[tuple[Row, Metric]]:
    """Make rows of measurements of a run: one for each statistic that is compared.

    Parameters
    ----------
    name
        Of the run; ids of its rows begin so.
    source
        What to say of a run that names no source.
    """
    told = log.told
    row = Row(
        line=log.calls[0].line, id=name, value=0.0, source_title=told["source_title"] or source,
        source_url=told["source_url"], date=told["date"], model=told["model"],
        precision=told["precision"], hardware=told["gpu"], n_gpus=told["n_gpus"],
        parallelism=told["parallel"], engine=told["engine"], scenario="recorded",
        notes=told["notes"],
    )  # fmt: skip
    return [
        (row._replace(id=f"{name}.{metric.name}", metric=metric.name, value=value), metric)
        for metric, value in _statistics(log.calls)
    ]


def understand_rows(
    log: Log, rows: Sequence[tuple[Row, Metric]], catalog: Catalog
) -> list[Understood]:
    """Turn a run into the experiment that all its rows belong to.

    Raises
    ------
    NotUnderstoodError
        With the reason.
    """
    settings = {name: _setting(name, log.told[name]) for name in SETTINGS}
    kv_tokens, fraction = settings["kv_tokens"], settings["memory_fraction"]
    wholes = (settings["max_sequences"], settings["token_budget"], kv_tokens)
    most, budget, kv = (None if one is None else int(one) for one in wholes)
    caching = _switch("prefix_caching", log.told["prefix_caching"])
    load = Recorded(tuple(_in_order(log.calls)), kv, bool(caching))
    row = rows[0][0]
    conditions, assumed = understand_log(row, catalog, load, Settings(most, budget, fraction))
    if caching is None:
        assumed += ("prefix caching off",)
    return [Understood(one, conditions, metric, assumed) for one, metric in rows]


def name_logs(logs: Sequence[Log]) -> list[str]:
    """Name runs by what they ran on; a number tells apart those that this leaves alike.

    Examples
    --------
    >>> run = Log(dict.fromkeys(CONDITIONS, "") | {"gpu": "RTX 4090", "model": "a/b"}, [])
    >>> name_logs([run, run._replace(told={**run.told, "parallel": "tp2"}), run])
    ['RTX-4090-a-b', 'RTX-4090-a-b-tp2', 'RTX-4090-a-b#2']
    """
    names: list[str] = []
    counts: dict[str, int] = {}
    for log in logs:
        words = (log.told[key] for key in ("gpu", "model", "parallel"))
        name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(filter(None, words))).strip("-") or "run"
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return names


def _check_columns(path: Path, found: Sequence[str]) -> None:
    missing = [name for name in NEEDED if name not in found]
    cure = f"of a log of calls the first line names {', '.join(NEEDED)}; it may name others"
    faults = [
        Fault(f"{path}:1", name, "no such column", "a column of that name", cure)
        for name in missing
    ]
    if faults:
        raise SpecError(*faults)


def _call(line: int, words: Mapping[str, str], long: bool) -> Call | Skipped:
    """Read a row, or say why it cannot be."""
    name = words.get("request_id") or f"line {line}"
    problems: list[str] = ["it has more fields than there are columns"] if long else []
    if not words.get("request_id"):
        problems.append("it has no request_id")

    def number(key: str, most: float, *, whole: bool = False, zero: bool = False) -> float:
        text = words.get(key, "")
        value = _number(text)
        least = "0 or more" if zero else "more than 0"
        expected = f"{'a whole number, ' if whole else ''}{least}, {most:g} at most"
        if not text:
            problems.append(f"it has no {key}")
        elif value is None:
            problems.append(f"its {key} is {shown(text)}, no number")
        elif not (0 <= value <= most and (zero or value > 0)) or (whole and value % 1):
            problems.append(f"its {key} is {shown(text)}, expected {expected}")
        return value or 0.0

    prompt = number("input_toks", _TOKENS_MOST, whole=True)
    output = number("output_toks", _TOKENS_MOST, whole=True)
    queued = number("queued_s", _SECONDS_MOST, zero=True)
    ttft, e2e = number("ttft_s", _SECONDS_MOST), number("e2e_s", _SECONDS_MOST)
    if not problems and e2e < ttft:
        problems.append(f"it ends after {e2e:g} s, before its first token at {ttft:g} s")
    if problems:
        return Skipped(name, line, "; ".join(problems))
    return Call(line, queued, int(prompt), int(output), ttft, e2e)


def _number(text: str) -> float | None:
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _setting(name: str, text: str) -> float | None:
    if not text:
        return None
    value = _number(text)
    whole = name != "memory_fraction"
    if value is None or not 0 < value <= (_TOKENS_MOST if whole else 1) or (whole and value % 1):
        expected = "a whole number above 0" if whole else "a share above 0 and at most 1"
        raise NotUnderstoodError(f"its {name} is {shown(text)}, expected {expected}")
    return value


def _switch(name: str, text: str) -> bool | None:
    if not text:
        return None
    if text.lower() not in ("on", "off"):
        raise NotUnderstoodError(f"its {name} is {shown(text)}, expected on or off")
    return text.lower() == "on"


def _in_order(calls: Sequence[Call]) -> Iterator[RecordedCall]:
    """Give calls in order of arrival, from the first on; those of one instant as in the file."""
    ordered = sorted(calls, key=lambda call: call.queued_s)
    first_s = ordered[0].queued_s
    for call in ordered:
        at_ns = round((call.queued_s - first_s) * 1e9)
        yield RecordedCall(at_ns, call.prompt_tokens, call.output_tokens, call.ttft_s, call.e2e_s)


def _statistics(calls: Sequence[Call]) -> Iterator[tuple[Metric, float]]:
    """Give what is compared, and its value in the log; a distance is 0 there."""
    import numpy as np

    times = {
        "ttft": np.array([call.ttft_s for call in calls]),
        "e2e": np.array([call.e2e_s for call in calls]),
        "tpot": np.array(
            [
                (call.e2e_s - call.ttft_s) / (call.output_tokens - 1)
                for call in calls
                if call.output_tokens > 1
            ]
        ),
    }
    for name, statistics in STATISTICS.items():
        values = times[name]
        quantity = "latency" if name == "e2e" else name
        for one in statistics if len(values) else ():
            value = values.mean() if one == "mean" else np.quantile(values, int(one[1:]) / 100)
            if value > 0.0:
                yield Metric(f"{name}_{one}_s", quantity, one), float(value)  # type: ignore[arg-type]
    for name, quantity in _DISTANCES.items():
        yield Metric(f"{name}_ks", "distance", quantity), 0.0
