"""The steps of an experiment under other efficiencies, without running it again.

A run records which steps there were. Another law would have timed them otherwise, and,
if it is near, the same ones would have come: so a metric is scaled by what the steps it
rests on would have taken. A fit takes its derivatives from this, and simulates anew at
each point that it reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from factorysim.study.measured.conditions import Static

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from factorysim.catalog import Device
    from factorysim.catalog.efficiency import Efficiency
    from factorysim.graph.laws import Work
    from factorysim.graph.links import Wiring
    from factorysim.physics.step import StepLaw
    from factorysim.run.prepare import Prepared
    from factorysim.study.measured.conditions import Conditions
    from factorysim.study.measured.metrics import Metric

    Floats = npt.NDArray[np.float64]

FS = 1e-15


class Subject(NamedTuple):
    """What a law of the experiment's replica is made from, efficiencies apart."""

    work: Work
    device: Device
    wiring: Wiring

    def law(self, efficiency: Efficiency) -> StepLaw:
        """Law under some efficiencies."""
        from factorysim.graph.laws import Hardware, cut_law

        return cut_law(self.work, Hardware(self.device, efficiency, self.wiring))


def subject_of(prepared: Prepared, llm: str) -> Subject:
    """Take from a prepared experiment what its law is made from."""
    from factorysim.graph.build import build_graph
    from factorysim.graph.factory import compile_graph
    from factorysim.graph.laws import Work
    from factorysim.graph.links import Wiring

    scenario = prepared.scenario
    assert not isinstance(scenario.topology, str)
    graph = build_graph(scenario.topology, prepared.catalog)
    serve = prepared.plan.serve[0]
    devices = tuple(replica.devices for replica in serve.replicas)
    work = Work(
        prepared.catalog.llm(llm),
        scenario.llms["llm"].precision,
        scenario.deployments["serve"].parallel,
        scenario.serving.overlap,
    )
    return Subject(work, serve.device, Wiring(graph, compile_graph(graph), devices))


@dataclass(frozen=True, slots=True)
class Walked:
    """Runs of steps of an experiment, those of one composition together."""

    subject: Subject
    kinds: npt.NDArray[np.int64]
    """Shape ``(kinds, 6)``: decodes, prompt tokens, prompts, emitting, context, prior tokens."""
    kind_of: npt.NDArray[np.intp]
    """Shape ``(runs,)``."""
    steps: npt.NDArray[np.int64]
    decodes: npt.NDArray[np.int64]
    prompts: npt.NDArray[np.int64]
    seconds: Floats
    """Mean of the steps of each run, as simulated."""
    timed: Floats
    """Shape ``(kinds,)``: as the law of the simulation times each kind."""

    def ratio(self, efficiency: Efficiency) -> Floats:
        """Seconds of the steps of each run over those that were, under other efficiencies."""
        return (durations(self.subject.law(efficiency), self.kinds) / self.timed)[self.kind_of]


def walked(subject: Subject, steps: Mapping[str, Any], efficiency: Efficiency) -> Walked:
    """Sort the steps of an experiment by composition.

    Parameters
    ----------
    steps
        Columns of `records.StepRow`.
    efficiency
        Under which they were simulated.
    """
    n = np.maximum(steps["steps"], 1)
    decodes, prompts = steps["decodes"], steps["prompts"]
    emitting = np.minimum(-(-steps["emitted_tokens"] // n), decodes + prompts)
    columns = (
        decodes, steps["prompt_tokens"] // n, prompts, emitting,
        np.rint(steps["context_tokens"] / n), np.rint(steps["prior_tokens"] / n),
    )  # fmt: skip
    kinds, kind_of = np.unique(
        np.stack(columns, axis=1).astype(np.int64), axis=0, return_inverse=True
    )
    seconds = (steps["step_fs"] + steps["slope_fs"] * (n - 1) / 2) * FS
    timed = durations(subject.law(efficiency), kinds)
    return Walked(subject, kinds, kind_of.ravel(), steps["steps"], decodes, prompts, seconds, timed)


def durations(law: StepLaw, kinds: npt.NDArray[np.int64]) -> Floats:
    """Seconds of a step of each kind; chunks of a step are taken as alike."""
    spent = np.empty(len(kinds))
    bases: dict[tuple[int, int, int, int], int] = {}
    for k, (decodes, tokens, prompts, emitting, context, prior) in enumerate(kinds.tolist()):
        key = (decodes, tokens, prompts, emitting)
        if key not in bases:
            bases[key] = law.base(*key)
        total = bases[key]
        if decodes:
            piece = law.piece(decodes, context)
            total += piece.fixed_fs + piece.slope_fs * context
            if law.window is not None:
                total += law.window_fs * min(context, decodes * law.window)
        if prompts and tokens:
            total += prompts * law.chunk(max(1, tokens // prompts), prior // prompts)
        spent[k] = total * FS
    return spent


def scale_of(walk: Walked, ratio: Floats, metric: Metric, conditions: Conditions) -> float:
    """By what a metric grows if the steps of each run grow by `ratio`; 1 where it does not tell."""
    before = walk.steps * walk.seconds
    after = before * ratio
    decoding = walk.decodes * (walk.prompts == 0) if _batch(conditions) else walk.decodes
    match metric.quantity:
        case "tpot" | "itl":
            return _over(after, before, decoding)
        case "tokens_per_s_per_user":
            return 1.0 / _over(after, before, decoding)
        case "ttft":
            return _over(after, before, walk.prompts > 0)
        case "throughput":
            if not _batch(conditions):
                return 1.0 / _over(after, before, np.ones_like(before))
            part = walk.prompts > 0 if metric.counts == "input" else decoding
            return 1.0 / _over(after, before, part)
        case _:
            return 1.0


def _batch(conditions: Conditions) -> bool:
    return isinstance(conditions.load, Static)


def _over(after: Floats, before: Floats, weight: npt.NDArray[Any]) -> float:
    total = float((before * weight).sum())
    return float((after * weight).sum()) / total if total else 1.0
