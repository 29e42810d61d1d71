"""Interactivity against throughput: what a factory gives each user, and what it makes in all.

Each point is a simulation of a closed loop: so many sessions at any time, for as
long as it takes to be steady and then measured (`in_flight`). More of them raise
what a GPU and a megawatt make, and slow down what each user sees. Layouts of
the same factory trade the two differently; what no other beats is its frontier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.errors import CapacityError, Fault, SpecError, UserError
from factorysim.metrics.statistics import t_interval
from factorysim.run.result import Interrupted
from factorysim.spec.shape import either
from factorysim.study.frontier import frontier
from factorysim.study.in_flight import CALLS_LEAST, only_stream, shares_of
from factorysim.study.layouts import Impossible, variants_of

if TYPE_CHECKING:
    from factorysim.run.prepare import Prepared
    from factorysim.run.replicate import Progress
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.study.sweep import Measured, Sweep

SCHEMA = "factorysim.pareto/1"
W_PER_MW = 1e6
CONCURRENCY_MOST = 100_000
CALLS_MOST = 1_000_000
NOT_DRAWN = "nothing is drawn: every replication would be the same"


class Estimate(NamedTuple):
    """A mean over replications, and where the true one lies; no interval of one."""

    value: float
    low: float | None = None
    high: float | None = None


class Point(NamedTuple):
    """A factory in one layout with so many sessions in flight."""

    scenario: str
    layout: str
    concurrency: int
    """Sessions at any time, in the whole factory."""
    replicas: int
    devices: int
    """Of the deployments that serve LLMs."""
    partner_devices: int
    """Across the splits of those deployments: LPUs that hold experts or make drafts."""
    tokens_per_s_per_user: Estimate
    """1 / median TPOT of the calls: interactivity."""
    tokens_per_s_per_gpu: Estimate
    """Output tokens of all calls over `devices`."""
    tokens_per_s_per_mw: Estimate
    """Over the facility's power: racks, and cooling by the site's PUE."""
    output_tokens_per_s: Estimate
    tpot_p50_s: Estimate
    ttft_p50_s: Estimate | None
    ttft_p95_s: Estimate | None
    power_facility_w: Estimate
    power_it_w: Estimate
    j_per_output_token: Estimate
    """At the facility's meter."""
    j_per_output_token_accelerator: Estimate | None
    """Of serving devices inside their steps."""
    kv_hit_rate: Estimate | None
    saturation: Estimate | None
    bottleneck: str
    calls: float
    """Measured, a replication."""
    window_s: float
    replications: int
    drifts: bool
    """Whether no steady state was found in what was looked at."""
    on_gpu_frontier: bool = False
    """No point of the same scenario has both more a user and more a GPU."""
    on_mw_frontier: bool = False


class Refused(NamedTuple):
    """What could not be measured, and why."""

    scenario: str
    layout: str
    concurrency: int | None
    """None: any."""
    reason: str


class Factory(NamedTuple):
    """A scenario of the figure."""

    name: str
    question: str
    devices: tuple[str, ...]
    """Ids of what serves."""
    streams: tuple[str, ...]
    scenario: ScenarioSpec
    assumed: int
    """Facts that nobody has published."""
    model_error: str
    """Class of the model's own error, or why there is none."""


class Pareto(NamedTuple):
    """Points of one or several factories, by scenario, layout and concurrency."""

    factories: tuple[Factory, ...]
    points: tuple[Point, ...]
    refused: tuple[Refused, ...]
    replications: int
    seed: int
    calls: int
    """Measured at each point, at least."""
    notes: tuple[str, ...]
    interrupted: bool = False


class Stopped(Interrupted):
    """The user stopped a sweep; the points that were done are in `found`."""

    def __init__(self, found: Pareto) -> None:
        super().__init__(None, len(found.points), 0)
        self.found = found

    def __str__(self) -> str:
        return f"interrupted: {len(self.found.points)} points were done"


def pareto(
    scenarios: Sequence[ScenarioSpec | str | Path],
    *,
    concurrency: Sequence[int] | None = None,
    layouts: Sequence[str] = (),
    vary: Sequence[str] = (),
    stream: str | None = None,
    calls: int = CALLS_LEAST,
    replications: int = 1,
    names: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Pareto:
    """Sweep the sessions in flight, and layouts, of one or several factories.

    Parameters
    ----------
    concurrency
        Sessions in flight in the whole factory. None: one for each replica, and
        twice as many until throughput gains less than 5 %.
    layouts, vary
        As `layouts.variants_of` takes them.
    stream
        To keep alone; all share the sessions in flight by their rates if not given.
    calls
        To measure at each point, at least.
    replications
        Of each point; all scenarios take the seed of the first, so that they meet
        the same sessions.
    workers, progress, names
        As of `factorysim.simulate`; the results do not depend on `workers`.

    Raises
    ------
    UserError
        If an option or a scenario is at fault, or nothing at all could be measured.
    AuditError
        If a simulation breaks a law of conservation.
    Stopped
        On Ctrl-C, with the points that were done.

    Examples
    --------
    >>> found = pareto(["active-path"], concurrency=[1, 1024])  # doctest: +SKIP
    >>> [round(one.tokens_per_s_per_user.value) for one in found.points]  # doctest: +SKIP
    [140, 11]
    """
    from factorysim.run.replicate import cores, resolved
    from factorysim.study.compare import labels
    from factorysim.study.sweep import Sweep

    _check(concurrency, calls, replications)
    given = [resolved(scenario) for scenario in scenarios]
    titles = list(names or labels(scenarios))
    if not given:
        raise SpecError(Fault("pareto", "", "no scenario", "one or more"))
    seed = given[0].run.seed
    sweep = Sweep(calls, replications, concurrency, progress)
    factories: list[Factory] = []
    refused: list[Refused] = []
    faults: list[Fault] = []
    drawn = False
    for title, spec in zip(titles, given, strict=True):
        scenario = _seeded(spec if stream is None else only_stream(spec, stream), seed)
        shares = shares_of(scenario)
        first: Prepared | None = None
        variants = variants_of(scenario, layouts, vary)
        impossible = list(variants.impossible)
        for variant in variants.made:
            try:
                prepared = _prepared(variant.scenario)
            except UserError as error:
                impossible.append(Impossible(variant.label, error.faults))
                continue
            first = first or prepared
            drawn = drawn or _draws(prepared)
            sweep.add(title, variant.label, prepared, shares)
        for one in impossible:
            refused.append(Refused(title, one.label, None, _reason(one.faults)))
            changed = bool(layouts or vary)
            faults += _placed(one, title) if changed else one.faults
        if first is not None:
            factories.append(_factory(title, first))
    if not factories:
        raise CapacityError(*faults)
    notes: list[str] = []
    if replications > 1 and not drawn:
        sweep.replications = 1
        notes.append(f"one replication instead of {replications}: {NOT_DRAWN}")
    interrupted = not sweep.run(workers or cores())
    found = _found(sweep, factories, refused, seed, notes, interrupted)
    if interrupted:
        raise Stopped(found)
    if not found.points:
        told = "\n    ".join(f"{one.where}: {one.reason}" for one in unmeasured(found))
        raise CapacityError(Fault("pareto", "", "no point to measure", "one at least", told))
    return found


def _found(
    sweep: Sweep,
    factories: list[Factory],
    refused: list[Refused],
    seed: int,
    notes: list[str],
    interrupted: bool,
) -> Pareto:
    """Put together what a sweep has measured, and mark the frontiers."""
    points = [
        _point(one.scenario, one.layout, one.concurrency, one.prepared, one.measured)
        for one in sweep.done()
    ]
    unmeasured = [
        Refused(one.scenario, one.layout, one.concurrency, one.reason) for one in sweep.refused()
    ]
    return Pareto(
        tuple(factories),
        tuple(_marked(points)),
        (*refused, *unmeasured),
        sweep.replications,
        seed,
        sweep.calls,
        (*notes, *sorted(sweep.notes), *_notes(points)),
        interrupted,
    )


def _check(concurrency: Sequence[int] | None, calls: int, replications: int) -> None:
    faults: list[Fault] = []
    for number in concurrency or ():
        if not 1 <= number <= CONCURRENCY_MOST:
            expected = f"from 1 to {CONCURRENCY_MOST:,}"
            faults.append(Fault("--concurrency", "", f"{number}", expected))
    if concurrency is not None and not concurrency:
        faults.append(Fault("--concurrency", "", "nothing", "numbers of sessions, like 1,8,64"))
    if not 1 <= calls <= CALLS_MOST:
        faults.append(Fault("--calls", "", f"{calls:,}", f"from 1 to {CALLS_MOST:,}"))
    if replications < 1:
        faults.append(Fault("--reps", "", f"{replications}", "at least 1"))
    if faults:
        raise SpecError(*faults)


def _seeded(scenario: ScenarioSpec, seed: int) -> ScenarioSpec:
    run = scenario.run.model_copy(update={"seed": seed})
    return scenario.model_copy(update={"run": run})


def _prepared(scenario: ScenarioSpec) -> Prepared:
    from factorysim.run.prepare import prepare

    prepared = prepare(scenario)
    if not prepared.plan.serve:
        cure = "add a deployment with an llm"
        raise SpecError(Fault("scenario", "deployments", "tools alone", "one that serves", cure))
    return prepared


def _draws(prepared: Prepared) -> bool:
    """Whether replications differ at all."""
    if any(serve.law.draws for serve in prepared.plan.serve):
        return True
    for stream in prepared.scenario.streams.values():
        if stream.agent or stream.clients or stream.replicate != "none":
            return True
        lengths = () if stream.calls is None else tuple(dict(stream.calls).values())
        if any(length.kind != "fixed" for length in lengths):
            return True
    return prepared.scenario.serving.router.policy == "power_of_two"


def _factory(title: str, prepared: Prepared) -> Factory:
    from factorysim.run.model_error import model_errors
    from factorysim.run.publish import assumed_facts

    serving = prepared.plan.serve
    return Factory(
        title,
        prepared.scenario.question,
        tuple(dict.fromkeys(serve.device.id for serve in serving)),
        tuple(prepared.scenario.streams),
        prepared.scenario,
        len(assumed_facts(prepared)),
        model_errors(prepared).told(),
    )


def _reason(faults: Sequence[Fault]) -> str:
    """Say in one line what is wrong with a layout, and each thing once."""
    return "; ".join(dict.fromkeys(_told(fault) for fault in faults))


def _told(fault: Fault) -> str:
    key = f"{fault.key}: " if fault.key else ""
    cure = f" ({fault.cure})" if fault.cure else ""
    return f"{key}{fault.found}, expected {fault.expected}{cure}"


def _placed(one: Impossible, scenario: str) -> list[Fault]:
    """Say at which layout faults are: what the scenario says itself is not at fault."""
    return [fault._replace(where=f"{scenario} {one.label}") for fault in one.faults]


class Unmeasured(NamedTuple):
    """Layouts and points that could not be measured for one reason."""

    where: str
    reason: str


def unmeasured(found: Pareto) -> list[Unmeasured]:
    """Tell what could not be measured, each reason once."""
    places: dict[str, dict[str, list[str]]] = {}
    for one in found.refused:
        at = places.setdefault(one.reason, {}).setdefault(f"{one.scenario} {one.layout}", [])
        at += [] if one.concurrency is None else [f"{one.concurrency:,}"]
    return [
        Unmeasured(
            "; ".join(
                f"{name} at {either(numbers, 'and')}" if numbers else name
                for name, numbers in names.items()
            ),
            reason,
        )
        for reason, names in places.items()
    ]


def layouts_asked(found: Pareto) -> tuple[int, int]:
    """Count the layouts of all scenarios that were asked for, and those without any point."""
    drawn = {(one.scenario, one.layout) for one in found.points}
    asked = drawn | {(one.scenario, one.layout) for one in found.refused}
    return len(asked), len(asked - drawn)


def _point(
    scenario: str, layout: str, concurrency: int, prepared: Prepared, measured: list[Measured]
) -> Point:
    """Put together what the replications of a point say."""
    serving = prepared.layout.serving()
    devices = round(sum(station.capacity for station in serving))
    partners = [station.partner for station in serving if station.partner is not None]

    def over(value: Callable[[Measured], float]) -> Estimate:
        numbers = [value(one) for one in measured]
        mean = sum(numbers) / len(numbers)
        if len(numbers) < 2:
            return Estimate(mean)
        return Estimate(mean, *t_interval(numbers)[1:])

    def of(name: str) -> Estimate:
        return over(lambda one: one.values[name])

    def perhaps(name: str) -> Estimate | None:
        return of(name) if all(name in one.values for one in measured) else None

    made, watts = "tokens.output_per_s", "power.facility_w.mean"
    return Point(
        scenario=scenario,
        layout=layout,
        concurrency=concurrency,
        replicas=sum(station.replicas for station in serving),
        devices=devices,
        partner_devices=round(sum(partner.capacity for partner in partners)),
        tokens_per_s_per_user=over(lambda one: 1 / one.values["tpot_s.p50"]),
        tokens_per_s_per_gpu=over(lambda one: one.values[made] / devices),
        tokens_per_s_per_mw=over(lambda one: one.values[made] / one.values[watts] * W_PER_MW),
        output_tokens_per_s=of(made),
        tpot_p50_s=of("tpot_s.p50"),
        ttft_p50_s=perhaps("ttft_s.p50"),
        ttft_p95_s=perhaps("ttft_s.p95"),
        power_facility_w=of(watts),
        power_it_w=of("power.it_w.mean"),
        j_per_output_token=of("energy.j_per_output_token.facility"),
        j_per_output_token_accelerator=perhaps("energy.j_per_output_token.accelerator"),
        kv_hit_rate=perhaps("kv.hit_rate"),
        saturation=perhaps("saturation"),
        bottleneck=measured[0].bottleneck,
        calls=sum(one.values["calls.arrived"] for one in measured) / len(measured),
        window_s=sum(one.window.length_s for one in measured) / len(measured),
        replications=len(measured),
        drifts=any(one.drifts for one in measured),
    )


def _marked(points: list[Point]) -> list[Point]:
    """Mark the frontiers of each scenario over its layouts."""
    marked = list(points)
    for scenario in dict.fromkeys(point.scenario for point in points):
        places = [place for place, point in enumerate(points) if point.scenario == scenario]
        mine = [points[place] for place in places]
        users = [point.tokens_per_s_per_user.value for point in mine]
        gpus = [point.tokens_per_s_per_gpu.value for point in mine]
        watts = [point.tokens_per_s_per_mw.value for point in mine]
        on_gpu = frontier(list(zip(users, gpus, strict=True)))
        on_mw = frontier(list(zip(users, watts, strict=True)))
        for number, place in enumerate(places):
            marked[place] = points[place]._replace(
                on_gpu_frontier=number in on_gpu, on_mw_frontier=number in on_mw
            )
    return marked


def _notes(points: list[Point]) -> list[str]:
    drifting = [point for point in points if point.drifts]
    if not drifting:
        return []
    where = ", ".join(
        f"{one.scenario} {one.layout} at {one.concurrency:,}" for one in drifting[:3]
    ) + (f" and {len(drifting) - 3} more" if len(drifting) > 3 else "")
    return [
        f"no steady state was found in what was looked at, and half of it left out: {where}; "
        "--calls measures more"
    ]


def as_json(found: Pareto) -> dict[str, Any]:
    """Give what ``pareto.json`` holds."""

    def point(one: Point) -> dict[str, Any]:
        return {
            key: value._asdict() if isinstance(value, Estimate) else value
            for key, value in one._asdict().items()
        }

    asked, missed = layouts_asked(found)
    return {
        "schema": SCHEMA,
        "x": "tokens/s/user: 1 / median TPOT",
        "y": "output tokens/s per serving GPU, and per MW of facility power",
        "replications": found.replications,
        "seed": found.seed,
        "calls": found.calls,
        "interrupted": found.interrupted,
        "factories": [
            {
                "name": one.name,
                "question": one.question,
                "devices": list(one.devices),
                "streams": list(one.streams),
                "assumed_facts": one.assumed,
                "model_error": one.model_error,
            }
            for one in found.factories
        ],
        "points": [point(one) for one in found.points],
        "layouts": asked,
        "layouts_not_measured": missed,
        "refused": [one._asdict() for one in found.refused],
        "notes": list(found.notes),
    }
