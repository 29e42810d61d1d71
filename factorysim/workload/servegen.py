"""Client pools as ServeGen publishes them: rates and bursts by window, lengths by longer ones.

A folder has for each client `chunk-N-trace.csv` (without a header: start of a
window in seconds, calls a second, CV of the gaps, family, two parameters) and
`chunk-N-dataset.json` (start of a window -> texts that are dict literals,
{tokens: probability}). Texts are parsed, never evaluated.

The two parameters of the family are not used. They extrapolate: in the published
pools the mean gap of a fitted Weibull law is up to 8.9 times what the window's rate
says, while rate and CV are what was counted [1]_.

References
----------
.. [1] Xiang et al., "ServeGen: workload characterization and generation of large
   language model serving in production", arXiv:2505.09999; alibaba/ServeGen.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, TraceError
from factorysim.marked import shown
from factorysim.workload.lines import BadRow, FaultLog, LineReader, Problem
from factorysim.workload.rows import as_map, parse_object

if TYPE_CHECKING:
    from factorysim.spec.arrivals import Family
    from factorysim.workload.rows import Json

ENDS = ("-trace.csv", "-trace.csv.gz")
FOLDER_MOST = 100_000
WINDOWS_MOST = 1_000_000
DATASET_BYTES = 64 * 2**20
VALUES_MOST = 1_000_000
"""Of all lengths of a client."""
TOKENS_MOST = 100_000_000
CV_MOST = 500.0
"""Of the gaps in a window: the published ones go to 149."""


class Window(NamedTuple):
    """How a client calls for a time."""

    rate: float
    """Calls a second; 0: it is idle."""
    cv: float
    family: Family


class Lengths(NamedTuple):
    """A distribution of tokens: values in rising order, and the share up to each."""

    tokens: list[int]
    upto: list[float]


class Dataset(NamedTuple):
    """Lengths of a client's calls, from a time on."""

    start_s: float
    prompt: Lengths
    output: Lengths


class Client(NamedTuple):
    """One client: its windows, all of one length, and its lengths."""

    name: str
    windows: list[Window]
    datasets: list[Dataset]
    """Empty: none was published."""


class Pool(NamedTuple):
    """The clients of a folder that can be drawn from, and what was left out."""

    window_s: float
    clients: list[Client]
    """Those with the most calls first."""
    without_lengths: list[str]
    """Clients that nobody knows the lengths of."""
    left_share: float
    """Of the folder's calls: those of clients without lengths."""

    @property
    def length_s(self) -> float:
        """Until the folder's clock begins again."""
        return self.window_s * max(len(client.windows) for client in self.clients)

    @property
    def rate(self) -> float:
        """Calls a second of all clients, on average over the folder's time."""
        return sum(map(_calls, self.clients)) * self.window_s / self.length_s


def _calls(client: Client) -> float:
    return sum(window.rate for window in client.windows)


def read_pool(folder: Path, most: int | None = None) -> Pool:
    """Read the clients of a folder, those with the most calls first.

    Parameters
    ----------
    most
        Keep only so many.

    Raises
    ------
    TraceError
        With the faults of every file, if one cannot be opened, or if no client has lengths.
    """
    stamps = [
        (path, (stat := path.stat()).st_mtime_ns, stat.st_size) for path in pool_files(folder)
    ]
    return _read_pool(folder, most, tuple(stamps))


@lru_cache(maxsize=4)
def _read_pool(folder: Path, most: int | None, stamps: tuple[tuple[Path, int, int], ...]) -> Pool:
    """Read a folder once for all replications, as long as its files stay the same."""
    log = FaultLog(folder)
    clients: list[Client] = []
    spans: dict[float, str] = {}
    for path in client_files(folder):
        client, window_s = _client(path, log)
        clients.append(client)
        spans.setdefault(window_s, path.name)
    log.path = folder
    log.close()
    if len(spans) > 1:
        told = ", ".join(f"{span:g} s in {name}" for span, name in spans.items())
        raise TraceError(Fault(str(folder), "", f"windows of {told}", "windows of one length"))
    known = sorted((c for c in clients if c.datasets and _calls(c)), key=_calls, reverse=True)
    if not known:
        cure = "add its chunk-N-dataset.json files"
        raise TraceError(Fault(str(folder), "", "no client with lengths and calls", "some", cure))
    without = [client for client in clients if not client.datasets]
    total = sum(map(_calls, clients))
    return Pool(
        next(iter(spans)),
        known[:most],
        [client.name for client in without],
        sum(map(_calls, without)) / total,
    )


def client_files(folder: Path) -> list[Path]:
    """List the files of windows of a folder, one a client, in order of their names.

    Raises
    ------
    TraceError
        If there is none, or too many, or one that leads out of the folder.
    """
    found = [path for path in folder.iterdir() if path.name.endswith(ENDS)]
    if not 0 < len(found) <= FOLDER_MOST:
        expected = f"1 to {FOLDER_MOST:,} files chunk-N-trace.csv"
        raise TraceError(Fault(str(folder), "", f"{len(found):,} of them", expected))
    inside = folder.resolve()
    for path in found:
        if not path.resolve().is_relative_to(inside):
            raise TraceError(Fault(str(path), "", "a link out of its folder", "a file"))
    return sorted(found)


def pool_files(folder: Path) -> list[Path]:
    """List all files that a folder's clients are made of."""
    traces = client_files(folder)
    sets = [path for trace in traces if (path := _dataset_of(trace)) is not None]
    return sorted([*traces, *sets])


def _dataset_of(trace: Path) -> Path | None:
    stem = trace.name[: trace.name.index(ENDS[0])]
    for end in ("-dataset.json", "-dataset.json.gz"):
        if (path := trace.with_name(stem + end)).is_file():
            return path
    return None


def _client(path: Path, log: FaultLog) -> tuple[Client, float]:
    windows, window_s = _windows(path, log)
    dataset = _dataset_of(path)
    datasets = [] if dataset is None else _datasets(dataset, log)
    return Client(path.name[: path.name.index(ENDS[0])], windows, datasets), window_s


def _windows(path: Path, log: FaultLog) -> tuple[list[Window], float]:
    """Read a client's windows, and how long each is."""
    log.path, before = path, log.count
    windows: list[Window] = []
    window_s = 0.0
    with LineReader(path, log) as lines:
        for number, text in lines:
            start_s, window, problem = _window(text)
            if problem is None and len(windows) == 1:
                window_s = start_s
                if not 0 < window_s <= 1e9:
                    found = f"a window at {start_s:g} s after one at 0"
                    problem = Problem("", found, "rows in order")
            if problem is None and abs(start_s - len(windows) * window_s) > 1e-6:
                expected = f"{len(windows) * window_s:g}, since windows are of one length"
                problem = Problem("window_start_s", f"{start_s:g}", expected)
            if problem is not None:
                log.add(number, problem)
                break
            windows.append(window)
            if len(windows) > WINDOWS_MOST:
                log.add(number, Problem("", "too many windows", f"at most {WINDOWS_MOST:,}"))
                break
    if log.count == before and len(windows) < 2:
        log.add(
            None, Problem("", f"{len(windows)} windows", "at least two, to know how long one is")
        )
    return windows, window_s


def _window(text: str) -> tuple[float, Window, Problem | None]:
    """Read a row."""
    nothing = Window(0.0, 1.0, "gamma")
    cells = text.split(",")
    expected = "window_start_s,rate_rps,cv,pattern,arg1,arg2"
    if len(cells) != 6:
        return 0.0, nothing, Problem("", f"{len(cells)} fields", f"6: {expected}")
    start_s, rate, cv = (_number(cell) for cell in cells[:3])
    if start_s is None or rate is None or cv is None:
        return 0.0, nothing, Problem("", "a field that is no number", f"numbers: {expected}")
    family = cells[3].strip()
    if family not in ("Gamma", "Weibull", ""):
        return 0.0, nothing, Problem("pattern", repr(family[:40]), "Gamma, Weibull, or nothing")
    if not family or not rate:
        return start_s, nothing, None
    if not (0 < rate <= 1e6 and 0.01 <= cv <= CV_MOST):
        found = f"rate {rate:g}, cv {cv:g}"
        return (
            0.0,
            nothing,
            Problem("", found, f"a rate up to 1e6 and a cv from 0.01 to {CV_MOST:g}"),
        )
    return start_s, Window(rate, cv, "gamma" if family == "Gamma" else "weibull"), None


def _number(cell: str) -> float | None:
    """Read a number of at least 0."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if 0.0 <= value < float("inf") else None


def _datasets(path: Path, log: FaultLog) -> list[Dataset]:
    """Read the lengths of a client, window by window; those without any are left out."""
    log.path, before = path, log.count
    with LineReader(path, log, DATASET_BYTES) as lines:
        text = _whole(lines, log)
    if log.count > before:
        return []
    try:
        data = parse_object(text)
    except BadRow as bad:
        for problem in bad.problems:
            log.add(None, problem)
        return []
    datasets: list[Dataset] = []
    values = 0
    for key, entry in data.items():
        start_s, lists = _number(key), as_map(entry)
        if start_s is None or lists is None:
            log.add(None, Problem(shown(key), "something else", "{window_start_s: {..}}"))
            continue
        read = [_lengths(lists.get(name), log, f"{key}.{name}") for name in _NAMES]
        values += sum(len(lengths.tokens) for lengths in read if lengths is not None)
        if values > VALUES_MOST:
            log.add(None, Problem(key, "too many values", f"at most {VALUES_MOST:,} of a client"))
            break
        if read[0] is not None and read[1] is not None:
            datasets.append(Dataset(start_s, read[0], read[1]))
    return sorted(datasets)


_NAMES = ("input_tokens", "output_tokens")


def _whole(lines: LineReader, log: FaultLog) -> str:
    """Read a file that is one JSON object, if it is no more than a dataset may have."""
    blocks: list[bytes] = []
    size = 0
    for number, block in lines.blocks():
        size += len(block)
        if size > DATASET_BYTES:
            log.add(number, Problem("", f"over {DATASET_BYTES:,} bytes", "fewer of a client"))
            return ""
        blocks.append(block)
    try:
        return b"".join(blocks).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        log.add(None, Problem("", f"text that is not UTF-8 (byte {error.start:,})", "UTF-8"))
        return ""


def _lengths(literal: Json, log: FaultLog, key: str) -> Lengths | None:
    """Parse a dict literal of whole numbers and shares; None if it is empty, or at fault.

    A length of 0 counts as 1: what a replica serves has tokens both ways.
    """
    expected = "a dict literal {tokens: probability} whose probabilities sum to 1"
    if not isinstance(literal, str) or literal[:1] + literal[-1:] != "{}":
        log.add(None, Problem(key, "something else", expected))
        return None
    inner = literal[1:-1].strip()
    if not inner:
        return None
    if inner.count(",") > VALUES_MOST:
        log.add(None, Problem(key, "too many values", f"at most {VALUES_MOST:,}"))
        return None
    shares: dict[int, float] = {}
    for item in inner.split(","):
        name, _, share_text = item.partition(":")
        share = _number(share_text)
        name = name.strip()
        if not (name.isascii() and name.isdigit() and len(name) < 10) or share is None:
            log.add(None, Problem(key, repr(item[:40]), expected))
            return None
        tokens = max(int(name), 1)
        if tokens > TOKENS_MOST:
            log.add(None, Problem(key, name, f"at most {TOKENS_MOST:,} tokens"))
            return None
        shares[tokens] = shares.get(tokens, 0.0) + share
    total = sum(shares.values())
    if abs(total - 1.0) > 1e-3:
        log.add(None, Problem(key, f"a sum of {total:g}", expected))
        return None
    upto, sofar = [], 0.0
    for tokens in sorted(shares):
        sofar += shares[tokens] / total
        upto.append(sofar)
    return Lengths(sorted(shares), upto)
