"""The highest rate that stays inside the SLOs, and what binds just above it.

Each replication has a critical rate of its own, found by bisection: the same
sessions come at every rate, closer together. The capacity is the mean of the
critical rates; what lies between them is chance, and makes its interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.metrics.overload import overload
from factorysim.metrics.slo import has_threshold
from factorysim.metrics.statistics import t_interval
from factorysim.metrics.summary import ONE_REPLICATION
from factorysim.study.bisection import Search, Share, rises
from factorysim.study.scaling import Scaling, scaling_of

if TYPE_CHECKING:
    from factorysim.metrics.inputs import Window
    from factorysim.run.prepare import Prepared
    from factorysim.run.publish import Settings
    from factorysim.run.replicate import Progress
    from factorysim.run.replication import Job, Outcome, Policies
    from factorysim.run.warmup import WarmUp
    from factorysim.spec.scenario import ScenarioSpec

SCHEMA = "factorysim.capacity/1"
SPAN = 1024.0
"""Default bounds: so much below and above the scenario's own rate."""
USUAL_EVALUATIONS = 9
"""Of a replication, for the progress bar: three to bracket, six to bisect to 2 %."""
OVERLOAD = "overload"


class Attained(NamedTuple):
    """What the sessions of a stream got at one point."""

    share: float | None
    """In SLO; None where no session has a verdict."""
    attain: float
    """Asked for."""
    sessions: int
    """With a verdict."""
    missed: dict[str, float]
    """Threshold -> share of sessions past it; `failed`: past none, and not in SLO."""


class Evaluation(NamedTuple):
    """One replication at one rate."""

    replication: int
    scale: float
    """Of the scenario's own rate."""
    rate: float
    inside: bool
    streams: dict[str, Attained]
    overload: str | None
    """`steady`, `unsettled` or `overloaded`; None of a run with an end."""
    saturation: float | None
    bottleneck: str


class Critical(NamedTuple):
    """Where one replication leaves its SLOs."""

    replication: int
    rate: float | None
    """None where a bound was reached first."""
    inside: float | None
    """Highest rate seen inside."""
    outside: float | None
    """Lowest rate seen outside."""


class Binds(NamedTuple):
    """What is missed just above the capacity; means over replications."""

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
    """Mean of the critical rates."""
    ci_low: float | None
    ci_high: float | None
    n: int
    """Critical rates behind it."""
    reason: str | None
    """Why rate or interval are missing."""
    bounds: tuple[float, float]
    tolerance: float
    binds: Binds | None
    """None where nothing was seen outside."""
    bottleneck: str | None
    """Just above the capacity, as `run` names it."""
    saturation: float | None
    """Of the fullest pool, just below the capacity."""
    critical: tuple[Critical, ...]
    evaluations: tuple[Evaluation, ...]
    """By replication and rate."""
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

    A rate is inside, for one replication, if every stream with a threshold has at
    least its `attain` of sessions in SLO and, in a steady state, the backlog does not
    grow.

    Parameters
    ----------
    stream
        To scale alone; all are scaled by one factor if not given.
    tolerance
        Of each replication's bracket, relative.
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
    >>> found = capacity("quickstart-open")  # doctest: +SKIP
    >>> round(found.rate, 2), found.binds.threshold  # a minute later  # doctest: +SKIP
    (3.41, 'ttft')
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
    """All replications, each on its own way to its critical rate."""

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
        self.searches = [Search(low, high, tolerance, scaling.units) for _ in range(settings.asked)]
        self.evaluations: list[Evaluation] = []
        self._prepared = prepared
        self._scaling = scaling
        self._settings = settings
        self._progress = progress
        self._asked: dict[int, float] = {}
        self._sessions = 0
        self._folder = Path()

    def run(self, workers: int, policies: Policies | None) -> None:
        """Evaluate rate after rate, until every replication has its bracket."""
        from tempfile import TemporaryDirectory

        from factorysim.run.result import Interrupted
        from factorysim.run.workers import run_jobs

        with TemporaryDirectory(prefix="factorysim-") as folder:
            self._folder = Path(folder)
            first = [job for r in range(len(self.searches)) for job in self._next(r)]
            self._say()
            try:
                for _ in run_jobs(first, workers, None, policies, self._then):
                    self._say()
            except KeyboardInterrupt:
                raise Interrupted(None, 0, len(self.searches)) from None
        self.evaluations.sort(key=lambda one: (one.replication, one.scale))

    def _then(self, outcome: Outcome) -> list[Job]:
        from shutil import rmtree

        replication = outcome.replication
        rmtree(self._folder / f"{replication}")
        self._sessions += outcome.sessions
        evaluation = self._evaluated(outcome, self._asked[replication])
        self.evaluations.append(evaluation)
        self.searches[replication].tell(evaluation.scale, evaluation.inside)
        return self._next(replication)

    def _next(self, replication: int) -> list[Job]:
        from factorysim.run.replication import Job

        scale = self.searches[replication].next()
        if scale is None:
            return []
        self._asked[replication] = scale
        folder = self._folder / f"{replication}"
        folder.mkdir()
        scenario, settings = self._scaling.at(scale), self._settings
        steady = scenario.run.kind == "steady_state"
        end_s = settings.horizon_s if steady else settings.window.end_s
        text = scenario.model_dump_json(by_alias=True)
        return [Job(text, replication, settings.window, settings.horizon_s, end_s, str(folder))]

    def _evaluated(self, outcome: Outcome, scale: float) -> Evaluation:
        metrics, scenario = outcome.metrics, self._prepared.scenario
        assert metrics is not None  # it is no pilot
        values = {(v.name, v.key): v for v in metrics.values}
        streams: dict[str, Attained] = {}
        for name, stream in scenario.streams.items():
            if has_threshold(stream.slo):
                share = values.get(("slo.sessions", name))
                missed = {
                    v.name.removeprefix("slo.missed."): float(v.value)
                    for v in metrics.values
                    if v.name.startswith("slo.missed.") and v.key == name and v.value is not None
                }
                number = None if share is None or share.value is None else float(share.value)
                seen = 0 if share is None else share.n
                streams[name] = Attained(number, stream.slo.attain, seen, missed)
        state = overload([metrics]).state if scenario.run.kind == "steady_state" else None
        fullest, bottleneck = values["saturation", ""].value, values["bottleneck", ""].value
        return Evaluation(
            outcome.replication,
            scale,
            scale * self._scaling.rate,
            is_inside(streams.values(), state),
            streams,
            state,
            fullest if isinstance(fullest, float) else None,
            str(bottleneck or ""),
        )

    def _say(self) -> None:
        if self._progress is not None:
            from factorysim.run.replicate import Progress

            done, horizon_s = len(self.evaluations), self._settings.horizon_s
            total = max(done, USUAL_EVALUATIONS * len(self.searches))
            phase = "bisection"
            self._progress(
                Progress(phase, done, total, done * horizon_s, total * horizon_s, self._sessions)
            )


def is_inside(streams: Iterable[Attained], state: str | None) -> bool:
    """Whether every stream reaches its share, and the backlog does not grow.

    A stream that no session of has a verdict says nothing; where none says anything,
    the point is not inside.
    """
    met = [one.share >= one.attain for one in streams if one.share is not None]
    return bool(met) and all(met) and state != "overloaded"


def _result(
    hunt: _Hunt,
    scaling: Scaling,
    settings: Settings,
    bounds: tuple[float, float],
    tolerance: float,
) -> Capacity:
    """Put together what the searches have found."""

    def rate(scale: float | None) -> float | None:
        return None if scale is None else scale * scaling.rate

    critical = tuple(
        Critical(r, rate(search.critical), rate(search.inside), rate(search.outside))
        for r, search in enumerate(hunt.searches)
    )
    rates = [one.rate for one in critical if one.rate is not None]
    mean, low, high, reason = _mean(critical, rates, bounds, scaling.unit, settings.conditional)
    above = [one for one in hunt.evaluations if one.scale == hunt.searches[one.replication].outside]
    below = [
        one.saturation
        for one in hunt.evaluations
        if one.scale == hunt.searches[one.replication].inside and one.saturation is not None
    ]
    words = Counter(one.bottleneck for one in above or hunt.evaluations)
    return Capacity(
        settings.name,
        scaling.streams,
        scaling.unit,
        scaling.rate,
        mean,
        low,
        high,
        len(rates),
        reason,
        bounds,
        tolerance,
        _binds(above, scaling.scenario) if above else None,
        words.most_common(1)[0][0] or None,
        sum(below) / len(below) if below else None,
        critical,
        tuple(hunt.evaluations),
        settings.window,
        settings.warmup,
        tuple(_notes(hunt, scaling, settings, mean)),
    )


def _mean(
    critical: Sequence[Critical],
    rates: list[float],
    bounds: tuple[float, float],
    unit: str,
    conditional: str,
) -> tuple[float | None, float | None, float | None, str | None]:
    """Mean and interval of the critical rates, or why there is none."""
    never = sum(one.inside is None for one in critical)
    always = sum(one.outside is None for one in critical)
    if never:
        at = f"{never} of {len(critical)} replications miss their SLOs at every rate"
        return None, None, None, f"{at} down to {bounds[0]:.3g} {unit}"
    if always:
        at = f"{always} of {len(critical)} replications meet their SLOs at every rate"
        return None, None, None, f"{at} up to {bounds[1]:.3g} {unit}"
    mean = sum(rates) / len(rates)
    if conditional or len(rates) < 2:
        return mean, None, None, conditional or ONE_REPLICATION
    interval = t_interval(rates)
    return mean, interval.low, interval.high, None


def _binds(above: Sequence[Evaluation], scenario: ScenarioSpec) -> Binds:
    """Which stream falls shortest of its share, and by which threshold."""

    def share(name: str) -> float | None:
        known = [e.streams[name].share for e in above if e.streams[name].share is not None]
        return sum(s for s in known if s is not None) / len(known) if known else None

    slos = {name: stream.slo for name, stream in scenario.streams.items()}
    short = {
        name: slos[name].attain - found
        for name in above[0].streams
        if (found := share(name)) is not None
    }
    if not short:
        return Binds("", OVERLOAD, None, 0.0, None, None)
    worst = max(short, key=lambda name: short[name])
    if short[worst] <= 0:
        return Binds("", OVERLOAD, None, 0.0, share(worst), slos[worst].attain)
    past: dict[str, float] = {}
    for one in above:
        for threshold, missed in one.streams[worst].missed.items():
            past[threshold] = past.get(threshold, 0.0) + missed / len(above)
    threshold, missed = max(past.items(), key=lambda item: item[1])
    limit = getattr(slos[worst], threshold, None)
    return Binds(worst, threshold, limit, missed, share(worst), slos[worst].attain)


def _notes(hunt: _Hunt, scaling: Scaling, settings: Settings, mean: float | None) -> list[str]:
    """Tell what a reader must know before trusting the number."""
    notes: list[str] = []
    for number in range(len(hunt.searches)):
        mine = [one for one in hunt.evaluations if one.replication == number]
        for name in mine[0].streams:
            points = [
                Share(one.rate, seen.share, seen.sessions)
                for one in mine
                if (seen := one.streams[name]).share is not None
            ]
            notes += [
                f"attainment of {name} rises with the rate in replication {number}, from "
                f"{a.share:.1%} at {a.scale:.3g} to {b.share:.1%} at {b.scale:.3g} "
                f"{scaling.unit}: bisection takes for granted that it falls"
                for a, b in rises(points)
            ]
    scale = (mean or scaling.rate) / scaling.rate
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
    told["critical"] = [one._asdict() for one in found.critical]
    told["evaluations"] = [
        one._asdict() | {"streams": {n: seen._asdict() for n, seen in one.streams.items()}}
        for one in found.evaluations
    ]
    return told
