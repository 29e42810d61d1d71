"""The benchmark: `make bench`. Each row in a fresh process, the machine's floor beside it.

Nothing here asserts a time; `bench.json` holds what was measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis.bench.workloads import MOONCAKE, WEKA, WORKLOADS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = Path(os.environ.get("BENCH_JSON", "bench.json"))
ROUNDS = {"agents": 1, "floor": 5}
"""Fresh processes a row; 3 where not given. The fastest counts: noise only adds."""

RESULTS: dict[str, dict[str, Any]] = {}


@pytest.fixture(scope="module", autouse=True)
def written() -> Any:
    """Write what was measured, at the end."""
    yield
    cpus = Path("/proc/cpuinfo")
    model = ""
    if cpus.exists():
        lines = [line for line in cpus.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":")[1].strip() if lines else ""
    machine = {
        "machine": platform.machine(),
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    OUT.write_text(json.dumps({"machine": machine, "rows": RESULTS}, indent=2) + "\n")


def fresh(*command: str) -> str:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["floor", *WORKLOADS])
def test_workload(benchmark: Any, name: str) -> None:
    trace = {"mooncake": MOONCAKE, "weka": WEKA}.get(name)
    if trace is not None and not trace.exists():
        pytest.skip(f"no trace at {trace}")
    rows: list[dict[str, Any]] = []
    benchmark.pedantic(
        lambda: rows.append(json.loads(fresh("analysis/bench/measure.py", name))),
        rounds=ROUNDS.get(name, 3),
    )
    best = max(rows, key=lambda row: row.get("calls_per_s", row.get("events_per_s")))
    RESULTS[name] = best
    benchmark.extra_info.update(best)
    print(f"\n{name}: " + ", ".join(f"{key} {value:,.6g}" for key, value in best.items()))


@pytest.mark.parametrize("name", ["fabric_change", "fabric_refresh"])
def test_fabric(benchmark: Any, name: str) -> None:
    rows: list[dict[str, Any]] = []
    benchmark.pedantic(
        lambda: rows.append(json.loads(fresh("analysis/bench/measure.py", name))), rounds=3
    )
    RESULTS[name] = {key: min(row[key] for row in rows) for key in rows[0]}
    print(f"\n{name}: " + ", ".join(f"{key} {value:,.4g}" for key, value in RESULTS[name].items()))


@pytest.mark.skipif(not MOONCAKE.exists(), reason=f"no trace at {MOONCAKE}")
def test_reading(benchmark: Any) -> None:
    """Rows of Mooncake a second, and how many times as fast as `json.loads` of their lines."""
    rows: list[dict[str, Any]] = []
    benchmark.pedantic(
        lambda: rows.append(json.loads(fresh("analysis/bench/reading.py"))), rounds=3
    )
    RESULTS["reading"] = max(rows, key=lambda row: row["rows_per_s"])
    print("\nreading: " + ", ".join(f"{k} {v:,.4g}" for k, v in RESULTS["reading"].items()))


@pytest.mark.skipif(not MOONCAKE.exists(), reason=f"no trace at {MOONCAKE}")
def test_inspect(benchmark: Any) -> None:
    """`factorysim trace inspect` of the same, the whole process."""
    command = ("-m", "factorysim", "trace", "inspect", str(MOONCAKE))
    benchmark.pedantic(lambda: fresh(*command), rounds=5, warmup_rounds=1)
    RESULTS["inspect"] = {"seconds": benchmark.stats.stats.min}


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("import", ("-c", "import factorysim")),
        ("help", ("-m", "factorysim", "--help")),
        ("python", ("-c", "pass")),
    ],
)
def test_start_up(benchmark: Any, name: str, command: tuple[str, ...]) -> None:
    benchmark.pedantic(lambda: fresh(*command), rounds=7, warmup_rounds=1)
    RESULTS[f"start_{name}"] = {"seconds": benchmark.stats.stats.min}


BURN = "sum(i * i for i in range(12_000_000))"
PAIR = (
    "import subprocess, sys\n"
    "ps = [subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL)"
    " for _ in range(2)]\n"
    "sys.exit(any(p.wait() for p in ps))"
)


@pytest.mark.parametrize(
    ("name", "command"), [("w1_16", ("analysis/bench/measure.py", "w1_16")), ("burn", ("-c", BURN))]
)
def test_two_at_once(benchmark: Any, name: str, command: tuple[str, ...]) -> None:
    """Two processes on two cores against one: 1 is perfect, 2 is no gain."""
    import time

    def seconds(*words: str) -> float:
        start = time.perf_counter()
        fresh(*words)
        return time.perf_counter() - start

    ratios: list[float] = []
    benchmark.pedantic(
        lambda: ratios.append(seconds("-c", PAIR, *command) / seconds(*command)), rounds=3
    )
    RESULTS[f"two_at_once_{name}"] = {"ratio": min(ratios)}
