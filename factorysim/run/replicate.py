"""The public verb: warm-up, replications, audit, run directory."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from weakref import finalize

from factorysim.metrics.inputs import Window
from factorysim.run.publish import Settings, part_folder, write_run
from factorysim.run.replication import Job, Outcome, Policies
from factorysim.run.result import Interrupted, Run
from factorysim.run.warmup import WarmUp, decide_warmup
from factorysim.run.workers import run_jobs
from factorysim.store import staging

if TYPE_CHECKING:
    from factorysim.run.prepare import Prepared
    from factorysim.spec.scenario import ScenarioSpec


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, told now and then."""

    phase: str
    """`warm-up` (its pilots), `replications` or `writing`."""
    done: int
    """Replications that have ended."""
    total: int
    simulated_s: float
    """Of all replications of the phase together."""
    of_s: float
    sessions: int


def simulate(
    scenario: ScenarioSpec | str | Path,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    policies: Policies | None = None,
    warmup_s: float | None = None,
    name: str | None = None,
) -> Run:
    """Simulate a scenario, in as many replications as it says.

    Parameters
    ----------
    scenario
        A scenario of `factorysim.load`, or the path or name of one.
    out
        Run directory; an earlier run there is replaced when the new one is whole.
        None: a temporary one, gone with the `Run`.
    workers
        Processes at once; as many as there are cores if not given. The results do
        not depend on it.
    progress
        Called now and then.
    policies
        A user's own decisions, ``{"router": function}``; see `factorysim.policies`.
    warmup_s
        Seconds that a comparison has agreed on, instead of the scenario's.
    name
        Of the run, for its manifest; the scenario file's, if it is one.

    Raises
    ------
    UserError
        If files, plan, trace or output are at fault; each has its own subclass.
    AuditError
        If a replication breaks a law of conservation.
    Interrupted
        On Ctrl-C; what has finished is kept.

    Examples
    --------
    >>> import factorysim as fs
    >>> run = fs.simulate("quickstart")  # doctest: +SKIP
    >>> round(run.summary["ttft_s.p95"].value, 4)  # doctest: +SKIP
    0.0524
    """
    name = name or (Path(scenario).stem if isinstance(scenario, str | Path) else "run")
    final = Path(out) if out is not None else Path(mkdtemp(prefix="factorysim-")) / "run"
    run: Run | None = None
    try:
        run = _conduct(resolved(scenario), final, workers, progress, policies, warmup_s, name)
    except Interrupted as stop:
        run = stop.run
        raise
    finally:
        if out is None and run is None:
            rmtree(final.parent, ignore_errors=True)
        elif out is None:
            finalize(run, rmtree, final.parent, ignore_errors=True)
    return run


def _conduct(
    scenario: ScenarioSpec,
    final: Path,
    workers: int | None,
    progress: Callable[[Progress], None] | None,
    policies: Policies | None,
    warmup_s: float | None,
    name: str,
) -> Run:
    from factorysim.run.prepare import check_size, prepare

    began = time.perf_counter()
    check_size(scenario)
    prepared = prepare(scenario)
    workers = workers or cores()
    with staging(final) as staged:
        watch = Watch(progress)
        warmup = _warmup(prepared, workers, watch, policies, warmup_s)
        settings = settings_of(prepared, warmup, policies, name)
        jobs = _jobs(prepared, settings, staged)
        outcomes: list[Outcome] = []
        try:
            watch.phase("replications", jobs)
            for outcome in run_jobs(jobs, workers, watch.tell, policies):
                outcomes.append(outcome)
                watch.ended(outcome)
        except KeyboardInterrupt:
            if not outcomes:
                raise Interrupted(None, 0, len(jobs)) from None
        watch.phase("writing", [])
        write_run(staged, final, prepared, settings, outcomes, time.perf_counter() - began)
    if len(outcomes) < len(jobs):
        raise Interrupted(Run(final), len(outcomes), len(jobs))
    return Run(final)


def resolved(scenario: ScenarioSpec | str | Path) -> ScenarioSpec:
    """Load a scenario that is given by its path or name, and fit what is to be fitted."""
    from factorysim.workload.fitting import with_fits

    if not isinstance(scenario, str | Path):
        return with_fits(scenario)
    from factorysim.load import load

    return with_fits(load(scenario))


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def warmup_of(
    prepared: Prepared, workers: int, progress: Watch, policies: Policies | None
) -> WarmUp:
    """Run pilots where the scenario asks for them, and decide its warm-up."""

    def pilots(jobs: Sequence[Job]) -> Iterator[Outcome]:
        progress.phase("warm-up", jobs)
        for outcome in run_jobs(jobs, workers, progress.tell, policies):
            progress.ended(outcome)
            yield outcome

    try:
        return decide_warmup(prepared.scenario, pilots)
    except KeyboardInterrupt:
        raise Interrupted(None, 0, prepared.scenario.run.replications) from None


def _warmup(
    prepared: Prepared,
    workers: int,
    watch: Watch,
    policies: Policies | None,
    agreed_s: float | None,
) -> WarmUp:
    if agreed_s is not None:
        return WarmUp(agreed_s, "given", "agreed for a comparison")
    return warmup_of(prepared, workers, watch, policies)


def settings_of(
    prepared: Prepared, warmup: WarmUp, policies: Policies | None, name: str
) -> Settings:
    """Fix window, horizon and number of replications of a run."""
    run = prepared.scenario.run
    window = Window(warmup.seconds, warmup.seconds + run.window)
    conditional = _conditional(prepared)
    return Settings(
        name=name,
        warmup=warmup,
        window=window,
        horizon_s=window.end_s + run.drain,
        asked=1 if conditional else run.replications,
        conditional=conditional,
        policies={what: _source_hash(policy) for what, policy in (policies or {}).items()},
    )


def _conditional(prepared: Prepared) -> str:
    """Say why every replication would be the same, where it would."""
    streams = prepared.scenario.streams.values()
    recorded = all(
        s.trace is not None and s.replicate == "none" and s.arrivals.process == "trace"
        for s in streams
    )
    if recorded and not any(serve.law.draws for serve in prepared.plan.serve):
        return "conditional on this trace: it is replayed as recorded (replicate: none)"
    return ""


def _source_hash(policy: Callable[..., object]) -> str:
    try:
        text = inspect.getsource(policy)
    except (OSError, TypeError):
        text = repr(policy)
    return sha256(text.encode()).hexdigest()


def _jobs(prepared: Prepared, settings: Settings, staged: Path) -> list[Job]:
    steady = prepared.scenario.run.kind == "steady_state"
    text = prepared.scenario.model_dump_json(by_alias=True)
    jobs: list[Job] = []
    for replication in range(settings.asked):
        folder = part_folder(staged, replication)
        folder.mkdir()
        jobs.append(
            Job(
                text,
                replication,
                settings.window,
                settings.horizon_s,
                settings.horizon_s if steady else settings.window.end_s,
                str(folder),
            )
        )
    return jobs


class Watch:
    """Adds up what the replications of a phase say of themselves."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self._progress = progress
        self._phase = ""
        self._jobs: dict[int, float] = {}
        self._at: dict[int, tuple[float, int]] = {}
        self._done = 0

    def phase(self, name: str, jobs: Sequence[Job]) -> None:
        """Begin a phase."""
        self._phase, self._done = name, 0
        self._jobs = {job.replication: job.horizon_s for job in jobs}
        self._at = {}
        self._say()

    def tell(self, replication: int, at_s: float, sessions: int) -> None:
        """Take what a replication says."""
        self._at[replication] = (at_s, sessions)
        self._say()

    def ended(self, outcome: Outcome) -> None:
        """Count a replication that has ended."""
        self._done += 1
        self._at[outcome.replication] = (self._jobs[outcome.replication], outcome.sessions)
        self._say()

    def _say(self) -> None:
        if self._progress is not None:
            at_s = sum(at for at, _ in self._at.values())
            sessions = sum(count for _, count in self._at.values())
            total_s = sum(self._jobs.values())
            self._progress(
                Progress(self._phase, self._done, len(self._jobs), at_s, total_s, sessions)
            )
