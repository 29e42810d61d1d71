"""The highest rate that stays inside the SLOs, and what binds just above it.

A rate is judged as `run` judges it: by the attainment of all replications together.
Bisection finds where that falls below what is asked; the same sessions come at every
rate, closer together. What the replications say apart makes the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.metrics.overload import overload
from factorysim.metrics.slo import has_threshold
from factorysim.metrics.summary import ONE_REPLICATION, summarise
from factorysim.study.attained import Point, attained, is_inside, open_note
from factorysim.study.bisection import STEP, Search, Share, rises
from factorysim.study.crossing import Asked, Ends, Tried, ends
from factorysim.study.scaling import Scaling, scaling_of

if TYPE_CHECKING:
    from factorysim.metrics.inputs import Window
    from factorysim.metrics.replication import Replication
    from factorysim.run.prepare import Prepared
    from factorysim.run.publish import Settings
    from factorysim.run.replicate import Progress
    from factorysim.run.replication import Job, Outcome, Policies
    from factorysim.run.warmup import WarmUp
    from factorysim.spec.scenario import ScenarioSpec

SCHEMA = "factorysim.capacity/1"
SPAN = 1024.0
"""Default bounds: so much below and above the scenario's own rate."""
USUAL_RATES = 9
"""Rates, for the progress bar: three to bracket, six to bisect to 2 %."""
OVERLOAD = "overload"
OVERLOAD_BINDS = "overload binds, a verdict on all replications at once: it has no spread"
OPEN_END = (
    "it reaches beyond the rates that were tried: more replications or a longer window would tell"
)


class Binds(NamedTuple):
    """What is missed just above the capacity."""

    stream: str
    threshold: str
    """`ttft`, `tpot`, `turn`, `session`, `failed`, or `overload`: SLOs hold, but the
    backlog grows."""
    limit_s: float | None
    missed: float
    """Share of the stream's sessions that are past it."""
    share: float | None
    """Of the stream's sessions in SLO."""
    attain: float | None


class Capacity(NamedTuple):
    """The highest rate inside the SLOs."""

    scenario: str
    streams: tuple[str, ...]
    """That were scaled."""
    unit: str
    """Of every rate here: `sessions/s`, or `sessions at any time`."""
    own_rate: float
    """The scenario's."""
    rate: float | None
    """Highest seen inside; None where a bound was reached first."""
    outside: float | None
    """Lowest rate seen outside."""
    ci_low: float | None
    """The rates of the interval, those of the bracket among them, are where chance alone
    may decide between inside and outside."""
    ci_high: float | None
    n: int
    """Replications at each rate."""
    reason: str | None
    """Why rate or interval are missing."""
    bounds: tuple[float, float]
    tolerance: float
    binds: Binds | None
    """None where nothing was seen outside, or nobody knows what is missed there."""
    bottleneck: str | None
    """At `outside`, as `run` names it."""
    saturation: float | None
    """Of the fullest pool, at `rate`."""
    points: tuple[Point, ...]
    """By rate."""
    window: Window
    warmup: WarmUp
    notes: tuple[str, ...]

    @property
    def scale(self) -> float | None:
        """Capacity over the scenario's own rate."""
        return None if self.rate is None else self.rate / self.own_rate


def capacity(
    scenario: ScenarioSpec | str | Path,
    *,
    stream: str | None = None,
    tolerance: float = 0.02,
    low: float | None = None,
    high: float | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    policies: Policies | None = None,
    name: str | None = None,
) -> Capacity:
    """Find the highest rate at which every stream stays inside its SLO.

    A rate is inside if every stream with a threshold has at least its `attain` of sessions
    in SLO, in the mean over replications and of those with a verdict, and in a steady state
    the backlog does not grow. Where sessions that were still under way could turn that, `run`
    says "met so far" or "not decided", and a note tells between which rates.

    Parameters
    ----------
    stream
        To scale alone; all are scaled by one factor if not given.
    tolerance
        Of the bracket, relative.
    low, high
        Bounds on the rate, in the unit of the result; 1/1024 and 1024 times the
        scenario's own if not given.
    out
        Directory for ``capacity.json``.
    workers, progress, policies, name
        As of `factorysim.simulate`.

    Raises
    ------
    SpecError
        If no stream has an SLO, or a bound or the stream to scale is no good.
    UserError, AuditError, Interrupted
        As `factorysim.simulate`.

    Examples
    --------
    >>> found = capacity("desk.yaml", tolerance=0.05)  # of docs/capacity.md  # doctest: +SKIP
    >>> round(found.rate, 2), found.binds.threshold  # doctest: +SKIP
    (4.83, 'ttft')
    """
    from factorysim.run.prepare import prepare
    from factorysim.run.replicate import Watch, cores, resolved, settings_of, warmup_of
    from factorysim.store import made_folder, write_json

    title = name or (Path(scenario).stem if isinstance(scenario, str | Path) else "run")
    spec = resolved(scenario)
    if not any(has_threshold(one.slo) for one in spec.streams.values()):
        cure = "for example `slo: {ttft: 1 s, attain: 0.95}` on a stream"
        raise SpecError(Fault("scenario", "streams", "no SLO", "a threshold on any stream", cure))
    if not 0 < tolerance <= 1:
        raise SpecError(Fault("--tolerance", "", f"{tolerance:g}", "above 0 and at most 1"))
    prepared = prepare(spec)
    scaling = scaling_of(spec, stream)
    bounds = _bounds(scaling, low, high)
    with nullcontext() if out is None else made_folder(Path(out)):
        workers = workers or cores()
        warmup = warmup_of(prepared, workers, Watch(progress), policies)
        settings = settings_of(prepared, warmup, policies, title)
        hunt = _Hunt(prepared, scaling, settings, bounds, tolerance, progress)
        hunt.run(workers, policies)
        found = _result(hunt, scaling, settings, bounds, tolerance)
        if out is not None:
            write_json(Path(out) / "capacity.json", as_json(found))
    return found


def _bounds(scaling: Scaling, low: float | None, high: float | None) -> tuple[float, float]:
    """Rates between which to look."""
    least = scaling.rate / SPAN if low is None else low
    most = scaling.rate * SPAN if high is None else high
    if not 0 < least < most < float("inf"):
        option, found = ("--low", low) if high is None else ("--high", high)
        expected = f"bounds above 0 with low ({least:g}) below high ({most:g} {scaling.unit})"
        cure = f"the scenario's own rate is {scaling.rate:g} {scaling.unit}"
        raise SpecError(Fault(option, "", f"{found:g}", expected, cure))
    return least, most


class _Hunt:
    """Rate after rate, all replications of one at a time."""

    def __init__(
        self,
        prepared: Prepared,
        scaling: Scaling,
        settings: Settings,
        bounds: tuple[float, float],
        tolerance: float,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        low, high = (bound / scaling.rate for bound in bounds)
        self.search = Search(low, high, tolerance, scaling.units)
        self.points: list[Point] = []
        self._prepared = prepared
        self._scaling = scaling
        self._settings = settings
        self._progress = progress
        self._scale = 0.0
        self._ended: list[Outcome] = []
        self._further: list[float] | None = None
        self._simulations = 0
        self._sessions = 0
        self._folder = Path()

    def run(self, workers: int, policies: Policies | None) -> None:
        """Try rate after rate, until the bracket and the interval are known."""
        from tempfile import TemporaryDirectory

        from factorysim.run.result import Interrupted
        from factorysim.run.workers import run_jobs

        with TemporaryDirectory(prefix="factorysim-") as folder:
            self._folder = Path(folder)
            self._say()
            try:
                for _ in run_jobs(self._next(), workers, None, policies, self._then):
                    self._say()
            except KeyboardInterrupt:
                raise Interrupted(None, 0, self._settings.asked) from None

    def at(self, scale: float | None) -> Point | None:
        """Give what was seen at a scale."""
        return next((point for point in self.points if point.scale == scale), None)

    def ends(self) -> Ends:
        """Scales between which chance may have put the capacity."""
        return ends(
            Tried(p.scale, [Asked(seen.shares, seen.attain) for seen in p.streams.values()])
            for p in self.points
        )

    def _then(self, outcome: Outcome) -> list[Job]:
        from shutil import rmtree

        rmtree(self._folder / f"{outcome.replication}")
        self._sessions += outcome.sessions
        self._simulations += 1
        self._ended.append(outcome)
        if len(self._ended) < self._settings.asked:
            return []
        ordered = sorted(self._ended, key=lambda one: one.replication)
        point = self._judged([one.metrics for one in ordered if one.metrics is not None])
        self._ended = []
        self.points.append(point)
        self.points.sort(key=lambda one: one.scale)
        if self._further is None:
            self.search.tell(point.scale, point.inside)
        return self._next()

    def _next(self) -> list[Job]:
        """Give the replications of the next rate."""
        from factorysim.run.replication import Job

        scale = self._following()
        if scale is None:
            return []
        self._scale = scale
        scenario, settings = self._scaling.at(scale), self._settings
        steady = scenario.run.kind == "steady_state"
        end_s = settings.horizon_s if steady else settings.window.end_s
        text = scenario.model_dump_json(by_alias=True)
        jobs: list[Job] = []
        for replication in range(settings.asked):
            folder = self._folder / f"{replication}"
            folder.mkdir()
            place = str(folder)
            jobs.append(Job(text, replication, settings.window, settings.horizon_s, end_s, place))
        return jobs

    def _following(self) -> float | None:
        """Scale to try next: of the search, then beyond open ends of the interval."""
        if self._further is None:
            scale = self.search.next()
            if scale is not None:
                return scale
            self._further = self._open()
        return self._further.pop() if self._further else None

    def _open(self) -> list[float]:
        """Give a scale beyond each end of the interval that the search has not seen."""
        outside = self.at(self.search.outside)
        bracketed = self.search.inside is not None and outside is not None and outside.misses
        if self._settings.asked < 2 or not bracketed:
            return []
        low, high = self.ends()
        least, most = self.points[0].scale, self.points[-1].scale
        steps = (
            self.search.beyond(least, 1 / STEP) if low is None else None,
            self.search.beyond(most, STEP) if high is None else None,
        )
        return [scale for scale in steps if scale is not None]

    def _judged(self, replications: list[Replication]) -> Point:
        """Judge a rate by all its replications, as a run of it is judged."""
        scenario = self._prepared.scenario
        streams = attained(scenario.streams, replications)
        verdict = overload(replications) if scenario.run.kind == "steady_state" else None
        state = None if verdict is None else verdict.state
        lines = summarise(replications, verdict, 0)
        fullest, bottleneck = lines["saturation"].value, lines["bottleneck"].value
        return Point(
            self._scale,
            self._scale * self._scaling.rate,
            is_inside(streams.values(), state),
            streams,
            state,
            fullest if isinstance(fullest, float) else None,
            str(bottleneck or ""),
        )

    def _say(self) -> None:
        if self._progress is not None:
            from factorysim.run.replicate import Progress

            done, horizon_s = self._simulations, self._settings.horizon_s
            total = max(done, USUAL_RATES * self._settings.asked)
            phase = "bisection"
            self._progress(
                Progress(phase, done, total, done * horizon_s, total * horizon_s, self._sessions)
            )


def _result(
    hunt: _Hunt,
    scaling: Scaling,
    settings: Settings,
    bounds: tuple[float, float],
    tolerance: float,
) -> Capacity:
    """Put together what the search has found."""
    below, above = hunt.at(hunt.search.inside), hunt.at(hunt.search.outside)
    known = below is not None and above is not None
    rate = below.rate if below is not None and known else None
    low, high, reason = _interval(hunt, scaling, settings, bounds)
    return Capacity(
        settings.name,
        scaling.streams,
        scaling.unit,
        scaling.rate,
        rate,
        None if above is None else above.rate,
        low,
        high,
        settings.asked,
        reason,
        bounds,
        tolerance,
        None if above is None else _binds(above, scaling.scenario),
        (above or hunt.points[-1]).bottleneck or None,
        None if below is None else below.saturation,
        tuple(hunt.points),
        settings.window,
        settings.warmup,
        tuple(_notes(hunt, scaling, settings, rate)),
    )


def _interval(
    hunt: _Hunt, scaling: Scaling, settings: Settings, bounds: tuple[float, float]
) -> tuple[float | None, float | None, str | None]:
    """Rates between which chance may have put the capacity, or why there are none."""
    search = hunt.search
    above = hunt.at(search.outside)
    if search.inside is None:
        return None, None, _nowhere(hunt.points, bounds[0], scaling.unit)
    if above is None:
        return None, None, _everywhere(hunt.points, bounds[1], scaling.unit)
    if settings.conditional or settings.asked < 2:
        return None, None, settings.conditional or ONE_REPLICATION
    if not above.misses:
        return None, None, OVERLOAD_BINDS
    low, high = hunt.ends()
    if low is None or high is None:
        return None, None, OPEN_END
    low, high = search.within(low), search.within(high)
    edge = search.inside if scaling.units else above.scale
    return min(low, search.inside) * scaling.rate, max(high, edge) * scaling.rate, None


def _nowhere(points: Sequence[Point], least: float, unit: str) -> str:
    """Say why no rate is inside."""
    down = f"at every rate down to {least:.3g} {unit}"
    came = [one for one in points if one.judgement != "unknown"]
    if not came:
        return f"no session came {down}"
    if all(one.overload == "overloaded" or one.judgement == "missed" for one in came):
        return f"SLOs are missed {down}"
    return f"it is not decided {down} whether SLOs are met, as sessions were still under way"


def _everywhere(points: Sequence[Point], most: float, unit: str) -> str:
    """Say why no rate is outside."""
    up = f"at every rate up to {most:.3g} {unit}"
    if all(one.judgement in ("met", "unknown") for one in points):
        return f"SLOs are met {up}"
    return f"SLOs are met so far {up}, by sessions that have ended"


def _binds(above: Point, scenario: ScenarioSpec) -> Binds | None:
    """Which stream falls shortest of its share, and by which threshold; None: nobody knows."""
    short = {
        name: seen.attain - seen.share
        for name, seen in above.streams.items()
        if seen.share is not None
    }
    if not short:
        over = above.overload == "overloaded"
        return Binds("", OVERLOAD, None, 0.0, None, None) if over else None
    worst = max(short, key=lambda name: short[name])
    seen = above.streams[worst]
    if short[worst] <= 0:
        return Binds("", OVERLOAD, None, 0.0, seen.share, seen.attain)
    threshold, missed = max(seen.missed.items(), key=lambda item: item[1])
    limit = getattr(scenario.streams[worst].slo, threshold, None)
    return Binds(worst, threshold, limit, missed, seen.share, seen.attain)


def _notes(hunt: _Hunt, scaling: Scaling, settings: Settings, rate: float | None) -> list[str]:
    """Tell what a reader must know before trusting the number."""
    notes: list[str] = []
    for name in hunt.points[0].streams:
        seen = [
            Share(point.rate, one.share, one.sessions)
            for point in hunt.points
            if (one := point.streams[name]).share is not None
        ]
        notes += [
            f"attainment of {name} rises with the rate, from {a.share:.1%} at {a.scale:.3g} to "
            f"{b.share:.1%} at {b.scale:.3g} {scaling.unit}: bisection takes for granted that it "
            "falls"
            for a, b in rises(seen)
        ]
    still_open = open_note(hunt.points, scaling.unit)
    if still_open is not None:
        notes.append(still_open)
    scale = (rate or scaling.rate) / scaling.rate
    for name, last_s in scaling.run_out(scale, settings.window.end_s).items():
        notes.append(
            f"the sessions of {name} have all come after {last_s:.3g} s of "
            f"{settings.window.end_s:.3g} s at that rate: from then on the others are alone"
        )
    closed = [
        name
        for name in scaling.streams
        if scaling.scenario.streams[name].arrivals.process == "fixed_concurrency"
    ]
    if closed and scaling.units is None:
        notes.append(f"the rate counts no sessions of {', '.join(closed)}: their number is scaled")
    if settings.warmup.how in ("mser5", "not found"):
        notes.append(
            "the warm-up was found at the scenario's own rate; near saturation it may be longer "
            "(run.warmup sets it)"
        )
    return notes


def as_json(found: Capacity) -> dict[str, Any]:
    """Give the content of ``capacity.json``."""
    told: dict[str, Any] = {"schema": SCHEMA, **found._asdict(), "scale": found.scale}
    told["binds"] = None if found.binds is None else found.binds._asdict()
    told["window"] = found.window._asdict()
    told["warmup"] = found.warmup._asdict()
    told["points"] = [
        one._asdict()
        | {"judgement": one.judgement}
        | {"streams": {n: seen._asdict() for n, seen in one.streams.items()}}
        for one in found.points
    ]
    return told
