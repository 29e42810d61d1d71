"""Simulations of a sweep over sessions in flight: one curve for each factory and layout.

A simulation that turns out too short to be steady is run again for longer; what is
asked for is counted in sessions, so neither the first guess nor the number of
workers changes a result, except for the bins in which power is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.metrics.inputs import Window
from factorysim.study.in_flight import expected_s, in_flight, look, need_of, sample

if TYPE_CHECKING:
    from factorysim.graph.plan import ServePlan
    from factorysim.run.prepare import Prepared
    from factorysim.run.replicate import Progress
    from factorysim.run.replication import Job, Outcome
    from factorysim.study.in_flight import Need, Sampled, Shares

FIRST_LEVELS = 4
"""Steps of a sweep by doubling that are begun at once."""
GAIN_LEAST = 1.05
"""Throughput over that of half the sessions, below which a factory is saturated."""
CALLS_MOST = 300_000
"""Of one simulation, where a sweep goes by doubling: ten seconds."""
MARGIN = 1.15
"""On the guess of how long a simulation must be."""
TRIES_MOST = 12
HORIZON_MOST_S = 1e8


class Measured(NamedTuple):
    """One replication of a point."""

    values: dict[str, float]
    """Metrics of the whole factory, by name; those without a value left out."""
    bottleneck: str
    window: Window
    drifts: bool


@dataclass(slots=True)
class Level:
    """A point under way, or done."""

    scenario: str
    layout: str
    concurrency: int
    prepared: Prepared
    curve: int
    place: int
    """On its curve."""
    needs: dict[str, Need]
    text: str
    """JSON of its scenario."""
    waiting: int
    """Replications that are not back."""
    found: dict[int, Measured] = field(default_factory=dict[int, Measured])
    reason: str = ""
    """Why it cannot be measured."""

    @property
    def measured(self) -> list[Measured]:
        """What its replications say, in their order."""
        return [self.found[number] for number in sorted(self.found)]

    @property
    def over(self) -> bool:
        """Whether nothing of it is awaited any more."""
        return not self.waiting

    @property
    def throughput(self) -> float:
        """Output tokens a second, mean over replications."""
        rates = [one.values["tokens.output_per_s"] for one in self.measured]
        return sum(rates) / len(rates)


@dataclass(slots=True)
class _Curve:
    """A factory in one layout."""

    scenario: str
    layout: str
    prepared: Prepared
    shares: Shares
    samples: dict[str, Sampled]
    levels: list[Level] = field(default_factory=list[Level])


def _decoding(curve: _Curve, stream: str | None = None) -> list[ServePlan]:
    """Give the deployments that make the tokens of a stream, or of all."""
    every = [one for one in curve.prepared.plan.serve if one.role != "prefill"]
    llm = None if stream is None else curve.prepared.scenario.streams[stream].llm
    return [one for one in every if one.llm == llm] or every


class Sweep:
    """All curves, and what of them is under way.

    Parameters
    ----------
    calls
        To measure in each replication, at least.
    concurrency
        The same sessions in flight on each curve; None: by doubling, from one a
        replica that decodes.
    """

    def __init__(
        self,
        calls: int,
        replications: int,
        concurrency: Sequence[int] | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.calls = calls
        self.replications = replications
        self._concurrency = None if concurrency is None else sorted(set(concurrency))
        self.notes: list[str] = []
        """What a reader should know of where it ended."""
        self._progress = progress
        self._curves: list[_Curve] = []
        self._levels: list[Level] = []
        self._tries: dict[tuple[int, int], int] = {}
        self._folder = Path()
        self._done = self._sessions = 0
        self._simulated_s = 0.0

    def add(self, scenario: str, layout: str, prepared: Prepared, shares: Shares) -> None:
        """Add a factory in one layout.

        Raises
        ------
        SpecError
            If fewer sessions are asked for than there are streams to share them.
        """
        streams = len(shares.weights)
        if self._concurrency is not None and self._concurrency[0] < streams:
            expected = f"at least {streams}, one for each stream of {scenario}"
            cure = "or take one of them: --stream NAME"
            found = f"{self._concurrency[0]}"
            raise SpecError(Fault("--concurrency", "", found, expected, cure))
        samples = {name: sample(prepared, name) for name in prepared.scenario.streams}
        self._curves.append(_Curve(scenario, layout, prepared, shares, samples))

    def run(self, workers: int) -> bool:
        """Simulate all points; False if the user stopped it."""
        from tempfile import TemporaryDirectory

        from factorysim.run.workers import run_jobs

        with TemporaryDirectory(prefix="factorysim-") as folder:
            self._folder = Path(folder)
            first = [job for curve in range(len(self._curves)) for job in self._begin(curve)]
            self._say()
            try:
                for _ in run_jobs(first, workers, None, None, self._then):
                    self._say()
            except KeyboardInterrupt:
                return False
        return True

    def done(self) -> Iterator[Level]:
        """Give the points that were measured, by curve and sessions in flight."""
        for level in self._in_order():
            if level.over and not level.reason:
                yield level

    def refused(self) -> Iterator[Level]:
        """Give those that could not be measured."""
        for level in self._in_order():
            if level.reason:
                yield level

    def _in_order(self) -> list[Level]:
        return sorted(self._levels, key=lambda level: (level.curve, level.place))

    # Which points.

    def _begin(self, number: int) -> list[Job]:
        wanted = self._concurrency
        if wanted is not None:
            return [job for one in wanted for job in self._level(number, one)]
        least = self._least(self._curves[number])
        return [
            job
            for doubling in range(FIRST_LEVELS)
            if not doubling or self._calls(self._curves[number], least << doubling) <= CALLS_MOST
            for job in self._level(number, least << doubling)
        ]

    def _least(self, curve: _Curve) -> int:
        replicas = sum(len(serve.replicas) for serve in _decoding(curve))
        return max(replicas, len(curve.shares.weights))

    def _level(self, number: int, concurrency: int) -> list[Job]:
        """Take up a point: a job for each replication, or none if it cannot be."""
        curve = self._curves[number]
        counts = curve.shares.of(concurrency)
        scenario = in_flight(curve.prepared.scenario, counts)
        needs = self._needs(curve, concurrency)
        level = Level(
            curve.scenario, curve.layout, concurrency, curve.prepared, number, len(curve.levels),
            needs, scenario.model_dump_json(by_alias=True), self.replications,
        )  # fmt: skip
        curve.levels.append(level)
        self._levels.append(level)
        level.reason = self._too_long(curve)
        if level.reason:
            level.waiting = 0
            return []
        horizon_s = self._guess(curve, needs)
        key = len(self._levels) - 1
        return [self._job(key, replication, horizon_s) for replication in range(self.replications)]

    def _too_long(self, curve: _Curve) -> str:
        """Say of a stream that no call of fits: its loop would turn without time going by."""
        block = curve.prepared.scenario.serving.kv.block_tokens
        for name, sampled in curve.samples.items():
            room = max(serve.kv_blocks * block for serve in _decoding(curve, name))
            if sampled.shortest > room:
                return (
                    f"calls of {name} do not fit: {sampled.shortest:,} tokens of context, and the "
                    f"KV cache of a replica takes {room:,}"
                )
        return ""

    def _guess(self, curve: _Curve, needs: dict[str, Need]) -> float:
        """Guess how long a simulation must be for its slowest stream."""
        scenario = curve.prepared.scenario
        longest_s = 0.0
        for name, need in needs.items():
            serving = _decoding(curve, name)
            replicas = sum(len(serve.replicas) for serve in serving)
            each = -(-need.concurrency // replicas)
            most = scenario.serving.max_sequences
            session_s = expected_s(serving[0], curve.samples[name], each, most)
            arrivals = scenario.streams[name].arrivals
            session_s += getattr(arrivals, "think_s", 0.0)
            longest_s = max(longest_s, session_s * need.most / need.concurrency)
        return min(max(MARGIN * longest_s, 1e-3), HORIZON_MOST_S)

    # Simulations.

    def _job(self, key: int, replication: int, horizon_s: float) -> Job:
        from factorysim.run.replication import Job

        folder = self._place(key, replication)
        folder.mkdir()
        text, window = self._levels[key].text, Window(0.0, horizon_s)
        return Job(text, replication, window, horizon_s, horizon_s, str(folder), key)

    def _place(self, key: int, replication: int) -> Path:
        return self._folder / f"{key}-{replication}"

    def _then(self, outcome: Outcome) -> list[Job]:
        """Measure what is back, or run it again for longer; go on with its curve."""
        from shutil import rmtree

        key, replication = outcome.key, outcome.replication
        level = self._levels[key]
        horizon_s = outcome.closing.end_s
        self._sessions += outcome.sessions
        self._simulated_s += horizon_s
        longer_s = self._measure(level, outcome)
        rmtree(self._place(key, replication))
        if longer_s is not None:
            return [self._job(key, replication, longer_s)]
        level.waiting -= 1
        self._done += level.over
        return self._go_on(level.curve) if level.over else []

    def _measure(self, level: Level, outcome: Outcome) -> float | None:
        """Take the metrics of a run that was long enough; else give how long it must be."""
        from factorysim.metrics.replication import replication_metrics
        from factorysim.run.replication import check_audit, read_tables

        assert outcome.metrics is not None  # it is no pilot
        replication = outcome.replication
        lost = _lost({v.name: v.value for v in outcome.metrics.values if v.by == "all"})
        if lost:
            level.reason = level.reason or lost
            return None
        key = (outcome.key, replication)
        folder, prepared = self._place(*key), level.prepared
        tables = read_tables(folder, outcome.closing, prepared.plan)
        seen = look(tables, level.needs)
        if seen.window is None:
            tries = self._tries[key] = self._tries.get(key, 0) + 1
            end_s = outcome.closing.end_s
            if seen.ran_out and not prepared.scenario.streams[seen.ran_out].calls:
                needed = level.needs[seen.ran_out].most
                level.reason = level.reason or (
                    f"the sessions of {seen.ran_out} run out: {needed:,} are needed to be steady "
                    "and measured"
                )
                return None
            if tries >= TRIES_MOST or end_s >= HORIZON_MOST_S:
                level.reason = level.reason or (
                    f"not steady after {end_s:.3g} s: {seen.share:.0%} of the sessions needed "
                    "had ended"
                )
                return None
            more = min(8.0, max(1.25, MARGIN / seen.share if seen.share else 8.0))
            return min(end_s * more, HORIZON_MOST_S)
        slos = {name: stream.slo for name, stream in prepared.scenario.streams.items()}
        metrics = replication_metrics(tables, seen.window, prepared.layout, slos)
        check_audit(metrics.audit, replication)
        values = {v.name: v for v in metrics.values if v.by == "all"}
        missing = [name for name in NEEDED if values[name].value is None]
        if missing:
            level.reason = level.reason or f"no {missing[0]}: {values[missing[0]].reason}"
            return None
        level.found[replication] = Measured(
            {name: float(v.value) for name, v in values.items() if isinstance(v.value, float)},
            str(values["bottleneck"].value or ""),
            seen.window,
            seen.drifts,
        )
        return None

    def _go_on(self, number: int) -> list[Job]:
        """Take the next doubling of a curve, unless the last ones gained too little."""
        levels = self._curves[number].levels
        if self._concurrency is not None or not all(level.over for level in levels):
            return []
        if any(level.reason for level in levels):
            return []
        before, last = levels[-2:] if len(levels) > 1 else (None, levels[-1])
        if before is not None and last.throughput < GAIN_LEAST * before.throughput:
            return []
        following = 2 * last.concurrency
        if self._calls(self._curves[number], following) > CALLS_MOST:
            self.notes.append(
                f"{last.scenario} {last.layout} still gains at {last.concurrency:,} in flight, "
                "where the sweep ends; --concurrency goes on"
            )
            return []
        return self._level(number, following)

    def _needs(self, curve: _Curve, concurrency: int) -> dict[str, Need]:
        return {
            name: need_of(count, curve.samples[name].calls, self.calls)
            for name, count in curve.shares.of(concurrency).items()
        }

    def _calls(self, curve: _Curve, concurrency: int) -> float:
        """Guess the calls of a simulation."""
        needs = self._needs(curve, concurrency)
        return sum(need.most * curve.samples[name].calls for name, need in needs.items())

    def _say(self) -> None:
        if self._progress is not None:
            from factorysim.run.replicate import Progress

            done, total = self._done, len(self._levels)
            share = max(done, 0.5) / max(total, 1)
            simulated_s = self._simulated_s
            of_s = simulated_s / share
            self._progress(Progress("points", done, total, simulated_s, of_s, self._sessions))


NEEDED = (
    "tpot_s.p50",
    "tokens.output_per_s",
    "power.facility_w.mean",
    "power.it_w.mean",
    "energy.j_per_output_token.facility",
    "calls.arrived",
)
"""Metrics without which a point is none."""


def _lost(values: dict[str, float | str | None]) -> str:
    """Say what a run lost: then it has not served the demand that the others have."""
    arrived = values["calls.arrived"]
    rejected, failed = values["calls.rejected"], values["sessions.failed"]
    if isinstance(rejected, float) and isinstance(arrived, float) and rejected:
        return f"{rejected / arrived:.1%} of calls are longer than the KV cache of a replica"
    if isinstance(failed, float) and failed:
        return f"{failed:,.0f} sessions failed"
    return ""
