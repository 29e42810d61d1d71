"""Two factories, the same demand: paired differences, and who sustains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.metrics.in_slo import verdicts, worst
from factorysim.metrics.statistics import paired_difference
from factorysim.metrics.summary import ONE_REPLICATION

if TYPE_CHECKING:
    from factorysim.metrics.in_slo import Judgement
    from factorysim.run import Run
    from factorysim.run.replicate import Progress
    from factorysim.run.replication import Policies
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.stream import StreamSpec

W_PER_MW = 1e6
SCALED = ("goodput.sessions_per_s", "goodput.output_tokens_per_s", "tokens.output_per_s",
          "sessions.completed_per_s")  # fmt: skip
"""Rates that are also given per serving device and per MW of IT power."""
NOT_PAIRED = "not paired: "
"""How the reasons of differences begin that have no interval for want of pairs."""


class Pair(NamedTuple):
    """One metric in both factories."""

    a: float | None
    b: float | None
    difference: float | None
    """B - A, mean over replications of the same demand."""
    ci_low: float | None
    ci_high: float | None
    ratio: float | None
    """B / A of the means; None where either is in no steady state."""
    variance_reduction: float | None
    """What common random numbers gained: variance without over variance with them."""
    reason: str | None


class Comparison(NamedTuple):
    """The first scenario (A) against one other (B)."""

    a: Run
    b: Run
    pairs: dict[str, Pair]
    verdict: str
    notes: tuple[str, ...]

    @property
    def power_mismatch(self) -> float | None:
        """IT power of B over that of A, less one; None where either is withheld.

        What is left of it where factories are meant to be of equal power.
        """
        pair = self.pairs.get("power.it_w.mean")
        if pair is None or not pair.a or pair.b is None:
            return None
        return pair.b / pair.a - 1.0


def compare(
    scenarios: Sequence[ScenarioSpec | str | Path],
    *,
    names: Sequence[str] | None = None,
    out: Path | None = None,
    workers: int | None = None,
    progress: Callable[[str, Progress], None] | None = None,
    policies: Policies | None = None,
) -> list[Comparison]:
    """Run scenarios on the same demand, and compare every other one with the first.

    All take seed, replications, window and drain of the first, and as warm-up the
    longest that any of them needs. Streams draw from the same keys, so sessions
    are the same wherever the streams are.

    Parameters
    ----------
    out
        Directory that gets one run directory a scenario, and ``comparison.json``;
        None: temporary ones.

    Raises
    ------
    UserError
        If fewer than two scenarios are given, or any of them is at fault.

    Examples
    --------
    >>> pairs = compare(["quickstart", "quickstart-open"])[0].pairs  # doctest: +SKIP
    >>> round(pairs["tokens.output_per_s.per_device"].ratio, 3)  # doctest: +SKIP
    0.793
    """
    from factorysim.errors import Fault, SpecError
    from factorysim.run import simulate
    from factorysim.run.replicate import resolved
    from factorysim.store import write_json

    if len(scenarios) < 2:
        cure = "Name two scenarios or more."
        raise SpecError(Fault("compare", "", "fewer than two scenarios", "two or more", cure))
    given = [resolved(scenario) for scenario in scenarios]
    given_names = list(names or labels(scenarios))
    aligned = [align(scenario, given[0]) for scenario in given]
    warmup_s = _longest_warmup(aligned, given_names, workers, progress, policies)
    runs: list[Run] = []
    for scenario, label in zip(aligned, given_names, strict=True):
        runs.append(
            simulate(
                scenario,
                out=None if out is None else out / label,
                workers=workers,
                progress=_labelled(progress, label),
                policies=policies,
                warmup_s=warmup_s,
                name=label,
            )
        )
    found = [
        compare_runs(runs[0], run, tuple(_demand_notes(aligned[0], scenario)))
        for run, scenario in zip(runs[1:], aligned[1:], strict=True)
    ]
    if out is not None:
        write_json(out / "comparison.json", {"comparisons": [as_json(one) for one in found]})
    return found


def align(scenario: ScenarioSpec, first: ScenarioSpec) -> ScenarioSpec:
    """Give a scenario the seed, replications and window of another."""
    keys = ("kind", "window", "warmup", "drain", "replications", "seed")
    common = {key: getattr(first.run, key) for key in keys}
    return scenario.model_copy(update={"run": scenario.run.model_copy(update=common)})


def labels(scenarios: Sequence[ScenarioSpec | str | Path]) -> list[str]:
    """Name scenarios after their files, with a number where names repeat.

    Examples
    --------
    >>> labels(["a.yaml", "b", "old/a.yaml"])
    ['a', 'b', 'a-2']
    >>> labels(["a", "a", "a-2", "a"])
    ['a', 'a-3', 'a-2', 'a-4']
    """
    stems = [
        Path(one).stem if isinstance(one, str | Path) else f"scenario-{number}"
        for number, one in enumerate(scenarios)
    ]
    names: list[str] = []
    for place, stem in enumerate(stems):
        again = stem in stems[:place]
        free = (f"{stem}-{n}" for n in count(2) if f"{stem}-{n}" not in {*stems, *names})
        names.append(next(free) if again else stem)
    return names


def _labelled(
    progress: Callable[[str, Progress], None] | None, label: str
) -> Callable[[Progress], None] | None:
    if progress is None:
        return None
    told = progress
    return lambda p: told(label, p)


def _longest_warmup(
    scenarios: Sequence[ScenarioSpec],
    names: Sequence[str],
    workers: int | None,
    progress: Callable[[str, Progress], None] | None,
    policies: Policies | None,
) -> float:
    """Seconds of warm-up that suit every factory."""
    from factorysim.run.prepare import prepare
    from factorysim.run.replicate import Watch, cores, warmup_of

    seconds = 0.0
    for scenario, label in zip(scenarios, names, strict=True):
        watch = Watch(_labelled(progress, label))
        found = warmup_of(prepare(scenario), workers or cores(), watch, policies)
        seconds = max(seconds, found.seconds)
    return seconds


def _asks(scenario: ScenarioSpec, stream: str) -> StreamSpec:
    """Give a stream as demand: which LLM answers, and who pays, does not change who comes."""
    same: dict[str, object] = {"llm": "", "llm_by_step": {}, "tenant": None}
    return scenario.streams[stream].model_copy(update=same)


def _demand_notes(a: ScenarioSpec, b: ScenarioSpec) -> list[str]:
    """Say where the demand differs: then differences are not of the factories alone."""
    names = [name for name in a.streams if name not in b.streams]
    names += [name for name in b.streams if name not in a.streams]
    differ = [n for n in a.streams if n in b.streams and _asks(a, n) != _asks(b, n)]
    notes = [f"only one of them has stream {name!r}" for name in names]
    return notes + [f"stream {name!r} differs between them" for name in differ]


def compare_runs(
    a: Run,
    b: Run,
    notes: tuple[str, ...] = (),
    *,
    unpaired: str = "",
    names: tuple[str, str] | None = None,
) -> Comparison:
    """Pair the replications of two runs of the same demand.

    Parameters
    ----------
    unpaired
        Why the replications are no pairs: then differences are told without intervals.
    names
        What the verdict calls them; None: by their scenarios.
    """
    of_a, of_b = _by_replication(a), _by_replication(b)
    steady = _state(a) == _state(b) == "steady"
    withheld = {n for run in (a, b) for n, line in run.summary.items() if line.value is None}
    pairs = {
        name: _apart(name, of_a[name], of_b[name], steady, unpaired)
        if unpaired
        else _pair(name, of_a[name], of_b[name], steady)
        for name in of_a
        if name in of_b and name not in withheld
    }
    for name in sorted(withheld):
        lines = [run.summary[name] for run in (a, b) if name in run.summary]
        why = next((line.reason for line in lines if line.value is None), None)
        pairs[name] = Pair(None, None, None, None, None, None, None, why)
    called = names or (_name(a), _name(b))
    return Comparison(a, b, pairs, _verdict(a, b, called), notes)


def _name(run: Run) -> str:
    return str(run.manifest["scenario"]["name"])


def _by_replication(run: Run) -> dict[str, dict[int, float]]:
    """Metric -> replication -> value, with the rates per device and per MW."""
    table = run.metrics
    table = table[(table["by"] == "all") & table["value"].notna()]
    values: dict[str, dict[int, float]] = {}
    for name, replication, value in zip(
        table["name"], table["replication"], table["value"], strict=True
    ):
        values.setdefault(str(name), {})[int(replication)] = float(value)
    devices = run.manifest["devices"]
    watts = values.get("power.it_w.mean", {})
    for name in SCALED:
        by = values.get(name)
        if by and devices:
            values[f"{name}.per_device"] = {r: v / devices for r, v in by.items()}
        if by and watts:
            values[f"{name}.per_mw"] = {
                r: v / (watts[r] / W_PER_MW) for r, v in by.items() if watts.get(r)
            }
    return values


def _pair(name: str, a: dict[int, float], b: dict[int, float], steady: bool) -> Pair:
    both = sorted(a.keys() & b.keys())
    if not both:
        return Pair(None, None, None, None, None, None, None, "no replication has it in both")
    in_a, in_b = [a[r] for r in both], [b[r] for r in both]
    mean_a, mean_b = sum(in_a) / len(both), sum(in_b) / len(both)
    ratio = _ratio(name, mean_a, mean_b, steady)
    if len(both) < 2:
        return Pair(mean_a, mean_b, mean_b - mean_a, None, None, ratio, None, ONE_REPLICATION)
    gap = paired_difference(in_a, in_b)
    return Pair(mean_a, mean_b, gap.mean, gap.low, gap.high, ratio, gap.variance_reduction, None)


def _apart(
    name: str, a: dict[int, float], b: dict[int, float], steady: bool, unpaired: str
) -> Pair:
    """Set two means side by side whose replications are no pairs."""
    mean_a, mean_b = (sum(values.values()) / len(values) for values in (a, b))
    ratio = _ratio(name, mean_a, mean_b, steady)
    why = f"{NOT_PAIRED}{unpaired}"
    return Pair(mean_a, mean_b, mean_b - mean_a, None, None, ratio, None, why)


def are_pairs(found: Comparison) -> bool:
    """Whether the replications of both runs met the same demand."""
    return not any((pair.reason or "").startswith(NOT_PAIRED) for pair in found.pairs.values())


def _ratio(name: str, a: float, b: float, steady: bool) -> float | None:
    return b / a if steady and a > 0 and not name.startswith("audit.") else None


def _state(run: Run) -> str:
    overload: dict[str, Any] | None = run.manifest["overload"]
    return "steady" if overload is None else str(overload["state"])


def _verdict(a: Run, b: Run, names: tuple[str, str]) -> str:
    """Say who sustains the demand."""
    name_a, name_b = names
    if a.manifest["kind"] == "terminating":
        return _slo_verdict(a, b, names) or f"{name_a} and {name_b} ran to their ends."
    over_a, over_b = (_state(run) == "overloaded" for run in (a, b))
    if over_a and over_b:
        return f"Neither {name_a} nor {name_b} sustains this demand."
    unsettled = [n for n, run in ((name_a, a), (name_b, b)) if _state(run) == "unsettled"]
    if unsettled:
        return f"The run is too short to tell: {' and '.join(unsettled)} had not settled."
    if over_a or over_b:
        well, ill = (name_b, name_a) if over_a else (name_a, name_b)
        run = b if over_a else a
        but = " without meeting its SLOs" if judged_together(run) == "missed" else ""
        return f"{well} sustains {_demand(run)}{but}, {ill} does not."
    both = f"Both {name_a} and {name_b} sustain {_demand(a, b)}."
    return f"{both} {_slo_verdict(a, b, names)}".strip()


def _demand(*runs: Run) -> str:
    """Name the demand that is sustained: not all of it where calls were turned away."""
    turned_away = [one.summary.get("calls.rejected") for one in runs]
    if any(line is not None and line.value for line in turned_away):
        return "what is let in of this demand"
    return "this demand"


def _slo_verdict(a: Run, b: Run, names: tuple[str, str]) -> str:
    """Say who meets the SLOs of the streams; nothing where nobody asks for any."""
    of_a, of_b = judged_together(a), judged_together(b)
    if "unknown" in (of_a, of_b):
        return ""
    if of_a == of_b:
        return BOTH[of_a]
    told = {of_a: names[0], of_b: names[1]}
    (first, one), (second, other) = [(word, told[word]) for word in FIRST if word in told]
    return f"{FIRST[first].format(one)}, {SECOND[second].format(other)}."


BOTH: dict[Judgement, str] = {
    "met": "Both meet their SLOs.",
    "missed": "Neither meets all its SLOs.",
    "so_far": "Both meet their SLOs so far: sessions that had not ended could turn it.",
    "undecided": "Whether they meet their SLOs is not decided: too many sessions had not ended.",
}
FIRST: dict[Judgement, str] = {
    "met": "{} meets its SLOs",
    "missed": "{} does not meet its SLOs",
    "so_far": "{} meets its SLOs so far",
    "undecided": "",
}
SECOND: dict[Judgement, str] = {
    "missed": "{} does not",
    "so_far": "{} does so far",
    "undecided": "whether {} does is not decided",
}


def judged_together(run: Run) -> Judgement:
    """Judge all streams that ask for something: any that is missed decides."""
    return worst(one.judgement for one in verdicts(run.manifest["slo"]))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Give the content of ``comparison.json``."""
    a, b = comparison.a, comparison.b
    return {
        "schema": "factorysim.comparison/1",
        "a": a.manifest["scenario"]["name"],
        "b": b.manifest["scenario"]["name"],
        "verdict": comparison.verdict,
        "notes": list(comparison.notes),
        "warmup_s": a.manifest["window"]["start_s"],
        "devices": {"a": a.manifest["devices"], "b": b.manifest["devices"]},
        "power_mismatch": comparison.power_mismatch,
        "metrics": {name: pair._asdict() for name, pair in comparison.pairs.items()},
    }
