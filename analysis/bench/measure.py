"""Measure one row of the benchmark in a process of its own: `python measure.py ROW`.

Prints a line of JSON. Timed is what a replication does after its plan is built:
drawing the demand, simulating, auditing, and writing every record to Parquet. A
trace is read before.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import simpy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from analysis.bench.fabric import fabric_change, fabric_refresh
from analysis.bench.workloads import WORKLOADS, w1

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.bench.workloads import Workload
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.workload.demand import Demand
    from factorysim.workload.session import Session

FLOOR_EVENTS = 300_000


def floor() -> dict[str, float]:
    """Bare SimPy: ten processes that do nothing but wait."""
    env = simpy.Environment()

    def waiter() -> object:
        while True:
            yield env.timeout(1)

    for _ in range(10):
        env.process(waiter())  # type: ignore[arg-type]
    start = time.perf_counter()
    env.run(until=FLOOR_EVENTS / 10)
    return {"events_per_s": FLOOR_EVENTS / (time.perf_counter() - start)}


def measure(name: str) -> dict[str, float]:
    """Measure a workload after a short rehearsal: imports are rows of their own."""
    run(w1(1, calls=100))
    return run(WORKLOADS[name]())


def run(workload: Workload) -> dict[str, float]:
    """Run a workload once with all records and the audit on."""
    from factorysim.run.activity import step_columns
    from factorysim.run.prepare import build_demands, prepare
    from factorysim.run.replication import check_audit
    from factorysim.sim.factory import run_replication
    from factorysim.store import ParquetSink

    prepared = prepare(_loaded(workload))
    with tempfile.TemporaryDirectory() as folder:
        sink = ParquetSink(Path(folder), 0, {"steps": step_columns(prepared.plan)})
        demands: list[Demand] = build_demands(prepared.scenario, 0)
        if prepared.scenario.streams["s"].trace is not None:
            demands = [Recorded(demand) for demand in demands]
        gc.collect()
        gc.freeze()
        start, start_cpu = time.perf_counter(), time.process_time()
        closing = run_replication(
            prepared.scenario,
            prepared.plan,
            demands,
            replication=0,
            horizon_s=workload.horizon_s,
            arrivals_end_s=workload.horizon_s,
            sink=sink,
        )
        sink.close()
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
        check_audit(closing.audit, 0)
        return {**_row(Path(folder), seconds, closing.events, closing.steps), "cpu_s": cpu_s}


class Recorded:
    """The sessions of a trace, read before the clock starts."""

    def __init__(self, demand: Demand) -> None:
        self.name = demand.name
        self.concurrency = demand.concurrency
        self.think_ns = demand.think_ns
        self._sessions = list(demand.sessions())

    def sessions(self) -> Iterator[Session]:
        """Give them, once."""
        return iter(self._sessions)


def _loaded(workload: Workload) -> ScenarioSpec:
    """Load a scenario as a user's file is loaded: JSON is YAML."""
    from factorysim.load import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.yaml"
        path.write_text(json.dumps(workload.scenario))
        return load(path, workload.overrides)


def _row(folder: Path, seconds: float, events: int, steps: int) -> dict[str, float]:
    from pyarrow import compute, parquet

    calls = parquet.read_table(folder / "calls.parquet", columns=["output_tokens", "outcome"])
    runs = parquet.read_metadata(folder / "steps.parquet").num_rows
    tools = parquet.read_metadata(folder / "tools.parquet").num_rows
    tokens = compute.sum(calls["output_tokens"]).as_py()
    done = compute.sum(compute.equal(calls["outcome"], "completed")).as_py()
    return {
        "calls": calls.num_rows,
        "completed": done,
        "tools": tools,
        "seconds": seconds,
        "calls_per_s": calls.num_rows / seconds,
        "output_tokens_per_s": tokens / seconds,
        "runs_per_call": runs / calls.num_rows,
        "events_per_call": events / calls.num_rows,
        "steps_per_run": steps / runs,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


PARTS = {"floor": floor, "fabric_change": fabric_change, "fabric_refresh": fabric_refresh}
"""Rows that run no scenario."""


if __name__ == "__main__":
    row = sys.argv[1]
    print(json.dumps(PARTS[row]() if row in PARTS else measure(row)))
