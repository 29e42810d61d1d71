"""Measure how fast a Mooncake trace is read: `python reading.py [FILE]`; prints a line of JSON.

The machine's own speed stands beside it: `json.loads` of the same lines, which makes
no sessions and checks nothing. Both are run in turn, and the fastest of each counts.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from analysis.bench.workloads import MOONCAKE
from factorysim.workload.lines import FaultLog, LineReader
from factorysim.workload.traces import read_trace

ROUNDS = 15
LINES = 12_000
"""That `json.loads` is timed on."""


def main(path: Path) -> None:
    """Time both."""
    with LineReader(path, FaultLog(path)) as reader:
        lines = [text for _, text in islice(reader, LINES)]
    floor, reading, rows = [], [], 0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for line in lines:
            json.loads(line)
        floor.append(time.perf_counter() - start)
        start = time.perf_counter()
        rows = sum(1 for _ in read_trace(path))
        reading.append(time.perf_counter() - start)
    rows_per_s, json_per_s = rows / min(reading), len(lines) / min(floor)
    told = {"rows_per_s": rows_per_s, "json_loads_per_s": json_per_s}
    print(json.dumps(told | {"ratio": rows_per_s / json_per_s}))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else MOONCAKE)
