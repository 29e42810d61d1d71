"""One replication, from a job that can travel between processes to its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.errors import AuditError
from factorysim.metrics.inputs import (
    CALL_COLUMNS,
    GAP_COLUMNS,
    HANDOFF_COLUMNS,
    LINK_COLUMNS,
    SANDBOX_COLUMNS,
    SERIES_COLUMNS,
    SESSION_COLUMNS,
    STEP_COLUMNS,
    TIER_COLUMNS,
    TOOL_COLUMNS,
    Tables,
    Window,
)
from factorysim.metrics.replication import Replication, replication_metrics
from factorysim.store import Columns, ParquetSink, count_rows, read_columns, read_groups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.graph.plan import FactoryPlan
    from factorysim.records import AuditLine, Closing, StepChunk
    from factorysim.run.prepare import Prepared
    from factorysim.spec.scenario import ScenarioSpec

Progress = Callable[[float, int], None]
"""Told simulated seconds and sessions, now and then."""
Policies = Mapping[str, Callable[..., Any]]


class Job(NamedTuple):
    """A replication to run: everything that its outcome depends on, and where it goes."""

    scenario: str
    """JSON of the resolved scenario."""
    replication: int
    window: Window
    horizon_s: float
    arrivals_end_s: float
    folder: str | None
    """Where its tables go; None: a pilot, which leaves none."""
    key: int = 0
    """What whoever asks for it knows it by; comes back with its outcome."""


class Outcome(NamedTuple):
    """What comes back; the tables are in the job's folder."""

    replication: int
    closing: Closing
    metrics: Replication | None
    """None of a pilot."""
    presence: tuple[list[float], list[float]]
    """Of a pilot: mean sessions and calls present in equal bins; else empty."""
    sessions: int = 0
    """That arrived."""
    key: int = 0
    """Of its job."""


class Bench:
    """Runs jobs one after another; the plan is kept while the scenario stays the same."""

    def __init__(self, policies: Policies | None) -> None:
        self._policies = policies
        self._text = ""
        self._prepared: Prepared | None = None

    def run(self, job: Job, progress: Progress | None) -> Outcome:
        """Run one job.

        Raises
        ------
        AuditError
            If the run breaks a law of conservation.
        UserError
            If the scenario, a trace or the place of the output is at fault.
        """
        from factorysim.sim.factory import run_replication

        prepared = self._prepare(job.scenario)
        sink = PilotSink() if job.folder is None else _sink(job, prepared)
        try:
            closing = run_replication(
                prepared.scenario,
                prepared.plan,
                _demands(prepared.scenario, job.replication),
                replication=job.replication,
                horizon_s=job.horizon_s,
                arrivals_end_s=job.arrivals_end_s,
                sink=sink,
                window_s=job.window.until(job.horizon_s),
                progress=progress,
                policies=self._policies,
            )
            if isinstance(sink, ParquetSink):
                sink.close()
        except BaseException:
            if isinstance(sink, ParquetSink):
                sink.abort()
            raise
        check_audit(closing.audit, job.replication)
        if isinstance(sink, PilotSink):
            presence = sink.presence(job.horizon_s)
            return Outcome(job.replication, closing, None, presence, sink.sessions, job.key)
        folder, tiers = Path(job.folder or ""), len(prepared.layout.tiers) > 1
        stored = stored_rows(folder, closing)
        check_audit(stored, job.replication)
        closing = closing._replace(audit=(*closing.audit, *stored))
        tables = read_tables(folder, closing, prepared.plan, tiers=tiers)
        slos = {name: stream.slo for name, stream in prepared.scenario.streams.items()}
        metrics = replication_metrics(tables, job.window, prepared.layout, slos)
        check_audit(metrics.audit, job.replication)
        arrived = len(tables.sessions["session"])
        return Outcome(job.replication, closing, metrics, ([], []), arrived, job.key)

    def _prepare(self, text: str) -> Prepared:
        from factorysim.run.prepare import prepare
        from factorysim.spec.scenario import ScenarioSpec

        if self._prepared is None or text != self._text:
            self._prepared = prepare(ScenarioSpec.model_validate_json(text))
            self._text = text
        return self._prepared


def _demands(scenario: ScenarioSpec, replication: int) -> list[Any]:
    from factorysim.run.prepare import build_demands

    return list(build_demands(scenario, replication))


def _sink(job: Job, prepared: Prepared) -> ParquetSink:
    from factorysim.run.activity import step_columns

    folder = Path(job.folder or "")
    return ParquetSink(folder, job.replication, {"steps": step_columns(prepared.plan)})


def check_audit(lines: tuple[AuditLine, ...] | list[AuditLine], replication: int) -> None:
    """Fail loudly where a law is broken.

    Raises
    ------
    AuditError
        Naming every broken law, what it expects and what the run got.
    """
    broken = [line for line in lines if not line.ok]
    if broken:
        told = "; ".join(
            f"{line.name}: expected {line.expected!r}, got {line.got!r}"
            + (f" ({line.detail})" if line.detail else "")
            for line in broken
        )
        raise AuditError(f"replication {replication} breaks a law of conservation: {told}")


def read_tables(
    folder: Path, closing: Closing, plan: FactoryPlan, *, tiers: bool = False
) -> Tables:
    """Open the tables of one replication for its metrics."""
    from factorysim.run.activity import step_columns

    def columns(table: str, names: tuple[str, ...]) -> Columns:
        return read_columns(folder / f"{table}.parquet", names)

    boxed = any(tools.sandbox is not None for tools in plan.tools)
    return Tables(
        columns("sessions", SESSION_COLUMNS),
        columns("calls", CALL_COLUMNS),
        columns("tools", TOOL_COLUMNS),
        _groups(folder / "steps.parquet"),
        columns("gaps", GAP_COLUMNS),
        columns("handoffs", HANDOFF_COLUMNS),
        columns("timeseries", SERIES_COLUMNS),
        closing,
        step_columns(plan).compute,
        columns("tiers", TIER_COLUMNS) if tiers else None,
        columns("sandboxes", SANDBOX_COLUMNS) if boxed else None,
        columns("links", LINK_COLUMNS),
    )


def stored_rows(folder: Path, closing: Closing) -> list[AuditLine]:
    """Compare the rows of every file with those that the simulation handed on."""
    from factorysim.records import TABLES, AuditLine

    handed = dict(closing.rows)
    lines = []
    for table in TABLES:
        expected, got = handed.get(table, 0), count_rows(folder / f"{table}.parquet")
        lines.append(AuditLine(f"rows of {table} stored", got == expected, expected, got, ""))
    return lines


def _groups(path: Path) -> Iterator[Columns]:
    return read_groups(path, STEP_COLUMNS)


class PilotSink:
    """Keeps of a pilot only who came and went when."""

    BINS = 1000

    def __init__(self) -> None:
        self._times: dict[str, list[tuple[float, float]]] = {"sessions": [], "calls": []}

    def rows(self, table: str, rows: list[tuple[Any, ...]] | StepChunk) -> None:
        """Take the rows of a table, and drop what is not needed."""
        from factorysim.records import TABLES

        if table in self._times:
            fields = TABLES[table]._fields  # type: ignore[attr-defined]
            came, went = fields.index("arrived_s"), fields.index("finished_s")
            never = float("nan")
            self._times[table] += [
                (row[came], never if row[went] is None else row[went]) for row in rows
            ]

    @property
    def sessions(self) -> int:
        """Sessions that arrived."""
        return len(self._times["sessions"])

    def presence(self, horizon_s: float) -> tuple[list[float], list[float]]:
        """Mean number of sessions and of calls present, in equal bins."""
        import numpy as np

        from factorysim.metrics.demand import number_in_system

        edges = np.linspace(0.0, horizon_s, self.BINS + 1)
        series = []
        for times in self._times.values():
            came, went = np.array(times or [(np.inf, np.nan)]).T
            series.append(number_in_system(came[np.isfinite(came)], went, edges).tolist())
        return series[0], series[1]
