"""What other benchmarks write, as rows of measurements: vLLM's `bench serve` and AIPerf.

vLLM: the JSON of ``vllm bench serve --save-result`` (one object, or one a line with
``--append-result``). AIPerf: ``profile_export_aiperf.json`` and ``.csv``. Neither says on what
it ran, so the caller does. The statistics taken are mean, median, p90, p95 and p99.

AIPerf's *inter-token latency* of a request is its decode time over its gaps, which is TPOT here;
its *inter-chunk latency* is ITL. vLLM names both as they are named here.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from factorysim.errors import Fault, SpecError
from factorysim.load.json_file import parse_json
from factorysim.marked import printable, shown
from factorysim.study.measured.rows import COLUMNS, Row, Skipped
from factorysim.yaml_reader import read_bytes

Format: TypeAlias = Literal["vllm_bench", "aiperf_json", "aiperf_csv"]
Record: TypeAlias = Mapping[str, object]

BYTES_MOST = 500_000_000
"""With `--save-detailed`, vLLM's file holds a number for every token."""

_FORMATS = (
    "JSON of `vllm bench serve --save-result`, or AIPerf's profile_export_aiperf.json or .csv"
)
_TIMES = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2el": "e2e"}
_AIPERF_TIMES = {
    "time_to_first_token": "ttft",
    "inter_token_latency": "tpot",
    "inter_chunk_latency": "itl",
    "request_latency": "e2e",
}
_AIPERF_RATES = {
    "output_token_throughput": "output_tokens_per_s_total",
    "total_token_throughput": "total_tokens_per_s_total",
}
_STATISTICS = {"avg": "", "p50": "_median", "p90": "_p90", "p95": "_p95", "p99": "_p99"}
_MS = {"ms": 1.0, "s": 1e3, "sec": 1e3, "us": 1e-3, "ns": 1e-6}


class Load(NamedTuple):
    """How calls came, in the words of the table of measurements."""

    scenario: str
    concurrency_or_batch: str
    notes: tuple[str, ...] = ()
    paced: bool = False
    """At a rate of their own: a throughput below capacity is that rate, and no measurement."""


class Told(NamedTuple):
    """One benchmark run as its file tells it: its load, lengths and numbers."""

    name: str
    line: int
    model: str
    date: str
    engine: str
    load: Load | str
    """Why it is no load that can be simulated, if it is none."""
    isl: str
    osl: str
    numbers: tuple[tuple[str, object], ...]
    """Metrics of the table, with what the file has for them."""
    notes: tuple[str, ...] = ()


def read_foreign(
    path: Path,
    *,
    hardware: str,
    n_gpus: int,
    parallelism: str = "",
    precision: str = "",
    engine: str = "",
    model: str = "",
    concurrency: int | None = None,
) -> tuple[list[Row], list[Skipped]]:
    """Read a benchmark's own file as rows of measurements.

    Parameters
    ----------
    hardware, n_gpus, parallelism, precision
        What it ran on, as in the table of measurements: ``H100-SXM-80GB``, 8, ``TP8``, ``fp8``.
    engine
        The file's own word for it, if not given.
    model, concurrency
        Of files that do not tell them, such as AIPerf's CSV.

    Returns
    -------
    Rows, and what was set aside with the reason.

    Raises
    ------
    SpecError
        If the file is none of these formats, or broken.
    """
    data = read_bytes(path, str(path), BYTES_MOST)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    for told in _runs(path, data):
        told = _completed(told, model, engine, concurrency)
        reason = _unusable(told)
        if reason:
            skipped.append(Skipped(told.name, told.line, reason))
            continue
        assert isinstance(told.load, Load)  # or else it was unusable
        for metric, value in told.numbers:
            name = f"{told.name}-{metric}"
            number = _number(value)
            if number is None or number <= 0.0:
                reason = f"its {metric} is {shown(value)}, expected more than 0"
            elif told.load.paced and "tokens_per_s" in metric:
                reason = "calls came at a rate of their own: below capacity it sets the throughput"
            else:
                rows.append(
                    Row(
                        line=told.line, id=name, value=number, source_title=path.name,
                        date=told.date, model=told.model, precision=precision, hardware=hardware,
                        n_gpus=str(n_gpus), parallelism=parallelism, engine=told.engine,
                        scenario=told.load.scenario, isl=told.isl, osl=told.osl,
                        concurrency_or_batch=told.load.concurrency_or_batch, metric=metric,
                        notes="; ".join((*told.load.notes, *told.notes)),
                    )
                )  # fmt: skip
                continue
            skipped.append(Skipped(name, told.line, reason))
    return rows, skipped


def table_text(rows: Iterable[Row]) -> str:
    """Write rows as a table of measurements, which `check` and `calibrate` read.

    Ids that come again, from files of one name, are numbered.
    """
    seen: dict[str, int] = {}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        number = seen[row.id] = seen.get(row.id, 0) + 1
        told = row._asdict() | {"value": repr(row.value)}
        if number > 1:
            told["id"] = f"{row.id}-{number}"
        writer.writerow({key: told[key] for key in COLUMNS})
    return text.getvalue()


def detect(path: Path, data: bytes) -> Format:
    """Tell which benchmark wrote a file.

    Raises
    ------
    SpecError
        If none of those known did.
    """
    head = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1] != b"{":
        if re.match(rb'"?Metric"?,', head):
            return "aiperf_csv"
        found = "neither a JSON object nor a table of metrics"
        raise SpecError(Fault(str(path), "", found, _FORMATS))
    if b"request_throughput" in data and re.search(rb'"(mean_ttft_ms|total_output_tokens)"', data):
        return "vllm_bench"
    if b'"time_to_first_token"' in data or b'"request_latency"' in data:
        return "aiperf_json"
    raise SpecError(Fault(str(path), "", "JSON without their keys", _FORMATS))


def _runs(path: Path, data: bytes) -> Iterator[Told]:
    kind = detect(path, data)
    if kind == "aiperf_csv":
        yield _aiperf_csv(path, data)
        return
    for line, record in _objects(path, data):
        name = path.stem if line == 1 else f"{path.stem}-{line}"
        read = _vllm if kind == "vllm_bench" else _aiperf
        yield read(printable(name), line, record)


def _objects(path: Path, data: bytes) -> Iterator[tuple[int, Record]]:
    """Give the one object of a file, or one a line."""
    lines = data.splitlines()
    several = len(lines) > 1 and all(
        line.startswith(b"{") and line.endswith(b"}") for line in map(bytes.strip, lines) if line
    )
    for number, text in enumerate(lines, 1) if several else ((1, data),):
        if text.strip():
            where = f"{path}:{number}" if several else str(path)
            record = parse_json(text, where)
            if not isinstance(record, Mapping):
                raise SpecError(Fault(where, "", shown(record), "an object"))
            yield number, record


def _vllm(name: str, line: int, record: Record) -> Told:
    """Read a result of `vllm bench serve`."""
    completed = _number(record.get("completed")) or _number(record.get("num_prompts"))
    numbers: list[tuple[str, object]] = [
        (metric, record[key])
        for key, metric in (
            ("output_throughput", "output_tokens_per_s_total"),
            ("total_token_throughput", "total_tokens_per_s_total"),
        )
        if key in record
    ]
    for key, quantity in _TIMES.items():
        for word, ending in (("mean", ""), ("median", "_median"), ("p90", "_p90"),
                             ("p95", "_p95"), ("p99", "_p99")):  # fmt: skip
            if f"{word}_{key}_ms" in record:
                numbers.append((f"{quantity}{ending}_ms", record[f"{word}_{key}_ms"]))
    notes = tuple(
        f"{word} of {min(told):g} to {max(told):g} tokens"
        for key, word in (("input_lens", "prompts"), ("output_lens", "outputs"))
        if (told := _numbers(record.get(key))) and min(told) < max(told)
    )
    failed = _number(record.get("failed"))
    if failed:
        notes = (*notes, f"{failed:g} calls failed")
    isl = _mean(record.get("total_input_tokens"), completed)
    osl = _mean(record.get("total_output_tokens"), completed)
    load = _load_of_vllm(record, completed, isl, osl)
    return Told(
        name, line, _model(record.get("model_id")), _date(record.get("date")),
        _text(record.get("backend")) or _text(record.get("endpoint_type")),
        load, isl, osl, tuple(numbers), notes,
    )  # fmt: skip


def _load_of_vllm(record: Record, completed: float | None, isl: str, osl: str) -> Load | str:
    if not completed:
        return "no call was completed"
    burstiness = _number(record.get("burstiness"))
    if burstiness not in (None, 1.0):
        return f"its arrivals have burstiness {burstiness:g}: only Poisson's, 1, can be replayed"
    told = record.get("request_rate")
    rate = None if told in (None, "inf") or told == math.inf else _number(told)
    if told not in (None, "inf") and not rate:
        return f"its request_rate is {shown(told)}"
    return _load(_number(record.get("max_concurrency")), rate, completed, isl, osl)


def _load(
    concurrency: float | None, rate: float | None, calls: float, isl: str, osl: str
) -> Load | str:
    """Tell a closed loop, arrivals at a rate, or all calls at once."""
    if rate and concurrency:
        return "it has a rate and a bound of calls in flight: which of them held is not told"
    if rate:
        return Load("server", f"{rate:g} QPS", (f"{rate:.12g} samples/s",), paced=True)
    if concurrency:
        if not concurrency.is_integer() or concurrency < 1:
            return f"its concurrency is {concurrency:g}"
        return Load("server", f"{concurrency:g}", (f"{calls:g} calls",))
    return Load("offline", "max", (f"{calls:g} requests for {isl}/{osl}",))


def _aiperf(name: str, line: int, record: Record) -> Told:
    """Read AIPerf's JSON; earlier versions had the metrics under `records`."""
    inner = record.get("records")
    metrics: Record = inner if isinstance(inner, Mapping) else record
    numbers: list[tuple[str, object]] = []
    for key, quantity in _AIPERF_TIMES.items():
        told = _part(metrics, key)
        factor = _MS.get(_text(told.get("unit")))
        numbers += [
            (f"{quantity}{ending}_ms", _scaled(told[word], factor))
            for word, ending in _STATISTICS.items()
            if word in told
        ]
    numbers += [
        (metric, _part(metrics, key)["avg"])
        for key, metric in _AIPERF_RATES.items()
        if "avg" in _part(metrics, key)
    ]
    config = _part(record, "input_config")
    model = _model_of_aiperf(config)
    isl = _whole(_part(metrics, "input_sequence_length").get("avg"))
    osl = _whole(_part(metrics, "output_sequence_length").get("avg"))
    calls = _number(_part(metrics, "request_count").get("avg"))
    load = _load_of_aiperf(config, calls, isl, osl)
    if record.get("was_cancelled") is True or record.get("is_complete") is False:
        load = "the run did not come to its end"
    date = _text(record.get("start_time"))[:10]
    return Told(name, line, _model(model), date, "", load, isl, osl, tuple(numbers))


def _model_of_aiperf(config: Record) -> object:
    """Find the one model: under `models`, or, of earlier versions, the endpoint's."""
    models = config.get("models", _part(config, "endpoint").get("model_names"))
    if isinstance(models, Mapping):
        models = models.get("items")
    first = models[0] if isinstance(models, list) and len(models) == 1 else models
    return first.get("name") if isinstance(first, Mapping) else first


def _load_of_aiperf(config: Record, calls: float | None, isl: str, osl: str) -> Load | str:
    """Read the phase that counts, or, of earlier versions, the load generator's settings."""
    if calls == 0:
        return "no call was completed"
    loadgen = _part(config, "loadgen")
    phases = config.get("phases")
    if isinstance(phases, list):
        kept = [
            phase
            for phase in phases
            if isinstance(phase, Mapping) and phase.get("exclude_from_results") is not True
        ]
        if len(kept) != 1:
            return f"it has {len(kept)} phases that count: one can be replayed"
        loadgen, kind = kept[0], _text(kept[0].get("type"))
        if kind not in ("concurrency", "poisson"):
            return f"its arrivals are {shown(kind)}: a concurrency or Poisson's can be replayed"
        rate = _number(loadgen.get("rate")) if kind == "poisson" else None
        return _load(_number(loadgen.get("concurrency")), rate, calls or 0.0, isl, osl)
    rate, concurrency = (_number(loadgen.get(key)) for key in ("request_rate", "concurrency"))
    mode = _text(loadgen.get("request_rate_mode"))
    if rate and mode and "poisson" not in mode.lower():
        return f"its arrivals are {shown(mode)}: only Poisson's can be replayed"
    if not rate and not concurrency:
        return "it tells neither a concurrency nor a rate"
    return _load(concurrency, rate, calls or 0.0, isl, osl)


def _aiperf_csv(path: Path, data: bytes) -> Told:
    """Read AIPerf's CSV: statistics of times, then single values; units stand in brackets."""
    numbers: list[tuple[str, object]] = []
    lengths = {"input_sequence_length": "", "output_sequence_length": ""}
    heading: list[str] = []
    for fields in _table(path, data):
        if not fields or not fields[0].strip():
            continue
        if fields[0].strip() == "Metric":
            heading = [word.strip() for word in fields]
            continue
        title = re.fullmatch(r"(.+?)\s*(?:\(([^()]*)\))?", fields[0].strip())
        key = re.sub(r"\W+", "_", title[1].lower()) if title else ""
        told = dict(zip(heading[1:], fields[1:], strict=False))
        if key in _AIPERF_TIMES and title:
            factor = _MS.get(title[2] or "")
            numbers += [
                (f"{_AIPERF_TIMES[key]}{ending}_ms", _scaled(told[word], factor))
                for word, ending in _STATISTICS.items()
                if word in told
            ]
        elif key in _AIPERF_RATES:
            numbers.append((_AIPERF_RATES[key], told.get("Value", told.get("avg"))))
        elif key in lengths:
            lengths[key] = _whole(told.get("avg"))
    isl, osl = lengths.values()
    name = printable(path.stem)
    return Told(name, 1, "", "", "", "its CSV tells no concurrency", isl, osl, tuple(numbers))


def _table(path: Path, data: bytes) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpecError(Fault(str(path), "", str(error)[:100], "a CSV file in UTF-8")) from None


def _completed(told: Told, model: str, engine: str, concurrency: int | None) -> Told:
    """Add what the caller knows, where the file does not tell or he knows better."""
    load = told.load
    if concurrency is not None and isinstance(load, str) and "concurrency" in load:
        load = Load("server", f"{concurrency}")
    return told._replace(model=model or told.model, engine=engine or told.engine, load=load)


def _unusable(told: Told) -> str:
    """Say what a run lacks, if it cannot be compared with anything."""
    if isinstance(told.load, str):
        return told.load
    if not told.model:
        return "it names no model, or several: give one"
    if not told.isl or not told.osl:
        return "it does not tell the tokens of prompts and outputs"
    return "" if told.numbers else "it has no metric of the table"


def _number(value: object) -> float | None:
    """Read a finite number; also of a text, as CSV files have it."""
    if isinstance(value, str):
        try:
            value = float(value.replace(",", ""))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _numbers(value: object) -> list[float]:
    items: list[object] = value if isinstance(value, list) else []
    return [number for item in items if (number := _number(item)) is not None]


def _scaled(value: object, factor: float | None) -> object:
    """Turn a time into ms; what has no known unit stays no number."""
    number = _number(value)
    if number is None:
        return value
    return "in an unknown unit" if factor is None else number * factor


def _mean(total: object, calls: float | None) -> str:
    number = _number(total)
    return "" if not number or not calls else _whole(number / calls)


def _whole(value: object) -> str:
    """Write tokens as the table has them: whole, and at least one."""
    number = _number(value)
    return "" if number is None or number <= 0 else str(max(1, round(number)))


def _part(record: Record, key: str) -> Record:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return printable(value)[:200] if isinstance(value, str) else ""


def _model(value: object) -> str:
    """Name an LLM; of a path, its last part."""
    text = _text(value).rstrip("/")
    return text.rsplit("/", 1)[-1] if text.startswith(("/", ".", "~")) else text


def _date(value: object) -> str:
    """Read ``20260612-101530`` as a date."""
    found = re.match(r"(\d{4})(\d\d)(\d\d)-", _text(value))
    return "-".join(found.groups()) if found else ""
